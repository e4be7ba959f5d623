//! The controller's thread: requests in, records to the metadata log, replies when they are committed.
//!
//! All requests that wait are decided one after the other, then one sync makes their records durable, then this broker
//! applies the change, then the replies leave. So many requests share one sync, and whoever has its reply finds the change made.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use ottla_config::Values;
use ottla_metadata::Random;
use ottla_metadata::controller::{Context, Controller, Decision};
use ottla_net::Outcome;
use ottla_protocol::messages::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};
use ottla_protocol::wire::Message;
use ottla_types::{BrokerEpoch, NodeId, Offset};
use tokio::sync::oneshot;
use tracing::{error, info};

use crate::broker::Broker;
use crate::clock;
use crate::metadata_log::{MetadataLog, MetadataLogError, QuorumView};
use crate::publisher;
use crate::request::Request;

/// How often the controller looks after what no request asks for.
const TICK_MS: i64 = 1000;

type Job = Box<dyn FnOnce(&mut Runtime) -> Result<(), MetadataLogError> + Send>;

/// The controller does not run any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

/// The way to the controller's thread.
#[derive(Clone)]
pub(crate) struct ControllerHandle {
    jobs: Sender<Option<Job>>,
}

/// The other end, for the thread.
pub(crate) struct ControllerInbox(Receiver<Option<Job>>);

impl ControllerHandle {
    pub(crate) fn new() -> (Self, ControllerInbox) {
        let (jobs, inbox) = channel();
        (Self { jobs }, ControllerInbox(inbox))
    }

    /// Has `decide` run by the controller; the reply comes when its records are committed and applied here.
    pub(crate) fn decide<R, F>(
        &self,
        decide: F,
    ) -> impl Future<Output = Result<R, Stopped>> + Send + use<R, F>
    where
        R: Send + 'static,
        F: FnOnce(&Controller, &Context, &mut Random) -> Decision<R> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |runtime| {
            let context = runtime.context();
            let decision = decide(&runtime.controller, &context, &mut runtime.random);
            runtime.take(decision, sender)
        });
        let sent = self.jobs.send(Some(job));
        async move {
            sent.map_err(|_| Stopped)?;
            receiver.await.map_err(|_| Stopped)
        }
    }

    /// What the metadata quorum is like now.
    pub(crate) fn quorum(&self) -> impl Future<Output = Result<QuorumView, Stopped>> + Send + use<> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |runtime| {
            // Whoever asked may have gone.
            _ = sender.send(runtime.log.quorum_view());
            Ok(())
        });
        let sent = self.jobs.send(Some(job));
        async move {
            sent.map_err(|_| Stopped)?;
            receiver.await.map_err(|_| Stopped)
        }
    }

    /// A heartbeat of a broker, which also extends its session.
    pub(crate) fn heartbeat(
        &self,
        request: BrokerHeartbeatRequest,
    ) -> impl Future<Output = Result<BrokerHeartbeatResponse, Stopped>> + Send + use<> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |runtime| {
            let (broker, epoch) = (NodeId(request.broker_id), BrokerEpoch(request.broker_epoch));
            runtime.controller.contact(broker, epoch, clock::now_ms());
            let decision = runtime.controller.broker_heartbeat(&runtime.context(), &request);
            runtime.take(decision, sender)
        });
        let sent = self.jobs.send(Some(job));
        async move {
            sent.map_err(|_| Stopped)?;
            receiver.await.map_err(|_| Stopped)
        }
    }

    /// Answers a client's request with what the controller decides about it.
    pub(crate) fn answer<R: Message<'static> + Send + 'static>(
        &self,
        request: Request,
        decide: impl FnOnce(&Controller, &Context, &mut Random, &Request) -> Decision<R> + Send + 'static,
    ) -> Outcome {
        let request = Arc::new(request);
        let asked = Arc::clone(&request);
        let reply = self.decide(move |controller, context, random| {
            let context = Context { api_version: asked.api_version, ..*context };
            decide(controller, &context, random, &asked)
        });
        Outcome::later(async move {
            match reply.await {
                Ok(response) => request.reply(&response),
                Err(Stopped) => Outcome::close("the controller has stopped"),
            }
        })
    }

    /// Ends the thread when what was sent before is done.
    pub(crate) fn stop(&self) {
        // It may have ended on its own.
        _ = self.jobs.send(None);
    }
}

