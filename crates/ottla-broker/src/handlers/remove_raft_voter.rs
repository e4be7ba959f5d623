//! RemoveRaftVoter (81), version 0: a voter leaves the metadata quorum (KIP-853).
//!
//! A quorum of one cannot lose its voter, so every right request ends with `VOTER_NOT_FOUND`. Errors before that:
//! `INCONSISTENT_CLUSTER_ID`, `INVALID_REQUEST`, `UNSUPPORTED_VERSION` (static voters).

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{RemoveRaftVoterRequest, RemoveRaftVoterResponse};
use ottla_types::Uuid;

use crate::broker::Broker;
use crate::metadata_log::QuorumView;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let (id, directory) = match request.decode::<RemoveRaftVoterRequest<'_>>() {
        Ok(message) => {
            if let Some(cluster) = &message.cluster_id
                && *cluster != broker.cluster_id
            {
                let text = format!(
                    "The given id \"{cluster}\" doesn't match the cluster id \"{}\"",
                    broker.cluster_id
                );
                return request.reply(&refusal(ErrorCode::InconsistentClusterId, text));
            }
            (message.voter_id, message.voter_directory_id)
        }
        Err(error) => return Outcome::close(error.to_string()),
    };
    if id < 0 || directory == Uuid::ZERO {
        let text = "Remove voter request didn't include a valid voter".to_owned();
        return request.reply(&refusal(ErrorCode::InvalidRequest, text));
    }
    let quorum = broker.controller.quorum();
    Outcome::later(async move {
        match quorum.await {
            Ok(view) => request.reply(&decide(&view, id, directory)),
            Err(_) => Outcome::close("the controller has stopped"),
        }
    })
}

fn decide(view: &QuorumView, id: i32, directory: Uuid) -> RemoveRaftVoterResponse<'static> {
    if view.kraft_version < 1 {
        let text = format!(
            "Cluster doesn't support removing voter because the kraft.version feature is {}",
            view.kraft_version
        );
        return refusal(ErrorCode::UnsupportedVersion, text);
    }
    let voters: Vec<_> = view.voters.ids().map(|id| id.to_string()).collect();
    let text =
        format!("Cannot remove voter {id} ({directory}) from the set of voters [{}]", voters.join(", "));
    refusal(ErrorCode::VoterNotFound, text)
}

fn refusal(code: ErrorCode, text: String) -> RemoveRaftVoterResponse<'static> {
    RemoveRaftVoterResponse {
        error_code: code.code(),
        error_message: Some(text.into()),
        ..RemoveRaftVoterResponse::default()
    }
}
