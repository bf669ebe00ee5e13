#!/bin/bash
# Five figures in CloudWatch's embedded metric format: they travel as a log line, so the machine needs no right to write metrics.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

disk=$(df --output=pcent "$STATE" | tail -1 | tr -dc 0-9)
# Left out of the line when BuildKit does not say: they are unknown then, not zero.
cache=$(timeout 60 buildctl du --format '{{range .}}{{.Size}}{{"\n"}}{{end}}' | awk '{ sum += $1 } END { printf "%.0f", sum }') || cache=
answers=1
running=$(builds_running) || { running='' answers=0; }
end=$(date --date "$(openssl x509 -in /etc/buildfleet/tls/current/cert.pem -noout -enddate | cut -d= -f2)" +%s)
days=$(((end - $(date +%s)) / 86400))

# Shape: CloudWatch's "Specification: Embedded metric format".
events() {
    python3 -ISc '
import json, sys, time
group, stream, namespace, fleet, *values = sys.argv[1:]
now = int(time.time() * 1000)
units = {"DiskUsedPercent": "Percent", "CacheBytes": "Bytes", "BuildsRunning": "Count", "CertificateDaysLeft": "Count",
    "BuildkitAnswers": "Count"}
figures = {name: int(value) for name, value in zip(units, values) if value != ""}
line = {
    "_aws": {"Timestamp": now, "CloudWatchMetrics": [{
        "Namespace": namespace,
        "Dimensions": [["Fleet", "Node"]],
        "Metrics": [{"Name": name, "Unit": units[name]} for name in figures],
    }]},
    "Fleet": fleet, "Node": stream, **figures,
}
print(json.dumps({"logGroupName": group, "logStreamName": stream,
    "logEvents": [{"timestamp": now, "message": json.dumps(line)}]}))' \
        "$LOG_GROUP" "$NODE" "$METRICS_NAMESPACE" "$FLEET" "$disk" "$cache" "$running" "$days" "$answers"
}

create_stream() {
    printf '{"logGroupName": %s, "logStreamName": %s}' "$(quoted "$LOG_GROUP")" "$(quoted "$NODE")" |
        aws_call logs Logs_20140328.CreateLogStream >/dev/null
}

send() { events | aws_call logs Logs_20140328.PutLogEvents >"$RUN/metrics-answer"; }

# The stream is there in all runs but a group's first: so that one is created only when sending fails.
send || { create_stream && send; } || fail "the metrics could not be sent to the log group $LOG_GROUP"
# An answer of 200 may still say that the line was thrown away.
! grep -q rejectedLogEventsInfo "$RUN/metrics-answer" || fail "CloudWatch refused the line: $(cat "$RUN/metrics-answer")"
