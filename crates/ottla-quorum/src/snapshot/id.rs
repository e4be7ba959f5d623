//! Names of snapshot files.

use std::fmt;

use ottla_types::{LeaderEpoch, Offset};

/// What a snapshot covers: everything below `end_offset`, the last of which was appended in `epoch`.
///
/// Ordered by epoch first, as Kafka orders them (`OffsetAndEpoch`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SnapshotId {
    /// End of what is covered, exclusive; at a batch boundary.
    pub end_offset: Offset,
    /// Epoch of the last covered batch.
    pub epoch: LeaderEpoch,
}

impl SnapshotId {
    /// The snapshot that formatting writes; never replicated.
    pub const BOOTSTRAP: Self = Self { end_offset: Offset::ZERO, epoch: LeaderEpoch(0) };

    /// Name of the file, without a suffix: twenty and ten digits.
    fn stem(self) -> String {
        format!("{:020}-{:010}", self.end_offset.0, self.epoch.0)
    }

    /// Name of the finished file.
    pub fn file_name(self) -> String {
        format!("{}.checkpoint", self.stem())
    }

    /// Name while it is being written; `nonce` keeps two writers apart.
    pub fn partial_file_name(self, nonce: u64) -> String {
        format!("{}-{nonce}.checkpoint.part", self.stem())
    }

    /// Name from the decision to remove it until it is removed.
    pub fn deleted_file_name(self) -> String {
        format!("{}.checkpoint.deleted", self.stem())
    }
}

impl Ord for SnapshotId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.epoch, self.end_offset).cmp(&(other.epoch, other.end_offset))
    }
}

impl PartialOrd for SnapshotId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stem())
    }
}

/// In which state a snapshot file is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotFile {
    /// Complete and readable.
    Finished(SnapshotId),
    /// Being written, or left behind by a crash.
    Partial,
    /// To be removed.
    Deleted,
}

impl SnapshotFile {
    /// Reads a file name; `None` when it is no snapshot's.
    pub fn parse(name: &str) -> Option<Self> {
        if name.ends_with(".checkpoint.part") {
            return id_at_start(name).map(|_| Self::Partial);
        }
        if name.ends_with(".checkpoint.deleted") {
            return id_at_start(name).map(|_| Self::Deleted);
        }
        let stem = name.strip_suffix(".checkpoint")?;
        if stem.len() != 31 {
            return None;
        }
        id_at_start(stem).map(Self::Finished)
    }
}

fn id_at_start(name: &str) -> Option<SnapshotId> {
    let digits = |range: std::ops::Range<usize>| {
        name.get(range).filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
    };
    let end_offset = digits(0..20)?.parse().ok()?;
    if name.as_bytes().get(20) != Some(&b'-') {
        return None;
    }
    let epoch = digits(21..31)?.parse().ok()?;
    Some(SnapshotId { end_offset: Offset(end_offset), epoch: LeaderEpoch(epoch) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        let id = SnapshotId { end_offset: Offset(88), epoch: LeaderEpoch(1) };
        assert_eq!(id.file_name(), "00000000000000000088-0000000001.checkpoint");
        assert_eq!(SnapshotFile::parse(&id.file_name()), Some(SnapshotFile::Finished(id)));
        assert_eq!(SnapshotFile::parse(&id.partial_file_name(u64::MAX)), Some(SnapshotFile::Partial));
        assert_eq!(SnapshotFile::parse(&id.deleted_file_name()), Some(SnapshotFile::Deleted));
        for other in
            ["bootstrap.checkpoint", "x.checkpoint", "recovery-point-offset-checkpoint", ".checkpoint"]
        {
            assert_eq!(SnapshotFile::parse(other), None, "{other}");
        }
        assert_eq!(SnapshotFile::parse("0000000000000000008é-0000000001.checkpoint"), None);
        assert_eq!(SnapshotFile::parse("99999999999999999999-0000000001.checkpoint"), None);
    }
}
