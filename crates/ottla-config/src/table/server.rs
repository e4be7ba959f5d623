//! Broker keys: server.

use super::area;

area! { Broker "Server"
    "authorizer.class.name": String "", NonNull, Low, ReadOnly, Later,
        "Name of the authoriser; empty means that everything is allowed.";
    "background.threads": Int "10", AtLeast(1), High, ClusterWide, Nothing,
        "Threads for background work. Tasks here share the runtime's threads.";
    "broker.id": Int "-1", Any, High, ReadOnly, Yes,
        "Older name of `node.id`; if both are set they must agree.";
    "broker.rack": String null, Any, Medium, ReadOnly, Yes,
        "Rack or zone of this broker, for replica placement and for reading from the nearest replica.";
    "config.providers": List "", UniqueList, Low, ClusterWide, Nothing,
        "Java classes that look up `${provider:path:key}` values. Java plug-ins cannot be loaded here.";
    "controlled.shutdown.enable": Boolean "true", Any, Medium, ReadOnly, Yes,
        "Hand leadership over before stopping.";
    "delete.records.purgatory.purge.interval.requests": Int "1", Any, Medium, ReadOnly, Nothing,
        "Clean-up period of a Java wait queue that does not exist here.";
    "early.start.listeners": List null, NullableUniqueList, High, ReadOnly, Nothing,
        "Listeners that open before metadata and authoriser are ready. A start here takes no authoriser's time, and all listeners open together.";
    "fetch.max.bytes": Int "57671680", AtLeast(1024), Medium, ReadOnly, Yes,
        "Most bytes in the answer to one fetch request.";
    "fetch.purgatory.purge.interval.requests": Int "1000", Any, Medium, ReadOnly, Nothing,
        "Clean-up period of a Java wait queue that does not exist here.";
    "internal.metadata.delete.delay.millis" [internal]: Long "60000", Any, Low, ReadOnly, Later,
        "Pause before an obsolete segment or snapshot of the metadata log is removed.";
    "max.incremental.fetch.session.cache.slots": Int "1000", AtLeast(0), Medium, ReadOnly, Yes,
        "Incremental fetch sessions kept at the same time; 0 turns sessions off.";
    "max.request.partition.size.limit": Int "2000", AtLeast(1), Medium, ReadOnly, Yes,
        "Most partitions in one request that pages through its answer, such as DescribeTopicPartitions.";
    "ottla.http.listener" [own]: String null, Any, Low, ReadOnly, Yes,
        "`host:port` of an HTTP listener with /metrics for Prometheus, /healthz and /readyz; unset, there is none. It asks nobody who they are.";
    "producer.purgatory.purge.interval.requests": Int "1000", Any, Medium, ReadOnly, Nothing,
        "Clean-up period of a Java wait queue that does not exist here.";
    "request.timeout.ms": Int "30000", Any, High, ReadOnly, Yes,
        "How long this node waits for the answer to a request of its own.";
    "security.providers": String null, Any, Low, ReadOnly, Nothing,
        "Java security providers. They have no meaning here.";
    "server.max.startup.time.ms" [internal]: Long "9223372036854775807", AtLeast(0), Medium, ReadOnly, Later,
        "How long a start may take before the process gives up.";
    "share.fetch.purgatory.purge.interval.requests": Int "1000", Any, Medium, ReadOnly, Nothing,
        "Clean-up period of a Java wait queue that does not exist here.";
    "socket.connection.setup.timeout.max.ms": Long "30000", Any, Medium, ReadOnly, Later,
        "Upper end of the growing wait for a connection this node opens.";
    "socket.connection.setup.timeout.ms": Long "10000", Any, Medium, ReadOnly, Later,
        "First wait for a connection this node opens, doubled with each failure.";
    "unstable.api.versions.enable" [internal]: Boolean "false", Any, High, ReadOnly, Later,
        "Offer request versions that are still in development.";
    "unstable.feature.versions.enable" [internal]: Boolean "false", Any, High, ReadOnly, Later,
        "Offer feature versions that are still in development.";
}
