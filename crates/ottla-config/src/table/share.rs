//! Broker keys: share groups.

use super::area;

area! { Broker "Share groups"
    "errors.deadletterqueue.auto.create.topics.enable": Boolean "false", Any, Medium, ClusterWide, Later,
        "Create a missing dead-letter queue topic of a share group.";
    "errors.deadletterqueue.topic.name.prefix": String "dlq.", Any, Medium, ClusterWide, Later,
        "What the names of dead-letter queue topics must begin with; empty allows every name.";
    "group.share.assignment.interval.ms": Int "1000", AtLeast(0), Medium, ClusterWide, Later,
        "Shortest time between two new assignments of a share group.";
    "group.share.assignor.offload.enable" [internal]: Boolean "true", Any, Medium, ClusterWide, Later,
        "Compute assignments of share groups off the coordinator's own thread.";
    "group.share.assignors": List "simple", NonEmptyUniqueList, Medium, ReadOnly, Later,
        "Assignor for share groups, by short name or class.";
    "group.share.delivery.count.limit": Int "5", Between(2, 10), Medium, ReadOnly, Later,
        "How often a record is delivered before it counts as rejected.";
    "group.share.dlq.manager.class.name" [internal]: String "org.apache.kafka.server.share.dlq.DefaultShareGroupDLQManager", Any, Medium, ReadOnly, Nothing,
        "Java class that writes dead-letter records, for tests.";
    "group.share.heartbeat.interval.ms": Int "5000", AtLeast(1), Medium, ReadOnly, Later,
        "Heartbeat interval told to members of share groups.";
    "group.share.initialize.retry.interval.ms" [internal]: Int "30000", AtLeast(1), Low, ReadOnly, Later,
        "Pause before a failed initialisation of a share partition is tried again.";
    "group.share.max.assignment.interval.ms": Int "15000", AtLeast(0), Medium, ReadOnly, Later,
        "Upper bound for a share group's own assignment interval.";
    "group.share.max.delivery.count.limit": Int "10", Between(5, 25), Medium, ReadOnly, Later,
        "Upper bound for a share group's own delivery limit.";
    "group.share.max.heartbeat.interval.ms": Int "15000", AtLeast(1), Medium, ReadOnly, Later,
        "Upper bound for a share group's own heartbeat interval.";
    "group.share.max.partition.max.record.locks": Int "4000", Between(2000, 10000), Medium, ReadOnly, Later,
        "Upper bound for a share group's own limit of locked records.";
    "group.share.max.record.lock.duration.ms": Int "60000", Between(30000, 3600000), Medium, ReadOnly, Later,
        "Upper bound for a share group's own lock duration.";
    "group.share.max.session.timeout.ms": Int "60000", AtLeast(1), Medium, ReadOnly, Later,
        "Upper bound for a share group's own session timeout.";
    "group.share.max.share.sessions": Int "2000", AtLeast(1), Medium, ReadOnly, Later,
        "Share sessions kept at the same time.";
    "group.share.max.size": Int "200", Between(1, 1000), Medium, ReadOnly, Later,
        "Most members in a share group.";
    "group.share.min.assignment.interval.ms": Int "0", AtLeast(0), Medium, ReadOnly, Later,
        "Lower bound for a share group's own assignment interval.";
    "group.share.min.delivery.count.limit": Int "2", Between(2, 5), Medium, ReadOnly, Later,
        "Lower bound for a share group's own delivery limit.";
    "group.share.min.heartbeat.interval.ms": Int "5000", AtLeast(1), Medium, ReadOnly, Later,
        "Lower bound for a share group's own heartbeat interval.";
    "group.share.min.partition.max.record.locks": Int "100", Between(100, 2000), Medium, ReadOnly, Later,
        "Lower bound for a share group's own limit of locked records.";
    "group.share.min.record.lock.duration.ms": Int "15000", Between(1000, 30000), Medium, ReadOnly, Later,
        "Lower bound for a share group's own lock duration.";
    "group.share.min.session.timeout.ms": Int "45000", AtLeast(1), Medium, ReadOnly, Later,
        "Lower bound for a share group's own session timeout.";
    "group.share.partition.max.record.locks": Int "2000", Between(100, 10000), Medium, ReadOnly, Later,
        "Records of one share partition that may be in delivery at the same time.";
    "group.share.persister.class.name" [internal]: String "org.apache.kafka.server.share.persister.DefaultStatePersister", Any, Medium, ReadOnly, Nothing,
        "Java class that stores share state, for tests.";
    "group.share.record.lock.duration.ms": Int "30000", Between(1000, 3600000), Medium, ReadOnly, Later,
        "How long a consumer holds a record before it is offered to another one.";
    "group.share.session.timeout.ms": Int "45000", AtLeast(1), Medium, ReadOnly, Later,
        "A member of a share group that is silent this long is removed.";
    "share.coordinator.append.linger.ms": Int "-1", AtLeast(-1), Medium, ReadOnly, Later,
        "How long the share coordinator gathers records before it writes them; -1 adapts to the load.";
    "share.coordinator.cached.buffer.max.bytes": Int "1048588", AtLeast(524288), Medium, ClusterWide, Later,
        "Largest write buffer that a share coordinator keeps for reuse.";
    "share.coordinator.cold.partition.snapshot.interval.ms" [internal]: Int "300000", AtLeast(1), Low, ReadOnly, Later,
        "How often share partitions without traffic write a snapshot.";
    "share.coordinator.load.buffer.size": Int "5242880", AtLeast(1), High, ReadOnly, Later,
        "Bytes read at a time when a share coordinator loads its partition.";
    "share.coordinator.snapshot.update.records.per.snapshot": Int "500", Between(0, 500), Medium, ReadOnly, Later,
        "Update records between two snapshots of a share partition.";
    "share.coordinator.state.topic.compression.codec": Int "0", Any, High, ReadOnly, Later,
        "Codec of the share state topic: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.";
    "share.coordinator.state.topic.min.isr": Short "2", AtLeast(1), High, ReadOnly, Later,
        "`min.insync.replicas` of the share state topic.";
    "share.coordinator.state.topic.num.partitions": Int "50", AtLeast(1), High, ReadOnly, Later,
        "Partitions of the share state topic; not to be changed once it exists.";
    "share.coordinator.state.topic.prune.interval.ms" [internal]: Int "300000", AtLeast(1), Low, ReadOnly, Later,
        "How often share state that no snapshot needs any more is deleted.";
    "share.coordinator.state.topic.replication.factor": Short "3", AtLeast(1), High, ReadOnly, Later,
        "Replicas of the share state topic.";
    "share.coordinator.state.topic.segment.bytes": Int "104857600", AtLeast(1), High, ReadOnly, Later,
        "Segment size of the share state topic.";
    "share.coordinator.threads": Int "1", AtLeast(1), Medium, ReadOnly, Nothing,
        "Share coordinator threads. Coordinators here share the runtime's threads.";
    "share.coordinator.write.timeout.ms": Int "5000", AtLeast(1), High, ReadOnly, Later,
        "How long a write may wait for the replicas of the share state topic.";
}
