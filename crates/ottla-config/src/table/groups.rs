//! Broker keys: groups and offsets.

use super::area;

area! { Broker "Groups and offsets"
    "group.consumer.assignment.interval.ms": Int "1000", AtLeast(0), Medium, ClusterWide, Yes,
        "Shortest time between two new assignments of a consumer group.";
    "group.consumer.assignor.offload.enable" [internal]: Boolean "true", Any, Medium, ClusterWide, Later,
        "Compute assignments of consumer groups off the coordinator's own thread.";
    "group.consumer.assignors": List "uniform,range", NonEmptyUniqueList, Medium, ReadOnly, Yes,
        "Assignors for consumer groups, by short name or class; the first is the default.";
    "group.consumer.heartbeat.interval.ms": Int "5000", AtLeast(1), Medium, ReadOnly, Yes,
        "Heartbeat interval told to members of consumer groups.";
    "group.consumer.max.assignment.interval.ms": Int "15000", AtLeast(0), Medium, ReadOnly, Yes,
        "Upper bound for a consumer group's own assignment interval.";
    "group.consumer.max.heartbeat.interval.ms": Int "15000", AtLeast(1), Medium, ReadOnly, Yes,
        "Upper bound for a consumer group's own heartbeat interval.";
    "group.consumer.max.session.timeout.ms": Int "60000", AtLeast(1), Medium, ReadOnly, Yes,
        "Upper bound for a consumer group's own session timeout.";
    "group.consumer.max.size": Int "2147483647", AtLeast(1), Medium, ReadOnly, Yes,
        "Most members in a consumer group.";
    "group.consumer.migration.policy": String "bidirectional", OneOfIgnoreCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]), Medium, ReadOnly, Yes,
        "Whether groups may change online between the classic and the consumer protocol, and in which direction.";
    "group.consumer.min.assignment.interval.ms": Int "0", AtLeast(0), Medium, ReadOnly, Yes,
        "Lower bound for a consumer group's own assignment interval.";
    "group.consumer.min.heartbeat.interval.ms": Int "5000", AtLeast(1), Medium, ReadOnly, Yes,
        "Lower bound for a consumer group's own heartbeat interval.";
    "group.consumer.min.session.timeout.ms": Int "45000", AtLeast(1), Medium, ReadOnly, Yes,
        "Lower bound for a consumer group's own session timeout.";
    "group.consumer.regex.refresh.interval.ms" [internal]: Int "600000", AtLeast(10000), Medium, ReadOnly, Yes,
        "How often regular-expression subscriptions are matched against the topics again.";
    "group.consumer.session.timeout.ms": Int "45000", AtLeast(1), Medium, ReadOnly, Yes,
        "A member of a consumer group that is silent this long is removed.";
    "group.coordinator.append.linger.ms": Int "-1", AtLeast(-1), Medium, ReadOnly, Nothing,
        "How long the coordinator gathers records before it writes them; -1 adapts to the load. They are written at once here; one sync makes all that came meanwhile durable.";
    "group.coordinator.background.threads": Int "2", AtLeast(1), High, ReadOnly, Nothing,
        "Threads for offloaded assignments. Tasks here share the runtime's threads.";
    "group.coordinator.cached.buffer.max.bytes": Int "1048588", AtLeast(524288), Medium, ClusterWide, Nothing,
        "Largest write buffer that a coordinator keeps for reuse. None is kept here.";
    "group.coordinator.rebalance.protocols": List "classic,consumer,streams", NonEmptyListOf(&["consumer", "classic", "share", "streams"]), Medium, ReadOnly, Yes,
        "Group protocols that are switched on. Deprecated in Kafka in favour of feature versions.";
    "group.coordinator.threads": Int "4", AtLeast(1), High, ReadOnly, Nothing,
        "Coordinator threads. Coordinators here share the runtime's threads.";
    "group.initial.rebalance.delay.ms": Int "3000", Any, Medium, ReadOnly, Yes,
        "How long an empty classic group waits for more members before its first rebalance.";
    "group.max.session.timeout.ms": Int "1800000", Any, Medium, ReadOnly, Yes,
        "Longest session timeout that a member of a classic group may ask for.";
    "group.max.size": Int "2147483647", AtLeast(1), Medium, ReadOnly, Yes,
        "Most members in a classic group.";
    "group.min.session.timeout.ms": Int "6000", Any, Medium, ReadOnly, Yes,
        "Shortest session timeout that a member of a classic group may ask for.";
    "group.streams.acceptable.recovery.lag" [internal]: Long "10000", AtLeast(0), Medium, ReadOnly, Later,
        "Offsets by which a client may be behind and still get an active task.";
    "group.streams.assignment.interval.ms": Int "1000", AtLeast(0), Medium, ClusterWide, Later,
        "Shortest time between two new assignments of a streams group.";
    "group.streams.assignor.offload.enable" [internal]: Boolean "true", Any, Medium, ClusterWide, Later,
        "Compute assignments of streams groups off the coordinator's own thread.";
    "group.streams.assignors": List "sticky", NonEmptyUniqueList, Medium, ReadOnly, Later,
        "Task assignors for streams groups, by short name; the first is the default.";
    "group.streams.heartbeat.interval.ms": Int "5000", AtLeast(1), Medium, ReadOnly, Later,
        "Heartbeat interval told to members of streams groups.";
    "group.streams.initial.rebalance.delay.ms": Int "3000", AtLeast(0), Medium, ReadOnly, Later,
        "How long an empty streams group waits for more members before its first assignment.";
    "group.streams.max.assignment.interval.ms": Int "15000", AtLeast(0), Medium, ReadOnly, Later,
        "Upper bound for a streams group's own assignment interval.";
    "group.streams.max.heartbeat.interval.ms": Int "15000", AtLeast(1), Medium, ReadOnly, Later,
        "Upper bound for a streams group's own heartbeat interval.";
    "group.streams.max.session.timeout.ms": Int "60000", AtLeast(1), Medium, ReadOnly, Later,
        "Upper bound for a streams group's own session timeout.";
    "group.streams.max.size": Int "2147483647", AtLeast(1), Medium, ReadOnly, Later,
        "Most members in a streams group.";
    "group.streams.max.standby.replicas": Int "2", AtLeast(0), Medium, ReadOnly, Later,
        "Upper bound for a streams group's own number of standby replicas.";
    "group.streams.max.warmup.replicas" [internal]: Int "20", AtLeast(0), Medium, ReadOnly, Later,
        "Upper bound for a streams group's own number of warm-up replicas.";
    "group.streams.min.assignment.interval.ms": Int "0", AtLeast(0), Medium, ReadOnly, Later,
        "Lower bound for a streams group's own assignment interval.";
    "group.streams.min.heartbeat.interval.ms": Int "5000", AtLeast(1), Medium, ReadOnly, Later,
        "Lower bound for a streams group's own heartbeat interval.";
    "group.streams.min.session.timeout.ms": Int "45000", AtLeast(1), Medium, ReadOnly, Later,
        "Lower bound for a streams group's own session timeout.";
    "group.streams.min.task.offset.interval.ms" [internal]: Int "15000", AtLeast(1), Medium, ReadOnly, Later,
        "Lower bound for a streams group's own task offset interval.";
    "group.streams.num.standby.replicas": Int "0", AtLeast(0), Medium, ReadOnly, Later,
        "Standby replicas of each task.";
    "group.streams.num.warmup.replicas" [internal]: Int "2", AtLeast(0), Medium, ReadOnly, Later,
        "Most warm-up replicas at the same time.";
    "group.streams.rack.aware.assignment.tags": List "", UniqueList, Low, ReadOnly, Later,
        "Client tags over which standby tasks are spread.";
    "group.streams.session.timeout.ms": Int "45000", AtLeast(1), Medium, ReadOnly, Later,
        "A member of a streams group that is silent this long is removed.";
    "group.streams.task.offset.interval.ms" [internal]: Int "60000", AtLeast(1), Medium, ReadOnly, Later,
        "How often members report the offsets of their tasks.";
    "group.streams.topology.description.plugin.class": Class null, Any, Medium, ReadOnly, Nothing,
        "Java class that receives topology descriptions. Java plug-ins cannot be loaded here.";
    "offset.metadata.max.bytes": Int "4096", Any, High, ReadOnly, Yes,
        "Longest text that may be committed with an offset.";
    "offsets.commit.timeout.ms": Int "5000", AtLeast(1), High, ReadOnly, Yes,
        "How long a commit may wait for the replicas of the offsets topic.";
    "offsets.load.buffer.size": Int "5242880", AtLeast(1), High, ReadOnly, Yes,
        "Bytes read at a time when a coordinator loads its partition; a larger batch is read whole.";
    "offsets.retention.check.interval.ms": Long "600000", AtLeast(1), High, ReadOnly, Yes,
        "How often committed offsets are looked at for expiry.";
    "offsets.retention.minutes": Int "10080", AtLeast(1), High, ReadOnly, Yes,
        "How long offsets outlive the last member of their group.";
    "offsets.topic.compression.codec": Int "0", Any, High, ReadOnly, Yes,
        "Codec in which the coordinator writes the offsets topic: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.";
    "offsets.topic.num.partitions": Int "50", AtLeast(1), High, ReadOnly, Yes,
        "Partitions of the offsets topic; not to be changed once it exists.";
    "offsets.topic.replication.factor": Short "3", AtLeast(1), High, ReadOnly, Yes,
        "Replicas of the offsets topic; it is not created before so many brokers are there.";
    "offsets.topic.segment.bytes": Int "104857600", AtLeast(1), High, ReadOnly, Yes,
        "Segment size of the offsets topic.";
}
