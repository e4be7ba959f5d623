//! The indexes of a segment and the snapshots of its producers.

use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use ottla_record::{BatchHeader, HEADER_LEN};

use super::Health;

const OFFSET_ENTRY: usize = 8;
const TIME_ENTRY: usize = 12;
const TXN_ENTRY: usize = 34;
const PRODUCER_ENTRY: usize = 46;
const PRODUCER_HEADER: usize = 10;
/// Bytes from which on the checksum of a producer snapshot counts.
const CRC_FROM: usize = 6;
/// An index is at most as large as Kafka lets it be configured, 2 GiB; one that is larger is none.
const MAX_BYTES: u64 = 2 << 30;

/// What is done with an index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checks {
    /// Only what a start checks.
    pub(super) sanity: bool,
    /// Print mismatches only.
    pub(super) quiet: bool,
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let reading = || format!("reading {}", path.display());
    let size = std::fs::metadata(path).with_context(reading)?.len();
    anyhow::ensure!(size <= MAX_BYTES, "{} is too large for what it should be: {size} bytes", path.display());
    std::fs::read(path).with_context(reading)
}

/// Fields of an entry, in order.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk::<N>().map_or(([0; N], &[][..]), |(f, rest)| (*f, rest));
        self.0 = rest;
        field
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }

    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }
}

/// As a start checks it: whole entries, and a last one that lies in the segment.
fn sanity(path: &Path, is_sane: bool, out: &mut impl Write) -> anyhow::Result<Health> {
    if is_sane {
        writeln!(out, "{} passed sanity check.", path.display())?;
        return Ok(Health::Good);
    }
    writeln!(out, "{} is corrupt: a start makes it anew", path.display())?;
    Ok(Health::Damaged)
}

/// `.index`
pub(super) fn offsets(
    path: &Path,
    base: i64,
    checks: Checks,
    out: &mut impl Write,
) -> anyhow::Result<Health> {
    let bytes = read(path)?;
    let entries: Vec<(i64, u32)> = bytes
        .chunks_exact(OFFSET_ENTRY)
        .map(|entry| {
            let mut fields = Fields(entry);
            (base.saturating_add(fields.i32().into()), fields.i32().cast_unsigned())
        })
        .collect();
    if checks.sanity {
        let last = entries.last().is_none_or(|(offset, _)| *offset > base);
        return sanity(path, bytes.len() % OFFSET_ENTRY == 0 && last, out);
    }
    let segment = std::fs::File::open(path.with_extension("log")).ok();
    let mut mismatches = Vec::new();
    for (offset, position) in entries {
        // A tail of zeros that was never trimmed.
        if position == 0 && offset == base {
            break;
        }
        if let Some(segment) = &segment {
            let found = last_offset_at(segment, position.into());
            if found != Some(offset) {
                mismatches.push((offset, found));
            }
        }
        if !checks.quiet {
            writeln!(out, "offset: {offset} position: {position}")?;
        }
    }
    if mismatches.is_empty() {
        return Ok(Health::Good);
    }
    writeln!(out, "Mismatches in :{}", path.display())?;
    for (offset, found) in mismatches {
        let found = found.map_or("no batch".to_owned(), |found| found.to_string());
        writeln!(out, "  Index offset: {offset}, log offset: {found}")?;
    }
    Ok(Health::Damaged)
}

/// The last offset of the batch at a position of a segment.
fn last_offset_at(segment: &std::fs::File, position: u64) -> Option<i64> {
    use std::os::unix::fs::FileExt as _;
    let mut header = [0; HEADER_LEN];
    segment.read_exact_at(&mut header, position).ok()?;
    BatchHeader::parse(&header).ok().map(|header| header.last_offset().value())
}

