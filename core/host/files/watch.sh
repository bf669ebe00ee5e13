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
        { read -r interruption; read -r tag; read -r instance; } \
            < <(imds meta-data/{spot/instance-action,tags/instance/buildfleet:drain,instance-id}) || true
        if [ -n "$interruption" ]; then
            exec "$(dirname "$0")/drain.sh" power-off "EC2 interrupts this spot instance"
        elif [ "$tag" = true ]; then
            exec "$(dirname "$0")/drain.sh" power-off "tagged buildfleet:drain"
        elif [ -z "$instance" ]; then
            # What every instance has is not there: the session is over.
            imds_token=
        fi
    fi
done
