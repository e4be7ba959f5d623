//! FindCoordinator (10), versions 0–6: the broker that coordinates a group or a transactional id.
//!
//! Version 1 added the key type (0 group, 1 transaction, 2 share), 4 asks for several keys at once, 6 share groups. The
//! coordinator is the leader of the key's partition of an internal topic, which is created on first use. Errors:
//! `COORDINATOR_NOT_AVAILABLE` (ask again), `INVALID_REQUEST` (unknown key type).

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::find_coordinator_response::Coordinator;
use ottla_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use ottla_types::partition_for_key;

use crate::auto_topics::AutoTopics;
use crate::broker::{Broker, Endpoint};
use crate::internal_topics::{CONSUMER_OFFSETS, TRANSACTION_STATE};
use crate::request::Request;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let message: FindCoordinatorRequest<'_> = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let listener = &request.session.connection.listener;
    let find = |key: &str| find(broker, message.key_type, key, listener);
    if request.api_version >= 4 {
        let mut coordinators: Vec<_> =
            message.coordinator_keys.iter().map(|key| describe(key, find(key))).collect();
        // In this form Kafka has words only for what is wrong with the request as a whole.
        if !matches!(message.key_type, GROUP | TRANSACTION | SHARE) {
            for answer in &mut coordinators {
                answer.error_message = Some(ErrorCode::InvalidRequest.message().into());
            }
        }
        return request
            .reply(&FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() });
    }
    let found = find(&message.key);
    let error = *found.as_ref().err().unwrap_or(&ErrorCode::None);
    let Coordinator { node_id, host, port, .. } = describe("", found);
    request.reply(&FindCoordinatorResponse {
        error_code: error.code(),
        error_message: (request.api_version >= 1).then(|| error.message().into()),
        node_id,
        host,
        port,
        ..FindCoordinatorResponse::default()
    })
}

fn describe(key: &str, found: Result<Endpoint, ErrorCode>) -> Coordinator<'static> {
    let base = Coordinator { key: key.to_owned().into(), node_id: -1, port: -1, ..Coordinator::default() };
    match found {
        Ok(node) => Coordinator { node_id: node.id, host: node.host.into(), port: node.port, ..base },
        Err(error) => Coordinator { error_code: error.code(), ..base },
    }
}

fn find(broker: &Arc<Broker>, key_type: i8, key: &str, listener: &str) -> Result<Endpoint, ErrorCode> {
    let name = match key_type {
        GROUP => CONSUMER_OFFSETS,
        TRANSACTION => TRANSACTION_STATE,
        _ => return Err(ErrorCode::InvalidRequest),
    };
    let image = broker.image();
    let Some(topic) = image.topics().by_name(name) else {
        AutoTopics::create(broker, vec![name.into()], None);
        return Err(ErrorCode::CoordinatorNotAvailable);
    };
    let count = i32::try_from(topic.partitions.len()).map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
    let partition = topic
        .partitions
        .get(&partition_for_key(key, count.max(1)))
        .filter(|partition| partition.has_leader())
        .ok_or(ErrorCode::CoordinatorNotAvailable)?;
    broker.endpoint_of(&image, partition.leader, listener).ok_or(ErrorCode::CoordinatorNotAvailable)
}
