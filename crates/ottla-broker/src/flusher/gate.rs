//! When the next flushes of a log directory begin: at once for clients that can do nothing before they are answered, and a little later, with
//! more in them, for clients that send on meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::waiter::Pipeline;

/// Without anybody in need the next flushes begin so many times as long as the last one took after that began …
const PACE: u32 = 3;
/// … but never later than this.
const MAX_PACE: Duration = Duration::from_millis(1);
/// Longest wait of clients in need for each other.
const MAX_COMPANY_WAIT: Duration = Duration::from_micros(400);

/// The gate that appends wait at. It opens by itself a while after it was last open, and earlier as soon as clients press that are at
/// the end of their [`Pipeline`], as many as the last flush released.
#[derive(Debug, Default)]
pub(super) struct Gate {
    opens_at: Option<Instant>,
    /// Clients in need wait for each other until then.
    company_until: Option<Instant>,
    /// What the last flush took.
    took: Duration,
    /// Connections that press.
    pressing: Vec<Arc<Pipeline>>,
    /// Others that press.
    pressing_others: usize,
    /// Clients in need that the last flushes released: they come back, mostly.
    due: usize,
    /// Something came while the gate was closed.
    is_waited_at: bool,
}

/// Who can do nothing before something that comes is flushed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pressing<'a> {
    /// A connection at the end of its pipeline.
    Connection(&'a Arc<Pipeline>),
    /// So many others.
    Others(usize),
}

impl<'a> Pressing<'a> {
    /// A connection, or nobody.
    pub(crate) fn of(pipeline: Option<&'a Arc<Pipeline>>) -> Self {
        pipeline.map_or(Self::Others(0), Self::Connection)
    }
}

/// How the gate was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// Somebody was in need, or nobody had waited.
    AtOnce,
    /// Nobody was in need before the time was over: clients had time to send more.
    InTime,
}

