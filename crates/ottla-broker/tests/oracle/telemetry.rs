//! GetTelemetrySubscriptions and PushTelemetry (KIP-714), which no server here advertises: both answer nevertheless.

use ottla_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::messages::{
    GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse, IncrementalAlterConfigsRequest,
    PushTelemetryRequest,
};
use ottla_types::Uuid;

use crate::client::{Peer, versions};

const CLIENT_METRICS: i8 = 16;
const SET: i8 = 0;
const DELETE: i8 = 1;

pub(crate) fn script(peer: &mut Peer) {
    for version in versions::<GetTelemetrySubscriptionsRequest>() {
        subscriptions(peer, version);
    }
    configure(
        peer,
        "telemetry",
        &[
            ("interval.ms", Some("3600000")),
            ("metrics", Some("org.apache.kafka.consumer.,org.apache.kafka.producer.")),
            ("match", Some("client_id=orac.*,client_software_name=.*")),
        ],
    );
    configure(
        peer,
        "telemetry-fast",
        &[("interval.ms", Some("120000")), ("match", Some("client_id=oracle"))],
    );
    configure(peer, "telemetry-other", &[("interval.ms", Some("100")), ("match", Some("client_id=oracl"))]);
    peer.wait_for(0, &get(Uuid::ZERO), |answer| answer.push_interval_ms == 120_000);
    for version in versions::<PushTelemetryRequest<'_>>() {
        peer.call_edited(version, "a subscription that matches", &get(Uuid::ZERO), comparable);
        pushes(peer, version);
    }
    for name in ["telemetry", "telemetry-fast", "telemetry-other"] {
        configure(peer, name, &[("interval.ms", None), ("metrics", None), ("match", None)]);
    }
}

/// The metrics are a set, and the subscription's id is any number.
fn comparable(answer: &mut GetTelemetrySubscriptionsResponse<'_>) {
    answer.requested_metrics.sort();
    answer.subscription_id = i32::from(answer.subscription_id != 0);
}

fn id(number: u64) -> Uuid {
    Uuid::from_parts(0x1234_5678_9abc_4def, 0x8000_0000_0000_0000 + number)
}

fn get(client_instance_id: Uuid) -> GetTelemetrySubscriptionsRequest {
    GetTelemetrySubscriptionsRequest { client_instance_id }
}

fn configure(peer: &mut Peer, name: &str, settings: &[(&'static str, Option<&'static str>)]) {
    let change = |(key, value): &(&'static str, Option<&'static str>)| AlterableConfig {
        name: (*key).into(),
        config_operation: if value.is_some() { SET } else { DELETE },
        value: value.map(Into::into),
    };
    let resource = AlterConfigsResource {
        resource_type: CLIENT_METRICS,
        resource_name: name.to_owned().into(),
        configs: settings.iter().map(change).collect(),
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer = peer.ask(1, &request).expect("an answer");
    assert_eq!(answer.responses[0].error_code, 0, "{answer:?}");
}

fn subscriptions(peer: &mut Peer, version: i16) {
    configure(peer, "subscription", &[("interval.ms", None)]);
    peer.wait_for(0, &get(Uuid::ZERO), |answer| answer.push_interval_ms == 300_000);
    peer.call_edited(version, "without id", &get(Uuid::ZERO), comparable);
    peer.call_edited(version, "with an id", &get(id(1)), comparable);
    peer.call(version, "again too early", &get(id(1)));
}

fn pushes(peer: &mut Peer, version: i16) {
    let mut number = 100;
    let mut ask = |peer: &mut Peer, case: &str, edit: &dyn Fn(&mut PushTelemetryRequest<'static>)| {
        number += 1;
        let granted = peer.ask(0, &get(id(number))).expect("an answer");
        let mut push = PushTelemetryRequest {
            client_instance_id: id(number),
            subscription_id: granted.subscription_id,
            ..PushTelemetryRequest::default()
        };
        edit(&mut push);
        peer.call(version, case, &push);
        push
    };
    let first = ask(peer, "nothing", &|_| {});
    peer.call(version, "again too early", &first);
    peer.call(version, "a goodbye at any time", &PushTelemetryRequest { terminating: true, ..first.clone() });
    peer.call(version, "after the goodbye", &first);
    ask(peer, "no instance", &|push| push.client_instance_id = Uuid::ZERO);
    ask(peer, "reserved instance", &|push| push.client_instance_id = Uuid::METADATA_TOPIC);
    ask(peer, "unknown subscription", &|push| push.subscription_id ^= 1);
    ask(peer, "unknown codec", &|push| push.compression_type = 9);
    ask(peer, "negative codec", &|push| push.compression_type = -1);
    ask(peer, "too large", &|push| push.metrics = vec![0; 1_048_577].into());
    for codec in 0..=4 {
        ask(peer, &format!("some bytes, codec {codec}"), &|push| {
            push.compression_type = codec;
            push.metrics = vec![1, 2, 3].into();
        });
    }
    let stale = ask(peer, "stale and unknown codec", &|push| {
        push.subscription_id ^= 1;
        push.compression_type = 9;
    });
    peer.call_edited(version, "asking anew is forgiven", &get(stale.client_instance_id), comparable);
    peer.call(
        version,
        "a push of somebody new",
        &PushTelemetryRequest { client_instance_id: id(9999), ..PushTelemetryRequest::default() },
    );
}
