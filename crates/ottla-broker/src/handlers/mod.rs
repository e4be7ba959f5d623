//! One file per request type: the versions served, what it does, what each version changed, the errors it can return.

pub(crate) mod add_offsets_to_txn;
pub(crate) mod add_partitions_to_txn;
pub(crate) mod alter_client_quotas;
pub(crate) mod alter_configs;
pub(crate) mod alter_partition_reassignments;
pub(crate) mod alter_replica_log_dirs;
pub(crate) mod alter_user_scram_credentials;
pub(crate) mod api_versions;
pub(crate) mod consumer_group_describe;
pub(crate) mod consumer_group_heartbeat;
pub(crate) mod create_acls;
pub(crate) mod create_delegation_token;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_acls;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod delete_topics;
pub(crate) mod describe_acls;
pub(crate) mod describe_client_quotas;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_delegation_token;
pub(crate) mod describe_groups;
pub(crate) mod describe_log_dirs;
pub(crate) mod describe_producers;
pub(crate) mod describe_quorum;
pub(crate) mod describe_topic_partitions;
pub(crate) mod describe_transactions;
pub(crate) mod describe_user_scram_credentials;
pub(crate) mod elect_leaders;
pub(crate) mod end_txn;
pub(crate) mod expire_delegation_token;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
pub(crate) mod get_telemetry_subscriptions;
pub(crate) mod heartbeat;
pub(crate) mod incremental_alter_configs;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_config_resources;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod list_partition_reassignments;
pub(crate) mod list_transactions;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
mod produce_batches;
mod produce_effort;
mod produce_transaction;
pub(crate) mod push_telemetry;
pub(crate) mod remove_raft_voter;
pub(crate) mod renew_delegation_token;
pub(crate) mod sasl_authenticate;
pub(crate) mod sasl_handshake;
pub(crate) mod sync_group;
pub(crate) mod txn_offset_commit;
pub(crate) mod unregister_broker;
pub(crate) mod unregister_controller;
pub(crate) mod update_features;
pub(crate) mod write_txn_markers;

use ottla_coordinator::group::GroupResponse;
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;

use crate::groups::Answer;
use crate::request::Request;

/// What a coordinator answers, or `refuse` of why it does not.
async fn group_response(
    answer: Result<Answer, ErrorCode>,
    refuse: impl FnOnce(ErrorCode) -> GroupResponse,
) -> GroupResponse {
    match answer {
        Err(error) => refuse(error),
        Ok(answer) => match answer.await {
            Ok(response) => response,
            // The shard went away without an answer.
            Err(_) => refuse(ErrorCode::NotCoordinator),
        },
    }
}

/// Answers a group request when the coordinator has: at once if it could.
fn group_reply(
    mut request: Request,
    answer: Result<Answer, ErrorCode>,
    refuse: impl FnOnce(ErrorCode) -> GroupResponse + Send + 'static,
    reply: impl FnOnce(&Request, GroupResponse) -> Option<Outcome> + Send + 'static,
) -> Outcome {
    let finish = |request: &Request, response| {
        reply(request, response).unwrap_or_else(|| Outcome::close("the coordinator answered another request"))
    };
    match answer {
        Err(error) => finish(&request, refuse(error)),
        Ok(mut answer) => match answer.try_recv() {
            Ok(response) => finish(&request, response),
            Err(_) => {
                // It may wait for minutes, for the other members of a group.
                request.drop_body();
                Outcome::later(async move {
                    let response = group_response(Ok(answer), refuse).await;
                    finish(&request, response)
                })
            }
        },
    }
}
