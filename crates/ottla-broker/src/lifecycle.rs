//! What the controller hears of this node: registrations, that the broker is there, that it goes (`BrokerLifecycleManager`,
//! `ControllerRegistrationManager`).

use std::time::Duration;

use anyhow::bail;
use ottla_config::BrokerConfig;
use ottla_metadata::controller::Context;
use ottla_metadata::features::supported_features;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::broker_registration_request::{Feature, Listener as RegisteredListener};
use ottla_protocol::messages::{
    BrokerHeartbeatRequest, BrokerRegistrationRequest, ControllerRegistrationRequest,
};
use ottla_protocol::wire::Message as _;
use ottla_storage::dir::LogDirs;
use tracing::warn;

use crate::broker::Broker;
use crate::controller::Runtime;
use crate::random;

/// How often a stopping broker asks the controller to take its partitions away, and the pause between (Kafka's 50 ms).
const GOODBYES: usize = 40;
const GOODBYE_PAUSE: Duration = Duration::from_millis(50);

/// Registers this node's broker with the controller, fenced.
pub(crate) fn register(
    runtime: &mut Runtime,
    config: &BrokerConfig,
    cluster_id: &str,
    log_dirs: &LogDirs,
) -> anyhow::Result<()> {
    let node = config.node();
    let listeners = node.advertised_broker_listeners.iter().map(|endpoint| RegisteredListener {
        name: endpoint.listener.as_str().into(),
        host: endpoint.host.as_deref().unwrap_or("localhost").into(),
        port: endpoint.port,
        security_protocol: endpoint.protocol.id(),
    });
    let features = supported_features();
    let features = features.iter().map(|(name, range)| Feature {
        name: (*name).into(),
        min_supported_version: range.min,
        max_supported_version: range.max,
    });
    let mut directories: Vec<_> = log_dirs.online().filter_map(|dir| dir.id()).collect();
    directories.sort_unstable();
    let request = BrokerRegistrationRequest {
        broker_id: node.node_id.value(),
        cluster_id: cluster_id.into(),
        incarnation_id: random::uuid(),
        listeners: listeners.collect(),
        features: features.collect(),
        rack: node.rack.as_deref().map(Into::into),
        log_dirs: directories,
        previous_broker_epoch: log_dirs.last_broker_epoch().unwrap_or(-1),
        ..BrokerRegistrationRequest::default()
    };
    // From version 3 on the request says of which epoch the last clean stop was; a replica that was stopped cleanly stays
    // eligible as a leader (KIP-966).
    let context = Context { api_version: BrokerRegistrationRequest::VERSIONS.high, ..runtime.context() };
    let decision = runtime.controller().register_broker(&context, &request);
    let code = ErrorCode::from_code(decision.reply.error_code);
    if !code.is_none() {
        bail!("the controller refuses this broker's registration: {} ({})", code.name(), code.message());
    }
    runtime.settle(&decision)?;
    Ok(())
}

/// Registers this node's controller, where the cluster's `metadata.version` has such registrations (KIP-919).
pub(crate) fn register_controller(runtime: &mut Runtime, config: &BrokerConfig) -> anyhow::Result<()> {
    use ottla_protocol::messages::controller_registration_request::{Feature, Listener};
    let node = config.node();
    let features = supported_features();
    let request = ControllerRegistrationRequest {
        controller_id: node.node_id.value(),
        incarnation_id: random::uuid(),
        listeners: node
            .advertised_controller_listeners
            .iter()
            .map(|endpoint| Listener {
                name: endpoint.listener.as_str().into(),
                host: endpoint.host.as_deref().unwrap_or("localhost").into(),
                port: endpoint.port,
                security_protocol: endpoint.protocol.id(),
            })
            .collect(),
        features: features
            .iter()
            .map(|(name, range)| Feature {
                name: (*name).into(),
                min_supported_version: range.min,
                max_supported_version: range.max,
            })
            .collect(),
        ..ControllerRegistrationRequest::default()
    };
    let decision = runtime.controller().register_controller(&request);
    runtime.settle(&decision)?;
    Ok(())
}

/// What the controller hears of this broker.
pub(crate) fn heartbeat(broker: &Broker, want_shut_down: bool) -> BrokerHeartbeatRequest {
    let image = broker.image();
    BrokerHeartbeatRequest {
        broker_id: broker.node_id.value(),
        broker_epoch: broker.epoch().unwrap_or(-1),
        current_metadata_offset: image.provenance().last_offset.value(),
        want_fence: false,
        want_shut_down,
        offline_log_dirs: broker
            .replicas
            .dirs()
            .dirs()
            .iter()
            .filter(|d| !d.is_online())
            .filter_map(|d| d.id())
            .collect(),
        cordoned_log_dirs: crate::cordoned_dirs::to_report(broker),
    }
}

/// Tells the controller that the broker is ready, so that it gets its partitions.
pub(crate) async fn unfence(broker: &Broker) -> anyhow::Result<()> {
    let response = broker.controller.heartbeat(heartbeat(broker, false)).await;
    let response =
        response.map_err(|_| anyhow::anyhow!("the controller stopped while the broker was starting"))?;
    if response.error_code != 0 || response.is_fenced {
        let code = ErrorCode::from_code(response.error_code);
        bail!(
            "the controller does not let this broker serve: {} (fenced: {})",
            code.name(),
            response.is_fenced
        );
    }
    Ok(())
}

/// Tells the controller that the broker goes; returns the epoch for the clean-shutdown marker.
pub(crate) async fn leave(broker: &Broker) -> Option<i64> {
    let epoch = heartbeat(broker, true).broker_epoch;
    for _ in 0..GOODBYES {
        match broker.controller.heartbeat(heartbeat(broker, true)).await {
            Ok(response) if response.error_code == 0 && response.should_shut_down => break,
            Ok(response) if response.error_code == 0 => tokio::time::sleep(GOODBYE_PAUSE).await,
            Ok(response) => {
                warn!(
                    "the controller answered the goodbye with {}",
                    ErrorCode::from_code(response.error_code).name()
                );
                break;
            }
            Err(_) => {
                warn!("the controller stopped before the broker");
                break;
            }
        }
    }
    (epoch >= 0).then_some(epoch)
}
