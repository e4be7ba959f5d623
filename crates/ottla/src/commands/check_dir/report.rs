//! What was found.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};

/// How it would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    OpensCleanly,
    OpensWithRepairs,
    CannotBeOpened,
}

impl Verdict {
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::OpensCleanly => 0,
            Self::OpensWithRepairs => 1,
            Self::CannotBeOpened => 2,
        }
    }
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Weight {
    /// The start is refused, or would leave a part of the cluster without service.
    Blocks,
    /// The start changes something.
    Repairs,
    /// Good to know.
    Note,
}

/// Something to know, and what to do about it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) weight: Weight,
    pub(crate) what: String,
    pub(crate) next: Option<String>,
}

/// A log directory.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Dir {
    pub(crate) path: PathBuf,
    pub(crate) cluster_id: Option<String>,
    pub(crate) node_id: Option<i32>,
    pub(crate) directory_id: Option<String>,
    /// Version of `meta.properties`.
    pub(crate) meta_version: Option<u8>,
    /// Process that holds the lock.
    pub(crate) locked_by: Option<i32>,
    /// Whether the last stop was an orderly one; `None` until it is known.
    pub(crate) clean: Option<bool>,
    pub(crate) broker_epoch: Option<i64>,
    pub(crate) logs: usize,
    pub(crate) bytes: u64,
    /// Directories of deleted partitions, which the start removes a minute later.
    pub(crate) deleted: usize,
    /// Directories that a start has set aside earlier.
    pub(crate) stray: Vec<PathBuf>,
    /// Partitions that were being moved here.
    pub(crate) future: usize,
}

/// The metadata log.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Metadata {
    pub(crate) metadata_version: Option<String>,
    pub(crate) metadata_level: i16,
    /// Level per feature, without `metadata.version`.
    pub(crate) features: BTreeMap<String, i16>,
    pub(crate) kraft_version: i16,
    pub(crate) voters: Vec<i32>,
    pub(crate) leader_epoch: i32,
    pub(crate) log_start: i64,
    pub(crate) log_end: i64,
    pub(crate) newest_snapshot: Option<String>,
    pub(crate) brokers: Vec<i32>,
    pub(crate) topics: usize,
    pub(crate) partitions: usize,
    pub(crate) client_quotas: usize,
    pub(crate) acls: usize,
    pub(crate) scram_credentials: usize,
    pub(crate) delegation_tokens: usize,
    pub(crate) bytes: u64,
}

/// A partition's log.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Partition {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) topic_id: Option<String>,
    pub(crate) dir: PathBuf,
    pub(crate) future: bool,
    pub(crate) log_start: i64,
    pub(crate) log_end: i64,
    pub(crate) high_watermark: i64,
    pub(crate) segments: usize,
    pub(crate) bytes: u64,
    pub(crate) recovery: Recovery,
}

/// What opening a log takes.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Recovery {
    /// Bytes read again, and segments whose indexes are made anew.
    pub(crate) scanned_bytes: u64,
    pub(crate) rebuilt_segments: usize,
    /// What is cut off: offset at which the log then ends, bytes, and why.
    pub(crate) cut: Vec<Cut>,
    /// Other repairs, in words.
    pub(crate) other: Vec<String>,
}

/// An incomplete end of a segment.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cut {
    pub(crate) segment: i64,
    pub(crate) new_end_offset: i64,
    pub(crate) bytes: u64,
    pub(crate) reason: String,
}

impl Recovery {
    pub(crate) fn is_needed(&self) -> bool {
        self.rebuilt_segments > 0 || self.loses()
    }

    /// Whether it takes anything away or moves it.
    pub(crate) fn loses(&self) -> bool {
        !self.cut.is_empty() || !self.other.is_empty()
    }
}

/// What the records are, all partitions together.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Contents {
    /// Batches by format: `v0`, `v1`, `v2`.
    pub(crate) formats: BTreeMap<String, u64>,
    /// Batches by codec.
    pub(crate) codecs: BTreeMap<String, u64>,
    /// Groups by kind.
    pub(crate) groups: BTreeMap<String, usize>,
    pub(crate) committed_offsets: usize,
    /// Transactional ids by state.
    pub(crate) transactions: BTreeMap<String, usize>,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) dirs: Vec<Dir>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) contents: Contents,
    pub(crate) findings: Vec<Finding>,
}

impl Report {
    pub(crate) fn blocks(&mut self, what: impl Into<String>, next: &str) {
        self.find(Weight::Blocks, what.into(), next);
    }

    pub(crate) fn repairs(&mut self, what: impl Into<String>, next: &str) {
        self.find(Weight::Repairs, what.into(), next);
    }

    pub(crate) fn note(&mut self, what: impl Into<String>, next: &str) {
        self.find(Weight::Note, what.into(), next);
    }

    fn find(&mut self, weight: Weight, what: String, next: &str) {
        let next = (!next.is_empty()).then(|| next.to_owned());
        self.findings.push(Finding { weight, what, next });
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match self.findings.iter().map(|finding| finding.weight).min() {
            Some(Weight::Blocks) => Verdict::CannotBeOpened,
            Some(Weight::Repairs) => Verdict::OpensWithRepairs,
            _ => Verdict::OpensCleanly,
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let bytes: u64 = self.partitions.iter().map(|partition| partition.bytes).sum();
        json!({
            "verdict": self.verdict(),
            "directories": self.dirs,
            "metadata": self.metadata,
            "partitions": self.partitions,
            "contents": self.contents,
            "findings": self.findings,
            "bytes": bytes,
        })
    }
}
