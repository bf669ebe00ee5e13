/** The metrics of a node, as files/metrics.sh writes them; each has the dimensions `Fleet` and `Node`. */
export const METRICS = {
    diskUsedPercent: "DiskUsedPercent",
    cacheBytes: "CacheBytes",
    buildsRunning: "BuildsRunning",
    certificateDaysLeft: "CertificateDaysLeft",
    /** 1, or 0 where the machine runs and its BuildKit does not answer. */
    buildkitAnswers: "BuildkitAnswers",
} as const;
