# shellcheck shell=bash disable=SC2034
# What the scripts share: the settings, words for the journal and the console, the metadata service, signed calls to AWS.

set -euo pipefail
umask 077

# shellcheck source=/dev/null
. /etc/buildfleet/host.env

export PATH=/opt/buildfleet/buildkit/current/bin:/usr/sbin:/usr/bin:/sbin:/bin
export BUILDKIT_HOST=unix:///run/buildkit/buildkitd.sock

RUN=/run/buildfleet
STATE=/var/lib/buildkit
PORT=8372
METADATA=http://169.254.169.254/latest
SCRIPT=${0##*/}
SCRIPT=${SCRIPT%.sh}

[ -d "$RUN/phases" ] || mkdir -p "$RUN/phases"

say() { printf 'buildfleet: %s: %s\n' "$SCRIPT" "$*" >&2; }

# A machine without a console is no reason to fail.
console() { { printf '%s\n' "$*" >/dev/console; } 2>/dev/null || true; }

# On the console once a boot: it holds little, and its first lines are the ones that explain.
fail() {
    say "FAILED: $*"
    [ -e "$RUN/failed-$SCRIPT" ] || console "buildfleet: FAILED $SCRIPT on $NODE: $*"
    touch "$RUN/failed-$SCRIPT"
    exit 1
}

# phase <name> [seconds]: when this boot reached something, once, for the journal, the console and status.json.
phase() {
    local at=${2:-}
    [ ! -e "$RUN/phases/$1" ] || return 0
    [ -n "$at" ] || read -r at _ </proc/uptime
    printf '%s\n' "$at" >"$RUN/phases/$1"
    printf 'buildfleet: phase=%s at=%s\n' "$1" "$at" >&2
    console "buildfleet: phase=$1 at=$at"
}

# retry <seconds> <command...>: again, with pauses of 1 to 15 seconds, until it works or the time is up.
retry() {
    local until=$((SECONDS + $1)) pause=1
    shift
    until "$@"; do
        [ $((SECONDS + pause)) -lt "$until" ] || return 1
        sleep "$pause"
        pause=$((pause < 8 ? pause * 2 : 15))
    done
}

# need <command> <Debian's package> <Amazon Linux's package>: installs only what is missing, one installation at a time.
need() {
    ! command -v "$1" >/dev/null || return 0
    say "$1 is missing: installing it"
    (
        flock 9
        ! command -v "$1" >/dev/null || exit 0
        if command -v apt-get >/dev/null; then
            export DEBIAN_FRONTEND=noninteractive
            retry 300 apt-get -qq update
            retry 300 apt-get -qq -o DPkg::Lock::Timeout=300 install --no-install-recommends "$2"
        else
            retry 300 dnf --quiet --assumeyes --setopt=install_weak_deps=False install "$3"
        fi
    ) 9>"$RUN/packages.lock" >&2 || fail "$1 is missing and its package could not be installed; put it into the image"
}

# A string as curl's configuration and JSON want it. Secrets go to curl through it, never through arguments, which all processes see.
quoted() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

# A session with the metadata service (IMDSv2); kept in a variable of the script that asks.
imds_open() {
    imds_token=$(curl --silent --show-error --fail --noproxy '*' --max-time 5 --request PUT \
        --header "X-aws-ec2-metadata-token-ttl-seconds: 21600" "$METADATA/api/token")
}

# imds <path...>: a line for each; an empty one where there is no such value. One process for all of them.
imds() {
    printf 'header = %s\n' "$(quoted "X-aws-ec2-metadata-token: $imds_token")" |
        curl --config - --silent --fail --noproxy '*' --max-time 5 --write-out '\n' "${@/#/$METADATA/}" || [ $? = 22 ]
}

# The credentials of a role, as configuration for curl.
aws_credentials() {
    imds "meta-data/iam/security-credentials/$1" | python3 -ISc '
import json, sys
answer = json.load(sys.stdin)
quoted = lambda text: json.dumps(text, ensure_ascii=False)
print("user =", quoted(answer["AccessKeyId"] + ":" + answer["SecretAccessKey"]))
print("header =", quoted("X-Amz-Security-Token: " + answer["Token"]))'
}

# aws_call <service> <target>: a JSON API, signed by curl; the body on stdin, the answer on stdout, an error's text on stderr.
aws_call() {
    local service=$1 target=$2 region='' domain='' role='' endpoint credentials folder status
    imds_open || { say "the metadata service does not answer"; return 1; }
    # Only China's regions have another domain.
    { read -r region; read -r domain; read -r role; } \
        < <(imds meta-data/{placement/region,services/domain,iam/security-credentials/}) || true
    [ -n "$region" ] || { say "the metadata service names no region"; return 1; }
    [ -n "$role" ] || { say "the instance has no role"; return 1; }
    credentials=$(aws_credentials "$role") || { say "the metadata service gives no credentials for $role"; return 1; }
    endpoint=${AWS_ENDPOINT:-https://$service.$region.${domain:-amazonaws.com}}
    folder=$(mktemp -d "$RUN/call.XXXXXX")
    cat >"$folder/body"
    status=$(printf '%s\n' "$credentials" | curl --config - --silent --show-error --max-time 30 \
        --aws-sigv4 "aws:amz:$region:$service" --data-binary "@$folder/body" \
        --header "Content-Type: application/x-amz-json-1.1" --header "X-Amz-Target: $target" \
        --output "$folder/answer" --write-out '%{http_code}' "$endpoint/") || status=000
    if [ "$status" = 200 ]; then
        cat "$folder/answer"
        rm -r "$folder"
    else
        say "$target at $endpoint: HTTP $status: $(head -c 300 "$folder/answer" 2>/dev/null || true)"
        rm -r "$folder"
        return 1
    fi
}

# One line per build that BuildKit remembers: "STARTED" for one that runs, "COMPLETE <seconds since 1970>" for one that ended.
# Exit code 124: no answer in time.
builds() {
    timeout 20 buildctl debug histories --format '{{.Type}} {{with .Record}}{{with .CompletedAt}}{{.Seconds}}{{end}}{{end}}'
}

builds_running() {
    local lines
    lines=$(builds) || return
    grep -c '^STARTED' <<<"$lines" || true
}
