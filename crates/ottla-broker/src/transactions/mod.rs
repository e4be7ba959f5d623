//! The runtime of the transaction coordinator: one shard per partition of `__transaction_state` that this broker leads.
//!
//! It carries out what the pure [`TransactionShard`] decides, and writes the markers that end a transaction.

mod core;
mod markers;
mod verification;

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use ottla_config::BrokerConfig;
use ottla_coordinator::group::RequestToken;
use ottla_coordinator::transaction::{
    Decision, Identity, TransactionConfig, TransactionResponse, TransactionShard,
};
use ottla_metadata::features::TRANSACTION_VERSION;
use ottla_protocol::ErrorCode;
use ottla_storage::log::VerificationGuard;
use ottla_types::TopicName;
use tokio::sync::oneshot;

use crate::broker::Broker;
use crate::coordinators::{Shard, Shards};
use crate::internal_topics::TRANSACTION_STATE;
use crate::partition::Partition;

pub(crate) use markers::write_everywhere;
pub(crate) use verification::{Support, Verification, Verified, Wanted};

/// The answer to a request that the coordinator took.
pub(crate) type Answer = oneshot::Receiver<TransactionResponse>;

/// The shards of this broker.
#[derive(Debug)]
pub(crate) struct Transactions {
    config: TransactionConfig,
    load_bytes: u32,
    shards: Shards<TransactionShard>,
}

impl Transactions {
    pub(crate) fn new(config: &BrokerConfig) -> Self {
        let values = config.values();
        let config = TransactionConfig {
            max_timeout_ms: values.int("transaction.max.timeout.ms"),
            id_expiration_ms: values.int("transactional.id.expiration.ms"),
            abort_interval_ms: values.int("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
            expiry_interval_ms: values.int("transaction.remove.expired.transaction.cleanup.interval.ms"),
        };
        let load_bytes = values.int("transaction.state.log.load.buffer.size").unsigned_abs();
        Self { config, load_bytes, shards: Shards::new(TRANSACTION_STATE) }
    }

    /// This broker leads a partition of `__transaction_state` from now on: its shard is loaded in the background.
    pub(crate) fn lead(broker: &Arc<Broker>, partition: Arc<Partition>) {
        let this = &broker.transactions;
        let weak: Weak<Broker> = Arc::downgrade(broker);
        this.shards.lead(Shard::new(
            partition,
            this.config.clone(),
            this.load_bytes,
            Box::new(move |shard, task| {
                if let Some(broker) = weak.upgrade() {
                    markers::start(&broker, shard, task);
                }
            }),
        ));
    }

    /// This broker leads the partition no more.
    pub(crate) fn resign(&self, index: i32) {
        self.shards.resign(index);
    }

    /// Ends all shards: whoever waits is told to look elsewhere.
    pub(crate) fn shut_down(&self) {
        self.shards.shut_down();
    }

    /// Runs a request on the shard of a transactional id; the error is what the request must be refused with.
    pub(crate) fn call(
        &self,
        broker: &Broker,
        id: &str,
        run: impl FnOnce(&mut TransactionShard, i64, RequestToken) -> Decision,
    ) -> Result<Answer, ErrorCode> {
        let shard = self.shards.of(broker, id)?;
        Ok(self.shards.request(&shard, VerificationGuard::default(), |core, now_ms, token| {
            prepare(broker, core);
            run(core, now_ms, token)
        }))
    }

    /// Adds partitions to the transaction of a producer.
    pub(crate) fn add_partitions(
        &self,
        broker: &Broker,
        id: &str,
        producer: Identity,
        partitions: &BTreeSet<(TopicName, i32)>,
        client_version: i16,
    ) -> Result<Answer, ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        self.call(broker, id, |core, now_ms, token| {
            core.add_partitions(now_ms, token, id, producer, partitions, client_version)
        })
    }

    /// Looks into the shard of a transactional id.
    pub(crate) fn look<R>(
        &self,
        broker: &Broker,
        id: &str,
        look: impl FnOnce(&TransactionShard) -> R,
    ) -> Result<R, ErrorCode> {
        Ok(self.shards.of(broker, id)?.look(look))
    }

    /// Looks into every shard.
    pub(crate) fn look_at_all<R>(&self, mut look: impl FnMut(&TransactionShard) -> R) -> Vec<R> {
        self.shards.all().iter().map(|shard| shard.look(&mut look)).collect()
    }
}

/// Hands a core what it must be told before each call.
fn prepare(broker: &Broker, core: &mut TransactionShard) {
    core.set_level(broker.image().features().level(TRANSACTION_VERSION));
    if core.wants_producer_id()
        && let Some(id) = broker.producer_ids.take()
    {
        core.offer_producer_id(id);
    }
}

/// What the coordinator says to an addition of partitions.
pub(crate) async fn added(answer: Result<Answer, ErrorCode>) -> Result<(), ErrorCode> {
    match answer?.await {
        Ok(TransactionResponse::Added(outcome)) => outcome,
        _ => Err(ErrorCode::NotCoordinator),
    }
}

/// What the coordinator says of how a producer goes on.
pub(crate) async fn producer(answer: Result<Answer, ErrorCode>) -> Result<Identity, ErrorCode> {
    match answer?.await {
        Ok(TransactionResponse::Producer(outcome)) => outcome,
        _ => Err(ErrorCode::NotCoordinator),
    }
}
