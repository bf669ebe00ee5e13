#!/bin/bash
# Key, certificate and CA were written here by whoever manages this machine. Says what is wrong with them before BuildKit does.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

current=/etc/buildfleet/tls/current

for name in key cert ca; do
    [ -s "$current/$name.pem" ] || fail "$current/$name.pem is missing; the next update of this host writes it"
done
need openssl openssl openssl
openssl x509 -in "$current/cert.pem" -noout -checkend 0 >/dev/null ||
    fail "the certificate in $current has expired; the next update of this host renews it"
phase certificate
