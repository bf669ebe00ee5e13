#!/usr/bin/env node
/** The embedded engine's command line: cli.js <preview|up|refresh|destroy|output|export> --cwd DIR --stack NAME --state DIR */
import { parseArgs } from "node:util";
import { type Command, type EngineOptions, exportState, readOutputs, runEngine, type StackOptions } from "./index";

const USAGE = `usage: cli.js <preview|up|refresh|destroy|output|export> --cwd DIR --stack NAME --state DIR
  [--config KEY=VALUE]... [--parallel N] [--json] [--show-secrets]`;

function settings(args: string[]) {
    const { values, positionals } = parseArgs({
        args,
        allowPositionals: true,
        options: {
            cwd: { type: "string", default: "." },
            stack: { type: "string" },
            state: { type: "string" },
            config: { type: "string", multiple: true, default: [] },
            parallel: { type: "string" },
            json: { type: "boolean", default: false },
            "show-secrets": { type: "boolean", default: false },
        },
    });
    const [command, ...more] = positionals;
    const { stack, state, parallel } = values;
    if (!command || more.length > 0 || !stack || !state) throw new Error(USAGE);
    const places = parallel === undefined ? undefined : Number(parallel);
    if (places !== undefined && !(Number.isInteger(places) && places > 0)) {
        throw new Error(`--parallel: "${parallel}" is not a number above 0`);
    }
    const config = values.config.map((setting): [string, string] => {
        const at = setting.indexOf("=");
        if (at < 1) throw new Error("--config takes KEY=VALUE");
        return [setting.slice(0, at), setting.slice(at + 1)];
    });
    const options: StackOptions = { cwd: values.cwd, stack, stateDir: state, showSecrets: values["show-secrets"] };
    return { command, options, json: values.json, config: Object.fromEntries(config), parallel: places };
}

const print = (value: unknown) => process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);

async function operate(command: Command, given: ReturnType<typeof settings>): Promise<number> {
    const cancel = new AbortController();
    const onSignal = () => {
        if (cancel.signal.aborted) process.exit(130); // asked twice: the children's guards end them
        process.stderr.write("cancelling: waiting for what is under way; once more to stop at once\n");
        cancel.abort();
    };
    process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
    const options: EngineOptions = {
        ...given.options,
        command,
        config: given.config,
        ...(given.parallel !== undefined && { parallel: given.parallel }),
        signal: cancel.signal,
        onProgress: (line) => process.stderr.write(`${line}\n`),
    };
    const result = await runEngine(options);
    if (given.json) print(result);
    else
        for (const [name, value] of Object.entries(result.outputs))
            process.stdout.write(`${name}: ${JSON.stringify(value)}\n`);
    return result.result === "succeeded" ? 0 : 1;
}

async function main(args: string[]): Promise<number> {
    const given = settings(args);
    switch (given.command) {
        case "preview":
        case "up":
        case "refresh":
        case "destroy":
            return operate(given.command, given);
        case "output":
            print(await readOutputs(given.options));
            return 0;
        case "export":
            print(await exportState(given.options));
            return 0;
        default:
            throw new Error(`unknown command "${given.command}"\n${USAGE}`);
    }
}

main(process.argv.slice(2)).then(
    (code) => {
        process.exitCode = code;
    },
    (error: Error) => {
        process.stderr.write(`error: ${error.message}\n`);
        process.exitCode = 1;
    },
);
