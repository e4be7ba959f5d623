//! AlterClientQuotas (49), versions 0–1: sets and removes quotas of users, client ids and addresses (KIP-546, KIP-612). They
//! hold at once.
//!
//! Version 1 has flexible fields. Error per entity: `INVALID_REQUEST`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ottla_metadata::image::IP;
use ottla_net::Outcome;
use ottla_protocol::messages::AlterClientQuotasRequest;

use crate::broker::Broker;
use crate::quotas::resolve;
use crate::request::Request;

/// Host names that one request may have looked up; more are refused as not resolvable.
const MAX_HOSTS: usize = 100;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let hosts = match request.decode() {
        Ok(message) => hosts(&message),
        Err(error) => return Outcome::close(error.to_string()),
    };
    if hosts.is_empty() {
        return alter(broker, request, BTreeMap::new());
    }
    let broker = Arc::clone(broker);
    Outcome::later(async move {
        let mut known = BTreeMap::new();
        for host in hosts.into_iter().take(MAX_HOSTS) {
            let is_found = resolve(&host).await.is_some();
            known.insert(host, is_found);
        }
        alter(&broker, request, known)
    })
}

fn alter(broker: &Arc<Broker>, request: Request, known: BTreeMap<String, bool>) -> Outcome {
    broker.controller.answer(request, move |controller, _, _, request| {
        let message: AlterClientQuotasRequest<'_> = request.decode().expect("decoded once already");
        let is_address =
            |name: &str| name.parse::<IpAddr>().is_ok() || known.get(name).copied().unwrap_or(false);
        controller.alter_client_quotas(&message, &is_address)
    })
}

/// The names of `ip` entities that are no addresses.
fn hosts(message: &AlterClientQuotasRequest<'_>) -> BTreeSet<String> {
    let parts = message.entries.iter().flat_map(|entry| &entry.entity);
    let names = parts.filter(|part| part.entity_type == IP).filter_map(|part| part.entity_name.as_ref());
    names
        .filter(|name| !name.is_empty() && name.parse::<IpAddr>().is_err())
        .map(ToString::to_string)
        .collect()
}
