//! Offset checkpoints: text files with one `topic partition offset` per line (`CheckpointFile`, `OffsetCheckpointFile`).
//!
//! Line 1 is the version 0, line 2 the number of entries. A file with nothing, or only the version, has no entries: Kafka
//! creates them empty.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ottla_types::{Offset, TopicPartition};

use crate::fs::{Fs, read_file, replace_file};

/// Recovery points: below them nothing needs to be read after a crash.
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
/// Log start offsets that are not the base of the first segment.
pub const LOG_START_CHECKPOINT: &str = "log-start-offset-checkpoint";
/// High watermarks.
pub const HIGH_WATERMARK_CHECKPOINT: &str = "replication-offset-checkpoint";
/// First offsets that compaction has not cleaned.
pub const CLEANER_CHECKPOINT: &str = "cleaner-offset-checkpoint";

const VERSION: i32 = 0;
/// Limit for reading: a million partitions with long names.
const MAX_BYTES: u64 = 256 << 20;

/// What a checkpoint holds.
pub type PartitionOffsets = BTreeMap<TopicPartition, Offset>;

/// Why a checkpoint could not be read. Each of these takes its log directory offline.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The operating system refused.
    #[error("cannot read checkpoint {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Written by something newer.
    #[error("checkpoint {} has version {found}, expected {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version in it.
        found: i32,
    },
    /// A line that is not what belongs there.
    #[error("malformed line {line_number} in checkpoint {}: {line:?}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line_number: usize,
        /// The line, at most its first hundred characters.
        line: String,
    },
    /// More or fewer lines than line 2 says.
    #[error("checkpoint {} says {expected} entries but has {found}", path.display())]
    Count {
        /// The file.
        path: PathBuf,
        /// The number in line 2.
        expected: i64,
        /// The lines that follow.
        found: usize,
    },
}

/// One checkpoint file. Reads and writes are whole; writers take turns.
#[derive(Debug)]
pub struct CheckpointFile {
    path: PathBuf,
    turn: Mutex<()>,
}

impl CheckpointFile {
    /// The checkpoint of that name in a log directory; it need not exist.
    pub fn new(dir: &Path, name: &str) -> Self {
        Self { path: dir.join(name), turn: Mutex::new(()) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The entries; none when there is no file. Of two entries for one partition the later counts.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn read(&self, fs: &dyn Fs) -> Result<PartitionOffsets, CheckpointError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.read_in_turn(fs)
    }

    /// Replaces the entries, atomically and durably.
    ///
    /// # Errors
    /// As [`replace_file`].
    pub fn write(&self, fs: &dyn Fs, entries: &PartitionOffsets) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        replace_file(fs, &self.path, format(entries).as_bytes())
    }

    /// Changes the entries as one step, nobody else's write coming in between.
    ///
    /// # Errors
    /// As [`CheckpointFile::read`] and [`CheckpointFile::write`].
    pub fn update(
        &self,
        fs: &dyn Fs,
        change: impl FnOnce(&mut PartitionOffsets),
    ) -> Result<(), CheckpointError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = self.read_in_turn(fs)?;
        change(&mut entries);
        replace_file(fs, &self.path, format(&entries).as_bytes())
            .map_err(|source| CheckpointError::Io { path: self.path.clone(), source })
    }

    fn read_in_turn(&self, fs: &dyn Fs) -> Result<PartitionOffsets, CheckpointError> {
        let io_error = |source| CheckpointError::Io { path: self.path.clone(), source };
        let bytes = match read_file(fs, &self.path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(PartitionOffsets::new()),
            Err(e) => return Err(io_error(e)),
        };
        let text = String::from_utf8(bytes)
            .map_err(|e| io_error(io::Error::new(io::ErrorKind::InvalidData, e.utf8_error())))?;
        parse(&text, &self.path)
    }
}

fn format(entries: &PartitionOffsets) -> String {
    let mut text = format!("{VERSION}\n{}\n", entries.len());
    for (partition, offset) in entries {
        writeln!(text, "{} {} {offset}", partition.topic, partition.partition)
            .expect("a string takes everything");
    }
    text
}

fn parse(text: &str, path: &Path) -> Result<PartitionOffsets, CheckpointError> {
    let mut lines = lines(text).enumerate();
    let malformed = |index: usize, line: &str| CheckpointError::Malformed {
        path: path.to_owned(),
        line_number: index + 1,
        line: line.chars().take(100).collect(),
    };
    let mut entries = PartitionOffsets::new();
    let Some((index, line)) = lines.next() else { return Ok(entries) };
    let found: i32 = line.parse().map_err(|_| malformed(index, line))?;
    if found != VERSION {
        return Err(CheckpointError::Version { path: path.to_owned(), found });
    }
    let Some((index, line)) = lines.next() else { return Ok(entries) };
    let expected: i32 = line.parse().map_err(|_| malformed(index, line))?;
    let mut found = 0;
    for (index, line) in lines {
        let (partition, offset) = entry(line).ok_or_else(|| malformed(index, line))?;
        entries.insert(partition, offset);
        found += 1;
    }
    if i64::try_from(found) == Ok(i64::from(expected)) {
        Ok(entries)
    } else {
        Err(CheckpointError::Count { path: path.to_owned(), expected: i64::from(expected), found })
    }
}

/// Lines as Java's `BufferedReader` cuts them: at `\n`, `\r` or `\r\n`, and no empty one after the last.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let (line, tail) = rest.split_at(end);
        rest = tail.strip_prefix("\r\n").or_else(|| tail.get(1..)).unwrap_or_default();
        Some(line)
    })
}

/// `topic partition offset`, white space between and behind, none in front.
fn entry(line: &str) -> Option<(TopicPartition, Offset)> {
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\u{b}' | '\u{c}');
    if line.starts_with(is_space) {
        return None;
    }
    let mut fields = line.split(is_space).filter(|field| !field.is_empty());
    let (topic, partition, offset) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() {
        return None;
    }
    Some((TopicPartition::new(topic, partition.parse().ok()?), Offset(offset.parse().ok()?)))
}
