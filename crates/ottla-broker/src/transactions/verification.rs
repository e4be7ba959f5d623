//! The first batch of a transaction in a partition is verified with the coordinator, or adds the partition to the transaction
//! (KIP-890; `AddPartitionsToTxnManager`, `ReplicaManager.maybeSendPartitionsToTransactionCoordinator`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_coordinator::transaction::{EPOCH_BUMP, Identity};
use ottla_protocol::ErrorCode;
use ottla_storage::log::{VerificationGuard, VerificationRequest};
use ottla_types::{Sequence, TopicName};

use super::added;
use crate::broker::Broker;
use crate::clock::now_ms;
use crate::errors;
use crate::partition::Partition;

/// What the client of a request can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// Not even `TRANSACTION_ABORTABLE`.
    Plain,
    /// It knows `TRANSACTION_ABORTABLE`.
    Abortable,
    /// It leaves it to the broker to add partitions, and has an epoch per transaction.
    AddsImplicitly,
}

impl Support {
    /// Of a Produce request.
    pub(crate) fn of_produce(version: i16) -> Self {
        match version {
            12.. => Self::AddsImplicitly,
            11 => Self::Abortable,
            _ => Self::Plain,
        }
    }

    /// Of a TxnOffsetCommit request.
    pub(crate) fn of_txn_offset_commit(version: i16) -> Self {
        match version {
            5.. => Self::AddsImplicitly,
            4 => Self::Abortable,
            _ => Self::Plain,
        }
    }
}

/// A batch that is about to be written.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) place: (TopicName, i32),
    pub(crate) partition: Arc<Partition>,
    /// The first sequence; none for offsets.
    pub(crate) sequence: Sequence,
}

/// One guard, or the reason to refuse, per [`Wanted`].
pub(crate) type Verified = Vec<Result<VerificationGuard, ErrorCode>>;

/// A verification that has begun in the logs.
#[derive(Debug)]
pub(crate) struct Verification {
    id: String,
    producer: Identity,
    support: Support,
    verified: Verified,
    /// Which are to be asked about, by their place in `verified`.
    open: Vec<(usize, (TopicName, i32))>,
}

impl Verification {
    /// Looks into the logs: what they know as part of an open transaction needs no question.
    pub(crate) fn begin(
        broker: &Broker,
        id: &str,
        producer: Identity,
        support: Support,
        wanted: &[Wanted],
    ) -> Self {
        let adds = support == Support::AddsImplicitly;
        let is_enabled =
            adds || broker.config().values().boolean("transaction.partition.verification.enable");
        let (mut verified, mut open) = (Vec::with_capacity(wanted.len()), Vec::new());
        for (index, wanted) in wanted.iter().enumerate() {
            if !is_enabled {
                verified.push(Ok(VerificationGuard::default()));
                continue;
            }
            let request = VerificationRequest {
                producer_id: producer.producer_id,
                epoch: producer.epoch,
                sequence: wanted.sequence,
                supports_epoch_bump: adds,
            };
            let guard = wanted.partition.with(|replica| {
                let log = replica.log_mut();
                log.start_transaction_verification(request, now_ms())
                    .map_err(|error| errors::of_append(&error))
            });
            let guard = guard.unwrap_or(Err(ErrorCode::NotLeaderOrFollower));
            if guard.is_ok_and(|guard| guard != VerificationGuard::default()) {
                open.push((index, wanted.place.clone()));
            }
            verified.push(guard);
        }
        Self { id: id.to_owned(), producer, support, verified, open }
    }

    /// The outcome, if it can be had without waiting: nothing to ask, or nothing to write down.
    ///
    /// # Errors
    /// The verification itself, to be waited for.
    pub(crate) fn at_once(mut self, broker: &Broker) -> Result<Verified, Self> {
        if self.open.is_empty() {
            return Ok(self.verified);
        }
        if self.support == Support::AddsImplicitly {
            return Err(self);
        }
        let places: BTreeSet<_> = self.open.iter().map(|(_, place)| place.clone()).collect();
        let told = broker.transactions.look(broker, &self.id, |core| {
            let told = core.verify_partitions(&self.id, self.producer, &places)?;
            Ok(told.map(|(place, code)| (place.clone(), code)).collect::<Vec<_>>())
        });
        let told = told.map_err(topic_missing).and_then(|told| told);
        for (index, place) in &self.open {
            let code = match &told {
                Ok(told) => {
                    told.iter().find(|(other, _)| other == place).map_or(ErrorCode::None, |(_, code)| *code)
                }
                Err(code) => *code,
            };
            if !code.is_none() {
                self.verified[*index] = Err(self.translate(code));
            }
        }
        Ok(self.verified)
    }

    /// Adds the partitions to the transaction. `is_patient` with one that is about to end.
    pub(crate) async fn wait(mut self, broker: &Broker, is_patient: bool) -> Verified {
        let config = broker.config();
        let pause = config.values().int("add.partitions.to.txn.retry.backoff.ms");
        let limit = config.values().int("add.partitions.to.txn.retry.backoff.max.ms");
        let limit = limit.min(config.values().int("request.timeout.ms"));
        let millis = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        let begin = Instant::now();
        let places: BTreeSet<_> = self.open.iter().map(|(_, place)| place.clone()).collect();
        let outcome = loop {
            let answer =
                broker.transactions.add_partitions(broker, &self.id, self.producer, &places, EPOCH_BUMP);
            let outcome = added(answer.map_err(topic_missing)).await;
            let is_over = !is_patient || begin.elapsed() >= millis(limit);
            if is_over || outcome != Err(ErrorCode::ConcurrentTransactions) {
                break outcome;
            }
            tokio::time::sleep(millis(pause)).await;
        };
        if let Err(code) = outcome {
            for (index, _) in &self.open {
                self.verified[*index] = Err(self.translate(code));
            }
        }
        self.verified
    }

    /// What the coordinator says, as the client of the request understands it.
    fn translate(&self, code: ErrorCode) -> ErrorCode {
        match code {
            ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
            ErrorCode::TransactionAbortable if self.support == Support::Plain => ErrorCode::InvalidTxnState,
            other => other,
        }
    }
}

/// Whoever asks on a client's behalf finds no coordinator while the topic does not exist.
fn topic_missing(code: ErrorCode) -> ErrorCode {
    if code == ErrorCode::NotCoordinator { ErrorCode::CoordinatorNotAvailable } else { code }
}
