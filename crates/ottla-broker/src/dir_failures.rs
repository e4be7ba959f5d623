//! What happens when a log directory fails: its partitions take nothing more, the controller is told, the others go on
//! (`ReplicaManager.handleLogDirFailure`). Only a restart brings the directory back.

use std::sync::Arc;

use ottla_storage::dir::LogDir;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::{error, warn};

use crate::broker::Broker;
use crate::internal_topics::{CONSUMER_OFFSETS, TRANSACTION_STATE};
use crate::lifecycle::heartbeat;

/// Looks after directories that fail; `on_last` is called when the node cannot go on without the one that did.
pub(crate) fn watch(broker: &Arc<Broker>, on_last: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let failed = Arc::new(Notify::new());
    for dir in broker.replicas.dirs().dirs() {
        let failed = Arc::clone(&failed);
        dir.on_failure(move || failed.notify_one());
    }
    let broker = Arc::clone(broker);
    // The controller knows of these from the broker's first heartbeat.
    let mut known: Vec<Arc<LogDir>> = offline(&broker);
    for dir in &known {
        tell_operator(dir);
    }
    tokio::spawn(async move {
        loop {
            // One that failed before the hook was there is found as well.
            let fresh: Vec<_> = offline(&broker)
                .into_iter()
                .filter(|dir| !known.iter().any(|other| other.path() == dir.path()))
                .collect();
            if fresh.is_empty() {
                failed.notified().await;
                continue;
            }
            for dir in &fresh {
                take_out_of_service(&broker, dir);
            }
            known.extend(fresh);
            if !can_go_on(&broker) {
                error!("the node stops: it needs the log directory that failed");
                on_last();
                return;
            }
            tell_controller(&broker).await;
        }
    })
}

fn offline(broker: &Broker) -> Vec<Arc<LogDir>> {
    broker.replicas.dirs().dirs().iter().filter(|dir| !dir.is_online()).cloned().collect()
}

/// Not without any directory, nor without that of the metadata log.
fn can_go_on(broker: &Broker) -> bool {
    let dirs = broker.replicas.dirs();
    dirs.online().next().is_some() && dirs.metadata_dir().is_online()
}

fn take_out_of_service(broker: &Arc<Broker>, dir: &Arc<LogDir>) {
    let reason = dir.offline_reason().unwrap_or("it failed").to_owned();
    for partition in broker.partitions() {
        if partition.dir().path() != dir.path() {
            continue;
        }
        match partition.id.topic.as_str() {
            CONSUMER_OFFSETS => broker.groups.resign(partition.id.partition),
            TRANSACTION_STATE => broker.transactions.resign(partition.id.partition),
            _ => {}
        }
        partition.update(|replica| {
            replica.log_mut().poison(&reason);
            ((), replica.advance())
        });
    }
    broker.replicas.dirs().forget_logs_in(dir);
    tell_operator(dir);
}

fn tell_operator(dir: &LogDir) {
    let reason = dir.offline_reason().unwrap_or("it failed");
    error!(
        dir = %dir.path().display(),
        "the log directory is offline: {reason}. \
         Make room on its disk or repair it, then start this node again; its records are kept"
    );
}

/// The controller finds other leaders for what was there, if there are any.
async fn tell_controller(broker: &Broker) {
    let request = heartbeat(broker, false);
    match broker.controller.heartbeat(request).await {
        Ok(response) if response.error_code == 0 => {}
        Ok(response) => {
            warn!("the controller does not take note of a failed directory: {}", response.error_code)
        }
        Err(_) => warn!("the controller stopped before it was told of a failed directory"),
    }
}
