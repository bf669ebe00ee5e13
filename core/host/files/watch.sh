#!/bin/bash
# Every five seconds: has EC2 announced to take this spot instance, or has somebody tagged it "buildfleet:drain"?
# Without a right of the machine's own: both are in its metadata.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

imds_token=
silent=0
while sleep 5; do
    if [ -z "$imds_token" ] && ! imds_open; then
        # Told once, not every five seconds: a machine without metadata still builds.
        [ "$silent" = 1 ] || say "the metadata service does not answer: interruptions and drains go unseen until it does"
        silent=1
    else
        silent=0
        # One request answers with 401 once the session is over.
        status=$(printf 'header = %s\n' "$(quoted "X-aws-ec2-metadata-token: $imds_token")" |
            curl --config - --silent --noproxy '*' --max-time 4 --output /dev/null --write-out '%{http_code} ' \
                "$METADATA/meta-data/spot/instance-action" --next --silent --noproxy '*' --max-time 4 || true)
        case $status in
        200*) exec "$(dirname "$0")/drain.sh" power-off "EC2 interrupts this spot instance" ;;
        404*) [ "$(imds meta-data/tags/instance/buildfleet:drain || true)" != true ] ||
            exec "$(dirname "$0")/drain.sh" power-off "tagged buildfleet:drain" ;;
        *) imds_token= ;;
        esac
    fi
done
