//! Broker keys: replication.

use super::area;

area! { Broker "Replication"
    "auto.leader.rebalance.enable": Boolean "true", Any, High, ReadOnly, Yes,
        "Let the controller bring leadership back to preferred replicas by itself.";
    "controller.socket.timeout.ms": Int "30000", Any, Medium, ReadOnly, Later,
        "How long a broker waits for the answer of the controller.";
    "default.replication.factor": Int "1", Any, Medium, ReadOnly, Yes,
        "Replicas of a topic that is created without a number.";
    "follower.fetch.last.tiered.offset.enable": Boolean "false", Any, Medium, ClusterWide, Later,
        "Let an empty follower of a tiered topic begin after the offsets that are already in remote storage.";
    "inter.broker.listener.name": String null, Any, Medium, ReadOnly, Yes,
        "Listener for traffic between brokers; unset, the one named like `security.inter.broker.protocol`.";
    "leader.imbalance.check.interval.seconds": Long "300", AtLeast(1), High, ReadOnly, Yes,
        "How often the controller looks for partitions not led by their preferred replica.";
    "num.replica.alter.log.dirs.threads": Int null, Any, High, ReadOnly, Yes,
        "Threads that move replicas between log directories, each one replica at a time; unset, one per directory.";
    "num.replica.fetchers": Int "1", AtLeast(1), High, ClusterWide, Later,
        "Fetchers per leader from which this broker replicates.";
    "replica.fetch.backoff.ms": Int "1000", AtLeast(0), Medium, ReadOnly, Later,
        "Pause of a follower after a failed fetch.";
    "replica.fetch.max.bytes": Int "1048576", AtLeast(0), Medium, ReadOnly, Later,
        "Bytes per partition that a follower asks for; a larger batch still passes.";
    "replica.fetch.min.bytes": Int "1", Any, High, ReadOnly, Later,
        "Bytes for which the leader waits before it answers a follower.";
    "replica.fetch.response.max.bytes": Int "10485760", AtLeast(0), Medium, ReadOnly, Later,
        "Bytes that a follower asks for in one request.";
    "replica.fetch.wait.max.ms": Int "500", Any, High, ReadOnly, Later,
        "How long the leader may hold a follower's fetch open.";
    "replica.high.watermark.checkpoint.interval.ms": Long "5000", Any, High, ReadOnly, Yes,
        "How often high watermarks are written to their checkpoint file.";
    "replica.lag.time.max.ms": Long "30000", Any, High, ReadOnly, Later,
        "A follower that has not caught up within this time leaves the ISR.";
    "replica.selector.class": String null, Any, Medium, ReadOnly, Later,
        "Which replica a consumer may read from; `org.apache.kafka.common.replica.RackAwareReplicaSelector` picks one in its rack.";
    "replica.socket.receive.buffer.bytes": Int "65536", Any, High, ReadOnly, Later,
        "SO_RCVBUF of connections to leaders.";
    "replica.socket.timeout.ms": Int "30000", Any, High, ReadOnly, Later,
        "Network timeout of a follower's requests; not shorter than `replica.fetch.wait.max.ms`.";
    "security.inter.broker.protocol": String "PLAINTEXT", OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), Medium, ReadOnly, Yes,
        "Security protocol between brokers, unless `inter.broker.listener.name` is set.";
    "unclean.leader.election.enable": Boolean "false", Any, High, ClusterWide, Yes,
        "Let a replica outside the ISR lead when no other is left, at the price of lost records.";
    "unclean.leader.election.interval.ms" [internal]: Long "300000", AtLeast(1), Medium, ReadOnly, Yes,
        "How often the controller looks for partitions that only an unclean election can bring back.";
}
