//! Broker keys: nodes, quorum and metadata.

use super::area;

area! { Broker "Nodes, quorum and metadata"
    "broker.heartbeat.interval.ms": Int "2000", Any, Medium, ReadOnly, Later,
        "How often a broker sends a heartbeat to the controller.";
    "broker.session.timeout.ms": Int "9000", Any, Medium, ReadOnly, Yes,
        "After this time without a heartbeat the controller fences a broker.";
    "controller.listener.names": List required, NonEmptyUniqueList, High, ReadOnly, Yes,
        "Names of the controllers' listeners; a broker uses the first one.";
    "controller.performance.always.log.threshold.ms" [internal]: Long "2000", AtLeast(0), Medium, ReadOnly, Nothing,
        "A controller event that takes longer is always logged. There is no queue of such events here.";
    "controller.performance.sample.period.ms" [internal]: Long "60000", AtLeast(100), Medium, ReadOnly, Nothing,
        "How often the controller logs the slowest of its events. There is no queue of such events here.";
    "controller.quorum.append.linger.ms": Int "25", AtLeast(0), Medium, ReadOnly, Nothing,
        "How long the quorum leader gathers records before it writes them. Requests that wait here are written together without a pause.";
    "controller.quorum.auto.join.enable": Boolean "false", Any, Low, ReadOnly, Later,
        "Let a controller add itself to the voters.";
    "controller.quorum.bootstrap.servers": List "", BootstrapServers, High, ReadOnly, Yes,
        "Addresses, `host:port`, at which to find the quorum when its voters are kept in the metadata log.";
    "controller.quorum.election.backoff.max.ms": Int "1000", AtLeast(0), High, ReadOnly, Later,
        "Upper end of the growing pause between elections.";
    "controller.quorum.election.timeout.ms": Int "1000", AtLeast(0), High, ReadOnly, Later,
        "How long a candidate waits before it starts a new election.";
    "controller.quorum.fetch.max.bytes": Int "1048576", AtLeast(1), Low, ReadOnly, Later,
        "Bytes of one fetch from the metadata log.";
    "controller.quorum.fetch.snapshot.max.bytes": Int "1048576", AtLeast(1), Low, ReadOnly, Later,
        "Bytes of one request for a metadata snapshot.";
    "controller.quorum.fetch.timeout.ms": Int "2000", AtLeast(0), High, ReadOnly, Later,
        "How long a voter goes without an answer of the leader before it starts an election, and the leader without a majority before it resigns.";
    "controller.quorum.request.timeout.ms": Int "2000", AtLeast(0), Medium, ReadOnly, Later,
        "How long a request to another voter may take.";
    "controller.quorum.retry.backoff.ms": Int "20", AtLeast(0), Low, ReadOnly, Later,
        "First pause before a failed request to another voter is sent again.";
    "controller.quorum.voters": List "", QuorumVoters, High, ReadOnly, Yes,
        "A fixed set of voters as `id@host:port`; leave it unset when the voters are kept in the metadata log.";
    "initial.broker.registration.timeout.ms": Int "60000", Any, Medium, ReadOnly, Later,
        "How long a starting broker tries to register before the process exits.";
    "internal.metadata.log.segment.bytes" [internal]: Int null, Any, Low, ReadOnly, Yes,
        "Segment size of the metadata log without a lower bound, for tests.";
    "internal.metadata.max.batch.size.in.bytes" [internal]: Int "8388608", Any, Low, ReadOnly, Later,
        "Largest batch in the metadata log, for tests.";
    "metadata.log.dir": String null, Any, High, ReadOnly, Yes,
        "Directory of the metadata log; unset, the first of `log.dirs`.";
    "metadata.log.max.record.bytes.between.snapshots": Long "20971520", AtLeast(1), High, ReadOnly, Yes,
        "Bytes in the metadata log after which a new snapshot is written.";
    "metadata.log.max.snapshot.interval.ms": Long "3600000", AtLeast(0), High, ReadOnly, Yes,
        "Time after which a new snapshot is written if anything changed; 0 turns this off.";
    "metadata.log.segment.bytes": Int "1073741824", AtLeast(8388608), High, ReadOnly, Yes,
        "Segment size of the metadata log.";
    "metadata.log.segment.ms": Long "604800000", Any, High, ReadOnly, Yes,
        "Age at which a segment of the metadata log is closed.";
    "metadata.max.idle.interval.ms": Int "500", AtLeast(0), Low, ReadOnly, Nothing,
        "How often the quorum leader writes an empty record while nothing happens. A quorum of one has no observers that wait for it, so none are written.";
    "metadata.max.retention.bytes": Long "104857600", Any, High, ReadOnly, Yes,
        "Size of metadata log and snapshots above which the oldest are deleted.";
    "metadata.max.retention.ms": Long "604800000", Any, High, ReadOnly, Yes,
        "Age above which metadata segments and snapshots are deleted.";
    "node.id": Int required, AtLeast(0), High, ReadOnly, Yes,
        "Number of this node, unique among brokers and controllers.";
    "process.roles": List required, NonEmptyListOf(&["broker", "controller"]), High, ReadOnly, Yes,
        "What the node is: `broker`, `controller`, or both.";
    "sasl.mechanism.controller.protocol": String "GSSAPI", Any, High, ReadOnly, Later,
        "SASL mechanism for talking to controllers.";
}
