//! The scenarios, by name.

mod connections;
mod consumers;
mod groups;
pub(super) mod latency;
pub(super) mod limits;
mod partitions;
pub(super) mod saturation;
pub(super) mod start;
pub(super) mod throughput;

use anyhow::Result;

use super::system::Compared;
use super::trial::Trial;

/// Something that is measured.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// What is done, for the reader of the tables.
    pub(super) about: &'static str,
    /// About how long one repetition of a full run takes on two cores, with all systems.
    pub(super) minutes: f64,
    /// Whether a quick run has it: targets need it.
    pub(super) is_quick: bool,
    pub(super) compared: Compared,
    /// One repetition with one system.
    pub(super) run: fn(&mut Trial<'_>) -> Result<()>,
}

/// All of them, in the order of the document.
pub(super) const ALL: &[Scenario] = &[
    limits::LIMITS,
    throughput::SIZE,
    saturation::SATURATION,
    latency::LATENCY,
    start::START,
    partitions::PARTITIONS,
    partitions::CODECS,
    partitions::ACKS,
    consumers::FANOUT,
    consumers::COLD,
    latency::FAIRNESS,
    connections::CONNECTIONS,
    groups::GROUPS,
    groups::COMMITS,
];

/// The measures, as rows are labelled.
pub(super) mod measure {
    pub(crate) const READY: &str = "ready, ms";
    pub(crate) const LATE_P99: &str = "generator late p99, ms";
    pub(crate) const LATE_MAX: &str = "generator late max, ms";
    pub(crate) const DISK_P99: &str = "disk beside it, fdatasync p99, ms";
    pub(crate) const DISK_MAX: &str = "disk beside it, fdatasync max, ms";
    pub(crate) const RESIDENT: &str = "resident, MiB";
    pub(crate) const PRODUCE_CPU: &str = "broker CPU-s per GB produced";
    pub(crate) const PRODUCE_CPU_RECORDS: &str = "broker CPU-s per million records produced";
    pub(crate) const PRODUCED: &str = "produced, MB/s";
    pub(crate) const CONSUME_CPU: &str = "broker CPU-s per GB consumed";
    pub(crate) const CONSUME_CPU_RECORDS: &str = "broker CPU-s per million records consumed";
    pub(crate) const CONSUMED: &str = "consumed, MB/s";
}
