//! Keys of a topic (`LogConfig` in Kafka).

use super::area;

area! { Topic "Topics"
    "cleanup.policy": List "delete", ListOf(&["compact", "delete"]), Medium, Always, Yes,
        "What happens to old data: `delete` removes whole segments by age and size, `compact` keeps the newest record of each key, both may be combined, and an empty list keeps everything.";
    "compression.gzip.level": Int "-1", GzipLevel, Medium, Always, Yes,
        "Effort of gzip when the broker has to compress; -1 is the codec's own default.";
    "compression.lz4.level": Int "9", Between(1, 17), Medium, Always, Nothing,
        "Effort of lz4 when the broker has to compress. The encoder here has one speed.";
    "compression.type": String "producer", OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), Medium, Always, Yes,
        "Codec in which batches are stored; `producer` leaves them as they came.";
    "compression.zstd.level": Int "3", Between(-131072, 22), Medium, Always, Yes,
        "Effort of zstd when the broker has to compress; negative levels trade size for speed.";
    "delete.retention.ms": Long "86400000", AtLeast(0), Medium, Always, Yes,
        "How long a tombstone or a transaction marker stays readable after compaction has passed over it.";
    "durability.policy" [own]: String "sync", OneOf(&["sync", "page-cache"]), High, Always, Yes,
        "When a write with acks=all is answered: `sync` waits until the record is on disk on every in-sync replica, `page-cache` only until it is in their memory, as Kafka does.";
    "errors.deadletterqueue.group.enable": Boolean "false", Any, Medium, Always, Later,
        "Lets share groups use this topic as their dead-letter queue.";
    "file.delete.delay.ms": Long "60000", AtLeast(0), Medium, Always, Yes,
        "Pause between renaming a dropped segment to `.deleted` and removing the file.";
    "flush.messages": Long "9223372036854775807", AtLeast(1), Medium, Always, Yes,
        "Sync the log to disk once this many records have gathered since the last sync.";
    "flush.ms": Long "9223372036854775807", AtLeast(0), Medium, Always, Yes,
        "Sync the log to disk when its oldest unsynced record has this age.";
    "follower.replication.throttled.replicas": List "", ThrottledReplicas, Medium, Always, Later,
        "Replicas that obey the follower replication quota: `partition:broker` pairs, or `*` for all. Without effect on a single node.";
    "index.interval.bytes": Int "4096", AtLeast(0), Medium, Always, Yes,
        "Bytes appended between two entries of the offset index and time index.";
    "internal.segment.bytes" [internal]: Int null, Any, Medium, Always, Yes,
        "Segment size without the lower bound of `segment.bytes`, for tests.";
    "leader.replication.throttled.replicas": List "", ThrottledReplicas, Medium, Always, Later,
        "Replicas that obey the leader replication quota: `partition:broker` pairs, or `*` for all. Without effect on a single node.";
    "local.retention.bytes": Long "-2", AtLeast(-2), Medium, Always, Later,
        "Bytes of a tiered partition kept on local disk; -2 follows `retention.bytes`, -1 is no limit.";
    "local.retention.ms": Long "-2", AtLeast(-2), Medium, Always, Later,
        "Age up to which a tiered partition stays on local disk; -2 follows `retention.ms`, -1 is no limit.";
    "max.compaction.lag.ms": Long "9223372036854775807", AtLeast(1), Medium, Always, Yes,
        "Longest time that a record may wait before it must become eligible for compaction.";
    "max.decompressed.message.bytes": Int "2147483639", Between(1, 2147483639), Medium, Always, Yes,
        "Largest size that a compressed batch may have once it is unpacked.";
    "max.message.bytes": Int "1048588", AtLeast(0), Medium, Always, Yes,
        "Largest record batch that the topic accepts, measured as it is stored.";
    "message.timestamp.after.max.ms": Long "3600000", AtLeast(0), Medium, Always, Yes,
        "How far a producer's timestamp may lie ahead of the broker's clock.";
    "message.timestamp.before.max.ms": Long "9223372036854775807", AtLeast(0), Medium, Always, Yes,
        "How far a producer's timestamp may lie behind the broker's clock.";
    "message.timestamp.type": String "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]), Medium, Always, Yes,
        "Whether a record carries the time its producer gave it or the time of the append.";
    "min.cleanable.dirty.ratio": Double "0.5", Between(0, 1), Medium, Always, Yes,
        "Part of a log that must be uncompacted before the cleaner picks it up.";
    "min.compaction.lag.ms": Long "0", AtLeast(0), Medium, Always, Yes,
        "Shortest time that a record stays untouched by compaction.";
    "min.insync.replicas": Int "1", AtLeast(1), Medium, Always, Yes,
        "In-sync replicas that must hold a record before a write with acks=all succeeds.";
    "preallocate": Boolean "false", Any, Medium, Always, Nothing,
        "Give a new segment file its full size at once. Files only grow as they are written here.";
    "remote.copy.lag.bytes": Long "-1", AtLeast(-1), Medium, Always, Later,
        "Bytes by which copying to remote storage stays behind the newest closed segment; -1 follows the local retention.";
    "remote.copy.lag.ms": Long "0", AtLeast(-1), Medium, Always, Later,
        "Time by which copying to remote storage stays behind; -1 follows the local retention, 0 copies at once.";
    "remote.log.copy.disable": Boolean "false", Any, Medium, Always, Later,
        "Stop copying to remote storage while what is already there stays readable.";
    "remote.log.delete.on.disable": Boolean "false", Any, Medium, Always, Later,
        "Remove the remote copy when remote storage is switched off for the topic.";
    "remote.storage.enable": Boolean "false", Any, Medium, Always, Later,
        "Keep older segments of the topic in remote storage.";
    "retention.bytes": Long "-1", Any, Medium, Always, Yes,
        "Size per partition above which the oldest segments are deleted; -1 is no limit.";
    "retention.ms": Long "604800000", AtLeast(-1), Medium, Always, Yes,
        "Age above which segments are deleted; -1 is no limit.";
    "segment.bytes": Int "1073741824", AtLeast(1048576), Medium, Always, Yes,
        "Size at which a segment is closed and the next one begun.";
    "segment.index.bytes": Int "10485760", AtLeast(4), Medium, Always, Yes,
        "Largest size of an offset index file; a full index closes its segment.";
    "segment.jitter.ms": Long "0", AtLeast(0), Medium, Always, Yes,
        "Largest random time taken off `segment.ms`, so that many partitions do not roll together.";
    "segment.ms": Long "604800000", AtLeast(1), Medium, Always, Yes,
        "Age at which a segment is closed even if it is not full.";
    "unclean.leader.election.enable": Boolean "false", Any, Medium, Always, Yes,
        "Let a replica outside the ISR lead when no other is left, at the price of lost records.";
}
