import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cacheRoot } from "../../drivers/tools";

const SOURCE = `package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "--fail" {
		fmt.Fprintln(os.Stderr, "failing as asked")
		os.Exit(3)
	}
	if len(os.Args) > 2 && os.Args[1] == "--sha256-of" {
		content, err := os.ReadFile(os.Args[2])
		if err == nil {
			err = os.WriteFile("/secret.sha256", []byte(fmt.Sprintf("%x", sha256.Sum256(content))), 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(4)
		}
	}
	if len(os.Args) > 2 && os.Args[1] == "--print-and-fail" {
		content, _ := os.ReadFile(os.Args[2])
		fmt.Printf("it is %s\\n", content)
		os.Exit(5)
	}
	if len(os.Args) > 2 && os.Args[1] == "--wait" {
		connection, err := net.Dial("tcp", os.Args[2])
		if err == nil {
			_, err = io.Copy(io.Discard, connection)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(6)
		}
	}
	fmt.Println("app", runtime.GOARCH)
}
`;

/** A static program for an architecture, compiled once with Go and kept in the cache. */
function binaryFor(architecture: string): string {
    const version = createHash("sha256").update(SOURCE).digest("hex").slice(0, 8);
    const path = join(cacheRoot(), "test", `app-${version}-${architecture}`);
    if (existsSync(path)) return path;
    const folder = mkdtempSync(join(tmpdir(), "buildfleet-app-"));
    try {
        writeFileSync(join(folder, "main.go"), SOURCE);
        const out = join(folder, "app");
        execFileSync("go", ["build", "-trimpath", "-ldflags", "-s -w", "-o", out, "main.go"], {
            cwd: folder,
            env: { ...process.env, CGO_ENABLED: "0", GOOS: "linux", GOARCH: architecture, GO111MODULE: "off" },
        });
        mkdirSync(join(cacheRoot(), "test"), { recursive: true });
        renameSync(out, path);
    } finally {
        rmSync(folder, { recursive: true, force: true });
    }
    return path;
}

/** A Debian package as it stands in an image's database, per architecture. */
export interface AppPackage {
    name: string;
    version: string;
    /** Default: in every architecture's image. */
    only?: "amd64" | "arm64";
}

/**
 * Writes a build context that needs no base image: a static program and a Debian package database. Its RUN step executes the
 * program, so it runs on the node, natively or emulated.
 */
export function writeAppContext(
    folder: string,
    packages: AppPackage[] = [{ name: "base-files", version: "12.4" }],
): void {
    mkdirSync(folder, { recursive: true });
    for (const architecture of ["amd64", "arm64"] as const) {
        execFileSync("cp", [binaryFor(architecture), join(folder, `app-${architecture}`)]);
        const status = packages
            .filter(({ only }) => only === undefined || only === architecture)
            .map(
                ({ name, version }) =>
                    `Package: ${name}\nStatus: install ok installed\nMaintainer: T <t@example.com>\nArchitecture: ${architecture}\nVersion: ${version}\nDescription: ${name}\n`,
            );
        writeFileSync(join(folder, `status-${architecture}`), status.join("\n"));
    }
    writeFileSync(
        join(folder, "os-release"),
        'PRETTY_NAME="Debian GNU/Linux 12"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n',
    );
    writeFileSync(join(folder, "hello.txt"), "hello\n");
    writeFileSync(
        join(folder, "Dockerfile"),
        [
            "FROM scratch",
            "ARG TARGETARCH",
            "COPY os-release /etc/os-release",
            // biome-ignore lint/suspicious/noTemplateCurlyInString: the Dockerfile's own variable
            "COPY status-${TARGETARCH} /var/lib/dpkg/status",
            // biome-ignore lint/suspicious/noTemplateCurlyInString: the Dockerfile's own variable
            "COPY app-${TARGETARCH} /app",
            "COPY hello.txt /hello.txt",
            'RUN ["/app"]',
            'ENTRYPOINT ["/app"]',
            "",
        ].join("\n"),
    );
}

/** The organization's own advisories, as YAML files in a folder. */
export function writeAdvisories(
    folder: string,
    advisories: { id: string; severity: string; package: string; affected: string; fixed?: string }[],
): void {
    mkdirSync(folder, { recursive: true });
    for (const { id, severity, package: name, affected, fixed } of advisories)
        writeFileSync(
            join(folder, `${id.toLowerCase()}.yaml`),
            [
                `id: ${id}`,
                `severity: ${severity}`,
                "ecosystem: debian:12",
                `package: ${name}`,
                `affected: "${affected}"`,
                ...(fixed ? [`fixed: "${fixed}"`] : []),
                "",
            ].join("\n"),
        );
}
