//! The bytes that a connection still has to send, in order.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use rustix::io::{Errno, ReadWriteFlags};
use smallvec::SmallVec;
use tokio::task::JoinHandle;

use crate::response::{FileSource, Part, Response};
use crate::stats::{ListenerStats, add};
use crate::stream::Stream;

/// Slices of one vectored write.
const MAX_SLICES: usize = 32;
/// Bytes of a file that are looked up in the page cache, and sent, at a time.
const FILE_STEP_BYTES: u64 = 512 * 1024;
/// Distance between the pages that are looked up; the kernel reads ahead in steps of this order.
const PROBE_STRIDE_BYTES: u64 = 64 * 1024;
/// Bytes read at a time when a file cannot be sent from the kernel.
const READ_STEP_BYTES: u64 = 256 * 1024;
/// Bytes sent before other tasks of the runtime get their turn.
const TURN_BYTES: usize = 1024 * 1024;

/// Responses on their way out.
#[derive(Default)]
pub(crate) struct Outbox {
    pieces: VecDeque<Piece>,
    /// Bytes in `pieces`, without files.
    memory_bytes: usize,
    /// Up to this offset the file in front is in the page cache.
    warm_until: u64,
    loading: Option<JoinHandle<io::Result<Loaded>>>,
    finished: usize,
    bytes_sent: u64,
    last: bool,
}

enum Piece {
    Head { bytes: [u8; 4], sent: usize },
    Bytes(Bytes),
    File { file: Arc<dyn FileSource>, offset: u64, len: u64 },
    End { last: bool },
}

/// What a blocking thread has read.
enum Loaded {
    /// The page cache has the file up to this offset.
    Warm(u64),
    /// The bytes themselves.
    Bytes(Vec<u8>),
}

