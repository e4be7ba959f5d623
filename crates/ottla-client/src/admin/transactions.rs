//! Transactions and the producers of partitions (KIP-664).

use ottla_protocol::messages::describe_producers_request::TopicRequest;
use ottla_protocol::messages::describe_transactions_response::TransactionState;
use ottla_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use ottla_protocol::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, InitProducerIdRequest, ListTransactionsRequest,
    WriteTxnMarkersRequest, list_transactions_response,
};
use ottla_protocol::{ApiKey, ErrorCode, VersionRange};
use ottla_types::{NodeId, TimestampMs, TopicPartition};

use crate::client::CoordinatorKind;
use crate::error::check;
use crate::{Client, ClientError, Result};

/// Longest transaction that a client may ask for when it only fences.
const FENCING_TIMEOUT_MS: i32 = 60_000;

/// Which transactions are listed; the default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionFilter {
    /// In these states, such as `Ongoing`.
    pub states: Vec<String>,
    /// Of these producers.
    pub producer_ids: Vec<i64>,
    /// Running for longer than this.
    pub running_longer_than_ms: Option<i64>,
    /// Whose transactional ids match this regular expression (RE2).
    pub pattern: Option<String>,
}

/// A transactional id in a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransactionListing {
    /// The transactional id.
    pub transactional_id: String,
    /// The broker that coordinates it.
    pub coordinator: NodeId,
    /// The producer's id.
    pub producer_id: i64,
    /// Its state, such as `Ongoing`.
    pub state: String,
}

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDescription {
    /// The transactional id.
    pub transactional_id: String,
    /// Address of its coordinator.
    pub coordinator: String,
    /// Its state, such as `Ongoing`.
    pub state: String,
    /// `transaction.timeout.ms` of its producer.
    pub timeout_ms: i32,
    /// When it began; `None` if none is going on.
    pub started_at: Option<TimestampMs>,
    /// The producer's id.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// The partitions that take part.
    pub partitions: Vec<TopicPartition>,
}

/// What a partition knows of a producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerState {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i32,
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Time of its last record.
    pub last_timestamp: TimestampMs,
    /// Epoch of its coordinator, if it is transactional.
    pub coordinator_epoch: Option<i32>,
    /// Where its open transaction begins.
    pub transaction_start: Option<i64>,
}

impl Client {
    /// The transactional ids of all coordinators.
    ///
    /// # Errors
    /// A filter is not understood, or a broker does not answer.
    pub async fn list_transactions(&self, filter: &TransactionFilter) -> Result<Vec<TransactionListing>> {
        self.fetch_metadata(Some(&[])).await?;
        let mut found = Vec::new();
        for id in self.broker_ids() {
            let mut retry = self.retry();
            loop {
                match self.list_transactions_of(id, filter).await {
                    Ok(listed) => {
                        found.extend(listed);
                        break;
                    }
                    Err(error) => retry.pause(error).await?,
                }
            }
        }
        found.sort();
        Ok(found)
    }

