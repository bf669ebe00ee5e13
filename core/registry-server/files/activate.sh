# Takes over the files that were written. Run twice, it changes nothing.
# From the settings: NAME, UNIT, FOLDER, STAMP, BINARIES, BINARY, SCRIPTS, CHECK, COLLECT, FILES.
set -euo pipefail
umask 077
started=/run/buildfleet-registry/$NAME.started

secret() { printf 'REGISTRY_HTTP_SECRET=%s\n' "$(head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n')"; }

if [ ! -s "$FOLDER/secret.env" ]; then
    secret >"$FOLDER/secret.env.new"
    mv -T "$FOLDER/secret.env.new" "$FOLDER/secret.env"
fi
# What is no longer asked for, keys among it.
for file in "$FOLDER"/*; do
    [ "$file" = "$FOLDER/secret.env" ] || grep -qxF -- "$file" <<<"$FILES" || rm -rf "$file"
done
chgrp buildfleet-registry "$FOLDER" "$FOLDER"/*
chmod 0750 "$FOLDER"
systemctl daemon-reload
systemctl --quiet enable "$UNIT.service"
if ! systemctl --quiet is-active "$UNIT.service" || [ "$(cat "$started" 2>/dev/null)" != "$STAMP" ]; then
    # Ends after the requests that run.
    systemctl restart "$UNIT.service"
fi

answers() {
    local answer
    answer=$(curl --silent --insecure --noproxy '*' --max-time 5 --output /dev/null --dump-header - "$CHECK") || return 1
    grep -qiE '^HTTP/[0-9.]+ (200|401)' <<<"$answer" && grep -qix "x-buildfleet-registry: $NAME.\?" <<<"$answer"
}

until answers; do
    if [ "$SECONDS" -ge 60 ] || [ "$(systemctl show --property=NRestarts --value "$UNIT.service")" -ge 3 ]; then
        printf 'the registry does not answer at %s; its journal ends:\n' "$CHECK" >&2
        journalctl --quiet --no-pager --output=cat --lines=10 --unit="$UNIT.service" >&2 || true
        exit 1
    fi
    sleep 0.2
done
mkdir -p "${started%/*}"
printf '%s\n' "$STAMP" >"$started"
if [ -n "$COLLECT" ]; then
    systemctl --quiet enable "$UNIT-gc.timer"
    systemctl restart "$UNIT-gc.timer"
else
    systemctl --quiet disable --now "$UNIT-gc.timer" 2>/dev/null || true
    systemctl stop "$UNIT-gc.service" 2>/dev/null || true
    rm -rf "/etc/systemd/system/$UNIT-gc.timer" "/etc/systemd/system/$UNIT-gc.service" "${SCRIPTS:?}"
    systemctl daemon-reload
fi
# Programs of earlier versions.
for other in "$BINARIES"/*; do
    [ "$other" = "${BINARY%/*}" ] || rm -rf "$other"
done
