//! One shard: the pure core under a lock, the requests that wait for it, its timers and its appends under way.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ottla_coordinator::group::RequestToken;
use ottla_protocol::ErrorCode;
use ottla_record::EndTxnMarker;
use ottla_storage::log::VerificationGuard;
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use tokio::sync::{Notify, oneshot};
use tracing::{error, info};

use super::append::Written;
use super::{Act, Core, Work, append, load};
use crate::clock::now_ms;
use crate::partition::Partition;
use crate::waiter::Waiter;

/// Carries out what a core wants done outside of it.
type Perform<C> = Box<dyn Fn(&Arc<Shard<C>>, <C as Core>::Task) + Send + Sync>;

/// A shard with what surrounds it. A task of its own drives it: commits, timers, time-outs.
pub(crate) struct Shard<C: Core> {
    partition: Arc<Partition>,
    config: C::Config,
    perform: Perform<C>,
    /// Bytes of the log that are read at a time while loading.
    load_bytes: u32,
    state: Mutex<State<C>>,
    wake: Arc<Notify>,
}

struct State<C: Core> {
    core: C,
    is_loaded: bool,
    waiting: HashMap<RequestToken, oneshot::Sender<C::Response>>,
    timers: Timers<C::Timer>,
    /// Appends that do not count yet, in log order.
    pending: VecDeque<Pending>,
    tasks: Vec<C::Task>,
    is_over: bool,
}

struct Pending {
    id: u64,
    required: Offset,
    deadline_ms: i64,
}

/// The end of a transaction in a shard's own log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marker {
    pub(crate) producer: (ProducerId, ProducerEpoch),
    pub(crate) marker: EndTxnMarker,
    pub(crate) transaction_version: i16,
}

impl Marker {
    /// Its batch; offset and leader epoch are set by the append.
    pub(crate) fn batch(&self) -> Vec<u8> {
        let (id, epoch) = self.producer;
        self.marker.batch(Offset::ZERO, LeaderEpoch(0), now_ms(), id, epoch)
    }
}

/// Pending timers by key and by time.
struct Timers<K> {
    due: BTreeMap<K, i64>,
    order: BTreeSet<(i64, K)>,
}

impl<K: Clone + Ord> Timers<K> {
    fn new() -> Self {
        Self { due: BTreeMap::new(), order: BTreeSet::new() }
    }

    fn schedule(&mut self, key: K, at_ms: i64) {
        self.cancel(&key);
        self.order.insert((at_ms, key.clone()));
        self.due.insert(key, at_ms);
    }

    fn cancel(&mut self, key: &K) {
        if let Some(at_ms) = self.due.remove(key) {
            self.order.remove(&(at_ms, key.clone()));
        }
    }

