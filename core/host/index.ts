/** A Linux machine that becomes a BuildKit builder: its files, and cloud-init's user data or an SSH connection that carries them. */
export { driftOf, type HostFacts, readFacts } from "./drift";
export { HOST_COMMANDS, hostFiles, hostScript } from "./files";
export { type ManagedHostPlan, type ManagedSecrets, type ManagedSettings, planManagedHost } from "./managed";
export { METRICS } from "./metrics";
export { type HostNames, hostNames, INSTANCE } from "./names";
export { BUILDKIT_PORT, type Ec2HostSettings, type HostLimits, type HostSettings, USER_DATA_LIMIT } from "./settings";
export { encodeUserData, renderUserData } from "./user-data";
