//! Requests that sequences share, the oracle's and a few more.

#[allow(dead_code, reason = "shared with the oracle, which uses more of it")]
#[path = "../oracle/requests.rs"]
mod shared;

use std::sync::atomic::{AtomicU32, Ordering};

use ottla_protocol::messages::describe_configs_request::DescribeConfigsResource;
use ottla_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
pub(crate) use shared::*;

use crate::client::Peer;

pub(crate) const TOPIC: i8 = 2;
const CLIENT_METRICS: i8 = 16;
pub(crate) const SET: i8 = 0;
const REQUEST_TIMED_OUT: i16 = 7;

pub(crate) fn alter<'a>(
    kind: i8,
    name: &'a str,
    changes: &[(&'a str, i8, Option<&'a str>)],
) -> IncrementalAlterConfigsRequest<'a> {
    let change = |(name, operation, value): &(&'a str, i8, Option<&'a str>)| AlterableConfig {
        name: (*name).into(),
        config_operation: *operation,
        value: value.map(Into::into),
    };
    let configs = changes.iter().map(change).collect();
    let resource = AlterConfigsResource { resource_type: kind, resource_name: name.into(), configs };
    IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }
}

pub(crate) fn describe<'a>(kind: i8, name: &'a str, keys: Option<&[&'a str]>) -> DescribeConfigsRequest<'a> {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).into()).collect()),
    };
    DescribeConfigsRequest { resources: vec![resource], ..DescribeConfigsRequest::default() }
}

/// Waits until every change of metadata that was answered before counts everywhere in the server.
///
/// Kafka's controller answers before its broker has seen a change. Its broker takes changes one image after another: once it
/// shows a later change, and then one later still, everything up to the first has been made real.
pub(crate) fn barrier(peer: &mut Peer) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let thread = format!("{:?}", std::thread::current().id());
    let name = format!("barrier-{}", thread.replace(|c: char| !c.is_ascii_digit(), ""));
    for _ in 0..2 {
        // A value that was never set before, of as few keys as there are threads.
        let interval = &*(1000 + COUNT.fetch_add(1, Ordering::Relaxed)).to_string();
        let set = alter(CLIENT_METRICS, &name, &[("interval.ms", SET, Some(interval))]);
        // A busy controller may have taken the change without answering in time.
        loop {
            let answer = peer.ask(1, &set).expect("an answer");
            match answer.responses[0].error_code {
                0 => break,
                REQUEST_TIMED_OUT => {}
                _ => panic!("{answer:?}"),
            }
        }
        let describe = describe(CLIENT_METRICS, &name, Some(&["interval.ms"]));
        peer.wait_for(4, &describe, |answer| {
            answer.results[0].configs.first().and_then(|config| config.value.as_deref()) == Some(interval)
        });
    }
}
