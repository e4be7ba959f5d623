//! Log directories that take no new replicas: `cordoned.log.dirs`, which may change at run time (KIP-1066).

use std::collections::BTreeSet;

use ottla_types::Uuid;

use crate::broker::Broker;

/// Ids of the directories that are cordoned, as the configuration has it now.
pub(crate) fn cordoned(broker: &Broker) -> BTreeSet<Uuid> {
    let dirs = broker.replicas.dirs().dirs().iter();
    dirs.filter(|dir| broker.is_cordoned(dir.path())).filter_map(|dir| dir.id()).collect()
}

/// What a heartbeat says about them: nothing as long as there was nothing to say.
pub(crate) fn to_report(broker: &Broker) -> Option<Vec<Uuid>> {
    let ids = cordoned(broker);
    let image = broker.image();
    let was_told = image.cluster().broker(broker.node_id).is_some_and(|known| known.cordoned.is_some());
    (was_told || !ids.is_empty()).then(|| ids.into_iter().collect())
}

/// Obeys the configuration in force, and tells the controller if that is news.
pub(crate) fn apply(broker: &Broker) {
    let ids = cordoned(broker);
    broker.replicas.dirs().set_cordoned(ids.clone());
    let image = broker.image();
    let Some(known) = image.cluster().broker(broker.node_id) else { return };
    let told: BTreeSet<_> = known.cordoned.iter().flatten().copied().collect();
    if told != ids {
        // The outcome comes back as a change of the metadata; nobody waits for the reply.
        drop(broker.controller.heartbeat(crate::lifecycle::heartbeat(broker, false)));
    }
}
