//! One connection: takes requests, keeps their responses in order.
//!
//! A single task does the reading and the writing; nothing is spawned or locked for a request.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use crate::budget::Unsent;
use crate::frame::{Frame, FrameError, FrameReader};
use crate::limits::Activity;
use crate::outbox::Outbox;
use crate::service::{Outcome, ResponseFuture, Service};
use crate::stats::{ListenerStats, add};
use crate::stream::Stream;
use crate::{ListenerConfig, MemoryBudget, Response};

/// Unsent response bytes in memory above which no further request is taken.
const MAX_UNSENT_BYTES: usize = 1024 * 1024;
/// Requests taken from one read before their responses are sent.
const MAX_BATCH: usize = 16;
/// Rounds of work before other tasks of the runtime get their turn, which they also get when this one has taken so long.
const MAX_ROUNDS: usize = 8;
const TURN: Duration = Duration::from_millis(1);
/// How long responses may take after the peer has closed its half.
const HALF_CLOSED_LINGER: Duration = Duration::from_secs(30);
/// How long a closed connection is read on, so that the last responses are not lost to a reset.
const CLOSE_LINGER: Duration = Duration::from_millis(200);

/// Where a listener and its connections are in their life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Serving.
    Running,
    /// No new requests; what was taken is answered.
    Draining,
    /// Everything stops now.
    Aborting,
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum Closed {
    ByPeer,
    Drained,
    Aborted,
    Idle,
    Stalled,
    Unread,
    LastResponse,
    Evicted,
    Frame(FrameError),
    Io(io::Error),
    Service(Cow<'static, str>),
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByPeer => write!(f, "closed by the peer"),
            Self::Drained => write!(f, "closed at shutdown"),
            Self::Aborted => write!(f, "cut off at shutdown"),
            Self::Idle => write!(f, "idle for longer than connections.max.idle.ms"),
            Self::Stalled => write!(f, "the peer stopped in the middle of a request"),
            Self::Unread => {
                write!(f, "the peer does not read its responses, and memory for responses is short")
            }
            Self::Evicted => write!(f, "max.connections is exceeded, and it was idle for longest"),
            Self::LastResponse => write!(f, "closed after its last response"),
            Self::Frame(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Service(reason) => reason.fmt(f),
        }
    }
}

/// A connection being served.
pub(crate) struct Connection<S: Service> {
    stream: Stream,
    frames: FrameReader,
    /// Requests whose responses are not yet in the outbox, oldest first.
    waiting: VecDeque<Waiting>,
    /// Bytes in memory of the responses in `waiting`.
    waiting_bytes: usize,
    outbox: Outbox,
    /// What `waiting` and `outbox` hold in memory, as all connections know it.
    unsent: Unsent,
    /// Requests taken whose responses are not sent completely.
    in_flight: usize,
    input: Input,
    moved_at: Instant,
    activity: Arc<Activity>,
    /// While it runs, no request is read.
    muted: Option<Pin<Box<Sleep>>>,
    service: Arc<S>,
    session: Arc<S::Session>,
    limits: Limits,
    stats: Arc<ListenerStats>,
}

struct Limits {
    max_in_flight: usize,
    max_idle: Option<Duration>,
    frame_stall: Duration,
}

enum Waiting {
    Ready(Response),
    Later(ResponseFuture),
    /// The newest request, which no other may overtake.
    Held(ResponseFuture),
    Close(Cow<'static, str>),
}

#[derive(Clone, Copy)]
enum Input {
    Open,
    /// The peer closed its half.
    Ended(Instant),
    /// The service wants no more.
    Refused,
    /// The listener shuts down.
    Draining,
}

impl<S: Service> Connection<S> {
    pub(crate) fn new(
        stream: Stream,
        session: S::Session,
        service: Arc<S>,
        config: &ListenerConfig,
        budget: MemoryBudget,
        activity: Arc<Activity>,
        stats: Arc<ListenerStats>,
    ) -> Self {
        Self {
            stream,
            unsent: budget.unsent(),
            frames: FrameReader::new(config.request_max_bytes, budget),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            outbox: Outbox::default(),
            in_flight: 0,
            input: Input::Open,
            moved_at: Instant::now(),
            activity,
            muted: None,
            service,
            session: Arc::new(session),
            limits: Limits {
                max_in_flight: config.max_in_flight.max(1),
                max_idle: config.max_idle,
                frame_stall: config.frame_stall,
            },
            stats,
        }
    }

    /// Serves until the connection ends.
    pub(crate) async fn run(mut self, mut phase: watch::Receiver<Phase>) -> Closed {
        let closed = self.serve(&mut phase).await;
        if matches!(closed, Closed::Drained | Closed::LastResponse) {
            _ = tokio::time::timeout(CLOSE_LINGER, self.linger()).await;
        }
        closed
    }

