// Checked by tsc alone: what README.md tells to write for hosts that somebody else runs.

import { readFileSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import { type Fleet, MultiPlatformImage, type Repository } from "../../index";

const config = new pulumi.Config();
const fleet: Fleet = {
    nodes: [
        { name: "arm", endpoint: "tcp://10.0.1.10:1234", platforms: ["linux/arm64"] },
        { name: "x86", endpoint: "tcp://10.0.1.11:1234", platforms: ["linux/amd64"] },
    ],
    client: {
        ca: config.require("builderCa"),
        certificate: config.require("builderCert"),
        privateKey: config.requireSecret("builderKey"),
    },
};
const repository: Repository = {
    name: "registry.internal:5000/team/app",
    connection: {
        ca: readFileSync("registry-ca.pem", "utf8"),
        username: "ci",
        password: config.requireSecret("registryPassword"),
    },
};
new MultiPlatformImage("app", {
    fleet,
    repository,
    context: "../service",
    platforms: ["linux/amd64", "linux/arm64"],
    version: "1.4.2",
    test: { command: ["/usr/local/bin/service", "--version"] },
    scan: { failOn: "high", ignore: [{ id: "CVE-2026-0001", reason: "not reachable", until: "2026-12-31" }] },
    sign: { key: "awskms:///alias/images" },
});
