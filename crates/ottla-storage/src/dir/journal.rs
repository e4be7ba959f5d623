//! The journal of a log directory: one sequential file in which the ends of many logs become durable with one sync.
//!
//! Small appends to many partitions would cost a sync for each. Their bytes are written to their segments as always, and once more, together,
//! to the journal; the segments are synced when the journal's half is full. After a power failure [`LoadJob::run`](super::LoadJob::run) appends to
//! each log what it lost ([`Log::replay_journal`](crate::log::Log::replay_journal)). After a clean stop there is no journal, and after the
//! death of the process alone the segments have everything, so that what Kafka opens is always complete.
//!
//! # Format
//! Two files of equal, fixed size, written in turns from their beginning. An entry begins at a multiple of [`BLOCK`]: magic, CRC-32C of
//! what follows, length of the entry from its beginning, number of pieces, run (16 bytes, drawn at creation), sequence number of the entry; then
//! the pieces: length and name of the partition directory, topic id, first offset, offset after the last, length and bytes of the batches. All
//! big-endian. A half ends where an entry is not whole, not of this run, or not numbered one above the last.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use ottla_record::crc32c;
use ottla_types::{Offset, Uuid};

use crate::fs::{Fs, FsFile, OpenMode, exists, read_file, remove_file_if_exists};
use crate::log::{JournalTicket, VOID};

/// Names of the two files.
pub const JOURNAL_FILES: [&str; 2] = ["ottla-journal-0", "ottla-journal-1"];
/// Entries begin at its multiples, so that writing one never touches the blocks of another.
const BLOCK: u64 = 4096;
const MAGIC: u32 = 0x4f54_4a31;
/// Magic, checksum, length, number of pieces, run, sequence.
const HEADER_BYTES: usize = 4 + 4 + 4 + 4 + 16 + 8;
/// Length of the name, topic id, both offsets, length of the batches.
const PIECE_BYTES: usize = 2 + 16 + 8 + 8 + 4;
/// What the checksum does not cover.
const UNCHECKED_BYTES: usize = 8;
/// Bytes written at a time when the files are made.
const ZEROS: usize = 1 << 20;

/// The open journal of a log directory, for one writer.
#[derive(Debug)]
pub struct Journal {
    halves: [Half; 2],
    half_bytes: u64,
    /// Which half is written, and from where on.
    at: usize,
    position: u64,
    run: Uuid,
    sequence: u64,
    entry: Buffer,
}

#[derive(Debug)]
struct Half {
    file: Arc<dyn FsFile>,
    /// Whether nothing in it is needed any more.
    is_free: bool,
}

/// What [`Journal::commit`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The tickets are safe.
    Safe,
    /// They are safe, and the other half was begun: as soon as all that was committed before is durable in place,
    /// [`Journal::retired`] is due.
    Turned,
    /// There is no room before the other half is free: sync in place.
    Full,
}

impl Journal {
    /// Makes the files, of `half_bytes` each (rounded up to whole blocks), in place of those that are there. `run` is drawn anew each time. Slow.
    ///
    /// # Errors
    /// The disk, a full one most of all; nothing is left behind then.
    pub fn create(fs: &dyn Fs, dir: &Path, half_bytes: u64, run: Uuid) -> io::Result<Self> {
        remove_journal(fs, dir)?;
        let half_bytes = half_bytes.next_multiple_of(BLOCK);
        let [first, second] = journal_paths(dir).map(|path| create_half(fs, &path, half_bytes));
        let made = first.and_then(|first| Ok([first, second?])).and_then(|halves| {
            fs.sync_dir(dir)?;
            Ok(halves)
        });
        match made {
            Ok(halves) => Ok(Self {
                halves,
                half_bytes,
                at: 0,
                position: 0,
                run,
                sequence: 0,
                entry: Buffer::default(),
            }),
            Err(error) => {
                // The first error is the one to tell.
                let _ = remove_journal(fs, dir);
                Err(error)
            }
        }
    }