    async fn list_transactions_of(
        &self,
        id: NodeId,
        filter: &TransactionFilter,
    ) -> Result<Vec<TransactionListing>> {
        let connection = self.node(id).await?;
        let lowest = match (&filter.pattern, filter.running_longer_than_ms) {
            (Some(_), _) => 2,
            (None, Some(_)) => 1,
            (None, None) => 0,
        };
        let make = |_| ListTransactionsRequest {
            state_filters: filter.states.iter().map(|state| state.as_str().into()).collect(),
            producer_id_filters: filter.producer_ids.clone(),
            duration_filter: filter.running_longer_than_ms.unwrap_or(-1),
            transactional_id_pattern: filter.pattern.as_deref().map(Into::into),
        };
        let response = connection.call_with(VersionRange::new(lowest, 2), make).await?;
        check(response.error_code, None, || format!("listing the transactions of broker {id}"))?;
        if let Some(unknown) = response.unknown_state_filters.first() {
            return Err(ClientError::Usage(format!("the broker knows no transaction state '{unknown}'")));
        }
        let listing = |listed: list_transactions_response::TransactionState<'_>| TransactionListing {
            transactional_id: listed.transactional_id.into_owned(),
            coordinator: id,
            producer_id: listed.producer_id,
            state: listed.transaction_state.into_owned(),
        };
        Ok(response.transaction_states.into_iter().map(listing).collect())
    }

    /// A transactional id with its transaction.
    ///
    /// # Errors
    /// There is no such id, or its coordinator does not answer.
    pub async fn describe_transaction(&self, transactional_id: &str) -> Result<TransactionDescription> {
        let what = || format!("describing transactional id '{transactional_id}'");
        self.with_coordinator_of(CoordinatorKind::Transaction, transactional_id, |connection| {
            Box::pin(async move {
                let request =
                    DescribeTransactionsRequest { transactional_ids: vec![transactional_id.into()] };
                let response = connection.call(&request).await?;
                let state = response.transaction_states.into_iter().next();
                let state =
                    state.ok_or_else(|| ClientError::broker(what(), ErrorCode::TransactionalIdNotFound))?;
                check(state.error_code, None, what)?;
                Ok(TransactionDescription::from_wire(state, connection.address()))
            })
        })
        .await
    }

    /// The producers that a partition remembers, as its leader or one of its replicas has them.
    ///
    /// # Errors
    /// The partition does not exist, or the broker does not answer.
    pub async fn describe_producers(
        &self,
        partition: &TopicPartition,
        broker: Option<NodeId>,
    ) -> Result<Vec<ProducerState>> {
        let what = || format!("describing the producers of {partition}");
        let mut retry = self.retry();
        loop {
            match self.describe_producers_once(partition, broker).await {
                Err(error) if broker.is_none() => {
                    self.forget_topic(&partition.topic);
                    retry.pause(error).await?;
                }
                Err(error) if error.code() == Some(ErrorCode::NotLeaderOrFollower) => {
                    return Err(ClientError::Usage(format!("{}: this broker has no replica of it", what())));
                }
                result => return result,
            }
        }
    }

    async fn describe_producers_once(
        &self,
        partition: &TopicPartition,
        broker: Option<NodeId>,
    ) -> Result<Vec<ProducerState>> {
        let what = || format!("describing the producers of {partition}");
        let connection = match broker {
            Some(broker) => self.node(broker).await?,
            None => self.leader(&partition.topic, partition.partition).await?,
        };
        let topic = TopicRequest {
            name: partition.topic.as_str().into(),
            partition_indexes: vec![partition.partition],
        };
        let response = connection.call(&DescribeProducersRequest { topics: vec![topic] }).await?;
        let answer = response.topics.iter().flat_map(|topic| &topic.partitions).next();
        let answer = answer.ok_or_else(|| ClientError::broker(what(), ErrorCode::UnknownServerError))?;
        check(answer.error_code, answer.error_message.as_deref(), what)?;
        let mut producers: Vec<_> = answer
            .active_producers
            .iter()
            .map(|producer| ProducerState {
                producer_id: producer.producer_id,
                producer_epoch: producer.producer_epoch,
                last_sequence: producer.last_sequence,
                last_timestamp: producer.last_timestamp,
                coordinator_epoch: (producer.coordinator_epoch >= 0).then_some(producer.coordinator_epoch),
                transaction_start: (producer.current_txn_start_offset >= 0)
                    .then_some(producer.current_txn_start_offset),
            })
            .collect();
        producers.sort_by_key(|producer| producer.producer_id);
        Ok(producers)
    }

    /// Writes the marker that aborts a transaction into one partition, past its coordinator: for transactions that hang.
    ///
    /// # Errors
    /// The producer is unknown or newer, or the leader does not answer.
    pub async fn abort_in_partition(
        &self,
        partition: &TopicPartition,
        producer_id: i64,
        producer_epoch: i16,
        coordinator_epoch: i32,
    ) -> Result<()> {
        let what = || format!("aborting the transaction of producer {producer_id} in {partition}");
        let connection = self.leader(&partition.topic, partition.partition).await?;
        let marker = WritableTxnMarker {
            producer_id,
            producer_epoch,
            transaction_result: false,
            topics: vec![WritableTxnMarkerTopic {
                name: partition.topic.as_str().into(),
                partition_indexes: vec![partition.partition],
            }],
            coordinator_epoch,
            ..WritableTxnMarker::default()
        };
        let response = connection.call(&WriteTxnMarkersRequest { markers: vec![marker] }).await?;
        let answers = response.markers.iter().flat_map(|marker| &marker.topics);
        let answer = answers.flat_map(|topic| &topic.partitions).next();
        let answer = answer.ok_or_else(|| ClientError::broker(what(), ErrorCode::UnknownServerError))?;
        check(answer.error_code, None, what)
    }

    /// Fences the producers of a transactional id, which aborts its open transaction (`Admin.fenceProducers`).
    ///
    /// # Errors
    /// The coordinator refuses or does not answer.
    pub async fn fence_producers(&self, transactional_id: &str) -> Result<()> {
        let what = || format!("fencing the producers of transactional id '{transactional_id}'");
        self.with_coordinator_of(CoordinatorKind::Transaction, transactional_id, |connection| {
            Box::pin(async move {
                let request = InitProducerIdRequest {
                    transactional_id: Some(transactional_id.into()),
                    transaction_timeout_ms: FENCING_TIMEOUT_MS,
                    producer_id: -1,
                    producer_epoch: -1,
                    ..InitProducerIdRequest::default()
                };
                let newest = connection.version_in(ApiKey::InitProducerId, VersionRange::new(0, 5))?;
                let response = connection.call_at(&request, newest).await?;
                check(response.error_code, None, what)
            })
        })
        .await
    }
}

impl TransactionDescription {
    fn from_wire(state: TransactionState<'_>, coordinator: &str) -> Self {
        let mut partitions = Vec::new();
        for topic in &state.topics {
            partitions.extend(topic.partitions.iter().map(|index| TopicPartition::new(&topic.topic, *index)));
        }
        partitions.sort();
        Self {
            transactional_id: state.transactional_id.into_owned(),
            coordinator: coordinator.to_owned(),
            state: state.transaction_state.into_owned(),
            timeout_ms: state.transaction_timeout_ms,
            started_at: (state.transaction_start_time_ms >= 0).then_some(state.transaction_start_time_ms),
            producer_id: state.producer_id,
            producer_epoch: state.producer_epoch,
            partitions,
        }
    }
}
