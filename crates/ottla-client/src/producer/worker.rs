//! The task of one partition: gathers records into batches and sends them, one request at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{InitProducerIdRequest, ProduceRequest, produce_response};
use ottla_protocol::{ApiKey, ErrorCode, VersionRange};
use ottla_types::{NodeId, Offset, ProducerEpoch, ProducerId, Sequence, TopicPartition};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::batch::{Queued, build};
use super::{Acks, Core};
use crate::client::Retry;
use crate::error::check;
use crate::{Client, ClientError, Result};

/// Newest Produce version that names topics instead of giving their ids.
const LAST_BY_NAME: i16 = 12;
/// Newest Produce version that does not add partitions to transactions by itself (KIP-890).
const LAST_OF_FIRST_TRANSACTIONS: i16 = 11;

/// Who an idempotent producer is to the brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: ProducerId,
    pub(super) epoch: ProducerEpoch,
}

/// Sends the records of one partition.
pub(super) struct Worker {
    core: Arc<Core>,
    partition: TopicPartition,
    queue: mpsc::UnboundedReceiver<Queued>,
    /// A record that did not fit into the last batch.
    carried: Option<Queued>,
    identity: Option<Identity>,
    /// Whether a batch has failed: whether the broker has it is unknown, and so is the sequence that it expects.
    is_tainted: bool,
    sequence: Sequence,
}

impl Worker {
    pub(super) fn new(
        core: Arc<Core>,
        partition: TopicPartition,
        queue: mpsc::UnboundedReceiver<Queued>,
    ) -> Self {
        let sequence = Sequence(0);
        Self { core, partition, queue, carried: None, identity: None, is_tainted: false, sequence }
    }

    /// Works until the producer is gone and the queue is empty.
    pub(super) async fn run(mut self) {
        while let Some(batch) = self.gather().await {
            let mut batches = VecDeque::from([batch]);
            while let Some(mut batch) = batches.pop_front() {
                let result = self.deliver(&batch).await;
                if batch.len() > 1 && result.as_ref().is_err_and(is_too_large) {
                    // Nothing of it was appended, so the halves take its sequences.
                    batches.push_front(batch.split_off(batch.len() / 2));
                    batches.push_front(batch);
                    continue;
                }
                match &result {
                    Ok(_) => self.sequence = self.sequence.plus(i32::try_from(batch.len()).unwrap_or(0)),
                    Err(_) => self.is_tainted = true,
                }
                self.core.settle(batch, self.partition.partition, &result);
            }
        }
    }

    /// The next batch: what has queued up, or what comes within the linger time.
    async fn gather(&mut self) -> Option<Vec<Queued>> {
        let first = match self.carried.take() {
            Some(carried) => carried,
            None => self.queue.recv().await?.stamp(),
        };
        let deadline = Instant::now() + self.core.config.linger;
        let mut bytes = first.bytes;
        let mut batch = vec![first];
        while bytes < self.core.config.batch_bytes
            && let Some(next) = self.next_until(deadline).await
        {
            let next = next.stamp();
            if bytes + next.bytes > self.core.config.batch_bytes {
                self.carried = Some(next);
                break;
            }
            bytes += next.bytes;
            batch.push(next);
        }
        Some(batch)
    }

    async fn next_until(&mut self, deadline: Instant) -> Option<Queued> {
        if let Ok(next) = self.queue.try_recv() {
            return Some(next);
        }
        let hurry = self.core.hurry.notified();
        if self.core.flushing.load(Ordering::SeqCst) > 0 {
            return None;
        }
        tokio::select! {
            biased;
            next = self.queue.recv() => next,
            () = hurry => None,
            () = tokio::time::sleep_until(deadline) => None,
        }
    }

    /// Sends a batch until it is acknowledged, and returns the offset of its first record.
    async fn deliver(&mut self, batch: &[Queued]) -> Result<Offset> {
        let mut retry = Retry::new(self.core.client.config(), self.core.config.delivery_timeout);
        let mut bytes = None;
        loop {
            let error = match self.attempt(batch, &mut bytes).await {
                Ok(offset) => return Ok(offset),
                Err(error) if error.code() == Some(ErrorCode::DuplicateSequenceNumber) => {
                    return Ok(Offset::NONE);
                }
                Err(error) => error,
            };
            if error.is_retriable() {
                self.core.client.forget_topic(&self.partition.topic);
            }
            retry.pause(error).await?;
        }
    }

