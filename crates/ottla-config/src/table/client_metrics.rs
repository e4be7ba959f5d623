//! Keys of a client metrics subscription (KIP-714).

use super::area;

area! { ClientMetrics "Client metrics"
    "interval.ms": Int "300000", Any, Medium, Always, Yes,
        "How often matching clients push their metrics, 100 to 3600000.";
    "match": List "", UniqueList, Medium, Always, Yes,
        "Which clients are meant, as `attribute=regex` pairs that must all match.";
    "metrics": List "", UniqueList, Medium, Always, Yes,
        "Prefixes of metric names to push; `*` means all, empty means none.";
}
