//! Broker keys: tiered storage.

use super::area;

area! { Broker "Tiered storage"
    "log.local.retention.bytes": Long "-2", AtLeast(-2), Medium, ClusterWide, Later,
        "Bytes of a tiered partition kept on local disk; -2 follows `log.retention.bytes`, -1 is no limit.";
    "log.local.retention.ms": Long "-2", AtLeast(-2), Medium, ClusterWide, Later,
        "Age up to which a tiered partition stays on local disk; -2 follows `log.retention.ms`, -1 is no limit.";
    "log.remote.copy.lag.bytes": Long "-1", AtLeast(-1), Medium, ClusterWide, Later,
        "Bytes by which copying to remote storage stays behind; -1 follows the local retention.";
    "log.remote.copy.lag.ms": Long "0", AtLeast(-1), Medium, ClusterWide, Later,
        "Time by which copying to remote storage stays behind; -1 follows the local retention, 0 copies at once.";
    "remote.fetch.max.wait.ms": Int "500", AtLeast(1), Medium, ClusterWide, Later,
        "How long a fetch may wait for remote storage.";
    "remote.list.offsets.request.timeout.ms": Long "30000", AtLeast(1), Medium, ClusterWide, Later,
        "How long a ListOffsets request may wait for remote storage.";
    "remote.log.index.file.cache.total.size.bytes": Long "1073741824", AtLeast(1), Low, ClusterWide, Later,
        "Disk space for index files fetched from remote storage.";
    "remote.log.index.file.cache.ttl.ms" [internal]: Long "900000", AtLeast(-1), Low, ReadOnly, Later,
        "How long a cached remote index stays after its last use; -1 is for ever.";
    "remote.log.manager.copier.thread.pool.size": Int "10", AtLeast(1), Medium, ClusterWide, Later,
        "Threads that copy segments to remote storage.";
    "remote.log.manager.copy.max.bytes.per.second": Long "9223372036854775807", AtLeast(1), Medium, ClusterWide, Later,
        "Bytes per second that this broker copies to remote storage.";
    "remote.log.manager.copy.quota.window.num": Int "11", AtLeast(1), Medium, ReadOnly, Later,
        "Windows over which that rate is measured.";
    "remote.log.manager.copy.quota.window.size.seconds": Int "1", AtLeast(1), Medium, ReadOnly, Later,
        "Length of one such window.";
    "remote.log.manager.expiration.thread.pool.size": Int "10", AtLeast(1), Medium, ClusterWide, Later,
        "Threads that delete expired segments from remote storage.";
    "remote.log.manager.fetch.max.bytes.per.second": Long "9223372036854775807", AtLeast(1), Medium, ClusterWide, Later,
        "Bytes per second that this broker reads from remote storage.";
    "remote.log.manager.fetch.quota.window.num": Int "11", AtLeast(1), Medium, ReadOnly, Later,
        "Windows over which that rate is measured.";
    "remote.log.manager.fetch.quota.window.size.seconds": Int "1", AtLeast(1), Medium, ReadOnly, Later,
        "Length of one such window.";
    "remote.log.manager.follower.thread.pool.size": Int "2", AtLeast(1), Medium, ClusterWide, Later,
        "Threads that follow remote state for partitions led elsewhere.";
    "remote.log.manager.task.interval.ms": Long "30000", AtLeast(1), Low, ReadOnly, Later,
        "How often copying and expiry run per partition.";
    "remote.log.manager.task.retry.backoff.max.ms" [internal]: Long "30000", AtLeast(1), Low, ReadOnly, Later,
        "Upper end of the pause after a failed remote task.";
    "remote.log.manager.task.retry.backoff.ms" [internal]: Long "500", AtLeast(1), Low, ReadOnly, Later,
        "First pause after a failed remote task.";
    "remote.log.manager.task.retry.jitter" [internal]: Double "0.2", BetweenReal(0, 0.5), Low, ReadOnly, Later,
        "Random part of that pause, 0 to 0.5.";
    "remote.log.manager.thread.pool.size": Int "2", AtLeast(1), Medium, ReadOnly, Later,
        "Older key for the number of remote task threads. Deprecated in Kafka.";
    "remote.log.metadata.custom.metadata.max.bytes": Int "128", AtLeast(0), Low, ReadOnly, Later,
        "Longest custom metadata that a remote store may attach to a segment.";
    "remote.log.metadata.manager.class.name": String "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager", NonEmpty, Medium, ReadOnly, Nothing,
        "Java class that keeps the metadata of remote segments. Java plug-ins cannot be loaded here.";
    "remote.log.metadata.manager.class.path": String null, Any, Medium, ReadOnly, Nothing,
        "Class path of that class. Java classes cannot be loaded here.";
    "remote.log.metadata.manager.impl.prefix": String "rlmm.config.", NonEmpty, Medium, ReadOnly, Later,
        "Prefix of the keys that are passed to the remote metadata manager.";
    "remote.log.metadata.manager.listener.name": String null, NonEmpty, Medium, ReadOnly, Later,
        "Listener through which the remote metadata manager reaches brokers.";
    "remote.log.reader.max.pending.tasks": Int "100", AtLeast(1), Medium, ReadOnly, Later,
        "Reads from remote storage that may wait.";
    "remote.log.reader.threads": Int "10", AtLeast(1), Medium, ClusterWide, Later,
        "Threads that read from remote storage.";
    "remote.log.storage.manager.class.name": String null, NonEmpty, Medium, ReadOnly, Nothing,
        "Java class of the remote store. Java plug-ins cannot be loaded here.";
    "remote.log.storage.manager.class.path": String null, Any, Medium, ReadOnly, Nothing,
        "Class path of that class. Java classes cannot be loaded here.";
    "remote.log.storage.manager.impl.prefix": String "rsm.config.", NonEmpty, Medium, ReadOnly, Later,
        "Prefix of the keys that are passed to the remote store.";
    "remote.log.storage.system.enable": Boolean "false", Any, Medium, ReadOnly, Later,
        "Switch tiered storage on for this broker.";
}