impl Gate {
    /// Whether flushes may begin.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.opens_at.is_none_or(|time| now >= time) || self.is_pressed(now)
    }

    fn is_pressed(&self, now: Instant) -> bool {
        let pressing = self.pressing.len() + self.pressing_others;
        pressing > 0 && (pressing >= self.due || self.company_until.is_none_or(|time| now >= time))
    }

    /// When to look again at a gate that is closed.
    pub(super) fn look_at(&self, now: Instant) -> Option<Instant> {
        let is_pressed = !self.pressing.is_empty() || self.pressing_others > 0;
        let company = self.company_until.filter(|_| is_pressed);
        let first = company.into_iter().chain(self.opens_at).min();
        first.filter(|time| *time > now)
    }

    /// Something to flush has come.
    pub(super) fn come(&mut self, pressing: Pressing<'_>, now: Instant) {
        match pressing {
            Pressing::Connection(pipeline) => self.press(Some(pipeline)),
            Pressing::Others(count) => self.pressing_others += count,
        }
        self.is_waited_at |= !self.is_open(now);
    }

    /// A client is in need: a connection at the end of its pipeline, or anybody else.
    pub(super) fn press(&mut self, pipeline: Option<&Arc<Pipeline>>) {
        match pipeline {
            // A request to many partitions presses for each.
            Some(pipeline) if self.pressing.last().is_some_and(|last| Arc::ptr_eq(last, pipeline)) => {}
            Some(pipeline) => self.pressing.push(Arc::clone(pipeline)),
            None => self.pressing_others += 1,
        }
    }

    /// Flushes begin; `is_all`: of everything that has come.
    pub(super) fn begin(&mut self, now: Instant, is_all: bool) -> Opened {
        let is_pressed = !self.pressing.is_empty() || self.pressing_others > 0;
        let opened = if self.is_waited_at && !is_pressed { Opened::InTime } else { Opened::AtOnce };
        self.opens_at = Some(now + (self.took * PACE).min(MAX_PACE));
        if is_all {
            self.pressing.clear();
            self.pressing_others = 0;
            self.is_waited_at = false;
        }
        self.due = 0;
        opened
    }

    /// A flush took so long and released clients in need.
    pub(super) fn end(&mut self, now: Instant, took: Option<Duration>, released: usize) {
        self.took = took.unwrap_or(self.took);
        self.due += released;
        self.company_until = Some(now + self.took.min(MAX_COMPANY_WAIT));
        self.pressing.retain(|pipeline| pipeline.is_full());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::waiter::{Countdown, Waiter, settle_after_flush};

    const MS: Duration = Duration::from_millis(1);
    const SYNC: Duration = Duration::from_micros(200);

    /// A client with one connection, and what it has under way.
    #[derive(Default)]
    struct Client {
        pipeline: Arc<Pipeline>,
        under_way: Vec<Waiter>,
    }

    impl Client {
        fn send(&mut self, gate: &mut Gate, now: Instant) {
            gate.come(Pressing::Others(0), now);
            self.under_way.push(Waiter::Acks(Countdown::of(1, self.pipeline.begin())));
            if self.pipeline.is_full() {
                gate.press(Some(&self.pipeline));
            }
        }

        fn release(&mut self, count: usize, had_time: bool) -> usize {
            settle_after_flush(&mut self.under_way.drain(..count).collect(), had_time)
        }

        /// As if it had been seen with so many requests under way.
        fn with_depth(depth: usize) -> Self {
            let mut client = Self::default();
            (0..depth).for_each(|_| client.send(&mut Gate::default(), Instant::now()));
            client.release(depth, false);
            client
        }
    }

    #[test]
    fn a_client_that_waits_for_each_answer_is_never_held_up() {
        let (mut gate, mut client, mut now) = (Gate::default(), Client::default(), Instant::now());
        gate.end(now, Some(SYNC), 0);
        for _ in 0..5 {
            client.send(&mut gate, now);
            assert!(gate.is_open(now));
            assert_eq!(gate.begin(now, true), Opened::AtOnce);
            now += SYNC;
            let released = client.release(1, false);
            gate.end(now, Some(SYNC), released);
            assert!(!gate.is_open(now));
        }
    }

    #[test]
    fn a_client_that_sends_on_is_flushed_when_it_can_send_no_more_or_in_time() {
        let (mut gate, mut client, mut now) = (Gate::default(), Client::with_depth(3), Instant::now());
        gate.end(now, Some(SYNC), 0);
        assert_eq!(gate.begin(now, true), Opened::AtOnce);
        for _ in 0..2 {
            client.send(&mut gate, now);
            assert!(!gate.is_open(now));
        }
        assert_eq!(gate.look_at(now), Some(now + SYNC * PACE));
        client.send(&mut gate, now);
        assert!(gate.is_open(now), "its pipeline is full");
        assert_eq!(gate.begin(now, true), Opened::AtOnce);
        client.release(3, false);
        client.send(&mut gate, now);
        now += SYNC * PACE;
        assert!(gate.is_open(now), "it has waited for long enough");
        assert_eq!(gate.begin(now, true), Opened::InTime);
    }

    #[test]
    fn a_client_that_sends_no_more_meanwhile_is_held_up_a_few_times_only() {
        let (mut gate, mut client, mut now) = (Gate::default(), Client::with_depth(4), Instant::now());
        gate.end(now, Some(SYNC), 0);
        gate.begin(now, true);
        let mut held_up = 0;
        for _ in 0..10 {
            client.send(&mut gate, now);
            if !gate.is_open(now) {
                held_up += 1;
                now += SYNC * PACE;
            }
            let had_time = gate.begin(now, true) == Opened::InTime;
            let released = client.release(1, had_time);
            gate.end(now, Some(SYNC), released);
        }
        assert_eq!(held_up, 3);
    }

    #[test]
    fn clients_in_need_wait_for_each_other_as_long_as_a_sync_takes() {
        let mut clients = [(); 3].map(|()| Client::default());
        let (mut gate, mut now) = (Gate::default(), Instant::now());
        gate.end(now, Some(SYNC), 0);
        for round in 0..3 {
            for client in &mut clients {
                if round > 0 {
                    assert!(!gate.is_open(now));
                }
                client.send(&mut gate, now);
            }
            assert!(gate.is_open(now));
            assert_eq!(gate.begin(now, true), Opened::AtOnce);
            let released = clients.iter_mut().map(|client| client.release(1, false)).sum();
            gate.end(now, Some(SYNC), released);
        }
        clients[0].send(&mut gate, now);
        assert_eq!(gate.look_at(now), Some(now + SYNC));
        now += SYNC;
        assert!(gate.is_open(now), "the others did not come");
    }

    #[test]
    fn a_client_that_was_answered_presses_no_more() {
        let (mut gate, mut client, now) = (Gate::default(), Client::with_depth(2), Instant::now());
        gate.end(now, Some(SYNC), 0);
        client.send(&mut gate, now);
        gate.begin(now, true);
        client.send(&mut gate, now);
        assert!(gate.is_open(now), "both of its requests wait");
        let released = client.release(1, false);
        gate.end(now, Some(SYNC), released);
        assert!(!gate.is_open(now));
    }

    #[test]
    fn who_is_in_need_when_it_appends_opens_the_gate_with_that() {
        let (mut gate, client, now) = (Gate::default(), Client::default(), Instant::now());
        gate.end(now, Some(SYNC), 1);
        gate.begin(now, true);
        gate.come(Pressing::of(None), now);
        assert!(!gate.is_open(now));
        gate.come(Pressing::Connection(&client.pipeline), now);
        assert!(gate.is_open(now));
        assert_eq!(gate.begin(now, true), Opened::AtOnce);
    }

    #[test]
    fn a_slow_disk_does_not_slow_the_pace_down_for_long() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.end(now, Some(50 * MS), 0);
        gate.begin(now, true);
        assert!(gate.is_open(now + MAX_PACE));
    }
}
