import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { cacheRoot, findTool } from "../../../drivers/tools";
import type { Architecture } from "./machine";

/** What a build step does on a builder that has no base image: it asks the network, or takes so many MiB of memory. */
const STEP = `package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"
)

func main() {
	what, url := os.Args[1], os.Args[2]
	if what == "fill" {
		// Written to, or the kernel gives none.
		taken := [][]byte{}
		for size, _ := strconv.Atoi(url); len(taken) < size; {
			taken = append(taken, bytes.Repeat([]byte{1}, 1<<20))
		}
		fmt.Println("filled", len(taken), "MiB")
		return
	}
	client := http.Client{Timeout: 30 * time.Second}
	method := http.MethodGet
	switch what {
	case "wait":
		client.Timeout = 0
	case "metadata":
		method = http.MethodPut
		client.Timeout = 5 * time.Second
	}
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		panic(err)
	}
	request.Header.Set("X-aws-ec2-metadata-token-ttl-seconds", "60")
	response, err := client.Do(request)
	if what == "metadata" {
		if err == nil {
			fmt.Println("REACHED", url, response.Status)
			os.Exit(1)
		}
		fmt.Println("not reached:", err)
		return
	}
	if err != nil || response.StatusCode != 200 {
		fmt.Println("failed:", err, response)
		os.Exit(1)
	}
	fmt.Println("reached", url)
}
`;

/** The program for an architecture, compiled once with Go and kept in the cache. */
function stepProgram(architecture: Architecture): string {
    const version = createHash("sha256").update(STEP).digest("hex").slice(0, 8);
    const path = join(cacheRoot(), "test", `step-${version}-${architecture}`);
    if (existsSync(path)) return path;
    mkdirSync(join(cacheRoot(), "test"), { recursive: true });
    const folder = mkdtempSync(join(cacheRoot(), "test", "making-"));
    try {
        writeFileSync(join(folder, "main.go"), STEP);
        execFileSync("go", ["build", "-trimpath", "-ldflags", "-s -w", "-o", "step", "main.go"], {
            cwd: folder,
            env: { ...process.env, CGO_ENABLED: "0", GOOS: "linux", GOARCH: architecture, GO111MODULE: "off" },
        });
        renameSync(join(folder, "step"), path);
    } finally {
        rmSync(folder, { recursive: true, force: true });
    }
    return path;
}

/** A build that runs, or has run. */
export interface Build {
    /** Resolves with the image's digest; rejects with buildx's output when the build fails. */
    result: Promise<{ digest: string; log: string }>;
    process: ChildProcess;
}

export interface BuildRequest {
    /** A builder in buildx's store. */
    builder: string;
    architecture: Architecture;
    /** Scratch folder. */
    folder: string;
    /** `registry/repository:tag` to push to. */
    tag: string;
    /** Each a RUN step: arguments of the step program. */
    steps: string[][];
}

/** Builds an image of nothing but the step program with buildx, and pushes it. */
export function startBuild({ builder, architecture, folder, tag, steps }: BuildRequest): Build {
    const context = mkdtempSync(join(folder, "context-"));
    execFileSync("cp", [stepProgram(architecture), join(context, "step")]);
    const runs = steps.map((step) => `RUN ${JSON.stringify(["/step", ...step])}`);
    writeFileSync(join(context, "Dockerfile"), ["FROM scratch", "COPY step /step", ...runs, ""].join("\n"));
    const metadata = join(folder, `metadata-${createHash("sha256").update(context).digest("hex").slice(0, 8)}.json`);
    const args = ["build", "--builder", builder, "--platform", `linux/${architecture}`, "--progress", "plain"];
    const child = spawn(
        findTool("docker-buildx"),
        [...args, "--provenance=false", "--push", "--tag", tag, "--metadata-file", metadata, context],
        { stdio: ["ignore", "pipe", "pipe"] },
    );
    let log = "";
    for (const stream of [child.stdout, child.stderr])
        stream.setEncoding("utf8").on("data", (text) => {
            log += text;
        });
    const result = new Promise<{ digest: string; log: string }>((resolve, reject) => {
        child.once("error", reject);
        child.once("close", (code) => {
            if (code !== 0) return reject(new Error(`the build of ${tag} ended with ${code}:\n${log}`));
            resolve({ digest: JSON.parse(readFileSync(metadata, "utf8"))["containerimage.digest"], log });
        });
    });
    // Who awaits it later must not be late for the rejection.
    result.catch(() => undefined);
    return { result, process: child };
}

/** A URL that answers when a test says so: a build step that asks for it runs until then. */
export class Gate {
    /** Resolves once somebody asks. */
    readonly entered: Promise<void>;
    private readonly waiting: ServerResponse[] = [];
    private isOpen = false;
    private enter: () => void = () => undefined;

    constructor() {
        this.entered = new Promise((resolve) => {
            this.enter = resolve;
        });
    }

    readonly handle = (response: ServerResponse): void => {
        if (this.isOpen) return void response.end("open\n");
        this.waiting.push(response);
        this.enter();
    };

    open(): void {
        this.isOpen = true;
        for (const response of this.waiting) response.end("open\n");
    }
}

/** Gates by name, on a server of the test's. */
export class Gates {
    private readonly gates = new Map<string, Gate>();

    /** Whether it was a gate that somebody asked for. */
    handle(path: string, response: ServerResponse): boolean {
        const gate = this.gates.get(path);
        gate?.handle(response);
        return gate !== undefined;
    }

    /**
     * A build of one step that runs until its gate opens.
     *
     * @param origin of the server, as the step reaches it
     */
    async running(
        name: string,
        origin: string,
        request: Omit<BuildRequest, "steps">,
    ): Promise<{ gate: Gate; build: Build }> {
        const gate = new Gate();
        this.gates.set(`/${name}`, gate);
        const build = startBuild({ ...request, steps: [["wait", `${origin}/${name}`]] });
        await Promise.race([gate.entered, build.result.then(() => Promise.reject(new Error("it did not wait")))]);
        return { gate, build };
    }
}
