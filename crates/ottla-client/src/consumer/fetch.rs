//! One Fetch request to one broker, and the records of its answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::messages::FetchRequest;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::fetch_response::{AbortedTransaction, PartitionData};
use ottla_protocol::{ApiKey, ErrorCode, VersionRange};
use ottla_record::{BatchView, Batches, RecordView, control_type};
use ottla_types::{ControlType, LeaderEpoch, NodeId, Offset, TopicName, TopicPartition, Uuid};

use super::{ConsumerConfig, Isolation, ReceivedRecord};
use crate::error::check;
use crate::{Client, ClientError, Result};

/// Newest Fetch version that names topics instead of giving their ids.
const LAST_BY_NAME: i16 = 12;

/// A partition to fetch.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) partition: TopicPartition,
    pub(super) topic_id: Uuid,
    pub(super) offset: Offset,
    pub(super) leader_epoch: LeaderEpoch,
}

/// What came for a partition.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) partition: TopicPartition,
    /// The offset that was asked for.
    pub(super) from: Offset,
    pub(super) result: Result<Chunk>,
}

/// Records in order, and where to go on.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) records: Vec<ReceivedRecord>,
    pub(super) next_offset: Offset,
    pub(super) high_watermark: Offset,
}

/// Fetches from one broker.
pub(super) async fn fetch(
    client: Client,
    leader: NodeId,
    wanted: Vec<Wanted>,
    config: Arc<ConsumerConfig>,
) -> Result<Vec<Fetched>> {
    let connection = client.node(leader).await?;
    let newest = if wanted.iter().any(|it| it.topic_id.is_zero()) { LAST_BY_NAME } else { i16::MAX };
    let version = connection.version_in(ApiKey::Fetch, VersionRange::new(4, newest))?;
    let request = request(&wanted, &config, version);
    let limit = connection_limit(&client, &config);
    let response = connection.call_within(&request, version, limit).await?;
    check(response.error_code, None, || format!("fetching from broker {leader}"))?;
    let mut fetched = Vec::new();
    for topic in response.responses {
        for data in topic.partitions {
            let asked = wanted.iter().find(|it| {
                it.partition.partition == data.partition_index
                    && if version > LAST_BY_NAME {
                        it.topic_id == topic.topic_id
                    } else {
                        it.partition.topic.as_str() == topic.topic
                    }
            });
            let Some(asked) = asked else { continue };
            let result = chunk(asked, &data, config.isolation);
            fetched.push(Fetched { partition: asked.partition.clone(), from: asked.offset, result });
        }
    }
    Ok(fetched)
}

fn connection_limit(client: &Client, config: &ConsumerConfig) -> std::time::Duration {
    client.config().connection.request_timeout + config.max_wait
}