/// A reply that waits for its offset to be committed.
struct Pending {
    offset: Offset,
    send: Box<dyn FnOnce() + Send>,
}

/// What the thread owns.
pub(crate) struct Runtime {
    controller: Controller,
    log: MetadataLog,
    random: Random,
    pending: Vec<Pending>,
    /// Set once this broker runs: committed changes are applied to it.
    broker: Option<Arc<Broker>>,
    elections: Elections,
    /// When the last [`Runtime::tick`] was.
    ticked_ms: i64,
}

/// When the controller looks for partitions that should have another leader.
#[derive(Debug)]
struct Elections {
    /// Partitions not led by their first replica; `None` when that is off.
    balance: Option<Chore>,
    /// Partitions that only an unclean election brings back.
    unclean: Chore,
}

#[derive(Debug)]
struct Chore {
    interval_ms: i64,
    done_ms: i64,
}

impl Chore {
    fn new(interval_ms: i64, now_ms: i64) -> Self {
        Self { interval_ms, done_ms: now_ms }
    }

    /// Whether it is time; if `more` is left to do, the next time is at once.
    fn is_due(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.done_ms) >= self.interval_ms
    }

    fn done(&mut self, now_ms: i64, more: bool) {
        self.done_ms = if more { now_ms.saturating_sub(self.interval_ms) } else { now_ms };
    }
}

impl Elections {
    fn new(values: &Values, now_ms: i64) -> Self {
        let balance_ms = values.long("leader.imbalance.check.interval.seconds").saturating_mul(1000);
        let is_balancing = values.boolean("auto.leader.rebalance.enable");
        Self {
            balance: is_balancing.then(|| Chore::new(balance_ms, now_ms)),
            unclean: Chore::new(values.long("unclean.leader.election.interval.ms"), now_ms),
        }
    }
}

impl Runtime {
    pub(crate) fn new(controller: Controller, log: MetadataLog, values: &Values) -> Self {
        let now_ms = clock::now_ms();
        Self {
            elections: Elections::new(values, now_ms),
            ticked_ms: now_ms,
            controller,
            log,
            random: Random::new(crate::random::bytes()),
            pending: Vec::new(),
            broker: None,
        }
    }

    /// Runs a decision before the thread does, at the start, and commits it.
    pub(crate) fn settle<R>(&mut self, decision: &Decision<R>) -> Result<(), MetadataLogError> {
        self.append(decision)?;
        self.commit()
    }

    /// The controller, for decisions at the start.
    pub(crate) fn controller(&mut self) -> &mut Controller {
        &mut self.controller
    }

    /// The log behind it.
    pub(crate) fn log(&self) -> &MetadataLog {
        &self.log
    }

    /// From now on changes are applied to this broker.
    pub(crate) fn attach(&mut self, broker: Arc<Broker>) {
        self.broker = Some(broker);
    }

    /// What decisions are made on.
    pub(crate) fn context(&self) -> Context {
        Context {
            now_ms: clock::now_ms(),
            next_offset: self.log.end_offset(),
            api_version: 0,
            kraft_version: self.log.kraft_version(),
        }
    }

