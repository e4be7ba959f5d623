//! Writing the end of a transaction into its partitions (`TransactionMarkerChannelManager`). All leaders are this broker.

use std::sync::Arc;
use std::time::Duration;

use ottla_coordinator::transaction::{MarkersToWrite, TransactionShard};
use ottla_protocol::ErrorCode;
use ottla_record::EndTxnMarker;
use ottla_types::{Offset, TopicName};
use tracing::{debug, error};

use super::prepare;
use crate::broker::Broker;
use crate::coordinators::{Marker, Shard, write_marker};
use crate::internal_topics::CONSUMER_OFFSETS;
use crate::partition::Partition;
use crate::waiter::{Countdown, Waiter};

/// First pause before partitions are tried again that did not take their marker; each one is twice as long as the last.
const RETRY: Duration = Duration::from_millis(100);
/// The longest pause.
const MAX_RETRY: Duration = Duration::from_secs(5);
/// How long markers may take to count before they are looked at again (`request.timeout.ms`).
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes the markers of one transaction, as often as it takes, and tells its shard.
pub(super) fn start(broker: &Arc<Broker>, shard: &Arc<Shard<TransactionShard>>, task: MarkersToWrite) {
    let (broker, shard) = (Arc::clone(broker), Arc::clone(shard));
    tokio::spawn(async move {
        let MarkersToWrite { id, producer, coordinator_epoch, commit, transaction_version, partitions } =
            task;
        let marker = Marker {
            producer: (producer.producer_id, producer.epoch),
            marker: EndTxnMarker { committed: commit, coordinator_epoch },
            transaction_version,
        };
        let mut left: Vec<_> = partitions.into_iter().collect();
        let mut pause = RETRY;
        while !left.is_empty() {
            let outcomes = write_everywhere(&broker, &marker, &left).await;
            let mut again = Vec::new();
            for (place, outcome) in left.into_iter().zip(outcomes) {
                match outcome {
                    Ok(()) => {}
                    // It was deleted: nobody can read what was written there.
                    Err(ErrorCode::UnknownTopicOrPartition) => {}
                    Err(ErrorCode::InvalidProducerEpoch | ErrorCode::TransactionCoordinatorFenced) => {
                        error!(%id, partition = %place.0, index = place.1, "a partition refuses the end of a transaction");
                        return;
                    }
                    Err(code) => {
                        debug!(%id, partition = %place.0, code = code.name(), "a marker is to be written again");
                        again.push(place);
                    }
                }
            }
            left = again;
            if !left.is_empty() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MAX_RETRY);
            }
            if shard.is_over() {
                return;
            }
        }
        shard.call(|core, _| {
            prepare(&broker, core);
            core.markers_written(&id)
        });
    });
}

/// Writes a marker into partitions and waits until it counts everywhere; one outcome per partition.
pub(crate) async fn write_everywhere(
    broker: &Broker,
    marker: &Marker,
    places: &[(TopicName, i32)],
) -> Vec<Result<(), ErrorCode>> {
    let written: Vec<_> = places.iter().map(|(topic, index)| write(broker, marker, topic, *index)).collect();
    let waiting = Countdown::new(written.iter().flatten().count());
    for (partition, required) in written.iter().flatten() {
        if partition.park_ack(*required, Waiter::Acks(Arc::clone(&waiting))) {
            partition.press(None);
        } else {
            waiting.count_down();
        }
    }
    _ = tokio::time::timeout(PATIENCE, waiting.wait()).await;
    let outcome = |written: Result<(Arc<Partition>, Offset), ErrorCode>| {
        let (partition, required) = written?;
        let counts = partition.with(|replica| replica.high_watermark() >= required);
        match counts {
            Some(true) => Ok(()),
            Some(false) => Err(ErrorCode::RequestTimedOut),
            None => Err(ErrorCode::NotLeaderOrFollower),
        }
    };
    written.into_iter().map(outcome).collect()
}

fn write(
    broker: &Broker,
    marker: &Marker,
    topic: &TopicName,
    index: i32,
) -> Result<(Arc<Partition>, Offset), ErrorCode> {
    let partition = broker.partition_named(topic, index)?;
    // Committed offsets become visible with their marker: the group coordinator writes it.
    let required = if topic.as_str() == CONSUMER_OFFSETS {
        broker.groups.end_transaction(index, marker)?
    } else {
        write_marker(&partition, marker)?.end
    };
    Ok((partition, required))
}
