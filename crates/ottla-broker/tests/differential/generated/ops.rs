//! The steps of a sequence. Any list of steps can be played: a step whose topic or member is not there asks for it all the
//! same, and both servers refuse.

use serde::{Deserialize, Serialize};

use super::consumers::ConsumerOp;
use super::quotas::QuotaOp;
use super::transactions::TxnOp;

/// Topics, groups, members and producers are numbers; names with them are made anew for each run.
///
/// Topic 8 is never created, topic 9 has a name that is not allowed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Op {
    // Topics.
    Create {
        topic: u8,
        partitions: i32,
        replicas: i16,
        configs: Vec<(String, String)>,
        check: bool,
        version: i16,
    },
    Delete {
        topic: u8,
        version: i16,
    },
    Grow {
        topic: u8,
        count: i32,
        check: bool,
        version: i16,
    },
    Alter {
        topic: u8,
        key: String,
        operation: i8,
        value: Option<String>,
        check: bool,
        version: i16,
    },
    Configs {
        topic: u8,
        keys: Vec<String>,
        version: i16,
    },
    Metadata {
        topics: Vec<u8>,
        version: i16,
    },
    Partitions {
        topics: Vec<u8>,
        limit: i32,
    },
    // Records.
    Produce {
        topic: u8,
        partition: i32,
        acks: i16,
        batch: Batch,
        version: i16,
    },
    Fetch {
        topic: u8,
        partitions: Vec<(i32, i64)>,
        max_bytes: i32,
        committed: bool,
        version: i16,
    },
    LongPoll {
        topic: u8,
        partition: i32,
        offset: i64,
        min_bytes: i32,
    },
    Session {
        add: Vec<(u8, i32, i64)>,
        forget: Vec<(u8, i32)>,
        epoch: SessionEpoch,
        version: i16,
    },
    Offsets {
        topic: u8,
        partition: i32,
        timestamp: i64,
        committed: bool,
        version: i16,
    },
    DeleteRecords {
        topic: u8,
        partition: i32,
        offset: i64,
        version: i16,
    },
    Epochs {
        topic: u8,
        partition: i32,
        current: i32,
        wanted: i32,
        version: i16,
    },
    InitProducer {
        producer: u8,
        goes_on: bool,
        version: i16,
    },
    // Groups.
    Join {
        group: u8,
        member: u8,
        named: bool,
        protocols: Vec<String>,
        /// What its subscription says, in the format of consumers; else its metadata is any text.
        reads: Option<Vec<u8>>,
        session_timeout_ms: i32,
        version: i16,
    },
    Sync {
        group: u8,
        member: u8,
        generation: i32,
        version: i16,
    },
    Beat {
        group: u8,
        member: u8,
        generation: i32,
        version: i16,
    },
    Leave {
        group: u8,
        member: u8,
        by_instance: bool,
        version: i16,
    },
    Commit {
        group: u8,
        member: Option<u8>,
        generation: i32,
        topic: u8,
        partition: i32,
        offset: i64,
        metadata: Option<String>,
        version: i16,
    },
    Committed {
        group: u8,
        topic: Option<u8>,
        stable: bool,
        version: i16,
    },
    Groups {
        groups: Vec<u8>,
        version: i16,
    },
    ListGroups {
        states: Vec<String>,
        version: i16,
    },
    DeleteGroups {
        groups: Vec<u8>,
        version: i16,
    },
    Txn(TxnOp),
    Consumer(ConsumerOp),
    Quota(QuotaOp),
}

/// What is produced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Batch {
    pub(crate) count: usize,
    /// Bytes of each value.
    pub(crate) size: usize,
    pub(crate) keys: bool,
    pub(crate) codec: String,
    /// Of the first record, from `T0` on.
    pub(crate) time: i64,
    pub(crate) producer: Option<Sequenced>,
}

/// Which producer, and how far its sequence and epoch are from the right ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sequenced {
    pub(crate) producer: u8,
    pub(crate) sequence: i32,
    pub(crate) epoch: i16,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum SessionEpoch {
    Open,
    Next,
    Again,
    Skip,
    Close,
}

/// The step after a change, if that makes it another one.
pub(super) fn changed<T: Clone + PartialEq>(op: &T, change: &dyn Fn(&mut T)) -> Option<T> {
    let mut other = op.clone();
    change(&mut other);
    (other != *op).then_some(other)
}

impl Op {
    /// The same step, one thing of it plainer.
    pub(super) fn plainer(&self) -> Vec<Self> {
        match self {
            Self::Txn(op) => return op.plainer().into_iter().map(Self::Txn).collect(),
            Self::Consumer(op) => return op.plainer().into_iter().map(Self::Consumer).collect(),
            Self::Quota(op) => return op.plainer().into_iter().map(Self::Quota).collect(),
            _ => {}
        }
        let mut all = Vec::new();
        let mut with = |change: &dyn Fn(&mut Self)| all.extend(changed(self, change));
        with(&|op| {
            if let Self::Produce { batch, .. } = op {
                *batch =
                    Batch { count: 1, size: 10, keys: true, codec: "none".into(), time: 0, ..batch.clone() };
            }
        });
        with(&|op| {
            if let Self::Produce { batch, .. } = op {
                batch.producer = None;
            }
        });
        with(&|op| match op {
            Self::Create { configs, .. } => _ = configs.pop(),
            Self::Metadata { topics, .. } | Self::Partitions { topics, .. } => topics.truncate(1),
            Self::Fetch { partitions, .. } => partitions.truncate(1),
            Self::Session { forget, .. } => _ = forget.pop(),
            Self::Join { protocols, .. } => protocols.truncate(1),
            Self::Groups { groups, .. } => groups.truncate(1),
            _ => {}
        });
        with(&|op| {
            if let Self::Create { configs, partitions, .. } = op {
                configs.clear();
                *partitions = 1;
            }
        });
        with(&|op| {
            if let Self::Session { add, .. } = op {
                _ = add.pop();
            }
        });
        all
    }
}

/// A step as a line of a script.
pub(super) fn line(op: &Op) -> String {
    serde_json::to_string(op).expect("plain data")
}

/// The steps of a script; lines with `#` are comments.
pub(super) fn parse(text: &str) -> Vec<Op> {
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn scripts_say_what_was_drawn() {
    for seed in 0..300 {
        let ops = super::draw::draw(seed, 30);
        let text: String = ops.iter().map(|op| line(op) + "\n").collect();
        assert_eq!(parse(&format!("# a comment\n{text}")), ops);
    }
}
