//! Walking the batches of a segment file: headers only, or whole batches.

use std::io;

use ottla_record::{BatchHeader, BatchView, HEADER_LEN, LOG_OVERHEAD, RecordError};

use crate::fs::FsFile;

/// Bytes read at once when headers lie close together.
const WINDOW: usize = 8 * 1024;
/// Bytes read at once when they do not.
const NARROW_WINDOW: usize = 128;
/// Bytes read at once by a scan of whole batches.
const BATCH_WINDOW: usize = 1 << 20;

/// What stops a scan before the end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("at byte {position}: {source}")]
    Corrupt { position: u64, source: RecordError },
}

/// Headers from a position to the end, read with few and small reads.
pub(crate) struct HeaderScan<'a> {
    file: &'a dyn FsFile,
    /// Where the next batch starts.
    position: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> HeaderScan<'a> {
    pub(crate) fn new(file: &'a dyn FsFile, position: u64, end: u64) -> Self {
        Self { file, position, end, window: Vec::new(), window_at: 0 }
    }

    /// The next header and the position of its batch. A batch cut off by the end is an error.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, BatchHeader<'_>)>, ScanError> {
        let position = self.position;
        if position >= self.end {
            return Ok(None);
        }
        let need = (HEADER_LEN as u64).min(self.end - position);
        let offset_in_window = position.checked_sub(self.window_at);
        let buffered = offset_in_window.is_some_and(|at| at + need <= self.window.len() as u64);
        if !buffered {
            // A first read is wide; after a jump over a whole window batches are large, and headers far apart.
            let jumped = !self.window.is_empty() && position > self.window_at + WINDOW as u64;
            let len = if jumped { NARROW_WINDOW } else { WINDOW };
            self.window.resize((len as u64).min(self.end - position) as usize, 0);
            let read = self.file.read_at(&mut self.window, position)?;
            self.window.truncate(read);
            self.window_at = position;
        }
        let start = usize::try_from(position - self.window_at).unwrap_or(usize::MAX);
        let bytes = self.window.get(start..).unwrap_or_default();
        let corrupt = |source| ScanError::Corrupt { position, source };
        let header = BatchHeader::parse(bytes).map_err(corrupt)?;
        let next = position + header.size_in_bytes() as u64;
        if next > self.end {
            let have = usize::try_from(self.end - position).unwrap_or(usize::MAX);
            return Err(corrupt(RecordError::Incomplete { need: header.size_in_bytes(), have }));
        }
        self.position = next;
        Ok(Some((position, header)))
    }
}

/// Whole batches from a position to the end.
pub(crate) struct BatchScan<'a> {
    file: &'a dyn FsFile,
    position: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
    /// Bytes read at once.
    window_len: usize,
}

impl<'a> BatchScan<'a> {
    pub(crate) fn new(file: &'a dyn FsFile, position: u64, end: u64) -> Self {
        Self::with_window(file, position, end, BATCH_WINDOW)
    }

    /// Reads `window_len` bytes at once, more only for a batch that is larger.
    pub(crate) fn with_window(file: &'a dyn FsFile, position: u64, end: u64, window_len: usize) -> Self {
        Self { file, position, end, window: Vec::new(), window_at: 0, window_len }
    }

    /// Where the next batch starts: the end of the last good one.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next batch and its position. Its checksum is not checked. A batch cut off by the end is an error.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, BatchView<'_>)>, ScanError> {
        let position = self.position;
        if position >= self.end {
            return Ok(None);
        }
        let corrupt = |source| ScanError::Corrupt { position, source };
        self.fill(HEADER_LEN)?;
        let size = BatchHeader::parse(self.bytes()).map_err(corrupt)?.size_in_bytes();
        if size as u64 > self.end - position {
            let have = usize::try_from(self.end - position).unwrap_or(usize::MAX);
            return Err(corrupt(RecordError::Incomplete { need: size, have }));
        }
        self.fill(size)?;
        self.position = position + size as u64;
        let start = usize::try_from(position - self.window_at).unwrap_or(usize::MAX);
        let bytes = self.window.get(start..).unwrap_or_default();
        let (batch, _) = BatchView::parse(bytes).map_err(corrupt)?;
        Ok(Some((position, batch)))
    }

    fn bytes(&self) -> &[u8] {
        let start = usize::try_from(self.position - self.window_at).unwrap_or(usize::MAX);
        self.window.get(start..).unwrap_or_default()
    }

    /// Makes `len` bytes from the position available, as far as the file goes; `len` is within the file.
    fn fill(&mut self, len: usize) -> io::Result<()> {
        let left = self.end - self.position;
        let have = if self.window.is_empty() { 0 } else { self.bytes().len() as u64 };
        if have >= (len as u64).min(left) {
            return Ok(());
        }
        let want = (len.max(self.window_len) as u64).min(left);
        self.window.resize(usize::try_from(want).unwrap_or(0), 0);
        let read = self.file.read_at(&mut self.window, self.position)?;
        self.window.truncate(read);
        self.window_at = self.position;
        Ok(())
    }
}

/// Reads one batch whose header was found by a [`HeaderScan`].
pub(crate) fn read_batch(file: &dyn FsFile, position: u64, size: usize) -> io::Result<Vec<u8>> {
    debug_assert!(size >= LOG_OVERHEAD, "a header says more than its overhead");
    let mut bytes = vec![0; size];
    let read = file.read_at(&mut bytes, position)?;
    bytes.truncate(read);
    Ok(bytes)
}
