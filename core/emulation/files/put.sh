# Registers a handler, now and at every boot (binfmt.d(5)). Run twice, it changes nothing.
# From the settings: HANDLER, LINE, OWNER; URL, SHA256, EMULATOR where the emulator is fetched.
set -euo pipefail
umask 022
handlers=/proc/sys/fs/binfmt_misc
state=/var/lib/buildfleet-emulation

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

fetch() {
    local partial=$EMULATOR.partial
    mkdir -p "${EMULATOR%/*}"
    printf 'url = "%s"\n' "$URL" |
        curl --config - --fail --silent --show-error --location --connect-timeout 10 --speed-limit 1000 --speed-time 30 \
            --output "$partial" || fail "the emulator could not be fetched from $URL by this host"
    local sum
    sum=$(sha256sum "$partial" | cut -d' ' -f1)
    [ "$sum" = "$SHA256" ] || {
        rm "$partial"
        fail "what $URL serves has SHA-256 $sum, expected $SHA256; nothing was registered"
    }
    chmod 0755 "$partial"
    mv -T "$partial" "$EMULATOR"
}

exec 9>/run/buildfleet-emulation.lock
flock 9
if [ ! -e "$handlers/register" ]; then
    modprobe binfmt_misc 2>/dev/null || true
    mount -t binfmt_misc binfmt_misc "$handlers" || fail "binfmt_misc can't be mounted: this kernel or container has none"
fi
if [ -n "$URL" ] && ! sha256sum --check --status <<<"$SHA256  $EMULATOR" 2>/dev/null; then
    fetch
fi
# Before the handler: a run that is killed in between leaves a name, which the next one knows as its own.
mkdir -p "$state/$HANDLER" /etc/binfmt.d
: >"$state/$HANDLER/$OWNER"
[ ! -e "$handlers/$HANDLER" ] || echo -1 >"$handlers/$HANDLER"
printf '%s' "$LINE" >"$handlers/register" || fail "the kernel refused the handler: $LINE"
printf '# Written by buildfleet, removed with its last user in %s.\n%s\n' "$state/$HANDLER" "$LINE" \
    >"/etc/binfmt.d/$HANDLER.conf.new"
mv -T "/etc/binfmt.d/$HANDLER.conf.new" "/etc/binfmt.d/$HANDLER.conf"
