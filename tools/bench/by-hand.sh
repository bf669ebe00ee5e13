#!/usr/bin/env bash
# What a careful engineer would write by hand instead of one `up`: the very same calls of the very same tools, in the best
# order, side by side where they may be. It checks less (no other key, no architecture of the binary) and recovers from nothing.
#
# Takes from its environment: W (folder with the daemons' configuration and the certificates), REGISTRY (host:port),
# BASE, BUILD_BASE, CONTEXT, VERSION, GRYPE_DB_CACHE_DIR, COSIGN_PASSWORD, NODE_amd64, NODE_arm64 (host:port of each BuildKit
# node).
: "${W:?}" "${REGISTRY:?}" "${BASE:?}" "${BUILD_BASE:?}" "${CONTEXT:?}" "${VERSION:?}" "${NODE_amd64:?}" "${NODE_arm64:?}"
set -euo pipefail
cd "$W"
repository=$REGISTRY/hello
export BUILDX_CONFIG=$W/buildx
export SYFT_REGISTRY_INSECURE_USE_HTTP=true SYFT_CHECK_FOR_APP_UPDATE=false GRYPE_CHECK_FOR_APP_UPDATE=false
export GRYPE_DB_AUTO_UPDATE=false GRYPE_DB_VALIDATE_AGE=false
signing=(--key "$W/cosign.key" --signing-config "$W/signing-config.json" --trusted-root "$W/trusted-root.json" --allow-http-registry)

until_answers() { # host:port
    local end=$((SECONDS + 30))
    until (exec 3<>"/dev/tcp/${1%:*}/${1#*:}") 2>/dev/null; do
        [ "$SECONDS" -lt "$end" ] || { echo "$1 does not answer" >&2; exit 1; }
        sleep 0.02
    done
}

attest() { # digest type predicate; the statements about one digest must take turns: they share a tag
    flock "$W/lock-${1#sha256:}" cosign attest --yes "${signing[@]}" --type "$2" --predicate "$3" "$repository@$1" 2>>"$W/log"
}

sign() { # digest
    flock "$W/lock-${1#sha256:}" cosign sign --yes "${signing[@]}" "$repository@$1" 2>>"$W/log"
}

verify() { # digest
    cosign verify --key "$W/cosign.pub" --insecure-ignore-tlog --allow-http-registry -o json "$repository@$1" >>"$W/log" 2>&1
}

build() { # architecture
    local node=NODE_$1
    docker-buildx create --name "hand-$1" --driver remote --node "hand-${1}0" --platform "linux/$1" \
        --driver-opt "cacert=$W/ca.pem" --driver-opt "cert=$W/client.pem" --driver-opt "key=$W/client-key.pem" \
        --driver-opt "servername=$1" "tcp://${!node}" >>"$W/log" 2>&1
    docker-buildx build --builder "hand-$1" --platform "linux/$1" --provenance=false --sbom=false --progress plain \
        --build-arg BASE="$BASE" --build-arg BUILD_BASE="$BUILD_BASE" --build-arg VERSION="$VERSION" \
        --output "type=image,name=$repository,push=true,push-by-digest=true,name-canonical=true,oci-mediatypes=true" \
        --metadata-file "$W/$1.metadata" "$CONTEXT" >>"$W/log" 2>&1
    sed -n 's/.*"containerimage.digest": *"\([^"]*\)".*/\1/p' "$W/$1.metadata" >"$W/$1.digest"
}

