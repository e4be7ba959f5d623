//! Broker keys: network.

use super::area;

area! { Broker "Network"
    "advertised.listeners": List null, NullableNonEmptyUniqueList, High, ReadOnly, Yes,
        "Addresses told to clients and other nodes; unset, those of `listeners`.";
    "connection.failed.authentication.delay.ms": Int "100", AtLeast(0), Low, ReadOnly, Later,
        "How long a connection stays open after failed authentication, to slow down guessing.";
    "connections.max.idle.ms": Long "600000", Any, Medium, ReadOnly, Yes,
        "Close a connection that has been idle this long.";
    "listener.security.protocol.map": String "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT", Any, Low, PerBroker, Yes,
        "Which security protocol each listener name stands for, as `NAME:PROTOCOL` pairs.";
    "listeners": List "PLAINTEXT://:9092", NonEmptyUniqueList, High, PerBroker, Yes,
        "Addresses on which the node listens, as `NAME://host:port`; without a host, on all interfaces.";
    "max.connection.creation.rate": Int "2147483647", AtLeast(0), Medium, ClusterWide, Yes,
        "New connections per second that the broker accepts.";
    "max.connections": Int "2147483647", AtLeast(0), Medium, ClusterWide, Yes,
        "Connections open at the same time.";
    "max.connections.per.ip": Int "2147483647", AtLeast(0), Medium, ClusterWide, Yes,
        "Connections open at the same time from one address.";
    "max.connections.per.ip.overrides": String "", Any, Medium, ClusterWide, Yes,
        "Other limits for some addresses, as `host:count` pairs.";
    "num.io.threads": Int "8", AtLeast(1), High, ClusterWide, Nothing,
        "Request handler threads. The runtime sizes itself by the cores.";
    "num.network.threads": Int "3", AtLeast(1), High, ClusterWide, Nothing,
        "Network threads per listener. The runtime sizes itself by the cores.";
    "queued.max.request.bytes": Long "-1", Any, Medium, ReadOnly, Yes,
        "Bytes of requests in memory before no more are read; responses that wait to be sent have as much again. -1 is an eighth of the memory that the process may use, at least 128 MiB and at most 1 GiB.";
    "queued.max.requests": Int "500", AtLeast(1), High, ReadOnly, Nothing,
        "Requests that may wait before no more are read. There is no queue here: a connection's requests are handled as they are read, within `queued.max.request.bytes`.";
    "socket.listen.backlog.size": Int "50", AtLeast(1), Medium, ReadOnly, Yes,
        "Connections that may wait to be accepted; at least 1024 may.";
    "socket.receive.buffer.bytes": Int "102400", Any, High, ReadOnly, Yes,
        "SO_RCVBUF of client connections; -1 leaves the system's value.";
    "socket.request.max.bytes": Int "104857600", AtLeast(1), High, ReadOnly, Yes,
        "Largest request that is read; a bigger one closes the connection.";
    "socket.send.buffer.bytes": Int "102400", Any, High, ReadOnly, Yes,
        "SO_SNDBUF of client connections; -1 leaves the system's value.";
}
