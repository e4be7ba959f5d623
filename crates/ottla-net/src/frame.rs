//! Cuts a byte stream into frames: four bytes of length, then that many bytes.
//!
//! Small frames share a read buffer; a large one gets a buffer of its own, which the stream is read into directly. A silent
//! connection has no buffer at all.

use std::fmt;
use std::io;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, BytesMut};
use tokio::time::Instant;

use crate::MemoryBudget;
use crate::budget::Reservation;
use crate::stats::{ListenerStats, add};
use crate::stream::Stream;

/// Size of a shared read buffer.
const CHUNK_BYTES: usize = 16 * 1024;
/// A frame up to this size is read into a shared buffer.
const SMALL_FRAME_BYTES: usize = 4 * 1024;
/// While memory is short, a frame has to come at least as fast, in bytes per second.
const SLOWEST_BYTES_PER_SECOND: usize = 64 * 1024;
/// Less room than this is not worth a read.
const MIN_READ_BYTES: usize = 1024;

/// Why a stream cannot be read on.
#[derive(Debug)]
pub(crate) enum FrameError {
    /// The length is negative or above `socket.request.max.bytes`.
    Length { head: [u8; 4], max: usize },
    /// The stream ended within a frame.
    Truncated,
    /// The socket failed.
    Io(io::Error),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { head, max } => {
                let length = i32::from_be_bytes(*head);
                match head {
                    b"GET " | b"POST" | b"HEAD" | b"PUT " | b"HTTP" | b"OPTI" => {
                        write!(f, "the peer speaks HTTP, this listener speaks the Kafka protocol")
                    }
                    [0x16, 0x03, ..] => write!(f, "the peer speaks TLS, this listener is plaintext"),
                    _ if length < 0 => {
                        write!(f, "request of {length} bytes: the peer does not speak the Kafka protocol")
                    }
                    _ => write!(f, "request of {length} bytes is larger than socket.request.max.bytes={max}"),
                }
            }
            Self::Truncated => write!(f, "the peer closed the connection in the middle of a request"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads frames from one stream.
pub(crate) struct FrameReader {
    max_frame: usize,
    budget: MemoryBudget,
    chunk: BytesMut,
    state: State,
    bytes_read: u64,
}

enum State {
    /// Before the length.
    Head,
    /// The length is known, there is no memory for it.
    Waiting(usize, Pin<Box<dyn Future<Output = Reservation> + Send>>),
    /// Reading a frame into the shared buffer.
    Small(usize, Reservation),
    /// Reading a frame into its own buffer.
    Large(usize, BytesMut, Reservation, Instant),
}

/// A request without its length. Its bytes belong to whoever has the frame, who may change them in place; it holds its part
/// of the listener's [`MemoryBudget`] until it is dropped. The default is an empty frame that holds nothing.
#[derive(Default)]
pub struct Frame {
    bytes: BytesMut,
    _reservation: Option<Reservation>,
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Frame {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes)", self.len())
    }
}

impl FrameReader {
    pub(crate) fn new(max_frame: usize, budget: MemoryBudget) -> Self {
        let max_frame = max_frame.min(i32::MAX as usize);
        Self { max_frame, budget, chunk: BytesMut::new(), state: State::Head, bytes_read: 0 }
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        stats: &ListenerStats,
    ) -> Poll<Result<Option<Frame>, FrameError>> {
        loop {
            match &mut self.state {
                State::Head => {
                    let Some(&head) = self.chunk.first_chunk::<4>() else {
                        if ready!(self.poll_fill(cx, stream, stats, MIN_READ_BYTES))? == 0 {
                            let whole = self.chunk.is_empty();
                            return Poll::Ready(if whole { Ok(None) } else { Err(FrameError::Truncated) });
                        }
                        continue;
                    };
                    let len = self.checked_length(head)?;
                    self.chunk.advance(4);
                    self.start_frame(len);
                }
                State::Waiting(len, reservation) => {
                    let reservation = ready!(reservation.as_mut().poll(cx));
                    let len = *len;
                    self.start_body(len, reservation);
                }
                State::Small(len, _) => {
                    let len = *len;
                    if self.chunk.len() >= len {
                        return Poll::Ready(Ok(Some(self.take_small(len))));
                    }
                    let missing = len - self.chunk.len();
                    if ready!(self.poll_fill(cx, stream, stats, missing))? == 0 {
                        return Poll::Ready(Err(FrameError::Truncated));
                    }
                }
                State::Large(len, body, ..) => {
                    if body.len() == *len {
                        return Poll::Ready(Ok(Some(self.take_large())));
                    }
                    let missing = *len - body.len();
                    let read = ready!(stream.poll_read(cx, &mut body.limit(missing)))?;
                    if read == 0 {
                        return Poll::Ready(Err(FrameError::Truncated));
                    }
                    self.bytes_read += read as u64;
                    add(&stats.bytes_in, read as u64);
                }
            }
        }
    }

