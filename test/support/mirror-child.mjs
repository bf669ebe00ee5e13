// Runs an ImageMirror's create as a process of its own, so that it can be killed: gets its inputs as JSON in argv.
import { createRequire } from "node:module";

const { operations } = createRequire(import.meta.url)("buildfleet/operations/image-mirror");
const { outs } = await operations.create(JSON.parse(process.argv[2] ?? ""));
// maxRSS is in KiB.
process.stdout.write(JSON.stringify({ ...outs, peakBytes: process.resourceUsage().maxRSS * 1024 }));
process.exit(0);