    /// Makes tickets safe with one write and one sync; those of logs that were cut since are passed over.
    ///
    /// # Errors
    /// The disk: nothing is known of what it has then, as after any failed sync.
    pub fn commit(&mut self, tickets: &[JournalTicket]) -> io::Result<Committed> {
        let tickets: Vec<_> = tickets.iter().filter(|ticket| !ticket.is_void()).collect();
        if tickets.is_empty() {
            return Ok(Committed::Safe);
        }
        let bytes = self.encode(&tickets)? as u64;
        let mut outcome = Committed::Safe;
        if self.position + bytes > self.half_bytes {
            let other = 1 - self.at;
            if bytes > self.half_bytes || !self.halves[other].is_free {
                return Ok(Committed::Full);
            }
            (self.at, self.position) = (other, 0);
            outcome = Committed::Turned;
        }
        let half = &mut self.halves[self.at];
        half.is_free = false;
        half.file.write_durably(self.entry.aligned(), self.position)?;
        self.position += bytes;
        self.sequence += 1;
        Ok(outcome)
    }

    /// All that was committed before the last [`Committed::Turned`] is durable in place.
    pub fn retired(&mut self) {
        self.halves[1 - self.at].is_free = true;
    }

    /// Makes an entry of tickets; its length in bytes, whole blocks.
    fn encode(&mut self, tickets: &[&JournalTicket]) -> io::Result<usize> {
        let pieces = tickets.iter().map(|ticket| PIECE_BYTES + ticket.name.len() + ticket.bytes as usize);
        let length = HEADER_BYTES + pieces.sum::<usize>();
        let entry = self.entry.begin(length.next_multiple_of(BLOCK as usize));
        let mut at = HEADER_BYTES;
        for ticket in tickets {
            let name_bytes = u16::try_from(ticket.name.len()).map_err(io::Error::other)?;
            put(entry, &mut at, &name_bytes.to_be_bytes());
            put(entry, &mut at, ticket.name.as_bytes());
            put(entry, &mut at, ticket.topic_id.as_bytes());
            put(entry, &mut at, &ticket.from.value().to_be_bytes());
            put(entry, &mut at, &ticket.to.value().to_be_bytes());
            put(entry, &mut at, &ticket.bytes.to_be_bytes());
            let batches = &mut entry[at..][..ticket.bytes as usize];
            // Fewer bytes only when the log is being cut, and then the ticket is void soon.
            let read = ticket.file.read_at(batches, ticket.position)?;
            batches[read..].fill(0);
            at += batches.len();
        }
        entry[length..].fill(0);
        let mut at = 0;
        put(entry, &mut at, &MAGIC.to_be_bytes());
        put(entry, &mut at, &[0; 4]);
        put(entry, &mut at, &u32::try_from(length).map_err(io::Error::other)?.to_be_bytes());
        put(entry, &mut at, &u32::try_from(tickets.len()).map_err(io::Error::other)?.to_be_bytes());
        put(entry, &mut at, self.run.as_bytes());
        put(entry, &mut at, &self.sequence.to_be_bytes());
        let crc = crc32c(&entry[UNCHECKED_BYTES..length]);
        entry[4..UNCHECKED_BYTES].copy_from_slice(&crc.to_be_bytes());
        Ok(entry.len())
    }
}

fn put(entry: &mut [u8], at: &mut usize, bytes: &[u8]) {
    entry[*at..][..bytes.len()].copy_from_slice(bytes);
    *at += bytes.len();
}