    fn take<R: Send + 'static>(
        &mut self,
        decision: Decision<R>,
        sender: oneshot::Sender<R>,
    ) -> Result<(), MetadataLogError> {
        let offset = self.append(&decision)?;
        let reply = decision.reply;
        // Whoever asked may have gone.
        let send = Box::new(move || _ = sender.send(reply));
        self.pending.push(Pending { offset, send });
        Ok(())
    }

    /// Appends a decision's records and returns the offset that it rests on.
    fn append<R>(&mut self, decision: &Decision<R>) -> Result<Offset, MetadataLogError> {
        let base_offset = self.log.end_offset();
        if !decision.records.is_empty() {
            self.log.append(&decision.records, decision.atomic, clock::now_ms())?;
        }
        Ok(self.controller.accept(decision, base_offset)?)
    }

    /// Makes what was appended durable, applies it to this broker, and sends the replies that waited for it.
    fn commit(&mut self) -> Result<(), MetadataLogError> {
        let deltas = self.log.commit(clock::now_ms())?;
        if let Some(broker) = &self.broker {
            for delta in &deltas {
                publisher::publish(broker, delta);
            }
        }
        let committed = self.log.high_watermark();
        for pending in std::mem::take(&mut self.pending) {
            if pending.offset < committed {
                (pending.send)();
            } else {
                self.pending.push(pending);
            }
        }
        Ok(())
    }

    /// What is due without a request.
    fn tick(&mut self) -> Result<(), MetadataLogError> {
        let now_ms = clock::now_ms();
        if let Some(broker) = &self.broker {
            // This process is alive, or it would not look.
            let own = self.controller.image().cluster().broker(broker.node_id).map(|b| (b.id, b.epoch));
            if let Some((id, epoch)) = own {
                self.controller.contact(id, epoch, now_ms);
            }
        }
        if let Ok(decision) = self.controller.fence_stale_broker(now_ms) {
            self.append(&decision)?;
        }
        self.elect(now_ms)?;
        self.log.maintain(now_ms)?;
        self.ticked_ms = now_ms;
        self.commit()
    }

    /// Gives partitions other leaders when it is time to look for that.
    fn elect(&mut self, now_ms: i64) -> Result<(), MetadataLogError> {
        if let Some(chore) = &mut self.elections.balance
            && chore.is_due(now_ms)
            && let Ok(decision) = self.controller.balance_leaders()
        {
            chore.done(now_ms, decision.reply);
            self.append(&decision)?;
        }
        if self.elections.unclean.is_due(now_ms)
            && let Ok(decision) = self.controller.elect_unclean_leaders()
        {
            self.elections.unclean.done(now_ms, decision.reply);
            self.append(&decision)?;
        }
        Ok(())
    }

    fn turn(&mut self, inbox: &ControllerInbox) -> Result<bool, MetadataLogError> {
        let mut next = match inbox.0.recv_timeout(Duration::from_millis(TICK_MS.unsigned_abs())) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) => {
                self.tick()?;
                return Ok(true);
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
        };
        let mut go_on = true;
        while let Some(job) = next.take() {
            match job {
                Some(job) => job(self)?,
                None => {
                    go_on = false;
                    break;
                }
            }
            next = inbox.0.try_recv().ok();
        }
        self.commit()?;
        // A controller that always has requests has its chores too.
        if clock::now_ms().saturating_sub(self.ticked_ms) >= TICK_MS {
            self.tick()?;
        }
        Ok(go_on)
    }

    /// The thread's body. A node whose metadata log fails cannot go on: `on_failure` is told and must end the process.
    pub(crate) fn run(mut self, inbox: &ControllerInbox, on_failure: impl FnOnce()) {
        loop {
            match self.turn(inbox) {
                Ok(true) => {}
                Ok(false) => break,
                Err(failure) => {
                    error!("the metadata log failed, this node cannot go on: {failure}");
                    on_failure();
                    return;
                }
            }
        }
        if let Err(failure) = self.log.close(clock::now_ms()) {
            error!("closing the metadata log: {failure}");
        }
        info!("the controller has stopped");
    }
}

impl fmt::Debug for ControllerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ControllerHandle")
    }
}
