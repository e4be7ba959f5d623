//! The batches of a segment or snapshot file, read without changing anything.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::Context as _;
use ottla_record::{BatchHeader, HEADER_LEN, RecordError};

/// Bytes read at once when headers lie close together.
const WINDOW: usize = 16 * 1024;
/// Largest batch that is read whole: no broker takes one as large as a segment can be.
const MAX_BATCH_BYTES: usize = 512 << 20;

/// Why there is no next batch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadBatch {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Record(#[from] RecordError),
}

/// Batches from a file's start to its end.
#[derive(Debug)]
pub(crate) struct BatchFile {
    file: File,
    len: u64,
    position: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl BatchFile {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let len = file.metadata().with_context(|| format!("reading {}", path.display()))?.len();
        Ok(Self { file, len, position: 0, window: Vec::new(), window_at: 0 })
    }

    /// Where the next batch starts.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes from a position to the end.
    pub(crate) fn bytes_from(&self, position: u64) -> u64 {
        self.len.saturating_sub(position)
    }

    /// The header at the position, and moves behind its batch. `None` at the end of the file.
    pub(crate) fn next_header(&mut self) -> Result<Option<(u64, BatchHeader<'_>)>, BadBatch> {
        let position = self.position;
        let left = self.len.saturating_sub(position);
        if left == 0 {
            return Ok(None);
        }
        let need = (HEADER_LEN as u64).min(left);
        let is_here =
            position >= self.window_at && position + need <= self.window_at + self.window.len() as u64;
        if !is_here {
            let len = (WINDOW as u64).min(left);
            self.window.resize(usize::try_from(len).unwrap_or(WINDOW), 0);
            self.file.read_exact_at(&mut self.window, position)?;
            self.window_at = position;
        }
        let start = usize::try_from(position - self.window_at).unwrap_or(usize::MAX);
        let header = BatchHeader::parse(self.window.get(start..).unwrap_or_default())?;
        let size = header.size_in_bytes() as u64;
        if size > left {
            let have = usize::try_from(left).unwrap_or(usize::MAX);
            return Err(RecordError::Incomplete { need: header.size_in_bytes(), have }.into());
        }
        self.position = position + size;
        Ok(Some((position, header)))
    }

    /// The next batch whole, and its position. `None` at the end of the file.
    pub(crate) fn next_batch(&mut self) -> Result<Option<(u64, Vec<u8>)>, BadBatch> {
        let Some((position, size)) = self.next_header()?.map(|(at, header)| (at, header.size_in_bytes()))
        else {
            return Ok(None);
        };
        if size > MAX_BATCH_BYTES {
            return Err(
                io::Error::other(format!("a batch of {size} bytes is too large to be read whole")).into()
            );
        }
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, position)?;
        Ok(Some((position, bytes)))
    }
}

/// The base offset in the name of a partition's file, and what follows it.
pub(crate) fn base_and_extension(path: &Path) -> Option<(i64, &str)> {
    let (base, extension) = path.file_name()?.to_str()?.split_once('.')?;
    let is_base = base.len() == 20 && base.bytes().all(|digit| digit.is_ascii_digit());
    Some((is_base.then(|| base.parse().ok())??, extension))
}
