//! Writing the leader epochs of many logs, so that their recovery points can go on.

use super::DirOffline;
use super::duties::{LogOwner, with_log};
use super::log_dir::LogDir;
use super::log_dirs::{LogDirs, LogKey};
use super::shutdown::MANY_LOGS;
use crate::log::{EpochTicket, LogError};

/// Writes `leader-epoch-checkpoint` of the logs whose recovery point waits for it: those that were written to for the first time in
/// a leader epoch. Many together are made durable by syncing the volume. Waits for the disk, but not under a log's lock.
pub(super) fn write_epochs(dirs: &LogDirs, dir: &LogDir, owner: &dyn LogOwner) -> Result<(), DirOffline> {
    let mut tickets = Vec::new();
    for key in dirs.logs_in(dir) {
        with_log(dir, owner, &key, &mut |log| {
            tickets.extend(log.begin_epochs().map(|ticket| (key.clone(), ticket)));
            Ok(())
        })?;
    }
    if tickets.len() >= MANY_LOGS {
        carry_out(dir, owner, &tickets, |ticket| ticket.stage(dir.fs().as_ref()))?;
    }
    if tickets.len() >= MANY_LOGS && dir.sync_volume()? {
        carry_out(dir, owner, &tickets, |ticket| ticket.publish(dir.fs().as_ref()))?;
        if !dir.sync_volume()? {
            return dir.check_online();
        }
    } else {
        carry_out(dir, owner, &tickets, |ticket| ticket.sync(dir.fs().as_ref()).map(|_| ()))?;
    }
    for (key, ticket) in tickets {
        let mut ticket = Some(ticket);
        with_log(dir, owner, &key, &mut |log| {
            if let Some(ticket) = ticket.take() {
                log.complete_epochs(ticket);
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Does something with each ticket whose log is still where the ticket writes. What fails takes the directory offline.
fn carry_out(
    dir: &LogDir,
    owner: &dyn LogOwner,
    tickets: &[(LogKey, EpochTicket)],
    step: impl Fn(&EpochTicket) -> Result<(), LogError>,
) -> Result<(), DirOffline> {
    for (key, ticket) in tickets {
        let _names = dir.hold_names();
        let mut is_valid = false;
        with_log(dir, owner, key, &mut |log| {
            is_valid = log.is_valid(ticket);
            Ok(())
        })?;
        if is_valid {
            step(ticket).map_err(|error| dir.failed(&error))?;
        }
    }
    Ok(())
}
