import { gzipSync } from "node:zlib";
import { Document, Scalar } from "yaml";
import { FormatError } from "../problems";
import { HOST_COMMANDS, type HostFile, hostFiles, READY_FILE } from "./files";
import { type HostSettings, USER_DATA_LIMIT } from "./settings";

/**
 * Starts the builder as soon as its files are written, which is long before cloud-init comes to `runcmd`: `bootcmd` comes before
 * `write_files`, so it leaves a unit behind that waits for the last file. It stays active, or the file would trigger it again.
 */
const EARLY = [
    "systemctl --quiet is-active buildfleet-early.path ||",
    "systemd-run --no-block --unit=buildfleet-early",
    "--property=Type=oneshot --property=RemainAfterExit=yes --property=DefaultDependencies=no",
    `--path-property=PathExists=${READY_FILE} --path-property=DefaultDependencies=no`,
    `/bin/bash ${HOST_COMMANDS.flat().join(" ")}`,
].join(" ");

/**
 * At every boot of an EC2 instance cloud-init restarts the network that is up by then: for half a second the address is gone, and
 * the kernel forgets the connections of build steps, which it masquerades. A woken builder builds by that time.
 */
const NETWORK: HostFile = {
    path: "/etc/cloud/cloud.cfg.d/99_buildfleet.cfg",
    mode: "0644",
    content: "disable_network_activation: true\n",
};

/**
 * What both YAML libraries, ours and cloud-init's (PyYAML, YAML 1.1), take for the same text: no control characters, and no
 * characters that one of them takes for the end of a line.
 */
const SAFE = /^[\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\u{10000}-\u{10ffff}]*$/u;

/**
 * What a builder gets as user data: cloud-init's configuration, readable, the files as they are. Amazon Linux 2023, Debian 12 and
 * Ubuntu 24.04 take it as it is.
 *
 * @throws FormatError as {@link hostFiles}.
 */
export function renderUserData(settings: HostSettings): string {
    const document = new Document({
        bootcmd: [["cloud-init-per", "instance", "buildfleet", "sh", "-c", EARLY]],
        write_files: [NETWORK, ...hostFiles(settings)].map(({ path, mode, content }) => ({
            path,
            permissions: new Scalar(mode),
            ...(SAFE.test(content) ? { content: literal(content) } : { encoding: "b64", content: base64(content) }),
        })),
        // Has been done by then; where the early start was not possible, it is done now.
        runcmd: HOST_COMMANDS,
    });
    return `#cloud-config\n# Builder ${line(settings.node)} of ${line(settings.fleet)}, made by buildfleet.\n${document.toString({ lineWidth: 0 })}`;
}

/**
 * User data as EC2 takes it: compressed (cloud-init unpacks it by itself), in base64.
 *
 * @returns `bytes`: of the compressed text, which EC2 limits.
 * @throws FormatError when that is more than {@link USER_DATA_LIMIT}.
 */
export function encodeUserData(text: string): { base64: string; bytes: number } {
    const compressed = gzipSync(text, { level: 9 });
    if (compressed.length > USER_DATA_LIMIT) {
        const found = `the user data has ${compressed.length} bytes, compressed`;
        throw new FormatError(
            found,
            `at most ${USER_DATA_LIMIT}`,
            `EC2 takes ${USER_DATA_LIMIT}: fewer registries and certificates of authorities`,
        );
    }
    return { base64: compressed.toString("base64"), bytes: compressed.length };
}

/** A block of the text's own lines. */
function literal(content: string): Scalar<string> {
    const scalar = new Scalar(content);
    scalar.type = Scalar.BLOCK_LITERAL;
    return scalar;
}

const base64 = (text: string) => Buffer.from(text, "utf8").toString("base64");

/** In a comment: on one line. */
function line(text: string): string {
    return text.replace(/[^\x20-\x7e]/g, "?");
}