/// Memory for an entry, at an address that is a multiple of [`BLOCK`], which writing past the page cache needs.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// Room for an entry, with whatever it held before.
    fn begin(&mut self, len: usize) -> &mut [u8] {
        let most = len + BLOCK as usize - 1;
        if self.bytes.len() < most {
            self.bytes.resize(most, 0);
        }
        let start = self.bytes.as_ptr().align_offset(BLOCK as usize);
        // Nothing breaks if there is no such address in it: what needs one fails as any write.
        self.start = if start < BLOCK as usize { start } else { 0 };
        self.len = len;
        &mut self.bytes[self.start..][..len]
    }

    fn aligned(&self) -> &[u8] {
        &self.bytes[self.start..][..self.len]
    }
}

/// A half full of zeros, whose size and blocks do not change any more: a sync has only the bytes of entries to write.
fn create_half(fs: &dyn Fs, path: &Path, half_bytes: u64) -> io::Result<Half> {
    let file = fs.open(path, OpenMode::CreateOrOpen)?;
    let zeros = vec![0; ZEROS.min(usize::try_from(half_bytes).unwrap_or(ZEROS))];
    for position in (0..half_bytes).step_by(ZEROS) {
        let left = usize::try_from(half_bytes - position).unwrap_or(ZEROS);
        file.write_at(&zeros[..left.min(zeros.len())], position)?;
    }
    file.sync_data()?;
    drop(file);
    Ok(Half { file: open_direct(fs, path)?, is_free: true })
}

/// Opens a half to be written past the page cache, where the file system can do that.
fn open_direct(fs: &dyn Fs, path: &Path) -> io::Result<Arc<dyn FsFile>> {
    if let Ok(file) = fs.open_direct(path) {
        // Some file systems refuse only the writing.
        let mut zeros = Buffer::default();
        zeros.begin(BLOCK as usize).fill(0);
        if file.write_durably(zeros.aligned(), 0).is_ok() {
            return Ok(file);
        }
    }
    fs.open(path, OpenMode::Write)
}

/// Removes the journal of a directory whose logs are durable in place: the older half first, since what it says of a log may be void
/// by what the newer one says.
///
/// # Errors
/// As the operating system's open, unlink and fsync.
pub fn remove_journal(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    let mut there = Vec::new();
    for path in journal_paths(dir) {
        if exists(fs, &path)? {
            there.push((first_sequence(fs, &path)?, path));
        }
    }
    there.sort();
    for (_, path) in there {
        remove_file_if_exists(fs, &path)?;
        fs.sync_dir(dir)?;
    }
    Ok(())
}

/// The number of the first entry of a half; `None` where there is none.
fn first_sequence(fs: &dyn Fs, path: &Path) -> io::Result<Option<u64>> {
    let mut header = [0; HEADER_BYTES];
    let read = fs.open(path, OpenMode::Read)?.read_at(&mut header, 0)?;
    let mut header = &header[..read];
    if header.len() < HEADER_BYTES || header.get_u32() != MAGIC {
        return Ok(None);
    }
    header.advance(HEADER_BYTES - 4 - 8);
    Ok(Some(header.get_u64()))
}

/// What a journal knows of one log, oldest first.
type Pieces = Vec<Piece>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    topic_id: Uuid,
    from: Offset,
    to: Offset,
    batches: Bytes,
}

/// The contents of a journal that was left behind, by partition directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalContents(BTreeMap<String, Pieces>);

