//! WriteTxnMarkers (27), versions 1–2: the ends of transactions, from a coordinator or from a tool that ends a hanging one.
//!
//! Version 2 tells the transaction's version, from which on an epoch may not be used twice (KIP-890). Answered when the markers
//! count. Errors per partition: `UNKNOWN_TOPIC_OR_PARTITION`, `NOT_LEADER_OR_FOLLOWER`, `INVALID_PRODUCER_EPOCH`,
//! `TRANSACTION_COORDINATOR_FENCED`, `REQUEST_TIMED_OUT`, `KAFKA_STORAGE_ERROR`, `UNKNOWN_SERVER_ERROR` (a negative producer).

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::write_txn_markers_request::WritableTxnMarker;
use ottla_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use ottla_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use ottla_record::EndTxnMarker;
use ottla_types::{ProducerEpoch, ProducerId, TopicName};

use crate::broker::Broker;
use crate::coordinators::Marker;
use crate::request::Request;
use crate::transactions::write_everywhere;

type Codes = BTreeMap<TopicName, BTreeMap<i32, ErrorCode>>;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let wanted: Vec<_> = match request.decode::<WriteTxnMarkersRequest<'_>>() {
        Ok(message) => message.markers.iter().map(marker).collect(),
        Err(error) => return Outcome::close(error.to_string()),
    };
    let broker = Arc::clone(broker);
    Outcome::later(async move {
        let mut producers: Vec<(i64, Codes)> = Vec::new();
        for (marker, places) in wanted {
            let (id, epoch) = marker.producer;
            let outcomes = if id.value() < 0 || epoch.value() < 0 {
                places.iter().map(|_| Err(ErrorCode::UnknownServerError)).collect()
            } else {
                write_everywhere(&broker, &marker, &places).await
            };
            let id = marker.producer.0.value();
            let at = match producers.iter().position(|(other, _)| *other == id) {
                Some(at) => at,
                None => {
                    producers.push((id, Codes::new()));
                    producers.len() - 1
                }
            };
            for ((topic, index), outcome) in places.into_iter().zip(outcomes) {
                let code = outcome.err().unwrap_or(ErrorCode::None);
                producers[at].1.entry(topic).or_default().insert(index, code);
            }
        }
        let markers = producers
            .into_iter()
            .map(|(producer_id, codes)| WritableTxnMarkerResult { producer_id, topics: topics(codes) });
        request.reply(&WriteTxnMarkersResponse { markers: markers.collect() })
    })
}

fn marker(wanted: &WritableTxnMarker<'_>) -> (Marker, Vec<(TopicName, i32)>) {
    let marker = Marker {
        producer: (ProducerId(wanted.producer_id), ProducerEpoch(wanted.producer_epoch)),
        marker: EndTxnMarker {
            committed: wanted.transaction_result,
            coordinator_epoch: wanted.coordinator_epoch,
        },
        transaction_version: i16::from(wanted.transaction_version),
    };
    let places = wanted.topics.iter().flat_map(|topic| {
        let name = TopicName::new(&topic.name);
        topic.partition_indexes.iter().map(move |index| (name.clone(), *index))
    });
    (marker, places.collect())
}

fn topics(codes: Codes) -> Vec<WritableTxnMarkerTopicResult<'static>> {
    let topic = |(name, partitions): (TopicName, BTreeMap<i32, ErrorCode>)| WritableTxnMarkerTopicResult {
        name: name.to_string().into(),
        partitions: partitions
            .into_iter()
            .map(|(partition_index, code)| WritableTxnMarkerPartitionResult {
                partition_index,
                error_code: code.code(),
            })
            .collect(),
    };
    codes.into_iter().map(topic).collect()
}
