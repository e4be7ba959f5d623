//! One shard: the pure core under a lock, the requests that wait for it, its timers and its appends under way.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ottla_coordinator::group::{
    AppendId, Decision, Effect, GroupConfig, GroupResponse, GroupShard, RequestToken, TimerKey,
};
use ottla_protocol::ErrorCode;
use ottla_types::Offset;
use tokio::sync::{Notify, oneshot};
use tracing::{error, info};

use super::{append, load};
use crate::clock::now_ms;
use crate::partition::Partition;
use crate::waiter::Waiter;

/// A shard with what surrounds it. A task of its own drives it: commits, timers, time-outs.
pub(crate) struct Shard {
    pub(super) partition: Arc<Partition>,
    config: GroupConfig,
    state: Mutex<State>,
    wake: Arc<Notify>,
}

struct State {
    core: GroupShard,
    waiting: HashMap<RequestToken, oneshot::Sender<GroupResponse>>,
    timers: Timers,
    /// Appends that do not count yet, in log order.
    pending: VecDeque<Pending>,
    is_over: bool,
}

struct Pending {
    id: AppendId,
    required: Offset,
    deadline_ms: i64,
}

/// Pending timers by key and by time.
#[derive(Default)]
struct Timers {
    due: BTreeMap<TimerKey, i64>,
    order: BTreeSet<(i64, TimerKey)>,
}

impl Timers {
    fn schedule(&mut self, key: TimerKey, at_ms: i64) {
        self.cancel(&key);
        self.order.insert((at_ms, key.clone()));
        self.due.insert(key, at_ms);
    }

    fn cancel(&mut self, key: &TimerKey) {
        if let Some(at_ms) = self.due.remove(key) {
            self.order.remove(&(at_ms, key.clone()));
        }
    }

    fn pop_due(&mut self, now_ms: i64) -> Option<TimerKey> {
        let (at_ms, _) = self.order.first()?;
        if *at_ms > now_ms {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.due.remove(&key);
        Some(key)
    }

    fn next_ms(&self) -> Option<i64> {
        self.order.first().map(|(at_ms, _)| *at_ms)
    }
}

impl Shard {
    pub(super) fn new(partition: Arc<Partition>, config: GroupConfig) -> Arc<Self> {
        let state = State {
            core: GroupShard::new(config.clone()),
            waiting: HashMap::new(),
            timers: Timers::default(),
            pending: VecDeque::new(),
            is_over: false,
        };
        Arc::new(Self { partition, config, state: Mutex::new(state), wake: Arc::default() })
    }

    /// Loads the shard from its log, then drives it until it is unloaded.
    pub(super) fn start(shard: Arc<Self>) {
        tokio::spawn(async move {
            let loading = Arc::clone(&shard);
            let loaded = tokio::task::spawn_blocking(move || loading.load()).await;
            match loaded {
                Ok(Ok(())) => shard.drive().await,
                Ok(Err(failure)) => {
                    error!(partition = %shard.partition.id, "cannot load groups and offsets: {failure}");
                    shard.unload();
                }
                Err(failure) => error!(partition = %shard.partition.id, "loading groups failed: {failure}"),
            }
        });
    }

    fn load(&self) -> Result<(), load::LoadError> {
        // Requests find the core in its loading phase meanwhile and are told so by it.
        let mut core = GroupShard::new(self.config.clone());
        let summary = load::replay(&self.partition, &mut core)?;
        let mut state = self.lock();
        if state.is_over {
            return Ok(());
        }
        state.core = core;
        let decision = state.core.finish_load(now_ms());
        self.carry_out(&mut state, decision);
        if summary.records > 0 {
            info!(
                partition = %self.partition.id, groups = state.core.group_count(), offsets = state.core.offset_count(),
                "loaded groups from {} records", summary.records
            );
        }
        Ok(())
    }

    async fn drive(&self) {
        loop {
            let next_ms = match self.turn() {
                Turn::Over => return,
                Turn::Wait(next_ms) => next_ms,
            };
            let pause =
                next_ms.map(|at_ms| Duration::from_millis(u64::try_from(at_ms - now_ms()).unwrap_or(0)));
            match pause {
                None => self.wake.notified().await,
                Some(pause) => _ = tokio::time::timeout(pause, self.wake.notified()).await,
            }
        }
    }