impl JournalContents {
    /// Reads the journal of a directory; empty where there is none.
    ///
    /// # Errors
    /// The disk.
    pub fn read(fs: &dyn Fs, dir: &Path) -> io::Result<Self> {
        let mut halves = Vec::new();
        for path in journal_paths(dir) {
            match read_file(fs, &path, u64::from(u32::MAX)) {
                Ok(bytes) => halves.push(read_half(&Bytes::from(bytes))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        halves.sort_by_key(|half| half.first().map(|(sequence, _)| *sequence));
        let mut contents: BTreeMap<String, Pieces> = BTreeMap::new();
        for (name, piece) in halves.into_iter().flatten().flat_map(|(_, pieces)| pieces) {
            let pieces = contents.entry(name).or_default();
            if piece.from == VOID {
                pieces.retain(|earlier: &Piece| earlier.from < piece.to);
                pieces.iter_mut().for_each(|earlier| earlier.to = earlier.to.min(piece.to));
            } else {
                pieces.push(piece);
            }
        }
        Ok(Self(contents))
    }

    /// Whether anything of the log in a partition directory is in it.
    pub fn knows(&self, dir: &Path) -> bool {
        self.0.contains_key(name_of(dir))
    }

    /// What was written of the log in a partition directory, if that still belongs to the same topic: first offset, offset after
    /// the last, batches.
    pub fn of<'a>(
        &'a self,
        dir: &Path,
        topic_id: Option<Uuid>,
    ) -> impl Iterator<Item = (Offset, Offset, &'a [u8])> + use<'a> {
        let pieces = self.0.get(name_of(dir)).into_iter().flatten();
        let same = pieces.filter(move |piece| Some(piece.topic_id) == topic_id);
        same.map(|piece| (piece.from, piece.to, piece.batches.as_ref()))
    }
}

fn name_of(dir: &Path) -> &str {
    dir.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// The entries of a half with their sequence numbers.
fn read_half(bytes: &Bytes) -> Vec<(u64, Vec<(String, Piece)>)> {
    let mut entries: Vec<(u64, Vec<(String, Piece)>)> = Vec::new();
    let (mut position, mut run) = (0, None);
    while let Some((entry, length)) = read_entry(bytes.slice(position..)) {
        let follows = entries.last().is_none_or(|(last, _)| entry.sequence == last + 1);
        if !follows || run.is_some_and(|run| run != entry.run) {
            break;
        }
        run = Some(entry.run);
        entries.push((entry.sequence, entry.pieces));
        position = (position + length).next_multiple_of(BLOCK as usize).min(bytes.len());
    }
    entries
}

struct Entry {
    run: Uuid,
    sequence: u64,
    pieces: Vec<(String, Piece)>,
}

/// The entry at the beginning of `bytes` with its length, if it is whole.
fn read_entry(bytes: Bytes) -> Option<(Entry, usize)> {
    let mut header = bytes.get(..HEADER_BYTES)?;
    let (magic, crc, length, count) =
        (header.get_u32(), header.get_u32(), header.get_u32() as usize, header.get_u32());
    let run = Uuid::from_bytes(header.get(..16)?.try_into().ok()?);
    header.advance(16);
    let sequence = header.get_u64();
    if magic != MAGIC || length < HEADER_BYTES || crc32c(bytes.get(UNCHECKED_BYTES..length)?) != crc {
        return None;
    }
    let mut rest = bytes.slice(HEADER_BYTES..length);
    let mut pieces = Vec::new();
    for _ in 0..count {
        pieces.push(read_piece(&mut rest)?);
    }
    Some((Entry { run, sequence, pieces }, length))
}

fn read_piece(rest: &mut Bytes) -> Option<(String, Piece)> {
    let name_bytes = usize::from(rest.try_get_u16().ok()?);
    let name = take(rest, name_bytes)?;
    let name = std::str::from_utf8(&name).ok()?.to_owned();
    let topic_id = Uuid::from_bytes(take(rest, 16)?.as_ref().try_into().ok()?);
    let (from, to) = (rest.try_get_i64().ok()?, rest.try_get_i64().ok()?);
    let bytes = rest.try_get_u32().ok()? as usize;
    let batches = take(rest, bytes)?;
    Some((name, Piece { topic_id, from: Offset(from), to: Offset(to), batches }))
}

fn take(rest: &mut Bytes, bytes: usize) -> Option<Bytes> {
    (bytes <= rest.len()).then(|| rest.split_to(bytes))
}

/// Where the files of a journal are.
fn journal_paths(dir: &Path) -> [PathBuf; 2] {
    JOURNAL_FILES.map(|name| dir.join(name))
}
