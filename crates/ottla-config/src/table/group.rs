//! Keys of a group (`GroupConfig` in Kafka).

use super::area;

area! { Group "Groups"
    "consumer.assignment.interval.ms": Int "1000", AtLeast(0), Medium, Always, Yes,
        "Shortest time between two new assignments of this consumer group.";
    "consumer.assignor.offload.enable" [internal]: Boolean "true", Any, Medium, Always, Later,
        "Compute assignments of this consumer group off the coordinator's own thread.";
    "consumer.heartbeat.interval.ms": Int "5000", AtLeast(1), Medium, Always, Yes,
        "Heartbeat interval told to members of this consumer group.";
    "consumer.session.timeout.ms": Int "45000", AtLeast(1), Medium, Always, Yes,
        "A member of this consumer group that is silent this long is removed.";
    "errors.deadletterqueue.copy.record.enable": Boolean "false", Any, Medium, Always, Later,
        "Copy the whole record to the dead-letter queue instead of only a note about it.";
    "errors.deadletterqueue.topic.name": String "", Any, Medium, Always, Later,
        "Dead-letter queue topic of this share group; empty means none.";
    "share.assignment.interval.ms": Int "1000", AtLeast(0), Medium, Always, Later,
        "Shortest time between two new assignments of this share group.";
    "share.assignor.offload.enable" [internal]: Boolean "true", Any, Medium, Always, Later,
        "Compute assignments of this share group off the coordinator's own thread.";
    "share.auto.offset.reset": String "latest", ShareOffsetReset, Medium, Always, Later,
        "Where this share group begins on a partition: `earliest`, `latest`, or `by_duration:` and an ISO 8601 duration back from now.";
    "share.delivery.count.limit": Int "5", AtLeast(2), Medium, Always, Later,
        "How often a record is delivered before it counts as rejected.";
    "share.heartbeat.interval.ms": Int "5000", AtLeast(1), Medium, Always, Later,
        "Heartbeat interval told to members of this share group.";
    "share.isolation.level": String "read_uncommitted", OneOf(&["read_committed", "read_uncommitted"]), Medium, Always, Later,
        "Whether this share group sees records of open and aborted transactions.";
    "share.partition.max.record.locks": Int "2000", AtLeast(100), Medium, Always, Later,
        "Records of one share partition that may be in delivery at the same time.";
    "share.record.lock.duration.ms": Int "30000", AtLeast(1000), Medium, Always, Later,
        "How long a consumer holds a record before it is offered to another one.";
    "share.renew.acknowledge.enable": Boolean "true", Any, Medium, Always, Later,
        "Let consumers extend the lock of a record.";
    "share.session.timeout.ms": Int "45000", AtLeast(1), Medium, Always, Later,
        "A member of this share group that is silent this long is removed.";
    "streams.acceptable.recovery.lag" [internal]: Long "10000", AtLeast(0), Medium, Always, Later,
        "Offsets by which a client may be behind and still get an active task.";
    "streams.assignment.interval.ms": Int "1000", AtLeast(0), Medium, Always, Later,
        "Shortest time between two new assignments of this streams group.";
    "streams.assignor.name": String null, Any, Medium, Always, Later,
        "Task assignor of this group; unset, the first of the broker's `group.streams.assignors`.";
    "streams.assignor.offload.enable" [internal]: Boolean "true", Any, Medium, Always, Later,
        "Compute assignments of this streams group off the coordinator's own thread.";
    "streams.heartbeat.interval.ms": Int "5000", AtLeast(1), Medium, Always, Later,
        "Heartbeat interval told to members of this streams group.";
    "streams.initial.rebalance.delay.ms": Int "3000", AtLeast(0), Medium, Always, Later,
        "How long this group waits for more members before its first assignment.";
    "streams.num.standby.replicas": Int "0", AtLeast(0), Medium, Always, Later,
        "Standby replicas of each task.";
    "streams.num.warmup.replicas" [internal]: Int "2", AtLeast(0), Medium, Always, Later,
        "Most warm-up replicas at the same time.";
    "streams.rack.aware.assignment.tags": List "", UniqueList, Low, Always, Later,
        "Client tags over which standby tasks are spread.";
    "streams.session.timeout.ms": Int "45000", AtLeast(1), Medium, Always, Later,
        "A member of this streams group that is silent this long is removed.";
    "streams.task.offset.interval.ms" [internal]: Int "60000", AtLeast(1), Medium, Always, Later,
        "How often members report the offsets of their tasks.";
}
