import { createRequire } from "node:module";

/**
 * Who imports `buildfleet/aws` needs `@pulumi/aws`, an optional peer: this is imported before the first module that needs it, and says
 * what to do where it is not there.
 */
try {
    createRequire(__filename).resolve("@pulumi/aws/package.json");
} catch (error) {
    const what = "buildfleet/aws needs @pulumi/aws, which is not installed beside it";
    throw new Error(`${what}: run "npm install @pulumi/aws"`, { cause: error });
}