inspect() { # architecture: test, bill of materials, scan, their attestations
    local digest tested listed
    digest=$(cat "$W/$1.digest")
    printf 'FROM %s@%s AS test\nFROM scratch\nCOPY --from=test /usr/local/bin/hello /file/\n' "$repository" "$digest" |
        docker-buildx build --builder "hand-$1" --platform "linux/$1" --provenance=false --sbom=false --no-cache \
            --progress plain --output "type=local,dest=$W/test-$1" - >>"$W/log" 2>&1 &
    tested=$!
    syft scan "registry:$repository@$digest" -q -o "syft-json=$W/$1.syft" -o "spdx-json=$W/$1.spdx"
    attest "$digest" https://spdx.dev/Document "$W/$1.spdx" &
    listed=$!
    grype "sbom:$W/$1.syft" -q -o json --file "$W/$1.scan"
    printf '{"invocation":{},"scanner":{"uri":"https://github.com/anchore/grype","version":"","db":{"uri":"","version":"","lastUpdate":""},"result":%s},"metadata":{"scanStartedOn":"2026-01-01T00:00:00Z","scanFinishedOn":"2026-01-01T00:00:00Z"}}' \
        "$(cat "$W/$1.scan")" >"$W/$1.vuln"
    wait "$tested"
    : >"$W/$1.passed"
    attest "$digest" https://cosign.sigstore.dev/attestation/vuln/v1 "$W/$1.vuln"
    wait "$listed"
}

platform() { # architecture
    build "$1"
    : >"$W/$1.built"
    until [ -s "$W/cosign.pub" ]; do sleep 0.02; done
    inspect "$1"
}

put() { # reference: the index, under a digest or a tag
    curl -sSf -o /dev/null -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' --data-binary "@$W/index.json" \
        "http://$REGISTRY/v2/hello/manifests/$1"
}

child() { # architecture: its descriptor
    local digest size
    digest=$(cat "$W/$1.digest")
    size=$(curl -sSf -H 'Accept: application/vnd.oci.image.manifest.v1+json' "http://$REGISTRY/v2/hello/manifests/$digest" | wc -c)
    printf '{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%s,"platform":{"architecture":"%s","os":"linux"}}' \
        "$digest" "$size" "$1"
}

cosign generate-key-pair --output-key-prefix "$W/cosign" >>"$W/log" 2>&1 &

registry serve "$W/registry.yml" >>"$W/log" 2>&1 &
pids=($!)
for architecture in amd64 arm64; do
    buildkitd --config "$W/$architecture.toml" >>"$W/log" 2>&1 &
    pids+=($!)
done
trap 'kill "${pids[@]}"; wait' EXIT
until_answers "$REGISTRY"
until_answers "$NODE_amd64"
until_answers "$NODE_arm64"

platform amd64 &
first=$!
platform arm64 &
second=$!

while [ ! -e amd64.built ] || [ ! -e arm64.built ]; do
    kill -0 "$first" "$second" 2>/dev/null || { [ -e amd64.built ] && [ -e arm64.built ]; } || exit 1
    sleep 0.02
done
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s,%s]}' \
    "$(child amd64)" "$(child arm64)" >index.json
index=sha256:$(sha256sum index.json | cut -d' ' -f1)
put "$index"
printf '{"buildDefinition":{"buildType":"https://example.com/by-hand","externalParameters":{},"internalParameters":{},"resolvedDependencies":[]},"runDetails":{"builder":{"id":"https://example.com/hand"},"metadata":{"invocationId":"hand"}}}' >provenance
jobs=()
for architecture in amd64 arm64; do
    attest "$(cat $architecture.digest)" https://slsa.dev/provenance/v1 "$W/provenance" &
    jobs+=($!)
done

while [ ! -e amd64.passed ] || [ ! -e arm64.passed ]; do
    kill -0 "$first" "$second" 2>/dev/null || { [ -e amd64.passed ] && [ -e arm64.passed ]; } || exit 1
    sleep 0.02
done
for digest in "$index" "$(cat amd64.digest)" "$(cat arm64.digest)"; do
    sign "$digest" &
    jobs+=($!)
done
wait "$first"
wait "$second"
for job in "${jobs[@]}"; do wait "$job"; done

jobs=()
for digest in "$index" "$(cat amd64.digest)" "$(cat arm64.digest)"; do
    verify "$digest" &
    jobs+=($!)
done
for job in "${jobs[@]}"; do wait "$job"; done
for tag in "$VERSION" "${VERSION%.*}" "${VERSION%%.*}" latest; do put "$tag"; done
echo "$repository@$index"