    /// Registers who waits for a token; before the call that uses it.
    pub(super) fn expect_reply(&self, token: RequestToken, sender: oneshot::Sender<GroupResponse>) {
        self.lock().waiting.insert(token, sender);
    }

    /// Runs one call into the core and carries out what it decides.
    pub(super) fn call(&self, run: impl FnOnce(&mut GroupShard, i64) -> Decision) {
        let mut state = self.lock();
        let before_ms = state.next_ms();
        let decision = run(&mut state.core, now_ms());
        self.carry_out(&mut state, decision);
        if state.next_ms() != before_ms {
            self.wake.notify_one();
        }
    }

    /// The partition is led elsewhere, or the broker stops.
    pub(super) fn unload(&self) {
        let mut state = self.lock();
        state.is_over = true;
        let effects = state.core.unload();
        self.carry_out(&mut state, Decision { effects, append: None });
        // Whatever is left finds its sender gone and looks for another coordinator.
        state.waiting.clear();
        self.wake.notify_one();
    }

    /// What is due now: commits, time-outs, timers.
    fn turn(&self) -> Turn {
        let mut state = self.lock();
        if state.is_over {
            return Turn::Over;
        }
        self.settle(&mut state);
        let now = now_ms();
        while let Some(key) = state.timers.pop_due(now) {
            let decision = state.core.on_timer(now, &key);
            self.carry_out(&mut state, decision);
        }
        Turn::Wait(state.next_ms())
    }

    /// Tells the core of appends that count, or whose time is up.
    fn settle(&self, state: &mut State) {
        let reached =
            self.partition.with(|replica| (replica.high_watermark(), replica.log().poisoned().is_some()));
        let (high_watermark, is_poisoned) = reached.unwrap_or((Offset::ZERO, true));
        loop {
            let now = now_ms();
            let Some(first) = state.pending.front() else { return };
            let (id, failure) = if first.required <= high_watermark {
                (first.id, None)
            } else if is_poisoned {
                (first.id, Some(ErrorCode::KafkaStorageError))
            } else if first.deadline_ms <= now {
                (first.id, Some(ErrorCode::RequestTimedOut))
            } else {
                return;
            };
            state.pending.pop_front();
            let decision = match failure {
                None => state.core.committed(now, id),
                Some(error) => state.core.append_failed(now, id, error),
            };
            self.carry_out(state, decision);
        }
    }

    /// Effects in order, then the append; a failed append leads to further decisions.
    fn carry_out(&self, state: &mut State, decision: Decision) {
        let mut next = Some(decision);
        while let Some(Decision { effects, append }) = next.take() {
            for effect in effects {
                state.apply(effect);
            }
            let Some(append) = append else { continue };
            match append::append(&self.partition, &append) {
                Ok(written) => {
                    let producer = append.producer.map_or(ottla_types::ProducerId::NONE, |(id, _)| id);
                    for (record, offset) in append.records.iter().zip(written.first..) {
                        state.core.replay(Offset(offset), producer, record);
                    }
                    let deadline_ms = now_ms() + i64::from(self.config.offsets_commit_timeout_ms);
                    state.pending.push_back(Pending { id: append.id, required: written.end, deadline_ms });
                    let waiter = Waiter::Again(Arc::clone(&self.wake));
                    let parked = self.partition.with(|replica| replica.park_ack(written.end, waiter));
                    // Counts already (page-cache policy), or never will: the driver looks at once.
                    if let Some(Some(waiter)) = parked {
                        waiter.wake();
                    }
                }
                Err(error) => next = Some(state.core.append_failed(now_ms(), append.id, error)),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Turn {
    Wait(Option<i64>),
    Over,
}

impl State {
    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { token, response } => {
                if let Some(sender) = self.waiting.remove(&token) {
                    // A closed connection does not want its answer any more.
                    _ = sender.send(response);
                }
            }
            Effect::Schedule { key, at_ms } => self.timers.schedule(key, at_ms),
            Effect::Cancel { key } => self.timers.cancel(&key),
            Effect::Note { group, text } => info!(%group, "{text}"),
        }
    }

    /// When the driver must look at the latest.
    fn next_ms(&self) -> Option<i64> {
        let deadline = self.pending.front().map(|pending| pending.deadline_ms);
        [self.timers.next_ms(), deadline].into_iter().flatten().min()
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shard({})", self.partition.id)
    }
}
