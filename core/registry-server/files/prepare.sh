# All that can fail before anything is changed: the calendar's words, the program, its user, its folder.
# From the settings: URL, SHA256, BINARY, STORAGE, SCHEDULE.

fetch() {
    local target=${BINARY%/*} partial sum
    partial=$target.partial
    rm -rf "$partial"
    mkdir -p "$partial"
    printf 'url = "%s"\n' "$URL" |
        curl --config - --fail --silent --show-error --location --connect-timeout 10 --speed-limit 1000 --speed-time 30 \
            --output "$partial/fetched" || fail "the registry's program could not be fetched from $URL by this host"
    sum=$(sha256sum "$partial/fetched" | cut -d' ' -f1)
    [ "$sum" = "$SHA256" ] || {
        rm -rf "$partial"
        fail "what $URL serves has SHA-256 $sum, expected $SHA256; nothing was changed"
    }
    # A release's archive, or the program itself.
    if [ "$(head -c 2 "$partial/fetched" | od -An -tx1 | tr -d ' ')" = 1f8b ]; then
        tar --extract --gzip --file "$partial/fetched" --directory "$partial" --no-same-owner registry ||
            fail "the archive at $URL has no file named registry"
        rm "$partial/fetched"
    else
        mv "$partial/fetched" "$partial/registry"
    fi
    chmod 0755 "$partial" "$partial/registry"
    "$partial/registry" --version >/dev/null ||
        fail "the program at $URL does not run on this host ($(uname -m)); is it one for this architecture?"
    (cd "$partial" && sha256sum registry >sum)
    rm -rf "$target"
    mv -T "$partial" "$target"
}

# What is somebody else's is not made the registry's.
need_storage_of_its_own
if [ -d "$STORAGE" ] && [ "$(stat -c %U "$STORAGE")" != buildfleet-registry ] && [ ! -d "$STORAGE/docker/registry/v2" ] &&
    [ -n "$(ls -A "$STORAGE")" ]; then
    fail "storage: $STORAGE holds something else on this host; name a folder of the registry's own (nothing was changed)"
fi
command -v curl >/dev/null || fail "curl is missing; install the package curl"
[ -z "$SCHEDULE" ] || systemd-analyze calendar "$SCHEDULE" >/dev/null || fail "systemd does not take garbageCollection.schedule"
(cd "${BINARY%/*}" 2>/dev/null && sha256sum --check --status sum 2>/dev/null) || fetch
id -u buildfleet-registry >/dev/null 2>&1 ||
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell "$(command -v nologin || echo /bin/false)" \
        --comment "buildfleet registry" buildfleet-registry
mkdir -p "$STORAGE"
# As much as needed, once: it may hold a lot.
if [ "$(stat -c %U "$STORAGE")" != buildfleet-registry ]; then
    chown -R buildfleet-registry: "$STORAGE"
    chmod 0700 "$STORAGE"
fi
