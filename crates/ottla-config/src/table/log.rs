//! Broker keys: log.

use super::area;

area! { Broker "Log"
    "alter.config.policy.class.name": Class null, Any, Low, ReadOnly, Nothing,
        "Java class that may refuse config changes. Java plug-ins cannot be loaded here.";
    "auto.create.topics.enable": Boolean "true", Any, High, ReadOnly, Yes,
        "Create a topic when a client asks for the metadata of one that does not exist.";
    "compression.gzip.level": Int "-1", GzipLevel, Medium, ClusterWide, Yes,
        "Effort of gzip when the broker has to compress; -1 is the codec's own default.";
    "compression.lz4.level": Int "9", Between(1, 17), Medium, ClusterWide, Nothing,
        "Effort of lz4 when the broker has to compress. The encoder here has one speed.";
    "compression.type": String "producer", OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), High, ClusterWide, Yes,
        "Codec in which batches are stored; `producer` leaves them as they came.";
    "compression.zstd.level": Int "3", Between(-131072, 22), Medium, ClusterWide, Yes,
        "Effort of zstd when the broker has to compress; negative levels trade size for speed.";
    "cordoned.log.dirs": List "", NullableUniqueList, Medium, PerBroker, Yes,
        "Log directories that receive no new partitions; `*` means all of them.";
    "create.topic.policy.class.name": Class null, Any, Low, ReadOnly, Nothing,
        "Java class that may refuse new topics. Java plug-ins cannot be loaded here.";
    "delete.topic.enable": Boolean "true", Any, High, ReadOnly, Yes,
        "Whether topics may be deleted at all.";
    "log.cleaner.backoff.ms": Long "15000", AtLeast(0), Medium, ClusterWide, Yes,
        "Pause of a cleaner thread that found no log to compact.";
    "log.cleaner.dedupe.buffer.size": Long "134217728", Any, Medium, ClusterWide, Yes,
        "Memory of all cleaner threads together for the map from keys to newest offsets.";
    "log.cleaner.delete.retention.ms": Long "86400000", AtLeast(0), Medium, ClusterWide, Yes,
        "How long a tombstone or a transaction marker stays readable after compaction has passed over it.";
    "log.cleaner.enable": Boolean "true", Any, Medium, ReadOnly, Yes,
        "Run the cleaner; without it compacted topics only grow. Deprecated in Kafka.";
    "log.cleaner.io.buffer.load.factor": Double "0.9", Any, Medium, ClusterWide, Yes,
        "How full the cleaner's key map may get, 0 to 1.";
    "log.cleaner.io.buffer.size": Int "524288", AtLeast(0), Medium, ClusterWide, Yes,
        "Memory of all cleaner threads together for reading and writing.";
    "log.cleaner.io.max.bytes.per.second": Double "1.7976931348623157E308", Any, Medium, ClusterWide, Yes,
        "Bytes per second that cleaning may read and write in total.";
    "log.cleaner.max.compaction.lag.ms": Long "9223372036854775807", AtLeast(1), Medium, ClusterWide, Yes,
        "Longest time that a record may wait before it must become eligible for compaction.";
    "log.cleaner.min.cleanable.ratio": Double "0.5", Between(0, 1), Medium, ClusterWide, Yes,
        "Part of a log that must be uncompacted before the cleaner picks it up.";
    "log.cleaner.min.compaction.lag.ms": Long "0", AtLeast(0), Medium, ClusterWide, Yes,
        "Shortest time that a record stays untouched by compaction.";
    "log.cleaner.threads": Int "1", AtLeast(0), Medium, ClusterWide, Yes,
        "Cleaner threads.";
    "log.cleanup.policy": List "delete", ListOf(&["compact", "delete"]), Medium, ClusterWide, Yes,
        "What happens to old data: `delete`, `compact`, both, or (empty) nothing.";
    "log.dir": List "/tmp/kafka-logs", NonEmptyUniqueList, High, ReadOnly, Yes,
        "Directory of the logs, used when `log.dirs` is not set.";
    "log.dir.failure.timeout.ms": Long "30000", AtLeast(1), Low, ReadOnly, Nothing,
        "How long a broker that cannot report a failed log directory to the controller keeps running. The controller is in the same process.";
    "log.dirs": List null, NullableNonEmptyUniqueList, High, ReadOnly, Yes,
        "Directories of the logs, one per disk, separated by commas.";
    "log.durability.policy" [own]: String "sync", OneOf(&["sync", "page-cache"]), High, ClusterWide, Yes,
        "When a write with acks=all is answered: `sync` waits until the record is on disk on every in-sync replica, `page-cache` only until it is in their memory, as Kafka does.";
    "ottla.journal.bytes" [own]: Long "67108864", AtLeast(0), Medium, ReadOnly, Yes,
        "Size of the journal of each log directory, in which small writes to many partitions become durable with one sync. It is made when such writes come, and removed at the stop; 0 turns it off.";
    "log.flush.interval.messages": Long "9223372036854775807", AtLeast(1), High, ClusterWide, Yes,
        "Sync a log to disk once this many records have gathered since the last sync.";
    "log.flush.interval.ms": Long null, Any, High, ClusterWide, Yes,
        "Sync a log to disk when its oldest unsynced record has this age; unset, `log.flush.scheduler.interval.ms` counts.";
    "log.flush.offset.checkpoint.interval.ms": Int "60000", AtLeast(0), High, ReadOnly, Yes,
        "How often the recovery points are written to their checkpoint file.";
    "log.flush.scheduler.interval.ms": Long "9223372036854775807", Any, High, ReadOnly, Yes,
        "How often logs are looked at for records that are due to be synced.";
    "log.flush.start.offset.checkpoint.interval.ms": Int "60000", AtLeast(0), High, ReadOnly, Yes,
        "How often the log start offsets are written to their checkpoint file.";
    "log.index.interval.bytes": Int "4096", AtLeast(0), Medium, ClusterWide, Yes,
        "Bytes appended between two entries of the offset index and time index.";
    "log.index.size.max.bytes": Int "10485760", AtLeast(4), Medium, ClusterWide, Yes,
        "Largest size of an offset index file.";
    "log.initial.task.delay.ms" [internal]: Long "30000", AtLeast(0), Low, ReadOnly, Yes,
        "Pause after start before the first retention, flush and checkpoint runs.";
    "log.message.timestamp.after.max.ms": Long "3600000", AtLeast(0), Medium, ClusterWide, Yes,
        "How far a producer's timestamp may lie ahead of the broker's clock.";
    "log.message.timestamp.before.max.ms": Long "9223372036854775807", AtLeast(0), Medium, ClusterWide, Yes,
        "How far a producer's timestamp may lie behind the broker's clock.";
    "log.message.timestamp.type": String "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]), Medium, ClusterWide, Yes,
        "Whether a record carries the time its producer gave it or the time of the append.";
    "log.preallocate": Boolean "false", Any, Medium, ClusterWide, Nothing,
        "Give a new segment file its full size at once. Files only grow as they are written here.";
    "log.retention.bytes": Long "-1", Any, High, ClusterWide, Yes,
        "Size per partition above which the oldest segments are deleted; -1 is no limit.";
    "log.retention.check.interval.ms": Long "300000", AtLeast(1), Medium, ReadOnly, Yes,
        "How often logs are looked at for segments to delete.";
    "log.retention.hours": Int "168", Any, High, ReadOnly, Yes,
        "Age in hours above which segments are deleted, if neither the minutes nor the milliseconds key is set.";
    "log.retention.minutes": Int null, Any, High, ReadOnly, Yes,
        "Age in minutes above which segments are deleted, if the milliseconds key is not set.";
    "log.retention.ms": Long null, Any, High, ClusterWide, Yes,
        "Age in milliseconds above which segments are deleted; -1 is no limit.";
    "log.roll.hours": Int "168", AtLeast(1), High, ReadOnly, Yes,
        "Age in hours at which a segment is closed, if the milliseconds key is not set.";
    "log.roll.jitter.hours": Int "0", AtLeast(0), High, ReadOnly, Yes,
        "Largest random time in hours taken off the roll time, if the milliseconds key is not set.";
    "log.roll.jitter.ms": Long null, Any, High, ClusterWide, Yes,
        "Largest random time in milliseconds taken off the roll time.";
    "log.roll.ms": Long null, Any, High, ClusterWide, Yes,
        "Age in milliseconds at which a segment is closed even if it is not full.";
    "log.segment.bytes": Int "1073741824", AtLeast(1048576), High, ClusterWide, Yes,
        "Size at which a segment is closed and the next one begun.";
    "log.segment.delete.delay.ms": Long "60000", AtLeast(0), High, ClusterWide, Yes,
        "Pause between renaming a dropped segment to `.deleted` and removing the file.";
    "max.decompressed.message.bytes": Int "2147483639", Between(1, 2147483639), Medium, ClusterWide, Yes,
        "Largest size that a compressed batch may have once it is unpacked.";
    "message.max.bytes": Int "1048588", AtLeast(0), High, ClusterWide, Yes,
        "Largest record batch that is accepted, measured as it is stored.";
    "min.insync.replicas": Int "1", AtLeast(1), High, ClusterWide, Yes,
        "In-sync replicas that must hold a record before a write with acks=all succeeds.";
    "num.partitions": Int "1", AtLeast(1), Medium, ReadOnly, Yes,
        "Partitions of a topic that is created without a number.";
    "num.recovery.threads.per.data.dir": Int "2", AtLeast(1), High, ClusterWide, Yes,
        "Threads per log directory that recover logs at start and flush them at stop.";
}
