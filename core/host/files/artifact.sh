#!/bin/bash
# BuildKit's release tarball, checked against its SHA-256 before it is unpacked, in a folder of its own version.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

root=/opt/buildfleet/buildkit
name=$BUILDKIT_VERSION-${BUILDKIT_SHA256:0:12}
folder=$root/$name
partial=$root/.partial

download() {
    # The sum is made of the bytes on their way to the disk: no second reading.
    printf 'url = %s\n' "$(quoted "$BUILDKIT_URL")" |
        curl --config - --fail --silent --show-error --location --connect-timeout 10 --speed-limit 1000 --speed-time 30 |
        tee "$partial/tarball" | sha256sum | cut -d' ' -f1 >"$partial/sum"
}

install_artifact() {
    local sum
    say "getting BuildKit $BUILDKIT_VERSION"
    rm -rf "$partial"
    mkdir -p "$partial/content"
    retry 900 download || fail "BuildKit $BUILDKIT_VERSION could not be downloaded; check its URL and the way out of the subnet"
    sum=$(cat "$partial/sum")
    [ "$sum" = "$BUILDKIT_SHA256" ] ||
        fail "what the URL of BuildKit $BUILDKIT_VERSION serves has SHA-256 $sum, expected $BUILDKIT_SHA256; nothing was unpacked"
    phase downloaded
    # Without the emulators: a platform that is not this machine's own is refused here, not built at a tenth of the speed.
    tar --extract --gzip --file "$partial/tarball" --directory "$partial/content" --no-same-owner --exclude 'bin/buildkit-qemu-*'
    chmod -R go+rX "$partial/content"
    local binary
    for binary in buildkitd buildctl buildkit-runc buildkit-cni-{bridge,loopback,host-local,firewall}; do
        [ -x "$partial/content/bin/$binary" ] || fail "BuildKit's tarball has no bin/$binary; it must be an official release's"
    done
    rm -rf "$folder"
    mv -T "$partial/content" "$folder"
    rm -r "$partial"
    echo "$name" >"$RUN/unpacked"
}

# "complete" is written once all is on the disk (status.sh, after BuildKit answers): a folder that a power cut caught between
# is unpacked again, and the boot does not wait for the disk.
need curl curl curl-minimal
mkdir -p "$root"
chmod go+rx /opt/buildfleet "$root"
if [ ! -e "$folder/complete" ] && [ "$(cat "$RUN/unpacked" 2>/dev/null)" != "$name" ]; then
    install_artifact
fi
if [ "$(readlink "$root/current" || true)" != "$name" ]; then
    ln -sfn "$name" "$root/.current"
    mv -T "$root/.current" "$root/current"
    say "BuildKit $BUILDKIT_VERSION is current"
fi
phase artifact