    async fn serve(&mut self, phase: &mut watch::Receiver<Phase>) -> Closed {
        let mut check = pin!(tokio::time::sleep(self.check_interval()));
        let activity = Arc::clone(&self.activity);
        loop {
            tokio::select! {
                biased;
                closed = poll_fn(|cx| self.poll(cx)) => return closed,
                changed = phase.changed() => match *phase.borrow_and_update() {
                    Phase::Running if changed.is_ok() => {}
                    Phase::Draining if changed.is_ok() => self.input = Input::Draining,
                    _ => return Closed::Aborted,
                },
                () = activity.evicted.notified() => return Closed::Evicted,
                () = check.as_mut() => {
                    if let Some(closed) = self.overdue() {
                        return closed;
                    }
                    check.as_mut().reset(Instant::now() + self.check_interval());
                }
            }
        }
    }

    /// Does all that can be done now.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        let turn_ends = Instant::now() + TURN;
        for _ in 0..MAX_ROUNDS {
            match self.round(cx, turn_ends) {
                Ok(true) if Instant::now() < turn_ends => {}
                Ok(true) => break,
                Ok(false) => return Poll::Pending,
                Err(closed) => return Poll::Ready(closed),
            }
        }
        // What is answered does not wait for the next turn.
        if let Err(closed) = self.flush(cx) {
            return Poll::Ready(closed);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Collects responses, sends them, takes requests; tells whether anything moved.
    fn round(&mut self, cx: &mut Context<'_>, turn_ends: Instant) -> Result<bool, Closed> {
        let mut moved = self.collect(cx)?;
        moved |= self.flush(cx)?;
        self.unsent.set(self.unsent_bytes());
        moved |= self.take(cx, turn_ends)?;
        if self.waiting.is_empty() && self.outbox.is_empty() {
            match self.input {
                Input::Open => {}
                Input::Ended(_) => return Err(Closed::ByPeer),
                Input::Refused => return Err(Closed::LastResponse),
                Input::Draining => return Err(Closed::Drained),
            }
        }
        Ok(moved)
    }

    /// Moves responses that have become ready to the outbox, up to the first that has not.
    fn collect(&mut self, cx: &mut Context<'_>) -> Result<bool, Closed> {
        let mut moved = false;
        while let Some(oldest) = self.waiting.front_mut() {
            if let Waiting::Later(future) | Waiting::Held(future) = oldest {
                let Poll::Ready(outcome) = future.as_mut().poll(cx) else { break };
                match outcome {
                    Outcome::Ready(response) => {
                        self.waiting_bytes += response.memory_bytes();
                        *oldest = Waiting::Ready(response);
                    }
                    Outcome::Later(future) => {
                        *oldest = Waiting::Later(future);
                        continue;
                    }
                    Outcome::Hold(future) => {
                        *oldest = Waiting::Held(future);
                        continue;
                    }
                    silent @ (Outcome::None | Outcome::Pause(_)) => {
                        if let Outcome::Pause(time) = silent {
                            self.mute(time);
                        }
                        self.in_flight -= 1;
                        self.waiting.pop_front();
                        continue;
                    }
                    Outcome::Close(reason) => *oldest = Waiting::Close(reason),
                }
            }
            match self.pop_waiting() {
                Some(Waiting::Ready(response)) => self.answer(response)?,
                Some(Waiting::Close(reason)) => {
                    // What was answered before is still sent; everything after is void.
                    self.clear_waiting();
                    self.input = Input::Refused;
                    if self.outbox.is_empty() {
                        return Err(Closed::Service(reason));
                    }
                    self.waiting.push_front(Waiting::Close(reason));
                    return Ok(moved);
                }
                _ => unreachable!("the oldest is there and has resolved"),
            }
            moved = true;
        }
        Ok(moved)
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Result<bool, Closed> {
        if self.outbox.is_empty() {
            return Ok(false);
        }
        let before = self.outbox.bytes_sent();
        let flushed = self.outbox.poll_flush(cx, &mut self.stream, &self.stats);
        if let Poll::Ready(Err(error)) = flushed {
            return Err(Closed::Io(error));
        }
        if self.outbox.bytes_sent() != before {
            self.note_movement();
        }
        let finished = self.outbox.take_finished();
        self.in_flight -= finished;
        add(&self.stats.responses, finished as u64);
        if self.outbox.is_last_sent() {
            return Err(Closed::LastResponse);
        }
        Ok(finished > 0)
    }

    /// Takes requests until there are none, or enough.
    fn take(&mut self, cx: &mut Context<'_>, turn_ends: Instant) -> Result<bool, Closed> {
        let mut taken = 0;
        if self.poll_muted(cx) {
            return Ok(false);
        }
        let goes_on =
            |this: &Self, taken| taken < MAX_BATCH && this.frames.has_frame() && Instant::now() < turn_ends;
        while self.is_reading() && (taken == 0 || goes_on(self, taken)) {
            let before = self.frames.bytes_read();
            let polled = self.frames.poll_frame(cx, &mut self.stream, &self.stats);
            if self.frames.bytes_read() != before {
                self.note_movement();
            }
            match polled {
                Poll::Pending => break,
                Poll::Ready(Ok(Some(frame))) => {
                    self.call(frame)?;
                    self.unsent.set(self.unsent_bytes());
                }
                Poll::Ready(Ok(None)) => self.input = Input::Ended(Instant::now()),
                Poll::Ready(Err(error)) => return Err(Closed::Frame(error)),
            }
            taken += 1;
        }
        Ok(taken > 0)
    }

    fn call(&mut self, frame: Frame) -> Result<(), Closed> {
        add(&self.stats.requests, 1);
        let waiting = match self.service.call(&self.session, frame) {
            Outcome::Ready(response) if self.waiting.is_empty() => {
                self.in_flight += 1;
                return self.answer(response);
            }
            Outcome::None => return Ok(()),
            Outcome::Pause(time) => {
                self.mute(time);
                return Ok(());
            }
            Outcome::Ready(response) => {
                self.waiting_bytes += response.memory_bytes();
                Waiting::Ready(response)
            }
            Outcome::Later(future) => Waiting::Later(future),
            Outcome::Hold(future) => Waiting::Held(future),
            Outcome::Close(reason) => {
                self.input = Input::Refused;
                Waiting::Close(reason)
            }
        };
        self.in_flight += 1;
        self.waiting.push_back(waiting);
        Ok(())
    }

    fn pop_waiting(&mut self) -> Option<Waiting> {
        let oldest = self.waiting.pop_front();
        if let Some(Waiting::Ready(response)) = &oldest {
            self.waiting_bytes -= response.memory_bytes();
        }
        oldest
    }

    fn clear_waiting(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    fn unsent_bytes(&self) -> usize {
        self.waiting_bytes + self.outbox.memory_bytes()
    }

    fn answer(&mut self, response: Response) -> Result<(), Closed> {
        if response.last {
            self.clear_waiting();
            self.input = Input::Refused;
        }
        self.mute(response.mute);
        self.outbox.push(response).map_err(Closed::Io)
    }

    fn note_movement(&mut self) {
        self.moved_at = Instant::now();
        self.activity.moved(self.moved_at);
    }

    /// Reads no request for this time, or longer if it is muted for longer already.
    fn mute(&mut self, time: Duration) {
        let until = Instant::now() + time;
        if !time.is_zero() && self.muted.as_ref().is_none_or(|muted| muted.deadline() < until) {
            add(&self.stats.muted, 1);
            self.muted = Some(Box::pin(tokio::time::sleep_until(until)));
        }
    }

    fn poll_muted(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(muted) = &mut self.muted else { return false };
        if muted.as_mut().poll(cx).is_pending() {
            return true;
        }
        self.muted = None;
        // It could not move before.
        self.note_movement();
        false
    }

    /// The limit of time that the connection has passed, if any.
    fn overdue(&self) -> Option<Closed> {
        if let Input::Ended(since) = self.input
            && since.elapsed() >= HALF_CLOSED_LINGER
        {
            return Some(Closed::ByPeer);
        }
        let still = self.moved_at.elapsed();
        if self.frames.is_partial() && self.is_reading() && still >= self.limits.frame_stall {
            return Some(Closed::Stalled);
        }
        if self.is_reading() && self.frames.is_too_slow(self.limits.frame_stall) {
            return Some(Closed::Stalled);
        }
        if self.unsent.is_excess() && !self.outbox.is_empty() && still >= self.limits.frame_stall {
            return Some(Closed::Unread);
        }
        let waits_for_us = !self.waiting.is_empty() && self.outbox.is_empty();
        let idle = self.limits.max_idle.is_some_and(|max| still >= max);
        (idle && !waits_for_us && self.muted.is_none() && !self.frames.is_waiting()).then_some(Closed::Idle)
    }

    fn is_reading(&self) -> bool {
        matches!(self.input, Input::Open)
            && self.muted.is_none()
            && self.in_flight < self.limits.max_in_flight
            && self.unsent_bytes() < MAX_UNSENT_BYTES
            && !self.unsent.is_excess()
            && !matches!(self.waiting.back(), Some(Waiting::Held(_)))
    }

    fn check_interval(&self) -> Duration {
        let limit = self.limits.max_idle.map_or(HALF_CLOSED_LINGER, |idle| idle.min(HALF_CLOSED_LINGER));
        (limit.min(self.limits.frame_stall) / 2).max(Duration::from_millis(10))
    }

    /// Ends our half and reads until the peer has ended its own.
    async fn linger(&mut self) {
        if poll_fn(|cx| self.stream.poll_finish(cx)).await.is_err() {
            return;
        }
        let mut discarded = BytesMut::with_capacity(4096);
        while matches!(poll_fn(|cx| self.stream.poll_read(cx, &mut discarded)).await, Ok(read) if read > 0) {
            discarded.clear();
        }
    }
}
