/** What buildx is told, and which Dockerfiles it is not even shown. */
import { describe, expect, it } from "vitest";
import { dockerfileProblem } from "../../engine/docker-build/dockerfile";
import { buildCommand } from "../../engine/docker-build/flags";
import { decode, IMAGE, normalize } from "../../engine/docker-build/shape";
import type { Properties } from "../../engine/provider";
import { secret } from "../../engine/values";

it("gives buildx every input, in its words", () => {
    const news: Properties = {
        addHosts: ["h:10.0.0.1"],
        buildArgs: { A: "x=y" },
        builder: { name: "b" },
        cacheFrom: [
            { local: { src: "c" } },
            { raw: "type=s3,region=r,bucket=b" },
            { gha: { scope: "s" } },
            { disabled: true, raw: "x" },
        ],
        cacheTo: [
            {
                registry: {
                    ref: "r/c",
                    mode: "max",
                    ociMediaTypes: true,
                    imageManifest: true,
                    compressionLevel: 30,
                    compression: "zstd",
                },
            },
        ],
        context: { location: "app", named: { base: { location: "docker-image://a" } } },
        dockerfile: { location: "app/Dockerfile" },
        exports: [
            {
                image: {
                    names: ["r/a"],
                    push: true,
                    pushByDigest: true,
                    compressionLevel: 0,
                    annotations: { b: "2", a: "1" },
                },
            },
        ],
        labels: { l: "1" },
        network: "host",
        noCache: true,
        platforms: ["linux/arm64"],
        pull: true,
        secrets: secret({ 'odd,"id': "value" }),
        ssh: [{ id: "default" }, { id: "key", paths: ["/a", "/b"] }],
        tags: ["r/a:1"],
        target: "t",
    };
    const image = decode(normalize(IMAGE, news, "", []) ?? null);
    const { args, env } = buildCommand(image, "/private");
    const [variable = ""] = Object.keys(env).filter((name) => env[name] === "value");
    expect(args.map((argument) => argument.replace(variable, "VARIABLE"))).toEqual([
        ...[
            "build",
            "--progress",
            "plain",
            "--provenance=false",
            "--sbom=false",
            "--metadata-file",
            "/private/metadata.json",
        ],
        ...[
            "--builder",
            "b",
            "--platform",
            "linux/arm64",
            "--file",
            "app/Dockerfile",
            "--target",
            "t",
            "--tag",
            "r/a:1",
        ],
        ...[
            "--build-arg",
            "A=x=y",
            "--build-context",
            "base=docker-image://a",
            "--label",
            "l=1",
            "--add-host",
            "h:10.0.0.1",
        ],
        ...["--network", "host", "--ssh", "default", "--ssh", "key=/a,/b", "--secret", '"id=odd,""id",env=VARIABLE'],
        ...[
            "--cache-from",
            "type=local,src=c",
            "--cache-from",
            "type=s3,region=r,bucket=b",
            "--cache-from",
            "type=gha,scope=s",
        ],
        ...["--cache-to", expect.stringMatching(/^type=registry,ref=r\/c,.*compression=zstd,compression-level=22/)],
        ...[
            "--output",
            expect.stringMatching(
                /^type=image,.*push=true,push-by-digest=true,store=true,name=r\/a,annotation.a=1,annotation.b=2$/,
            ),
        ],
        ...["--no-cache", "--pull", "--", "app"],
    ]);
});

describe("Dockerfiles", () => {
    it.each<[string, string | undefined]>([
        ["ARG A=1\nFROM a\nRUN x\n", undefined],
        ["# syntax=example/other:1\nANYTHING goes\n", undefined],
        ["FROM a\nRUN cat <<EOF && cat <<-'END'\nNOT an instruction\nEOF\nnor this\n\tEND\nRUN y\n", undefined],
        ["FROM a\nRUN echo a \\\n# comment\n\n  && b\nCMD c", undefined],
        ["# escape=`\nFROM a\nRUN a `\n b\nCOPY c:\\ d\n", undefined],
        ["RUN x\nFROM a\n", "no build stage in current context"],
        [
            "FROM a\n\nworkdri /x\n",
            "dockerfile parse error on line 3: unknown instruction: workdri (did you mean workdir?)",
        ],
        ["FROM a\nRUN x \\\n y\nBOGUSLY z\n", "dockerfile parse error on line 4: unknown instruction: BOGUSLY"],
        ["", "file with no instructions"],
    ])("%j: %s", (source, expected) => {
        expect(dockerfileProblem(source)).toBe(expected);
    });
});
