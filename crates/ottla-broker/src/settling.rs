//! Making new logs durable before anything is written to them, so that their first record costs one sync and not four: the
//! directory, its name and `partition.metadata` are on disk by then, mostly.
//!
//! Many new logs of a directory are made durable by syncing the volume once; a few go to their flusher, one by one. Nobody waits for
//! it: a record that comes earlier is synced with all that it needs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ottla_replica::Durability;
use tracing::error;

use crate::clock;
use crate::partition::Partition;
use crate::waiter::wake_all;

/// So many new logs of a directory are made durable together. Syncing a volume also writes what others have there, but nobody waits.
const MANY: usize = 16;

/// The new logs that are not durable yet.
#[derive(Debug, Default)]
pub(crate) struct Settling {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    partitions: Vec<Arc<Partition>>,
    is_running: bool,
}

impl Settling {
    /// Has new partitions made durable in the background, if the policy of their topic will want that.
    pub(crate) fn settle(self: &Arc<Self>, mut partitions: Vec<Arc<Partition>>) {
        partitions.retain(|partition| partition.settings().durability == Durability::Sync);
        if partitions.len() < MANY {
            partitions.iter().for_each(Partition::queue_flush);
            return;
        }
        let mut queue = self.lock();
        queue.partitions.append(&mut partitions);
        if !queue.is_running {
            let working = Arc::clone(self);
            let thread = std::thread::Builder::new().name("settler".to_owned());
            queue.is_running = thread.spawn(move || working.run()).is_ok();
            if !queue.is_running {
                // Their first records do it.
                queue.partitions.clear();
            }
        }
    }

    fn run(&self) {
        loop {
            let mut queue = self.lock();
            let partitions = std::mem::take(&mut queue.partitions);
            queue.is_running = !partitions.is_empty();
            drop(queue);
            if partitions.is_empty() {
                return;
            }
            let mut by_dir: BTreeMap<PathBuf, Vec<Arc<Partition>>> = BTreeMap::new();
            for partition in partitions {
                by_dir.entry(partition.dir().path().to_owned()).or_default().push(partition);
            }
            by_dir.into_values().for_each(|partitions| settle_together(&partitions));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Syncs the volume for partitions that are in one directory.
fn settle_together(partitions: &[Arc<Partition>]) {
    let Some(dir) = partitions.first().map(|partition| partition.dir()) else { return };
    let now_ms = clock::now_ms();
    let mut tickets = Vec::with_capacity(partitions.len());
    for partition in partitions {
        match partition.with_unless_away(|replica| replica.begin_volume_flush(now_ms)) {
            None | Some(Ok(None)) => {}
            Some(Ok(Some(ticket))) => tickets.push((partition, ticket)),
            Some(Err((failure, released))) => {
                let offline = partition.dir().failed(&failure);
                error!(partition = %partition.id, "{offline}");
                wake_all(released);
            }
        }
    }
    if tickets.len() < MANY {
        partitions.iter().for_each(Partition::queue_flush);
        return;
    }
    match dir.sync_volume() {
        Ok(true) => {}
        Ok(false) => {
            partitions.iter().for_each(Partition::queue_flush);
            return;
        }
        Err(offline) => {
            error!("{offline}; its partitions take no more writes until the broker is restarted");
            return;
        }
    }
    for (partition, ticket) in tickets {
        let completed = partition.with_unless_away(|replica| replica.complete_flush(ticket.synced()));
        if let Some(Ok(released) | Err((_, released))) = completed {
            wake_all(released);
        }
    }
}
