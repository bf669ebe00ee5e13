/** A Linux machine that becomes a BuildKit builder: its files, and cloud-init's user data that carries them. */
export { HOST_COMMANDS, hostFiles } from "./files";
export { METRICS } from "./metrics";
export { BUILDKIT_PORT, type HostSettings, USER_DATA_LIMIT } from "./settings";
export { encodeUserData, renderUserData } from "./user-data";
