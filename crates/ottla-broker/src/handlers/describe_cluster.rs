//! DescribeCluster (60), versions 0–2: the cluster's id, controller and brokers.
//!
//! Version 1 added the endpoint type (1 brokers, 2 controllers), 2 fenced brokers. Errors: `MISMATCHED_ENDPOINT_TYPE` when
//! controllers are asked for here, `UNSUPPORTED_ENDPOINT_TYPE`.

use std::borrow::Cow;
use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use ottla_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};

use crate::authorized_operations as operations;
use crate::broker::Broker;
use crate::request::Request;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let message: DescribeClusterRequest = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    match message.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let text = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
            return request.reply(&refusal(ErrorCode::MismatchedEndpointType, text));
        }
        other => {
            let text = format!("Unsupported endpoint type {other}");
            return request.reply(&refusal(ErrorCode::UnsupportedEndpointType, &text));
        }
    }
    let image = broker.image();
    let listener = &request.session.connection.listener;
    let nodes = if message.include_fenced_brokers {
        image.cluster().brokers().filter_map(|node| broker.endpoint_of(&image, node.id, listener)).collect()
    } else {
        broker.endpoints(&image, listener)
    };
    let brokers = nodes.into_iter().map(|node| DescribeClusterBroker {
        broker_id: node.id,
        host: node.host.into(),
        port: node.port,
        rack: node.rack.map(Cow::Owned),
        is_fenced: request.api_version >= 2 && node.is_fenced,
    });
    request.reply(&DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: broker.cluster_id.as_str().into(),
        controller_id: broker.node_id.value(),
        brokers: brokers.collect(),
        cluster_authorized_operations: match message.include_cluster_authorized_operations {
            true => operations::CLUSTER,
            false => operations::NOT_ASKED,
        },
        ..DescribeClusterResponse::default()
    })
}

fn refusal(code: ErrorCode, text: &str) -> DescribeClusterResponse<'static> {
    DescribeClusterResponse {
        error_code: code.code(),
        error_message: Some(Cow::Owned(text.to_owned())),
        ..DescribeClusterResponse::default()
    }
}
