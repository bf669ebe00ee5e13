import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type EmulatedArchitecture, factsOf } from "../../core/emulation/binfmt";
import { PROBE_EXIT_CODE, probeProgram } from "../../core/emulation/probe";
import { layerOf, librariesOf, pushLayer } from "./buildkit-image";

/**
 * An image like tonistiigi/binfmt's: the distribution's static emulators, and a program that does what that one's does, line by
 * line, in a shell (cmd/binfmt/main.go at e41434f). The module itself can't be had from Go's proxy.
 *
 * @param emulator of a machine, on this one
 * @returns `tonistiigi/binfmt@sha256:…`
 */
export async function pushBinfmtImage(
    registry: string,
    architectures: EmulatedArchitecture[],
    { label = "", emulator = (machine: string) => `/usr/bin/qemu-${machine}-static` } = {},
): Promise<string> {
    const programs = ["/usr/bin/dash", "/usr/bin/mount"];
    const layer = layerOf((copy, root) => {
        for (const program of programs) copy(program, program);
        for (const library of programs.flatMap(librariesOf)) copy(library, library);
        mkdirSync(join(root, "known"));
        for (const architecture of architectures) {
            const { machine } = factsOf(architecture);
            copy(emulator(machine), `usr/bin/qemu-${machine}`);
            // The pattern as the distribution has it, in place of those in config.go.
            const line = readFileSync(`/usr/lib/binfmt.d/qemu-${machine}.conf`, "utf8").trim();
            const [, , , , magic, mask] = line.split(":");
            writeFileSync(join(root, "known", architecture), `qemu-${machine} ${magic}:${mask}\n`);
            writeFileSync(join(root, "known", `${architecture}-program`), probeProgram(architecture), { mode: 0o755 });
        }
        writeFileSync(join(root, "usr/bin/binfmt"), INSTALLER, { mode: 0o755 });
    });
    const config = { Env: ["PATH=/usr/bin"], Entrypoint: ["/usr/bin/binfmt"], Labels: { label } };
    return `tonistiigi/binfmt@${await pushLayer(registry, "tonistiigi/binfmt", "test", layer, config)}`;
}

const INSTALLER = `#!/usr/bin/dash
mount=/proc/sys/fs/binfmt_misc
log() { printf '%s\\n' "$*" >&2; }

uninstall() {
    for file in "$mount"/*; do
        name=\${file##*/}
        case $name in
            register | status) continue ;;
            "$1" | *-"$1")
                printf '%s' -1 >"$file" && log "uninstalling: $1 OK"
                return
                ;;
        esac
    done
    log "uninstalling: $1 not found"
}

install() {
    if [ ! -e "/known/$1" ]; then
        log "installing: $1 unsupported architecture: $1"
        return
    fi
    read -r binary pattern <"/known/$1"
    name=\${QEMU_BINARY_PREFIX}$binary
    if [ -e "$mount/$name" ]; then
        log "installing: $1 $name already registered"
    elif printf '%s' ":$name:M:0:$pattern:\${QEMU_BINARY_PATH:-/usr/bin}/$name:CF" >"$mount/register"; then
        log "installing: $1 OK"
    fi
}

status() {
    supported='"linux/${process.arch === "arm64" ? "arm64" : "amd64"}"'
    for program in /known/*-program; do
        architecture=\${program#/known/}
        "$program" 2>/dev/null
        [ $? -ne ${PROBE_EXIT_CODE} ] || supported="$supported, \\"linux/\${architecture%-program}\\""
    done
    emulators=
    for file in "$mount"/*; do
        name=\${file##*/}
        case $name in register | status) continue ;; esac
        read -r first <"$file"
        [ "$first" != enabled ] || emulators="$emulators\${emulators:+, }\\"$name\\""
    done
    [ -n "$emulators" ] && emulators="[$emulators]" || emulators=null
    printf '{\\n  "supported": [%s],\\n  "emulators": %s\\n}\\n' "$supported" "$emulators"
}

installs=
uninstalls=
while [ $# -gt 0 ]; do
    case $1 in
        --install) installs=$2 ;;
        --uninstall) uninstalls=$2 ;;
    esac
    shift 2
done
if [ ! -e "$mount/status" ] && ! mount -t binfmt_misc binfmt_misc "$mount"; then
    log "error: cannot mount binfmt_misc filesystem at $mount"
    exit 0
fi
[ -z "$uninstalls" ] || uninstall "$uninstalls"
[ -z "$installs" ] || install "$installs"
status
exit 0
`;