impl Outbox {
    /// Queues a response, with its length in front.
    ///
    /// # Errors
    /// `InvalidData` for a response of 2 GiB or more, which cannot be framed.
    pub(crate) fn push(&mut self, response: Response) -> io::Result<()> {
        let len = i32::try_from(response.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a response of 2 GiB or more"))?;
        self.pieces.push_back(Piece::Head { bytes: len.to_be_bytes(), sent: 0 });
        for part in response.parts {
            match part {
                Part::Bytes(bytes) => {
                    self.memory_bytes += bytes.len();
                    self.pieces.push_back(Piece::Bytes(bytes));
                }
                Part::File { file, offset, len } => self.pieces.push_back(Piece::File { file, offset, len }),
            }
        }
        self.pieces.push_back(Piece::End { last: response.last });
        Ok(())
    }

    /// Whether everything is sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes in memory that wait to be sent.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Bytes sent so far.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }

    /// Responses sent completely since the last call.
    pub(crate) fn take_finished(&mut self) -> usize {
        std::mem::take(&mut self.finished)
    }

    /// Whether a response was sent after which the connection is to be closed.
    pub(crate) fn is_last_sent(&self) -> bool {
        self.last
    }

    /// Sends what the socket takes; ready when nothing is left. Each successful write counts in `bytes_out`.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        stats: &ListenerStats,
    ) -> Poll<io::Result<()>> {
        let mut sent = 0;
        loop {
            self.drop_ends();
            if self.last {
                return Poll::Ready(Ok(()));
            }
            if sent >= TURN_BYTES {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let step = match self.pieces.front() {
                None => return Poll::Ready(Ok(())),
                Some(Piece::File { .. }) => ready!(self.poll_file(cx, stream, stats))?,
                Some(_) => ready!(self.poll_memory(cx, stream))?,
            };
            add(&stats.bytes_out, step as u64);
            sent += step;
            self.bytes_sent += step as u64;
        }
    }

    fn drop_ends(&mut self) {
        while let Some(&Piece::End { last }) = self.pieces.front() {
            self.pieces.pop_front();
            self.finished += 1;
            self.last |= last;
        }
    }

    fn poll_memory(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<usize>> {
        let mut slices = SmallVec::<[IoSlice<'_>; MAX_SLICES]>::new();
        let mut more = false;
        for piece in &self.pieces {
            match piece {
                Piece::Head { bytes, sent } => slices.push(IoSlice::new(&bytes[*sent..])),
                Piece::Bytes(bytes) => slices.push(IoSlice::new(bytes)),
                Piece::File { .. } => more = true,
                Piece::End { last: false } => {}
                Piece::End { last: true } => break,
            }
            if more || slices.len() == MAX_SLICES {
                break;
            }
        }
        let sent = ready!(stream.poll_write(cx, &slices, more))?;
        drop(slices);
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(sent);
        Poll::Ready(Ok(sent))
    }

    fn advance(&mut self, mut bytes_sent: usize) {
        while bytes_sent > 0 {
            self.drop_ends();
            let done = match self.pieces.front_mut() {
                Some(Piece::Head { bytes, sent }) => {
                    let step = bytes_sent.min(bytes.len() - *sent);
                    *sent += step;
                    bytes_sent -= step;
                    *sent == bytes.len()
                }
                Some(Piece::Bytes(bytes)) => {
                    let step = bytes_sent.min(bytes.len());
                    bytes.advance(step);
                    self.memory_bytes -= step;
                    bytes_sent -= step;
                    bytes.is_empty()
                }
                _ => unreachable!("no more is sent than the slices hold"),
            };
            if done {
                self.pieces.pop_front();
            }
        }
    }

    /// Sends from the file in front; 0 when it was only brought into memory.
    fn poll_file(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        stats: &ListenerStats,
    ) -> Poll<io::Result<usize>> {
        if let Some(loading) = &mut self.loading {
            let loaded = ready!(Pin::new(loading).poll(cx));
            self.loading = None;
            match loaded.map_err(io::Error::other)?? {
                Loaded::Warm(until) => self.warm_until = until,
                Loaded::Bytes(bytes) => self.replace_front(bytes),
            }
            return Poll::Ready(Ok(0));
        }
        let Some(Piece::File { file, offset, len }) = self.pieces.front_mut() else {
            unreachable!("called for a file in front")
        };
        let Some(fd) = file.as_fd().filter(|_| stream.can_send_file()) else {
            let (file, offset, step) = (Arc::clone(file), *offset, (*len).min(READ_STEP_BYTES));
            self.loading = Some(tokio::task::spawn_blocking(move || read(&*file, offset, step)));
            return Poll::Ready(Ok(0));
        };
        if *offset >= self.warm_until {
            let step = (*len).min(FILE_STEP_BYTES);
            if is_cached(fd, *offset, step) {
                self.warm_until = *offset + step;
            } else {
                // `sendfile` would block this worker, and all connections on it, while the disk reads.
                add(&stats.cold_reads, 1);
                let (file, offset) = (Arc::clone(file), *offset);
                self.loading = Some(tokio::task::spawn_blocking(move || warm(&*file, offset, step)));
                return Poll::Ready(Ok(0));
            }
        }
        let step = usize::try_from((*len).min(self.warm_until - *offset)).unwrap_or(usize::MAX);
        let sent = ready!(stream.poll_send_file(cx, fd, *offset, step))?;
        if sent == 0 {
            return Poll::Ready(Err(file_too_short()));
        }
        add(&stats.file_bytes_out, sent as u64);
        *offset += sent as u64;
        *len -= sent as u64;
        if *len == 0 {
            self.pop_file();
        }
        Poll::Ready(Ok(sent))
    }

    /// Puts bytes read from the file in front before what is left of it.
    fn replace_front(&mut self, read: Vec<u8>) {
        if let Some(Piece::File { offset, len, .. }) = self.pieces.front_mut() {
            *offset += read.len() as u64;
            *len -= read.len() as u64;
            if *len == 0 {
                self.pop_file();
            }
        }
        self.memory_bytes += read.len();
        self.pieces.push_front(Piece::Bytes(read.into()));
    }

    fn pop_file(&mut self) {
        self.pieces.pop_front();
        self.warm_until = 0;
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        if let Some(loading) = &self.loading {
            loading.abort();
        }
    }
}

/// Whether reading a range does not wait for the disk. Looks at one page in every 64 KiB.
fn is_cached(fd: BorrowedFd<'_>, offset: u64, len: u64) -> bool {
    let last = offset + len.saturating_sub(1);
    let probes = (offset..=last).step_by(PROBE_STRIDE_BYTES as usize).chain([last]);
    for position in probes {
        let mut byte = [0];
        match rustix::io::preadv2(fd, &mut [IoSliceMut::new(&mut byte)], position, ReadWriteFlags::NOWAIT) {
            Err(Errno::AGAIN) => return false,
            Ok(_) => {}
            // The file system cannot tell.
            Err(_) => return true,
        }
    }
    true
}

fn warm(file: &dyn FileSource, offset: u64, len: u64) -> io::Result<Loaded> {
    let mut buf = vec![0; PROBE_STRIDE_BYTES as usize];
    let end = offset + len;
    let mut position = offset;
    while position < end {
        let step = usize::try_from(end - position).unwrap_or(usize::MAX).min(buf.len());
        match file.read_at(&mut buf[..step], position) {
            Ok(0) => return Err(file_too_short()),
            Ok(read) => position += read as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Loaded::Warm(end))
}

fn read(file: &dyn FileSource, offset: u64, len: u64) -> io::Result<Loaded> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => return Err(file_too_short()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Loaded::Bytes(bytes))
}

fn file_too_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends before the range that was promised")
}
