//! Who may sync a log's files when: one at a time, and nobody after a sync that failed.

use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::LogError;

/// The syncs of one log, also those that run without its lock.
///
/// The kernel tells of a write-back that failed once, and drops the pages. Of two syncs of one file at the same time the second is told that
/// all is well; if that came back first, records would count that the disk never got. So they take turns.
#[derive(Debug, Default)]
pub(super) struct Syncs {
    turn: Mutex<()>,
    failure: OnceLock<String>,
}

impl Syncs {
    /// Waits for its turn and syncs, unless a sync has failed.
    pub(super) fn run<T>(
        &self,
        dir: &Path,
        sync: impl FnOnce() -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = self.failure() {
            return Err(LogError::Poisoned { path: dir.to_path_buf(), reason: reason.to_owned() });
        }
        sync().inspect_err(|error| self.failure.set(error.to_string()).unwrap_or_default())
    }

    /// Why there are no more.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }
}
