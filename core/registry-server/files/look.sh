# How it is with a registry: a line for each file (its sum, its permissions, its group), for its program, for what it is started
# with, and for its units.
# From the settings: UNIT, FOLDER, BINARY, CHECK, FILES (one path a line).
set -euo pipefail
while IFS= read -r path; do
    if [ -f "$path" ]; then
        printf 'file %s %s %s\n' "$(sha256sum <"$path" | cut -d' ' -f1)" "$(stat -c %a:%G "$path")" "$path"
    fi
done <<<"$FILES"
if (cd "${BINARY%/*}" && sha256sum --check --status sum) 2>/dev/null; then
    echo program
fi
printf 'current %s %s\n' "$(readlink "$FOLDER/current" || true)" "$(readlink "$FOLDER/current/registry" || true)"
# A change that was cut off: it does not run with what is written.
[ ! -e "$FOLDER/unfinished" ] || echo unfinished
for one in "$UNIT.service" "$UNIT-gc.timer"; do
    printf 'unit %s %s %s\n' "$one" "$(systemctl is-enabled "$one" 2>/dev/null || true)" \
        "$(systemctl is-active "$one" 2>/dev/null || true)"
done
printf 'answer %s\n' "$(curl --silent --insecure --noproxy '*' --max-time 5 --output /dev/null --write-out '%{http_code}' "$CHECK" || true)"
