//! The records of `__transaction_state`, byte for byte as Kafka 4.4 writes them (`TransactionLog`).
//!
//! A key is an i16 record type (0) and the transactional id. A value is version 0 while `transaction.version` is 0, else
//! version 1, which has tagged fields. A tombstone has no value. When loading, an unknown type is skipped, an unknown value
//! version is fatal.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ottla_protocol::Message;
use ottla_protocol::messages::transaction_log_value::PartitionsSchema;
use ottla_protocol::messages::{TransactionLogKey, TransactionLogValue};
use ottla_types::{ProducerEpoch, ProducerId, TopicName};

use super::effect::TransactionalId;
use super::metadata::Transaction;
use super::state::TransactionState;

const TYPE: i16 = 0;

/// One record. Without a value it removes the transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionRecord {
    /// The transactional id.
    pub id: TransactionalId,
    /// What is known of it.
    pub value: Option<Transaction>,
}

/// A decoded record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A record of this log.
    Record(TransactionRecord),
    /// A type of a later release, to be skipped.
    UnknownType(i16),
}

/// A record that cannot be read; its partition cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// No key, or one that is too short.
    #[error("a record without a key")]
    NoKey,
    /// The key or the value is not what its type says.
    #[error("{0}")]
    Damaged(String),
    /// A state that this release does not know.
    #[error("unknown transaction state {0}")]
    UnknownState(i8),
}

fn damaged(error: impl ToString) -> RecordError {
    RecordError::Damaged(error.to_string())
}

impl TransactionRecord {
    /// The key's bytes.
    pub fn encode_key(&self) -> Vec<u8> {
        let key = TransactionLogKey { transactional_id: Cow::Borrowed(&self.id) };
        ottla_protocol::records::encode_key(&key).expect("a transactional id came in a string")
    }

    /// The value's bytes under a level of `transaction.version`; `None` for a tombstone.
    pub fn encode_value(&self, level: i16) -> Option<Vec<u8>> {
        let value = self.value.as_ref()?;
        let version = i16::from(level >= 1);
        let mut topics: BTreeMap<&TopicName, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in &value.partitions {
            topics.entry(topic).or_default().push(*partition);
        }
        let partitions = topics.into_iter().map(|(topic, partition_ids)| PartitionsSchema {
            topic: Cow::Borrowed(topic.as_str()),
            partition_ids,
        });
        let tagged = |id: ProducerId| if version >= 1 { id.value() } else { -1 };
        let message = TransactionLogValue {
            producer_id: value.producer_id.value(),
            previous_producer_id: tagged(value.previous_producer_id),
            next_producer_id: tagged(value.next_producer_id),
            producer_epoch: value.epoch.value(),
            transaction_timeout_ms: value.timeout_ms,
            transaction_status: value.state.id(),
            transaction_partitions: (value.state != TransactionState::Empty).then(|| partitions.collect()),
            transaction_last_update_timestamp_ms: value.last_update_ms,
            transaction_start_timestamp_ms: value.start_ms,
            client_transaction_version: if version >= 1 { value.client_version } else { 0 },
            ..TransactionLogValue::default()
        };
        Some(ottla_protocol::records::encode_value(&message, version).expect("its parts came in messages"))
    }

    /// Reads a record.
    ///
    /// # Errors
    /// When it is damaged or of an unknown value version.
    pub fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Decoded, RecordError> {
        let key = key.ok_or(RecordError::NoKey)?;
        let (record_type, body) = ottla_protocol::records::split_prefix(key).ok_or(RecordError::NoKey)?;
        if record_type != TYPE {
            return Ok(Decoded::UnknownType(record_type));
        }
        let key = TransactionLogKey::decode(body, 0).map_err(damaged)?;
        let value = value.map(decode_value).transpose()?;
        Ok(Decoded::Record(Self { id: key.transactional_id.as_ref().into(), value }))
    }
}

fn decode_value(bytes: &[u8]) -> Result<Transaction, RecordError> {
    let (value, _) =
        ottla_protocol::records::decode_value::<TransactionLogValue<'_>>(bytes).map_err(damaged)?;
    let state = value.transaction_status;
    let state = TransactionState::from_id(state).ok_or(RecordError::UnknownState(state))?;
    let topics = value.transaction_partitions.into_iter().flatten();
    let partitions = topics.flat_map(|topic| {
        let name = TopicName::new(&topic.topic);
        topic.partition_ids.into_iter().map(move |partition| (name.clone(), partition))
    });
    Ok(Transaction {
        producer_id: ProducerId(value.producer_id),
        previous_producer_id: ProducerId(value.previous_producer_id),
        next_producer_id: ProducerId(value.next_producer_id),
        epoch: ProducerEpoch(value.producer_epoch),
        last_epoch: ProducerEpoch::NONE,
        timeout_ms: value.transaction_timeout_ms,
        state,
        partitions: partitions.collect(),
        start_ms: value.transaction_start_timestamp_ms,
        last_update_ms: value.transaction_last_update_timestamp_ms,
        client_version: value.client_transaction_version,
    })
}
