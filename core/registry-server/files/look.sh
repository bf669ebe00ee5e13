# How it is with a registry: a line for each file (its sum, its permissions, its group), for its program, and for its units.
# From the settings: UNIT, BINARY, CHECK, FILES (one path a line).
set -euo pipefail
while IFS= read -r path; do
    if [ -f "$path" ]; then
        printf 'file %s %s %s\n' "$(sha256sum <"$path" | cut -d' ' -f1)" "$(stat -c %a:%G "$path")" "$path"
    fi
done <<<"$FILES"
if (cd "${BINARY%/*}" && sha256sum --check --status sum) 2>/dev/null; then
    echo program
fi
for one in "$UNIT.service" "$UNIT-gc.timer"; do
    printf 'unit %s %s %s\n' "$one" "$(systemctl is-enabled "$one" 2>/dev/null || true)" \
        "$(systemctl is-active "$one" 2>/dev/null || true)"
done
printf 'answer %s\n' "$(curl --silent --insecure --noproxy '*' --max-time 5 --output /dev/null --write-out '%{http_code}' "$CHECK" || true)"
