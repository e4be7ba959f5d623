//! DescribeQuorum (55), versions 0–2: leader, voters and offsets of the metadata quorum.
//!
//! Version 1 added the times of fetches, 2 directory ids, endpoints and messages. Errors per partition:
//! `UNKNOWN_TOPIC_OR_PARTITION` for all when anything but the metadata partition alone is asked about.

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use ottla_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use ottla_quorum::Voter;
use ottla_types::{NodeId, Uuid};

use crate::broker::Broker;
use crate::clock;
use crate::metadata_log::QuorumView;
use crate::request::Request;

const METADATA_TOPIC: &str = "__cluster_metadata";

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let refused = match request.decode::<DescribeQuorumRequest<'_>>() {
        Ok(message) => refusal(&message),
        Err(error) => return Outcome::close(error.to_string()),
    };
    if let Some(response) = refused {
        return request.reply(&response);
    }
    let leader = broker.node_id;
    let quorum = broker.controller.quorum();
    Outcome::later(async move {
        match quorum.await {
            Ok(view) => request.reply(&describe(&view, leader, request.api_version)),
            Err(_) => Outcome::close("the controller has stopped"),
        }
    })
}

/// The answer to everything but the one question that there is.
fn refusal(message: &DescribeQuorumRequest<'_>) -> Option<DescribeQuorumResponse<'static>> {
    if let [topic] = message.topics.as_slice()
        && topic.topic_name == METADATA_TOPIC
        && let [partition] = topic.partitions.as_slice()
        && partition.partition_index == 0
    {
        return None;
    }
    let code = ErrorCode::UnknownTopicOrPartition;
    let topics = message.topics.iter().map(|topic| TopicData {
        topic_name: topic.topic_name.to_string().into(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| PartitionData {
                partition_index: partition.partition_index,
                error_code: code.code(),
                error_message: Some(code.message().into()),
                ..PartitionData::default()
            })
            .collect(),
    });
    Some(DescribeQuorumResponse { topics: topics.collect(), ..DescribeQuorumResponse::default() })
}

fn describe(view: &QuorumView, leader: NodeId, api_version: i16) -> DescribeQuorumResponse<'_> {
    let now_ms = clock::now_ms();
    let replica = |voter: &Voter| {
        let leads = voter.id == leader;
        ReplicaState {
            replica_id: voter.id.value(),
            replica_directory_id: voter.directory.filter(|_| api_version >= 2).unwrap_or(Uuid::ZERO),
            log_end_offset: if leads { view.end_offset.value() } else { -1 },
            last_fetch_timestamp: if leads { now_ms } else { -1 },
            last_caught_up_timestamp: if leads { now_ms } else { -1 },
        }
    };
    let node = |voter: &'_ Voter| Node {
        node_id: voter.id.value(),
        listeners: voter
            .endpoints
            .iter()
            .map(|endpoint| Listener {
                name: endpoint.listener.clone().into(),
                host: endpoint.host.clone().into(),
                port: endpoint.port,
            })
            .collect(),
    };
    let partition = PartitionData {
        leader_id: leader.value(),
        leader_epoch: view.epoch.value(),
        high_watermark: view.high_watermark.value(),
        current_voters: view.voters.iter().map(replica).collect(),
        ..PartitionData::default()
    };
    DescribeQuorumResponse {
        topics: vec![TopicData { topic_name: METADATA_TOPIC.into(), partitions: vec![partition] }],
        nodes: match api_version {
            2.. => view.voters.iter().map(node).collect(),
            _ => Vec::new(),
        },
        ..DescribeQuorumResponse::default()
    }
}
