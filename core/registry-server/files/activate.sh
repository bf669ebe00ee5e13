# Takes over the files on standard input (a tar, each name ends in ".buildfleet-new"). They have their owner and permissions from
# the beginning, and what the registry is started with is a folder of its own, taken up by one link: killed between any two
# of these steps, the registry runs, and starts, with what was before or with what is to be. Run again, it comes to its end.
# From the settings: NAME, UNIT, FOLDER, GENERATION, BINARIES, BINARY, SCRIPTS, CHECK, COLLECT, FILES.

units=/etc/systemd/system
new=${GENERATION##*/}

take() {
    case $1 in "$2"/*) mv -T "$1.buildfleet-new" "$1" ;; esac
}

# switch <generation>: what the registry is started with from now on.
switch() {
    ln -sfn "$1" "$FOLDER/.current"
    mv -T "$FOLDER/.current" "$FOLDER/current"
}

answers() {
    local answer
    answer=$(curl --silent --insecure --noproxy '*' --max-time 5 --output /dev/null --dump-header - "$CHECK") || return 1
    grep -qiE '^HTTP/[0-9.]+ (200|401)' <<<"$answer" && grep -qix "x-buildfleet-registry: $NAME.\?" <<<"$answer"
}

# Says why, and goes back to what was before, which may be nothing.
give_up() {
    printf 'the registry does not answer at %s; its journal ends:\n' "$CHECK" >&2
    journalctl --quiet --no-pager --output=cat --lines=10 --unit="$UNIT.service" >&2 || true
    if [ -n "$former" ] && [ "$former" != "$new" ] && [ -x "$FOLDER/$former/registry" ]; then
        switch "$former"
        systemctl restart "$UNIT.service" || exit 1
        rm -rf "$FOLDER/unfinished" "$GENERATION"
        fail "it serves as before"
    fi
    if [ -e "$FOLDER/first" ]; then
        remove_registry
        rmdir --ignore-fail-on-non-empty "$STORAGE"
        [ -e "$STORAGE" ] || remove_user
        fail "it was taken away again"
    fi
    exit 1
}

# Another one may have come since this one was prepared.
need_storage_of_its_own
install --directory --group=buildfleet-registry --mode=0750 "$FOLDER"
if [ ! -s "$FOLDER/secret.env" ]; then
    (umask 077 && printf 'REGISTRY_HTTP_SECRET=%s\n' "$(head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n')" >"$FOLDER/.secret.env")
    mv -T "$FOLDER/.secret.env" "$FOLDER/secret.env"
fi
tar --extract --file - --directory / --preserve-permissions

former=$(readlink "$FOLDER/current" || true)
# One that has not served yet, whichever run began it.
[ -n "$former" ] || : >"$FOLDER/first"
restart=no
if [ "$former" != "$new" ] || [ -e "$FOLDER/unfinished" ] || ! systemctl --quiet is-active "$UNIT.service"; then restart=yes; fi
while IFS= read -r path; do
    case $path in
        "$GENERATION"/* | "$units/$UNIT.service") cmp --silent "$path.buildfleet-new" "$path" || restart=yes ;;
    esac
done <<<"$FILES"
# Until it runs with what is written, however this ends.
[ $restart = no ] || : >"$FOLDER/unfinished"

while IFS= read -r path; do take "$path" "$FOLDER"; done <<<"$FILES"
[ "$(readlink "$GENERATION/registry" || true)" = "$BINARY" ] || ln -sfnT "$BINARY" "$GENERATION/registry"
[ "$former" = "$new" ] || switch "$new"
while IFS= read -r path; do take "$path" "$SCRIPTS"; done <<<"$FILES"
while IFS= read -r path; do take "$path" "$units"; done <<<"$FILES"
systemctl daemon-reload
systemctl --quiet enable "$UNIT.service"
if [ $restart = yes ]; then
    # Ends after the requests that run. Why it does not start is told below.
    systemctl restart "$UNIT.service" || true
fi
SECONDS=0
until answers; do
    if [ "$SECONDS" -ge 60 ] || [ "$(systemctl show --property=NRestarts --value "$UNIT.service")" -ge 3 ]; then give_up; fi
    sleep 0.2
done
rm -f "$FOLDER/first" "$FOLDER/unfinished"

if [ -n "$COLLECT" ]; then
    systemctl --quiet enable "$UNIT-gc.timer"
    systemctl restart "$UNIT-gc.timer"
else
    systemctl --quiet disable --now "$UNIT-gc.timer" 2>/dev/null || true
    systemctl stop "$UNIT-gc.service" 2>/dev/null || true
    rm -rf "$units/$UNIT-gc.timer"{,.buildfleet-new} "$units/$UNIT-gc.service"{,.buildfleet-new} "${SCRIPTS:?}"
    systemctl daemon-reload
fi
# What is no longer used, keys and programs of before among it.
find "$FOLDER" -mindepth 1 -maxdepth 1 -not -name owner -not -name secret.env -not -name current -not -name "$new" -exec rm -rf {} +
for other in "$BINARIES"/*; do
    [ "$other" = "${BINARY%/*}" ] || rm -rf "$other"
done