    /// Whether the next frame can be had without reading from the stream.
    pub(crate) fn has_frame(&self) -> bool {
        matches!(self.state, State::Head)
            && self.chunk.first_chunk::<4>().is_some_and(|&head| {
                usize::try_from(i32::from_be_bytes(head)).is_ok_and(|len| self.chunk.len() - 4 >= len)
            })
    }

    /// Bytes read from the stream so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Whether a frame waits for memory.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(..))
    }

    /// Whether the peer owes us the rest of a frame.
    pub(crate) fn is_partial(&self) -> bool {
        match self.state {
            State::Head => !self.chunk.is_empty(),
            State::Waiting(..) => false,
            State::Small(..) | State::Large(..) => true,
        }
    }

    /// Whether a large frame holds memory for much longer than a slow network explains, while others wait for memory.
    /// `grace` is for what it could not come in yet.
    pub(crate) fn is_too_slow(&self, grace: Duration) -> bool {
        let State::Large(len, _, _, since) = &self.state else { return false };
        let seconds = u64::try_from(len / SLOWEST_BYTES_PER_SECOND).unwrap_or(u64::MAX);
        self.budget.is_short() && since.elapsed() >= grace.saturating_add(Duration::from_secs(seconds))
    }

    fn checked_length(&self, head: [u8; 4]) -> Result<usize, FrameError> {
        usize::try_from(i32::from_be_bytes(head))
            .ok()
            .filter(|&len| len <= self.max_frame)
            .ok_or(FrameError::Length { head, max: self.max_frame })
    }

    fn start_frame(&mut self, len: usize) {
        let bytes = u32::try_from(len).expect("checked against i32::MAX");
        match self.budget.try_reserve(bytes) {
            Some(reservation) => self.start_body(len, reservation),
            None => self.state = State::Waiting(len, Box::pin(self.budget.reserve(bytes))),
        }
    }

    fn start_body(&mut self, len: usize, reservation: Reservation) {
        if len <= SMALL_FRAME_BYTES || self.chunk.len() >= len {
            self.state = State::Small(len, reservation);
        } else {
            let mut body = BytesMut::with_capacity(len);
            body.extend_from_slice(&self.chunk);
            self.chunk = BytesMut::new();
            self.state = State::Large(len, body, reservation, Instant::now());
        }
    }

    fn take_small(&mut self, len: usize) -> Frame {
        let State::Small(_, reservation) = mem::replace(&mut self.state, State::Head) else {
            unreachable!("called in this state only")
        };
        Frame { bytes: self.chunk.split_to(len), _reservation: Some(reservation) }
    }

    fn take_large(&mut self) -> Frame {
        let State::Large(_, bytes, reservation, _) = mem::replace(&mut self.state, State::Head) else {
            unreachable!("called in this state only")
        };
        Frame { bytes, _reservation: Some(reservation) }
    }

    /// Reads more into the shared buffer, which gets room for at least `room` bytes.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        stats: &ListenerStats,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        let read = match self.poll_read(cx, stream, room) {
            Poll::Ready(read) => read?,
            Poll::Pending => {
                if self.chunk.is_empty() {
                    self.chunk = BytesMut::new();
                }
                return Poll::Pending;
            }
        };
        self.bytes_read += read as u64;
        add(&stats.bytes_in, read as u64);
        Poll::Ready(Ok(read))
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        ready!(stream.poll_readable(cx))?;
        if self.chunk.capacity() - self.chunk.len() < room {
            self.chunk.reserve(CHUNK_BYTES.saturating_sub(self.chunk.len()).max(room));
        }
        stream.poll_read(cx, &mut self.chunk)
    }
}
