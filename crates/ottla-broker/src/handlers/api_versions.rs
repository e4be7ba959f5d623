//! ApiVersions (18), versions 0–5: which requests in which versions this listener takes, and the cluster's features.
//!
//! Version 3 added the client's software and features; 4 lists features whose lowest level is 0; 5 lets a client say which
//! cluster and node it means. A version that is not served is answered in version 0 with `UNSUPPORTED_VERSION` and the
//! range of ApiVersions itself (KIP-511). Errors: `UNSUPPORTED_VERSION`, `INVALID_REQUEST` (malformed client software),
//! `REBOOTSTRAP_REQUIRED` (version 5 naming another cluster or node).

use std::sync::Arc;

use ottla_metadata::features::KRAFT_VERSION;
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use ottla_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};

use crate::broker::Broker;
use crate::dispatch;
use crate::request::Request;

/// Whether a client's software name or version is well formed (`ApiVersionsRequest.isValid`).
fn is_software_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    text.bytes().all(inner)
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && text.bytes().last().is_some_and(|b| b.is_ascii_alphanumeric())
}

fn refusal(error: ErrorCode) -> ApiVersionsResponse<'static> {
    ApiVersionsResponse { error_code: error.code(), ..ApiVersionsResponse::default() }
}

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let supported = dispatch::versions_of(ApiKey::ApiVersions).expect("ApiVersions is served");
    if !supported.contains(request.api_version) {
        let own = ApiVersion {
            api_key: ApiKey::ApiVersions.code(),
            min_version: supported.low,
            max_version: supported.high,
        };
        let response = ApiVersionsResponse { api_keys: vec![own], ..refusal(ErrorCode::UnsupportedVersion) };
        return request.reply_in_version(&response, 0);
    }
    let message: ApiVersionsRequest<'_> = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    if request.api_version >= 3
        && !(is_software_name(&message.client_software_name)
            && is_software_name(&message.client_software_version))
    {
        return request.reply(&refusal(ErrorCode::InvalidRequest));
    }
    if request.api_version >= 3 {
        request.session.set_software(&message.client_software_name, &message.client_software_version);
    }
    if request.api_version >= 5
        && let Err(error) = check_destination(broker, message.cluster_id.as_deref(), message.node_id)
    {
        return request.reply(&refusal(error));
    }
    request.reply(&answer(broker, request.api_version))
}

/// Version 5: a client that names a cluster and a node must mean this one, else it has to find its cluster again.
fn check_destination(broker: &Broker, cluster_id: Option<&str>, node_id: i32) -> Result<(), ErrorCode> {
    match (cluster_id, node_id) {
        (None, -1) => Ok(()),
        (None, _) | (_, -1) => Err(ErrorCode::InvalidRequest),
        (Some(cluster), node) if cluster == broker.cluster_id && node == broker.node_id.value() => Ok(()),
        _ => Err(ErrorCode::RebootstrapRequired),
    }
}

fn answer(broker: &Broker, version: i16) -> ApiVersionsResponse<'static> {
    let image = broker.image();
    let mut finalized = image.features().finalized();
    // A quorum of static voters is at level 0, one that was formatted with its voters at 1 (KIP-853).
    finalized.insert(KRAFT_VERSION, i16::from(broker.config().node().voters.is_empty()));
    ApiVersionsResponse {
        api_keys: dispatch::advertised(broker.telemetry.is_enabled())
            .map(|(key, versions)| ApiVersion {
                api_key: key.code(),
                min_version: versions.low,
                max_version: versions.high,
            })
            .collect(),
        supported_features: ottla_metadata::features::supported_features()
            .into_iter()
            .filter(|(_, levels)| version >= 4 || levels.min > 0)
            .map(|(name, levels)| SupportedFeatureKey {
                name: name.into(),
                min_version: levels.min,
                max_version: levels.max,
            })
            .collect(),
        finalized_features_epoch: image.provenance().last_offset.value(),
        finalized_features: finalized
            .into_iter()
            .filter(|(_, level)| *level > 0)
            .map(|(name, level)| FinalizedFeatureKey {
                name: name.to_owned().into(),
                max_version_level: level,
                min_version_level: level,
            })
            .collect(),
        ..ApiVersionsResponse::default()
    }
}
