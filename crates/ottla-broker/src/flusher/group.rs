//! Making partitions safe together, through the journal.

use std::sync::Arc;
use std::time::Instant;

use ottla_storage::dir::DirOffline;
use ottla_storage::log::JournalTicket;

use super::journal::Group;
use super::{Flushed, Flusher};
use crate::partition::Partition;
use crate::waiter::settle_after_flush;

/// Most bytes of a partition that is alone in an entry of the journal: more is as cheap in place.
const MAX_ALONE_BYTES: u32 = 32 * 1024;

/// Partitions on their way into an entry of the journal.
#[derive(Default)]
struct Entry {
    members: Vec<Arc<Partition>>,
    /// One for each member.
    tickets: Vec<JournalTicket>,
    /// Those whose end is not for the journal, after all.
    others: Vec<Arc<Partition>>,
}

impl Flusher {
    /// Makes partitions safe together. Those whose end is not for the journal, after all, are queued by themselves.
    pub(super) fn flush_group(self: &Arc<Self>, partitions: Vec<Arc<Partition>>, had_time: bool) {
        let mut entry = Entry::default();
        // A replica that moves to another directory meanwhile would take a ticket for one of its own.
        let names = self.dir.hold_names();
        for partition in partitions {
            self.admit(&mut entry, partition);
        }
        if matches!(entry.tickets.as_slice(), [ticket] if ticket.bytes() > MAX_ALONE_BYTES) {
            entry.tickets.clear();
            entry.others.append(&mut entry.members);
        }
        let flushed = self.commit(&mut entry, had_time);
        drop(names);
        self.end(flushed, entry.members);
        entry.others.iter().for_each(|partition| partition.flush_turn().put_back());
        self.lock().end_group(entry.others);
    }

    /// Takes a ticket of a partition.
    fn admit(self: &Arc<Self>, entry: &mut Entry, partition: Arc<Partition>) {
        partition.flush_turn().begin();
        if !Arc::ptr_eq(&self.dir, &partition.dir()) {
            // It has just moved, to where another flusher is at home: its next turn begins there.
            partition.queue_flush();
            self.end(Flushed::default(), [partition]);
            return;
        }
        match partition.with_unless_away(|replica| replica.begin_journal()) {
            Some(Ok(Some(ticket))) => {
                entry.members.push(partition);
                entry.tickets.push(ticket);
            }
            Some(Ok(None)) => entry.others.push(partition),
            Some(Err((failure, released))) => {
                let offline = self.dir.failed(&failure);
                Self::tell_failure(&partition, &offline, released);
                self.end(Flushed::default(), [partition]);
            }
            None => self.end(Flushed::default(), [partition]),
        }
    }

    /// Writes the entry and moves the high watermarks.
    fn commit(&self, entry: &mut Entry, had_time: bool) -> Flushed {
        let mut flushed = Flushed::default();
        if entry.tickets.is_empty() {
            return flushed;
        }
        let begin = Instant::now();
        match self.journal.commit(&entry.members, &entry.tickets) {
            Ok(Group::Full) => entry.others.append(&mut entry.members),
            Ok(Group::Safe(unplaced)) => {
                let took = begin.elapsed();
                self.latencies.record(took);
                flushed.took = Some(took);
                let mut all_released = Vec::new();
                for (partition, ticket) in entry.members.iter().zip(&entry.tickets) {
                    let released = partition.with_unless_away(|replica| replica.complete_journal(ticket));
                    let mut released = released.unwrap_or_default();
                    flushed.released += settle_after_flush(&mut released, had_time);
                    all_released.append(&mut released);
                }
                self.herald.announce(all_released);
                self.lock().settle(unplaced);
            }
            Err(error) => self.fail_members(&entry.members, &error),
        }
        flushed
    }

    /// Has the journal, if there is one, know nothing of a log that comes to its directory ([`LogDirs::begin_promotion`]). `false`: there is no
    /// room at the moment.
    ///
    /// # Errors
    /// The journal cannot be written, which takes the directory offline.
    ///
    /// [`LogDirs::begin_promotion`]: ottla_storage::dir::LogDirs::begin_promotion
    pub(crate) fn forget(self: &Arc<Self>, ticket: JournalTicket) -> Result<bool, DirOffline> {
        match self.journal.forget(ticket) {
            Ok(Group::Full) => Ok(false),
            Ok(Group::Safe(unplaced)) => {
                let mut queue = self.lock();
                queue.settle(unplaced);
                if !queue.is_closed {
                    self.call(&mut queue, Instant::now());
                }
                Ok(true)
            }
            Err(error) => Err(self.dir.failed(&format_args!("cannot write the journal: {error}"))),
        }
    }

    /// The journal cannot be written: nothing is known of what it has.
    fn fail_members(&self, members: &[Arc<Partition>], error: &std::io::Error) {
        let failure = self.dir.failed(&format_args!("cannot write the journal: {error}"));
        for partition in members {
            let released = partition.with_unless_away(|replica| replica.fail(&failure.reason));
            Self::tell_failure(partition, &failure, released.unwrap_or_default());
        }
    }
}