fn request<'a>(wanted: &[Wanted], config: &ConsumerConfig, version: i16) -> FetchRequest<'a> {
    let mut topics = BTreeMap::<(TopicName, Uuid), Vec<FetchPartition>>::new();
    // The broker fills its answer in this order, which the caller rotates: keep it within a topic.
    for it in wanted {
        topics.entry((it.partition.topic.clone(), it.topic_id)).or_default().push(FetchPartition {
            partition: it.partition.partition,
            current_leader_epoch: if version >= 9 { it.leader_epoch.0 } else { -1 },
            fetch_offset: it.offset.0,
            partition_max_bytes: config.partition_max_bytes,
            ..FetchPartition::default()
        });
    }
    let by_id = version > LAST_BY_NAME;
    let topic = |((name, id), partitions): ((TopicName, Uuid), _)| FetchTopic {
        topic: if by_id { "".into() } else { name.to_string().into() },
        topic_id: if by_id { id } else { Uuid::ZERO },
        partitions,
    };
    FetchRequest {
        max_wait_ms: i32::try_from(config.max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: config.min_bytes,
        max_bytes: config.max_bytes,
        isolation_level: config.isolation as i8,
        // Without a session: each request says everything.
        session_id: 0,
        session_epoch: -1,
        topics: topics.into_iter().map(topic).collect(),
        ..FetchRequest::default()
    }
}

fn chunk(asked: &Wanted, data: &PartitionData<'_>, isolation: Isolation) -> Result<Chunk> {
    let what = || format!("fetching {} from offset {}", asked.partition, asked.offset);
    check(data.error_code, None, what)?;
    let bytes = data.records.as_ref().and_then(|records| records.as_slice()).unwrap_or_default();
    let mut aborted = Aborted::new(data.aborted_transactions.as_deref(), isolation);
    let mut records = Vec::new();
    let mut next_offset = asked.offset;
    let mut batches = Batches::new(bytes);
    for batch in &mut batches {
        let batch = batch?;
        batch.verify_crc()?;
        if !aborted.hides(&batch)? && !batch.attributes().is_control() {
            read_batch(&batch, asked, &mut records)?;
        }
        next_offset = next_offset.max(batch.next_offset());
    }
    if records.is_empty() && next_offset == asked.offset && !batches.remaining().is_empty() {
        // The broker sends at least one whole batch (KIP-74).
        return Err(ClientError::broker(what(), ErrorCode::CorruptMessage));
    }
    Ok(Chunk { records, next_offset, high_watermark: Offset(data.high_watermark) })
}

fn read_batch(batch: &BatchView<'_>, asked: &Wanted, into: &mut Vec<ReceivedRecord>) -> Result<()> {
    let mut records = batch.records()?;
    let leader_epoch = batch.leader_epoch();
    while let Some(record) = records.try_next()? {
        if record.offset >= asked.offset {
            into.push(received(&record, asked, leader_epoch, batch));
        }
    }
    Ok(())
}

fn received(
    record: &RecordView<'_>,
    asked: &Wanted,
    leader_epoch: LeaderEpoch,
    batch: &BatchView<'_>,
) -> ReceivedRecord {
    ReceivedRecord {
        topic: asked.partition.topic.clone(),
        partition: asked.partition.partition,
        offset: record.offset,
        leader_epoch,
        timestamp: record.timestamp,
        timestamp_type: batch.timestamp_type(),
        key: record.key.map(Bytes::copy_from_slice),
        value: record.value.map(Bytes::copy_from_slice),
        headers: record
            .headers
            .map(|header| (header.key_text().into_owned(), header.value.map(Bytes::copy_from_slice)))
            .collect(),
    }
}

/// The aborted transactions among fetched batches: which producers' batches do not count, at each point of the log.
struct Aborted<'a> {
    /// By first offset, not yet begun.
    ahead: Vec<&'a AbortedTransaction>,
    producers: BTreeSet<i64>,
}

impl<'a> Aborted<'a> {
    fn new(transactions: Option<&'a [AbortedTransaction]>, isolation: Isolation) -> Self {
        let mut ahead: Vec<_> = match isolation {
            Isolation::ReadUncommitted => Vec::new(),
            Isolation::ReadCommitted => transactions.unwrap_or_default().iter().collect(),
        };
        ahead.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self { ahead, producers: BTreeSet::new() }
    }

    /// Whether a batch belongs to an aborted transaction. Batches come in order of offsets.
    fn hides(&mut self, batch: &BatchView<'_>) -> Result<bool> {
        while let Some(next) = self.ahead.pop_if(|it| it.first_offset <= batch.last_offset().0) {
            self.producers.insert(next.producer_id);
        }
        let attributes = batch.attributes();
        if attributes.is_control() && !self.producers.is_empty() {
            let mut records = batch.records()?;
            if let Some(record) = records.try_next()?
                && control_type(&record)? == Some(ControlType::Abort)
            {
                self.producers.remove(&batch.producer_id().0);
            }
        }
        Ok(attributes.is_transactional()
            && !attributes.is_control()
            && self.producers.contains(&batch.producer_id().0))
    }
}
