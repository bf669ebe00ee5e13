const pulumi = require("@pulumi/pulumi");
const { LocalFleet, LocalRegistry, MultiPlatformImage, SigningKey } = require("buildfleet");

const config = new pulumi.Config();
const registry = new LocalRegistry("registry", { port: config.getNumber("port") });
const fleet = new LocalFleet("builders", { registries: registry.nodeSettings });
const image = new MultiPlatformImage("greeter", {
    fleet,
    repository: registry.repository("team/greeter"),
    context: "greeter",
    buildArgs: config.getObject("buildArgs"),
    platforms: ["linux/amd64", "linux/arm64"],
    emulation: "allow",
    version: "1.0.0",
    test: { command: ["/usr/local/bin/greet", "world"] },
    scan: { advisories: "advisories", advisoriesUse: "offline" },
    sign: { key: new SigningKey("key") },
});

exports.ref = image.ref;
exports.tags = image.tags;
exports.platforms = image.platforms;
