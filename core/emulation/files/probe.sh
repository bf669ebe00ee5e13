# Runs the program on standard input in a root file system that has nothing else, as a container would; says how it ended.
set -euo pipefail
mkdir -p /opt/buildfleet-emulation
folder=$(mktemp -d /opt/buildfleet-emulation/probe.XXXXXX)
trap 'rm -rf "$folder"; rmdir --ignore-fail-on-non-empty /opt/buildfleet-emulation' EXIT
cat >"$folder/probe"
chmod 0755 "$folder" "$folder/probe"
code=0
chroot "$folder" /probe || code=$?
printf 'exit %s\n' "$code"
