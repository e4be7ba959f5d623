//! Transactions of a producer: all that is sent between [`Producer::new`] and [`Producer::commit`] is seen whole, or not at all.
//!
//! With `transaction.version` 2 the second protocol is spoken (KIP-890): partitions take part from the first batch on that they
//! are sent, and each transaction has an epoch of its own. Other clusters get the first one (KIP-98): partitions are added by name
//! before the first batch, and the epoch stays.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use ottla_protocol::messages::{AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest};
use ottla_protocol::{ErrorCode, VersionRange};
use ottla_types::{ProducerEpoch, ProducerId, TopicPartition};

use super::worker::Identity;
use super::{Core, Producer, lock};
use crate::client::CoordinatorKind;
use crate::error::check;
use crate::{Client, ClientError, Result};

/// The feature that decides between the protocols, and the level from which on it is the second.
const FEATURE: &str = "transaction.version";
const SECOND_PROTOCOL: i16 = 2;
/// EndTxn of the second protocol, which answers the identity of the next transaction.
const END_WITH_NEXT: i16 = 5;
/// Newest versions of the first protocol; those above bump the epoch with each transaction.
const LAST_INIT: i16 = 5;
const LAST_ADD: i16 = 3;
const LAST_END: i16 = 4;

/// The transaction that is open.
#[derive(Debug)]
pub(super) struct Transaction {
    id: String,
    /// Of this transaction; the second protocol changes it with each.
    identity: std::sync::Mutex<Identity>,
    /// Whether the second protocol is spoken.
    is_second: bool,
    /// Partitions that the coordinator knows of, or will with the batch that is sent to them.
    added: std::sync::Mutex<BTreeSet<TopicPartition>>,
}

impl Transaction {
    /// Takes over the transactional id: what another producer had open is aborted, and that producer is fenced.
    pub(super) async fn take_over(client: &Client, id: &str, timeout: Duration) -> Result<Self> {
        // Brokers without such a request have no features either.
        let level =
            client.node_versions(None).await.ok().and_then(|it| it.finalized_features.get(FEATURE).copied());
        let is_second = level.is_some_and(|level| level >= SECOND_PROTOCOL);
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let identity = client
            .with_coordinator_of(CoordinatorKind::Transaction, id, |connection| {
                Box::pin(async move {
                    let request = InitProducerIdRequest {
                        transactional_id: Some(id.into()),
                        transaction_timeout_ms: timeout_ms,
                        producer_id: -1,
                        producer_epoch: -1,
                        ..InitProducerIdRequest::default()
                    };
                    let response = connection.call_with(VersionRange::new(0, LAST_INIT), |_| request).await?;
                    check(response.error_code, None, || format!("taking over transactional id '{id}'"))?;
                    Ok(Identity {
                        id: ProducerId(response.producer_id),
                        epoch: ProducerEpoch(response.producer_epoch),
                    })
                })
            })
            .await?;
        let identity = std::sync::Mutex::new(identity);
        Ok(Self { id: id.to_owned(), identity, is_second, added: std::sync::Mutex::default() })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn identity(&self) -> Identity {
        *lock(&self.identity)
    }

    pub(super) fn is_second_protocol(&self) -> bool {
        self.is_second
    }

    /// Tells the coordinator that a partition takes part, unless it knows.
    pub(super) async fn add(&self, client: &Client, partition: &TopicPartition) -> Result<()> {
        if lock(&self.added).contains(partition) {
            return Ok(());
        }
        if self.is_second {
            // The partition's leader tells the coordinator.
            lock(&self.added).insert(partition.clone());
            return Ok(());
        }
        let identity = self.identity();
        let what = || format!("adding {partition} to the transaction of '{}'", self.id);
        client
            .with_coordinator_of(CoordinatorKind::Transaction, &self.id, |connection| {
                Box::pin(async move {
                    let request = AddPartitionsToTxnRequest {
                        v3_and_below_transactional_id: self.id.as_str().into(),
                        v3_and_below_producer_id: identity.id.0,
                        v3_and_below_producer_epoch: identity.epoch.0,
                        v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                            name: partition.topic.as_str().into(),
                            partitions: vec![partition.partition],
                        }],
                        ..AddPartitionsToTxnRequest::default()
                    };
                    let response = connection.call_with(VersionRange::new(0, LAST_ADD), |_| request).await?;
                    let results = response.results_by_topic_v3_and_below.iter();
                    let result = results.flat_map(|topic| &topic.results_by_partition).next();
                    let result =
                        result.ok_or_else(|| ClientError::broker(what(), ErrorCode::UnknownServerError))?;
                    check(result.partition_error_code, None, what)
                })
            })
            .await?;
        lock(&self.added).insert(partition.clone());
        Ok(())
    }

    async fn end(&self, client: &Client, committed: bool) -> Result<()> {
        if lock(&self.added).is_empty() {
            // The coordinator knows of no transaction.
            return Ok(());
        }
        let identity = self.identity();
        let usable = match self.is_second {
            true => VersionRange::new(END_WITH_NEXT, END_WITH_NEXT),
            false => VersionRange::new(0, LAST_END),
        };
        let verb = if committed { "committing" } else { "aborting" };
        let next = client
            .with_coordinator_of(CoordinatorKind::Transaction, &self.id, |connection| {
                Box::pin(async move {
                    let request = EndTxnRequest {
                        transactional_id: self.id.as_str().into(),
                        producer_id: identity.id.0,
                        producer_epoch: identity.epoch.0,
                        committed,
                    };
                    let response = connection.call_with(usable, |_| request).await?;
                    check(response.error_code, None, || format!("{verb} the transaction of '{}'", self.id))?;
                    Ok(Identity {
                        id: ProducerId(response.producer_id),
                        epoch: ProducerEpoch(response.producer_epoch),
                    })
                })
            })
            .await?;
        if self.is_second && next.id.0 >= 0 {
            *lock(&self.identity) = next;
        }
        lock(&self.added).clear();
        Ok(())
    }
}

impl Producer {
    /// Commits what was sent since the last commit; the next record begins the next transaction.
    ///
    /// # Errors
    /// A record has failed, in which case the transaction is aborted; or the coordinator refuses, as after a fencing.
    pub async fn commit(&self) -> Result<()> {
        let transaction = self.core.transaction()?;
        if let Err(error) = self.flush().await {
            // What made the record fail says more than a failed abort.
            _ = transaction.end(&self.core.client, false).await;
            return Err(error);
        }
        transaction.end(&self.core.client, true).await
    }

    /// Aborts what was sent since the last commit.
    ///
    /// # Errors
    /// The coordinator refuses or does not answer.
    pub async fn abort(&self) -> Result<()> {
        // Whether the records were written does not matter any more.
        _ = self.flush().await;
        self.core.transaction()?.end(&self.core.client, false).await
    }
}

impl Core {
    fn transaction(&self) -> Result<&Transaction> {
        self.transaction.as_ref().ok_or_else(|| {
            ClientError::Usage("the producer has no transactional id, and so no transactions".to_owned())
        })
    }
}
