//! Broker keys: quotas and metrics.

use super::area;

area! { Broker "Quotas and metrics"
    "alter.log.dirs.replication.quota.window.num": Int "11", AtLeast(1), Low, ReadOnly, Yes,
        "Windows over which moving replicas between log directories is measured.";
    "alter.log.dirs.replication.quota.window.size.seconds": Int "1", AtLeast(1), Low, ReadOnly, Yes,
        "Length of one such window.";
    "client.quota.callback.class": Class null, Any, Low, ReadOnly, Nothing,
        "Java class that decides client quotas. Java plug-ins cannot be loaded here.";
    "controller.quota.window.num": Int "11", AtLeast(1), Low, ReadOnly, Yes,
        "Windows over which controller mutations are measured.";
    "controller.quota.window.size.seconds": Int "1", AtLeast(1), Low, ReadOnly, Yes,
        "Length of one such window.";
    "follower.replication.throttled.rate": Long "9223372036854775807", AtLeast(0), Medium, DynamicOnly, Later,
        "Bytes per second that throttled replicas of this broker fetch as followers. A single node is never a follower: kept, and without effect until there are more.";
    "kafka.metrics.polling.interval.secs": Int "10", AtLeast(1), Low, ReadOnly, Nothing,
        "Poll interval of Java metrics reporters.";
    "kafka.metrics.reporters": List "", UniqueList, Low, ReadOnly, Nothing,
        "Java metrics reporters. Metrics here have their own endpoint.";
    "leader.replication.throttled.rate": Long "9223372036854775807", AtLeast(0), Medium, DynamicOnly, Later,
        "Bytes per second that this broker sends to throttled replicas as leader. A single node has no followers: kept, and without effect until there are more.";
    "metric.reporters": List "org.apache.kafka.common.metrics.JmxReporter", UniqueList, Low, ClusterWide, Nothing,
        "Java metrics reporters. Metrics here have their own endpoint.";
    "metrics.num.samples": Int "2", AtLeast(1), Low, ReadOnly, Later,
        "Samples that a metric is computed from.";
    "metrics.recording.level": String "INFO", Any, Low, ReadOnly, Nothing,
        "Which Java metrics are recorded.";
    "metrics.sample.window.ms": Long "30000", AtLeast(1), Low, ReadOnly, Later,
        "Time that one sample of a metric covers.";
    "ottla.client.telemetry.enable" [own]: Boolean "false", Any, Low, ReadOnly, Yes,
        "Tell clients that they can push metrics (KIP-714), and show the last ones of each client among the node's own metrics.";
    "quota.window.num": Int "11", AtLeast(1), Low, ReadOnly, Yes,
        "Windows over which client quotas are measured.";
    "quota.window.size.seconds": Int "1", AtLeast(1), Low, ReadOnly, Yes,
        "Length of one such window.";
    "replica.alter.log.dirs.io.max.bytes.per.second": Long "9223372036854775807", AtLeast(0), Medium, DynamicOnly, Yes,
        "Bytes per second for moving replicas between log directories.";
    "replication.quota.window.num": Int "11", AtLeast(1), Low, ReadOnly, Later,
        "Windows over which replication quotas are measured.";
    "replication.quota.window.size.seconds": Int "1", AtLeast(1), Low, ReadOnly, Later,
        "Length of one such window.";
    "telemetry.max.bytes": Int "1048576", AtLeast(1), Low, ReadOnly, Yes,
        "Largest telemetry push that a client may send.";
}
