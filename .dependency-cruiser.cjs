// Who may import whom. test/repository/arrows.test.ts breaks every rule once, and sees it refused.

/** What a folder may import of ours; itself always. */
const ARROWS = {
    core: [],
    drivers: ["core"],
    resources: ["core", "drivers"],
    components: ["core", "resources"],
    // The programs' settings are schemas, so they live in core; everything else they get as a user does.
    stacks: ["core", "index.ts", "aws.ts"],
    "index.ts": ["core", "resources", "components"],
    "aws.ts": ["core", "resources", "components"],
    engine: [],
};
const OURS = [...Object.keys(ARROWS), "tools", "examples", "test"];

const below = (names) => `^(?:${names.join("|").replaceAll(".", "\\.")})(?:/|$)`;

const arrows = Object.entries(ARROWS).map(([name, allowed]) => ({
    name: `arrow-${name.replace(".ts", "")}`,
    comment: `${name} imports of ours only: ${[name, ...allowed].join(", ")}`,
    severity: "error",
    from: { path: below([name]) },
    to: { path: below(OURS.filter((other) => other !== name && !allowed.includes(other))) },
}));

/** Everything that is loaded when a stack's program runs. */
const PROGRAM_PATH = "^(?:(?:index|aws)\\.ts$|components/|resources/dynamic\\.ts$|resources/[^/]+/index\\.ts$)";

/** @type {import("dependency-cruiser").IConfiguration} */
module.exports = {
    forbidden: [
        ...arrows,
        {
            name: "no-cycle",
            comment: "modules that import each other can only be read together",
            severity: "error",
            from: {},
            to: { circular: true },
        },
        {
            name: "program-declares-only",
            comment: "a program declares resources; what acts is loaded by the provider's process, by name",
            severity: "error",
            from: { path: PROGRAM_PATH },
            to: { path: "^drivers/|(?:^|/)operations\\.ts$", dependencyTypesNot: ["type-only"] },
        },
        {
            name: "no-cloud-sdk",
            comment: "what needs a cloud's SDK is a subpath, so nobody loads it who does not use it",
            severity: "error",
            from: { path: "^index\\.ts$" },
            to: { path: "(?:^|node_modules/)@pulumi/aws(?:/|$)|^aws\\.ts$|^components/aws/", reachable: true },
        },
        {
            name: "no-development-dependency",
            comment: "what is shipped can't use what is not installed with it",
            severity: "error",
            from: { path: below(["index.ts", "aws.ts", "core", "drivers", "resources", "components"]) },
            to: { dependencyTypes: ["npm-dev", "npm-no-pkg"], dependencyTypesNot: ["npm-peer", "type-only"] },
        },
        {
            name: "no-unresolvable",
            comment: "there is no such module",
            severity: "error",
            from: {},
            to: { couldNotResolve: true },
        },
    ],
    options: {
        // Type-only imports are arrows, too.
        tsPreCompilationDeps: true,
        tsConfig: { fileName: "tsconfig.json" },
        doNotFollow: { path: "node_modules" },
        enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["types", "require", "node", "default"] },
    },
};