/// `.timeindex`
pub(super) fn times(path: &Path, base: i64, checks: Checks, out: &mut impl Write) -> anyhow::Result<Health> {
    let bytes = read(path)?;
    let entries: Vec<(i64, i64)> = bytes
        .chunks_exact(TIME_ENTRY)
        .map(|entry| {
            let mut fields = Fields(entry);
            (fields.i64(), base.saturating_add(fields.i32().into()))
        })
        .collect();
    let first_time = entries.first().map_or(i64::MIN, |(time, _)| *time);
    if checks.sanity {
        let last = entries.last().is_none_or(|(time, offset)| *time >= first_time && *offset >= base);
        return sanity(path, bytes.len() % TIME_ENTRY == 0 && last, out);
    }
    let mut health = Health::Good;
    let mut before = i64::MIN;
    for (timestamp, offset) in entries {
        if !checks.quiet {
            writeln!(out, "timestamp: {timestamp} offset: {offset}")?;
        }
        if timestamp < before {
            writeln!(out, "Found out of order timestamp in :{}", path.display())?;
            writeln!(out, "  Index timestamp: {timestamp}, Previously indexed timestamp: {before}")?;
            health = Health::Damaged;
        }
        before = timestamp;
    }
    Ok(health)
}

/// `.txnindex`
pub(super) fn aborted(path: &Path, out: &mut impl Write) -> anyhow::Result<Health> {
    let bytes = read(path)?;
    for entry in bytes.chunks_exact(TXN_ENTRY) {
        let mut fields = Fields(entry);
        let version = fields.i16();
        let [producer, first, last, stable] = [(); 4].map(|()| fields.i64());
        writeln!(
            out,
            "version: {version} producerId: {producer} firstOffset: {first} lastOffset: {last} lastStableOffset: {stable}"
        )?;
    }
    if bytes.len() % TXN_ENTRY == 0 {
        return Ok(Health::Good);
    }
    writeln!(out, "Found {} invalid bytes at the end of {}", bytes.len() % TXN_ENTRY, path.display())?;
    Ok(Health::Damaged)
}

/// `.snapshot`
pub(super) fn producers(path: &Path, out: &mut impl Write) -> anyhow::Result<Health> {
    let bytes = read(path)?;
    let mut header = Fields(&bytes);
    let (version, crc, count) = (header.i16(), header.i32().cast_unsigned(), header.i32());
    let entries = bytes.get(PRODUCER_HEADER..).unwrap_or_default();
    let covered = bytes.get(CRC_FROM..).unwrap_or_default();
    let is_whole = version == 1
        && crc == ottla_record::crc32c(covered)
        && usize::try_from(count).is_ok_and(|count| count.checked_mul(PRODUCER_ENTRY) == Some(entries.len()));
    if !is_whole {
        writeln!(out, "{} is corrupt: a start makes it anew", path.display())?;
        return Ok(Health::Damaged);
    }
    for entry in entries.chunks_exact(PRODUCER_ENTRY) {
        let mut fields = Fields(entry);
        let (id, epoch, last_sequence) = (fields.i64(), fields.i16(), fields.i32());
        let (last_offset, delta, timestamp) = (fields.i64(), fields.i32(), fields.i64());
        let (coordinator_epoch, first) = (fields.i32(), fields.i64());
        let first =
            if first < 0 { "OptionalLong.empty".to_owned() } else { format!("OptionalLong[{first}]") };
        write!(
            out,
            "producerId: {id} producerEpoch: {epoch} coordinatorEpoch: {coordinator_epoch} currentTxnFirstOffset: {first} \
             lastTimestamp: {timestamp} "
        )?;
        if last_offset >= 0 {
            write!(
                out,
                "firstSequence: {} lastSequence: {last_sequence} lastOffset: {last_offset} offsetDelta: {delta} timestamp: {timestamp}",
                first_sequence(last_sequence, delta)
            )?;
        }
        writeln!(out)?;
    }
    Ok(Health::Good)
}

/// Sequences go on at 0 after 2^31-1 (`DefaultRecordBatch.decrementSequence`). A batch without a sequence (-1), as offsets in a
/// transaction are, is counted back from there too.
fn first_sequence(last: i32, delta: i32) -> i64 {
    let first = i64::from(last) - i64::from(delta);
    if first < 0 { first + i64::from(i32::MAX) + 1 } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap() {
        assert_eq!(first_sequence(11, 1), 10);
        assert_eq!(first_sequence(1, 3), i64::from(i32::MAX) - 1);
        assert_eq!(first_sequence(-1, 0), i64::from(i32::MAX));
    }
}
