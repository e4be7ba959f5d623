//! What control records are about.

/// What a control record says, by the type in its key (`ControlRecordType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum ControlType {
    /// The transaction of the batch's producer is aborted.
    Abort = 0,
    /// The transaction of the batch's producer is committed.
    Commit = 1,
    /// A leader epoch of the metadata quorum begins (KIP-595).
    LeaderChange = 2,
    /// First record of a metadata snapshot (KIP-630).
    SnapshotHeader = 3,
    /// Last record of a metadata snapshot.
    SnapshotFooter = 4,
    /// The level of `kraft.version` (KIP-853).
    KRaftVersion = 5,
    /// The voters of the metadata quorum (KIP-853).
    KRaftVoters = 6,
}

impl ControlType {
    /// The type of a number in a key; `None` for those of other releases, which readers skip.
    pub const fn from_code(code: i16) -> Option<Self> {
        Some(match code {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KRaftVersion,
            6 => Self::KRaftVoters,
            _ => return None,
        })
    }

    /// The number in a key.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The key of such a control record: version 0 and the type.
    pub const fn key(self) -> [u8; 4] {
        let [high, low] = self.code().to_be_bytes();
        [0, 0, high, low]
    }
}
