import { MetricAlarm, type MetricAlarmArgs } from "@pulumi/aws/cloudwatch/metricAlarm";
import type * as pulumi from "@pulumi/pulumi";
import { METRICS_NAMESPACE } from "../../../core/aws/fleet-plan";
import { fleetId } from "../../../core/aws/names";
import { METRICS } from "../../../core/host";
import { applyTransform } from "../../transform";
import { type FleetScope, named, tagsOf } from "./fleet-scope";

/** An `up` renews 30 days before the end: with 14 left, none has run for two weeks. */
const CERTIFICATE_DAYS = 14;
/** The prune timer steps in at 85: above this, it did not help. */
const DISK_PERCENT = 92;

/** Alarms of one node; a stopped one has no data, and no alarm. */
export function createAlarms(scope: FleetScope, node: string, instanceId: pulumi.Input<string>): void {
    const { name, args, transform, names, child } = scope;
    if (args.alarms === undefined) return;
    const { topicArn } = args.alarms;
    const own = { namespace: METRICS_NAMESPACE, dimensions: { Fleet: fleetId(names), Node: node } };
    const alarms: Record<string, MetricAlarmArgs> = {
        status: {
            alarmDescription: `EC2's status checks of the builder ${node} fail`,
            namespace: "AWS/EC2",
            dimensions: { InstanceId: instanceId },
            metricName: "StatusCheckFailed",
            statistic: "Maximum",
            period: 60,
            evaluationPeriods: 5,
            comparisonOperator: "GreaterThanThreshold",
            threshold: 0,
        },
        disk: {
            ...own,
            alarmDescription: `The cache of the builder ${node} fills its disk, and pruning does not help`,
            metricName: METRICS.diskUsedPercent,
            statistic: "Maximum",
            period: 300,
            evaluationPeriods: 3,
            comparisonOperator: "GreaterThanThreshold",
            threshold: DISK_PERCENT,
        },
        buildkit: {
            ...own,
            alarmDescription: `The machine of the builder ${node} runs, and its BuildKit does not answer`,
            metricName: METRICS.buildkitAnswers,
            statistic: "Maximum",
            period: 300,
            evaluationPeriods: 3,
            comparisonOperator: "LessThanThreshold",
            threshold: 1,
        },
        certificate: {
            ...own,
            alarmDescription: `The certificate of the builder ${node} ends in less than ${CERTIFICATE_DAYS} days: run pulumi up`,
            metricName: METRICS.certificateDaysLeft,
            statistic: "Minimum",
            period: 3600,
            evaluationPeriods: 1,
            comparisonOperator: "LessThanThreshold",
            threshold: CERTIFICATE_DAYS,
        },
    };
    for (const [kind, alarm] of Object.entries(alarms)) {
        const logical = `${name}-${node}-alarm-${kind}`;
        const complete = {
            ...named(scope, "alarm", logical),
            ...alarm,
            treatMissingData: "notBreaching",
            alarmActions: [topicArn],
            okActions: [topicArn],
            tags: tagsOf(scope, node),
        };
        new MetricAlarm(logical, applyTransform(transform.alarm, complete, logical), child);
    }
}
