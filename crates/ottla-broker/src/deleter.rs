//! Removing files for good: what retention and compaction have taken out of logs, and the directories of deleted logs, once
//! `file.delete.delay.ms` is over. One thread for each log directory, since it takes its time on purpose: the disk is to serve others
//! meanwhile. What is left at a stop, the next start goes on with.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ottla_storage::dir::{LogDir, REMOVAL_PAUSE, remove_old_files};
use tracing::{error, info};

use crate::broker::Broker;
use crate::clock;

/// How often it is looked for files whose time has come.
const INTERVAL: Duration = Duration::from_secs(15);

/// The threads.
#[derive(Default)]
pub(crate) struct Deleters {
    is_closed: Mutex<bool>,
    closed: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Deleters {
    /// Starts the threads.
    pub(crate) fn start(&self, broker: &Arc<Broker>) {
        for (index, dir) in broker.replicas.dirs().online().enumerate() {
            let (working, dir) = (Arc::clone(broker), Arc::clone(dir));
            let thread = std::thread::Builder::new().name(format!("deleter-{index}"));
            match thread.spawn(move || working.deleters.run(&working, &dir)) {
                Ok(thread) => self.threads().push(thread),
                Err(failure) => error!("a thread that removes files: {failure}"),
            }
        }
    }

    /// Ends the threads, in the middle of a file if need be.
    pub(crate) fn shut_down(&self) {
        *self.is_closed() = true;
        self.closed.notify_all();
        for thread in std::mem::take(&mut *self.threads()) {
            if thread.join().is_err() {
                error!("a thread that removes files has panicked");
            }
        }
    }

    fn run(&self, broker: &Broker, dir: &Arc<LogDir>) {
        while self.wait(INTERVAL) && dir.is_online() {
            let now_ms = clock::now_ms();
            let mut pause = || self.wait(REMOVAL_PAUSE);
            broker.replicas.in_dir(broker, dir, |dirs, dir, owner| {
                remove_old_files(dirs, dir, owner, now_ms, &mut pause).map(|_| ())
            });
            let delay_ms = broker.config().values().long("log.segment.delete.delay.ms");
            let (removed, _) = broker.replicas.dirs().remove_deleted(dir, now_ms, delay_ms, &mut pause);
            if removed > 0 {
                info!(dir = %dir.path().display(), "removed {removed} deleted replicas");
            }
        }
    }

    /// Waits; `false` when the node stops.
    fn wait(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut is_closed = self.is_closed();
        while !*is_closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            let woken = self.closed.wait_timeout(is_closed, left);
            (is_closed, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
        false
    }

    fn is_closed(&self) -> MutexGuard<'_, bool> {
        self.is_closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
