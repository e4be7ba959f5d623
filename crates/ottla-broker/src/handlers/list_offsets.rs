//! ListOffsets (2), versions 1–11: offsets by time, and the special ones.
//!
//! Version 2 added the isolation level, 4 leader epochs, 7 the largest timestamp (-3), 8 the local log start (-4), 9 the
//! newest tiered offset (-5), 10 a time-out, 11 the earliest offset not yet tiered (-6). Nothing is tiered here, so -5 and -6
//! find nothing. Errors per partition: `UNKNOWN_TOPIC_OR_PARTITION`, `NOT_LEADER_OR_FOLLOWER`, `FENCED_LEADER_EPOCH`,
//! `UNKNOWN_LEADER_EPOCH`, `UNSUPPORTED_VERSION` (a special offset that the version or this broker does not know),
//! `INVALID_REQUEST` (a partition named twice), `OFFSET_NOT_AVAILABLE` (before version 5 `LEADER_NOT_AVAILABLE`: the leader is
//! new and its high watermark has not reached the start of its epoch), `KAFKA_STORAGE_ERROR`.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::list_offsets_request::ListOffsetsPartition;
use ottla_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use ottla_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use ottla_replica::Replica;
use ottla_storage::log::{FoundTimestamp, LogError};
use ottla_types::{LeaderEpoch, Offset};

use crate::broker::Broker;
use crate::errors;
use crate::partition::Partition;
use crate::request::Request;
use crate::waiter::Waiter;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let broker = Arc::clone(broker);
    // Searching by time reads files.
    Outcome::later(async move {
        let found = tokio::task::spawn_blocking(move || answer(&broker, &request)).await;
        found.unwrap_or_else(|error| Outcome::close(format!("looking up offsets failed: {error}")))
    })
}

fn answer(broker: &Broker, request: &Request) -> Outcome {
    let message: ListOffsetsRequest<'_> = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for topic in &message.topics {
        for partition in &topic.partitions {
            if !seen.insert((&*topic.name, partition.partition_index)) {
                twice.insert((&*topic.name, partition.partition_index));
            }
        }
    }
    let lookup = Lookup {
        broker,
        version: request.api_version,
        read_committed: message.isolation_level == 1,
        is_consumer: message.replica_id < 0,
    };
    let topics = message.topics.iter().map(|topic| ListOffsetsTopicResponse {
        name: topic.name.to_string().into(),
        partitions: once(&topic.partitions)
            .map(|partition| {
                let answer = if twice.contains(&(&*topic.name, partition.partition_index)) {
                    Err(ErrorCode::InvalidRequest)
                } else {
                    lookup.partition(&topic.name, partition)
                };
                describe(partition.partition_index, request.api_version, answer)
            })
            .collect(),
    });
    request.reply(&ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() })
}

/// Each partition once.
fn once(partitions: &[ListOffsetsPartition]) -> impl Iterator<Item = &ListOffsetsPartition> {
    let mut seen = BTreeSet::new();
    partitions.iter().filter(move |partition| seen.insert(partition.partition_index))
}

/// Offset, timestamp and epoch of what was found.
type Found = Option<(Offset, i64, Option<LeaderEpoch>)>;

fn describe(index: i32, version: i16, answer: Result<Found, ErrorCode>) -> ListOffsetsPartitionResponse {
    let (error, found) = match answer {
        Ok(found) => (ErrorCode::None, found),
        Err(error) => (error, None),
    };
    let (offset, timestamp, epoch) = found.unwrap_or((Offset::NONE, -1, None));
    ListOffsetsPartitionResponse {
        partition_index: index,
        error_code: error.code(),
        timestamp,
        offset: offset.value(),
        leader_epoch: epoch.filter(|_| version >= 4).unwrap_or(LeaderEpoch::NONE).value(),
    }
}

struct Lookup<'a> {
    broker: &'a Broker,
    version: i16,
    read_committed: bool,
    is_consumer: bool,
}

impl Lookup<'_> {
    fn partition(&self, topic: &str, wanted: &ListOffsetsPartition) -> Result<Found, ErrorCode> {
        let lowest_special = match self.version {
            11.. => EARLIEST_PENDING_UPLOAD,
            9..=10 => LATEST_TIERED,
            8 => EARLIEST_LOCAL,
            7 => MAX_TIMESTAMP,
            _ => EARLIEST,
        };
        if wanted.timestamp < lowest_special {
            return Err(ErrorCode::UnsupportedVersion);
        }
        let partition = self.broker.partition_named(topic, wanted.partition_index)?;
        partition
            .with(|replica| self.replica(&partition, replica, wanted))
            .unwrap_or(Err(ErrorCode::NotLeaderOrFollower))
    }

    fn replica(
        &self,
        partition: &Partition,
        replica: &Replica<Waiter>,
        wanted: &ListOffsetsPartition,
    ) -> Result<Found, ErrorCode> {
        let current = replica
            .check_leader(LeaderEpoch(wanted.current_leader_epoch))
            .map_err(|error| errors::of_replica(&error))?;
        let log = replica.log();
        let bound = match (self.is_consumer, self.read_committed) {
            (false, _) => log.log_end_offset(),
            (true, false) => log.high_watermark(),
            (true, true) => log.last_stable_offset(),
        };
        // A new leader that has not yet made its log durable: what is known to clients may be missing below the bound.
        let is_lagging = self.is_consumer && bound < replica.epoch_start();
        let not_available = match self.version {
            5.. => ErrorCode::OffsetNotAvailable,
            _ => ErrorCode::LeaderNotAvailable,
        };
        let by_time = |found: Result<Option<FoundTimestamp>, LogError>| match found {
            Ok(found) => match found.filter(|found| found.offset < bound) {
                None if is_lagging => Err(not_available),
                found => Ok(found.map(|found| (found.offset, found.timestamp, found.leader_epoch))),
            },
            Err(error) => {
                tracing::error!(partition = %partition.id, "looking up an offset by time: {error}");
                partition.note_failed_read(&error);
                Err(errors::of_log(&error))
            }
        };
        match wanted.timestamp {
            LATEST if is_lagging => Err(not_available),
            LATEST => Ok(Some((bound, -1, Some(current)))),
            EARLIEST | EARLIEST_LOCAL => {
                let start = log.log_start_offset();
                Ok(Some((start, -1, log.epoch_for_offset(start))))
            }
            MAX_TIMESTAMP => by_time(log.find_max_timestamp()),
            LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Ok(None),
            timestamp => by_time(log.find_timestamp(timestamp)),
        }
    }
}