    async fn attempt(&mut self, batch: &[Queued], bytes: &mut Option<Bytes>) -> Result<Offset> {
        let bytes = match bytes {
            Some(bytes) => bytes.clone(),
            None => {
                let identity = self.identity().await?;
                let producer = identity.map(|it| (it.id, it.epoch, self.sequence));
                let is_transactional = self.core.transaction.is_some();
                let built = build(batch, self.core.config.compression, producer, is_transactional)?;
                bytes.insert(built.into()).clone()
            }
        };
        if let Some(transaction) = &self.core.transaction {
            transaction.add(&self.core.client, &self.partition).await?;
        }
        self.produce(bytes).await
    }

    async fn identity(&mut self) -> Result<Option<Identity>> {
        if !self.core.config.idempotent {
            return Ok(None);
        }
        if let Some(transaction) = &self.core.transaction
            && self.identity != Some(transaction.identity())
        {
            // The next transaction: with another epoch sequences begin anew, whatever became of the earlier ones.
            self.identity = Some(transaction.identity());
            self.sequence = Sequence(0);
        } else if self.identity.is_none() {
            self.identity =
                Some(*self.core.identity.get_or_try_init(|| new_identity(&self.core.client)).await?);
        } else if self.is_tainted && self.core.transaction.is_some() {
            return Err(ClientError::Usage(
                "an earlier record of the transaction has failed; it can only be aborted".to_owned(),
            ));
        } else if self.is_tainted {
            self.identity = Some(new_identity(&self.core.client).await?);
            self.sequence = Sequence(0);
        }
        self.is_tainted = false;
        Ok(self.identity)
    }

    async fn produce(&self, bytes: Bytes) -> Result<Offset> {
        let (client, acks) = (&self.core.client, self.core.config.acks);
        let TopicPartition { topic, partition: index } = &self.partition;
        let (topic_id, partition) = client.partition(topic, *index).await?;
        if partition.leader == NodeId::NONE {
            return Err(ClientError::broker(self.what(), ErrorCode::LeaderNotAvailable));
        }
        let connection = client.node(partition.leader).await?;
        let newest = match &self.core.transaction {
            Some(transaction) if !transaction.is_second_protocol() => LAST_OF_FIRST_TRANSACTIONS,
            _ if topic_id.is_zero() => LAST_BY_NAME,
            _ => i16::MAX,
        };
        let oldest = match &self.core.transaction {
            Some(transaction) if transaction.is_second_protocol() => LAST_OF_FIRST_TRANSACTIONS + 1,
            _ => 3,
        };
        let version = connection.version_in(ApiKey::Produce, VersionRange::new(oldest, newest))?;
        let by_name = version <= LAST_BY_NAME;
        let request = ProduceRequest {
            transactional_id: self.core.transaction.as_ref().map(|it| it.id().into()),
            acks: acks as i16,
            timeout_ms: client.timeout_ms(),
            topic_data: vec![TopicProduceData {
                name: if by_name { topic.as_str().into() } else { "".into() },
                topic_id: if by_name { ottla_types::Uuid::ZERO } else { topic_id },
                partition_data: vec![PartitionProduceData { index: *index, records: Some(bytes.into()) }],
            }],
        };
        if acks == Acks::None {
            connection.submit_silent(&request, version)?;
            return Ok(Offset::NONE);
        }
        let response = connection.call_at(&request, version).await?;
        let answer = response.responses.first().and_then(|topic| topic.partition_responses.first());
        let answer = answer.ok_or_else(|| ClientError::broker(self.what(), ErrorCode::UnknownServerError))?;
        check(answer.error_code, reason(answer).as_deref(), || self.what())?;
        Ok(Offset(answer.base_offset))
    }

    fn what(&self) -> String {
        format!("producing to {}", self.partition)
    }
}

async fn new_identity(client: &Client) -> Result<Identity> {
    client
        .with_any(|connection| {
            Box::pin(async move {
                let request = InitProducerIdRequest {
                    transactional_id: None,
                    transaction_timeout_ms: i32::MAX,
                    producer_id: -1,
                    producer_epoch: -1,
                    ..InitProducerIdRequest::default()
                };
                let response = connection.call(&request).await?;
                check(response.error_code, None, || "getting a producer id".to_owned())?;
                Ok(Identity {
                    id: ProducerId(response.producer_id),
                    epoch: ProducerEpoch(response.producer_epoch),
                })
            })
        })
        .await
}

fn is_too_large(error: &ClientError) -> bool {
    matches!(error.code(), Some(ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge))
}

/// Why a batch was refused: the broker names single records where it can.
fn reason(answer: &produce_response::PartitionProduceResponse<'_>) -> Option<String> {
    let record = answer.record_errors.first().and_then(|error| error.batch_index_error_message.as_deref());
    record.or(answer.error_message.as_deref()).map(str::to_owned)
}
