export { RegistryClient } from "./client";
export { anonymous, type Credential, type CredentialSource, staticCredentials } from "./credentials";
export { dockerConfigCredentials, writeDockerConfig } from "./docker-config";
export { RegistryError } from "./errors";
export type { Clock } from "./retry";
export type { RegistryClientOptions } from "./session";
