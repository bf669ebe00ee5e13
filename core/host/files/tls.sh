#!/bin/bash
# Key, certificate and CA from one SSM parameter, so that they are of one version; kept on disk, so that a wake need not wait
# for the network. "ensure" before BuildKit starts; "poll" takes over a new version when no build runs.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

folder=/etc/buildfleet/tls
current=$folder/current

# Splits a SecureString's PEM into three files; BuildKit wants them apart. Prints the parameter's version.
split() {
    python3 -ISc '
import json, os, re, sys
parameter = json.load(sys.stdin)["Parameter"]
blocks = list(re.finditer(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", parameter["Value"], re.S))
kinds = [block.group(1) for block in blocks]
texts = [block.group(0) + "\n" for block in blocks]
if len(kinds) < 3 or not kinds[0].endswith("PRIVATE KEY") or set(kinds[1:]) != {"CERTIFICATE"}:
    sys.exit("expected a private key, a certificate and the CA, in this order; found: " + (", ".join(kinds) or "no PEM"))
for name, text in (("key", texts[0]), ("cert", texts[1]), ("ca", "".join(texts[2:]))):
    with open(os.path.join(sys.argv[1], name + ".pem"), "w") as file:
        file.write(text)
print(parameter["Version"])' "$1"
}

# is_valid <folder> <seconds>: the key fits the certificate, which is still good for so long; sets "described".
is_valid() {
    [ -s "$1/key.pem" ] && [ -s "$1/ca.pem" ] &&
        described=$(openssl x509 -in "$1/cert.pem" -noout -pubkey -enddate -checkend "$2" 2>/dev/null) &&
        [[ $described == *"$(openssl pkey -in "$1/key.pem" -pubout 2>/dev/null)"* ]]
}

request() { printf '{"Name": %s, "WithDecryption": true}' "$(quoted "$TLS_PARAMETER")"; }

# Fetches the parameter and, when it is another version, makes it current: one rename switches all three files.
fetch() {
    local new version
    new=$(mktemp -d "$folder/.new.XXXXXX")
    # shellcheck disable=SC2064 # the folder's name of now
    trap "rm -rf '$new'" EXIT
    version=$(request | aws_call ssm AmazonSSM.GetParameter | split "$new") || { rm -rf "$new"; return 1; }
    if [ "$(readlink "$current" || true)" = "$version" ]; then
        rm -rf "$new"
        return 0
    fi
    if ! is_valid "$new" 0; then
        say "version $version of $TLS_PARAMETER has expired, or its key is another certificate's"
        rm -rf "$new"
        return 1
    fi
    rm -rf "${folder:?}/$version"
    mv -T "$new" "$folder/$version"
    sync "$folder/$version"/*
    ln -sfn "$version" "$folder/.current"
    mv -T "$folder/.current" "$current"
    say "version $version of $TLS_PARAMETER is current; its certificate: $(grep --only-matching 'notAfter=.*' <<<"$described")"
}

ensure() {
    if ! is_valid "$current" 600; then
        say "getting $TLS_PARAMETER"
        retry 900 fetch || fail "no key and certificate from the SSM parameter $TLS_PARAMETER; see the lines above"
    fi
    phase certificate
}

# BuildKit reads its certificates once, so it is restarted; "running" (drain.sh admit) is the version it has read.
poll() {
    fetch || fail "$TLS_PARAMETER could not be read; BuildKit goes on with what it has"
    local version
    version=$(readlink "$current")
    [ "$version" != "$(cat "$RUN/tls-running" 2>/dev/null || true)" ] && systemctl --quiet is-active buildkitd.service || return 0
    say "BuildKit changes over to version $version"
    if "$(dirname "$0")/drain.sh" try rotation; then
        systemctl restart buildkitd.service
        find "$folder" -mindepth 1 -maxdepth 1 -type d ! -name "$version" -exec rm -rf {} +
    else
        say "builds are still running; the next look tries again"
    fi
}

need openssl openssl openssl
need curl curl curl-minimal
mkdir -p "$folder"
exec 9>"$RUN/tls.lock"
flock 9
"$1"