    fn pop_due(&mut self, now_ms: i64) -> Option<K> {
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

impl<C: Core> Shard<C> {
    /// `load_bytes` of the log are read at a time while loading.
    pub(crate) fn new(
        partition: Arc<Partition>,
        config: C::Config,
        load_bytes: u32,
        perform: Perform<C>,
    ) -> Arc<Self> {
        let state = State {
            core: C::empty(&config, LeaderEpoch::NONE),
            is_loaded: false,
            waiting: HashMap::new(),
            timers: Timers::new(),
            pending: VecDeque::new(),
            tasks: Vec::new(),
            is_over: false,
        };
        Arc::new(Self {
            partition,
            config,
            perform,
            load_bytes,
            state: Mutex::new(state),
            wake: Arc::default(),
        })
    }

    /// The partition's index.
    pub(super) fn index(&self) -> i32 {
        self.partition.id.partition
    }

    /// Loads the shard from its log, then drives it until it is unloaded.
    pub(crate) fn start(shard: Arc<Self>) {
        tokio::spawn(async move {
            let loading = Arc::clone(&shard);
            let loaded = tokio::task::spawn_blocking(move || loading.load()).await;
            let partition = &shard.partition.id;
            match loaded {
                Ok(Ok(())) => Self::drive(&shard).await,
                Ok(Err(failure)) => {
                    error!(%partition, "cannot load {}: {failure}", C::HOLDS);
                    shard.unload();
                }
                Err(failure) => error!(%partition, "loading {} failed: {failure}", C::HOLDS),
            }
        });
    }

    fn load(&self) -> Result<(), load::LoadError> {
        let epoch = self.partition.with(|replica| replica.leader_epoch()).flatten();
        // Requests find the core in its loading phase meanwhile and are told so by it.
        let mut core = C::empty(&self.config, epoch.unwrap_or(LeaderEpoch::NONE));
        let summary = load::replay(&self.partition, &mut core, self.load_bytes)?;
        let mut state = self.lock();
        if state.is_over {
            return Ok(());
        }
        state.core = core;
        state.is_loaded = true;
        let decision = state.core.finish_load(now_ms());
        self.carry_out(&mut state, decision, VerificationGuard::default());
        if summary.records > 0 {
            let loaded = state.core.summary();
            info!(
                partition = %self.partition.id,
                "loaded {loaded} from {} records in {} reads", summary.records, summary.reads
            );
        }
        Ok(())
    }

    async fn drive(shard: &Arc<Self>) {
        loop {
            let Turn { next_ms, tasks } = match shard.turn() {
                None => return,
                Some(turn) => turn,
            };
            for task in tasks {
                (shard.perform)(shard, task);
            }
            let pause =
                next_ms.map(|at_ms| Duration::from_millis(u64::try_from(at_ms - now_ms()).unwrap_or(0)));
            match pause {
                None => shard.wake.notified().await,
                Some(pause) => _ = tokio::time::timeout(pause, shard.wake.notified()).await,
            }
        }
    }

    /// Registers who waits for a token; before the call that uses it.
    pub(crate) fn expect_reply(&self, token: RequestToken, sender: oneshot::Sender<C::Response>) {
        self.lock().waiting.insert(token, sender);
    }

    /// Runs one call into the core and carries out what it decides.
    pub(crate) fn call(&self, run: impl FnOnce(&mut C, i64) -> C::Decision) {
        self.call_verified(VerificationGuard::default(), run);
    }

    /// The same; what is appended carries the guard of a verified transaction.
    pub(crate) fn call_verified(
        &self,
        guard: VerificationGuard,
        run: impl FnOnce(&mut C, i64) -> C::Decision,
    ) {
        let mut state = self.lock();
        let before_ms = state.next_ms();
        let decision = run(&mut state.core, now_ms());
        self.carry_out(&mut state, decision, guard);
        if state.next_ms() != before_ms || !state.tasks.is_empty() {
            self.wake.notify_one();
        }
    }

    /// Looks into the core.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&C) -> R) -> R {
        look(&self.lock().core)
    }

    /// Writes the end of a transaction into this shard's log and tells the core. What is written counts when the high
    /// watermark reaches the offset returned.
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER` while the shard loads or after it was unloaded; those of the append.
    pub(crate) fn end_transaction(&self, marker: &Marker) -> Result<Offset, ErrorCode> {
        let mut state = self.lock();
        if !state.is_loaded || state.is_over {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let written = write_marker(&self.partition, marker)?;
        state.core.replay_marker(marker.producer.0, marker.marker.committed);
        Ok(written.end)
    }

    /// The partition is led elsewhere, or the broker stops.
    pub(crate) fn unload(&self) {
        let mut state = self.lock();
        state.is_over = true;
        let decision = state.core.unload();
        self.carry_out(&mut state, decision, VerificationGuard::default());
        // Whatever is left finds its sender gone and looks for another coordinator.
        state.waiting.clear();
        state.tasks.clear();
        self.wake.notify_one();
    }

    /// Whether the shard serves no more.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().is_over
    }

    /// What is due now: commits, time-outs, timers; `None` when the shard is over.
    fn turn(&self) -> Option<Turn<C>> {
        let mut state = self.lock();
        if state.is_over {
            return None;
        }
        self.settle(&mut state);
        let now = now_ms();
        while let Some(key) = state.timers.pop_due(now) {
            let decision = state.core.on_timer(now, &key);
            self.carry_out(&mut state, decision, VerificationGuard::default());
        }
        Some(Turn { next_ms: state.next_ms(), tasks: std::mem::take(&mut state.tasks) })
    }

    /// Tells the core of appends that count, or whose time is up.
    fn settle(&self, state: &mut State<C>) {
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
            self.carry_out(state, decision, VerificationGuard::default());
        }
    }

    /// Acts in order, then the appends; a failed append leads to further decisions.
    fn carry_out(&self, state: &mut State<C>, decision: C::Decision, guard: VerificationGuard) {
        let mut next = VecDeque::from([decision.into()]);
        while let Some(Work { acts, appends }) = next.pop_front() {
            for act in acts {
                state.act(act);
            }
            for entry in appends {
                let batch = C::batch(&entry);
                match append::append(&self.partition, &batch, C::codec(&self.config), guard) {
                    Ok(written) => {
                        state.core.appended(&entry, written.first);
                        let deadline_ms = now_ms() + C::commit_timeout_ms(&self.config, &entry);
                        let required = written.end;
                        state.pending.push_back(Pending { id: batch.id, required, deadline_ms });
                        self.park(required);
                    }
                    Err(error) => next.push_back(state.core.append_failed(now_ms(), batch.id, error).into()),
                }
            }
        }
    }

    /// Has the driver woken when the high watermark reaches an offset.
    fn park(&self, required: Offset) {
        if self.partition.park_ack(required, Waiter::Again(Arc::clone(&self.wake))) {
            self.partition.press(None);
        } else {
            // Counts already (page-cache policy), or never will: the driver looks at once.
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a marker into any partition led here.
///
/// # Errors
/// Those of the append.
pub(crate) fn write_marker(partition: &Arc<Partition>, marker: &Marker) -> Result<Written, ErrorCode> {
    append::write(partition, marker.batch(), VerificationGuard::default(), marker.transaction_version)
}

struct Turn<C: Core> {
    next_ms: Option<i64>,
    tasks: Vec<C::Task>,
}

impl<C: Core> State<C> {
    fn act(&mut self, act: Act<C>) {
        match act {
            Act::Reply(token, response) => {
                if let Some(sender) = self.waiting.remove(&token) {
                    // A closed connection does not want its answer any more.
                    _ = sender.send(response);
                }
            }
            Act::Schedule(key, at_ms) => self.timers.schedule(key, at_ms),
            Act::Cancel(key) => self.timers.cancel(&key),
            Act::Note(text) => info!("{text}"),
            Act::Perform(task) => self.tasks.push(task),
        }
    }

    /// When the driver must look at the latest.
    fn next_ms(&self) -> Option<i64> {
        let deadline = self.pending.front().map(|pending| pending.deadline_ms);
        [self.timers.next_ms(), deadline].into_iter().flatten().min()
    }
}

impl<C: Core> fmt::Debug for Shard<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shard({})", self.partition.id)
    }
}
