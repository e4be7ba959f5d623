//! `.txnindex`: the aborted transactions whose markers lie in a segment, for read_committed consumers
//! (`TransactionIndex`). 34-byte entries; the file exists only where a transaction was aborted.

use std::io;

use ottla_types::{Offset, ProducerId};

use crate::fs::FsFile;

/// Bytes of an entry.
pub(crate) const ENTRY_LEN: usize = 34;

/// An aborted transaction of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTxn {
    /// Its producer.
    pub producer_id: ProducerId,
    /// Offset of its first record.
    pub first_offset: Offset,
    /// Offset of its abort marker.
    pub last_offset: Offset,
    /// The last stable offset after the abort: the start of the oldest other open transaction, or the offset after the
    /// marker.
    pub last_stable_offset: Offset,
}

impl AbortedTxn {
    pub(crate) fn encode(&self) -> [u8; ENTRY_LEN] {
        let mut bytes = [0; ENTRY_LEN];
        let fields =
            [self.producer_id.value(), self.first_offset.0, self.last_offset.0, self.last_stable_offset.0];
        for (chunk, field) in bytes[2..].chunks_exact_mut(8).zip(fields) {
            chunk.copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, fields) = bytes.split_first_chunk::<2>()?;
        if i16::from_be_bytes(*version) > 0 {
            return None;
        }
        let mut fields = fields.chunks_exact(8).map(|chunk| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(chunk);
            i64::from_be_bytes(bytes)
        });
        Some(Self {
            producer_id: ProducerId(fields.next()?),
            first_offset: Offset(fields.next()?),
            last_offset: Offset(fields.next()?),
            last_stable_offset: Offset(fields.next()?),
        })
    }
}

/// The entries of one segment, in the order of their markers.
#[derive(Debug, Default)]
pub(crate) struct TxnIndex {
    entries: Vec<AbortedTxn>,
}

impl TxnIndex {
    /// Reads a file. A partial last entry is ignored, as Kafka does; an unknown version or a marker below the segment
    /// is an error, after which the segment is to be recovered.
    pub(crate) fn open(base: Offset, bytes: &[u8]) -> Result<Self, String> {
        let mut entries = Vec::with_capacity(bytes.len() / ENTRY_LEN);
        for chunk in bytes.chunks_exact(ENTRY_LEN) {
            let entry = AbortedTxn::decode(chunk).ok_or("an entry has an unknown version")?;
            if entry.last_offset < base {
                return Err(format!("marker offset {} is below the segment's base", entry.last_offset));
            }
            entries.push(entry);
        }
        Ok(Self { entries })
    }

    /// Adds and writes an entry.
    pub(crate) fn append(&mut self, file: &dyn FsFile, entry: AbortedTxn) -> io::Result<()> {
        file.write_at(&entry.encode(), (self.entries.len() * ENTRY_LEN) as u64)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Drops transactions whose marker is at or above `offset`.
    pub(crate) fn truncate(&mut self, file: &dyn FsFile, offset: Offset) -> io::Result<()> {
        let keep = self.entries.partition_point(|entry| entry.last_offset < offset);
        self.entries.truncate(keep);
        file.set_len((keep * ENTRY_LEN) as u64)
    }

    /// Adds to `found` what a reader of `[from, upper)` must skip; `true` when later segments need not be asked.
    pub(crate) fn collect(&self, from: Offset, upper: Offset, found: &mut Vec<AbortedTxn>) -> bool {
        for entry in &self.entries {
            if entry.last_offset >= from && entry.first_offset < upper {
                found.push(*entry);
            }
            if entry.last_stable_offset >= upper {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn txn(pid: i64, first: i64, last: i64, lso: i64) -> AbortedTxn {
        AbortedTxn {
            producer_id: ProducerId(pid),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(lso),
        }
    }

    #[test]
    fn entry_has_kafkas_bytes() {
        let entry = txn(7, 100, 200, 201);
        let hex: String = entry.encode().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "00000000000000000007000000000000006400000000000000c800000000000000c9");
        assert_eq!(AbortedTxn::decode(&entry.encode()), Some(entry));
    }

    #[test]
    fn refuses_unknown_version_and_foreign_offsets() {
        let mut bytes = txn(7, 100, 200, 201).encode();
        assert!(TxnIndex::open(Offset(201), &bytes).is_err());
        assert_eq!(TxnIndex::open(Offset(0), &bytes[..30]).unwrap().entries.len(), 0);
        bytes[1] = 1;
        assert!(TxnIndex::open(Offset(0), &bytes).is_err());
    }

    #[test]
    fn collects_overlapping_transactions_and_stops_when_stable() {
        let index = TxnIndex { entries: vec![txn(1, 0, 10, 11), txn(2, 5, 20, 15), txn(3, 15, 40, 41)] };
        let mut found = Vec::new();
        assert!(index.collect(Offset(11), Offset(15), &mut found));
        assert_eq!(found, [txn(2, 5, 20, 15)]);
        found.clear();
        assert!(!index.collect(Offset(0), Offset(100), &mut found));
        assert_eq!(found.len(), 3);
    }
}
