//! The journals of the node's directories, used as flushers use them.

use std::collections::BTreeSet;

use ottla_storage::dir::{Committed, Journal, LogDir};
use ottla_storage::log::JournalTicket;
use ottla_types::{Offset, Uuid};

use crate::world::{Ack, Stopped, Topic, World};

/// Bytes of each half: mostly one entry.
const HALF_BYTES: u64 = 4096;

/// The journal of a directory, what waits to be written to it, and which topics are in its halves.
#[derive(Default)]
pub(crate) struct Journaling {
    journal: Option<Journal>,
    pub(crate) begun: Vec<(Topic, JournalTicket)>,
    touched: BTreeSet<Topic>,
    retiring: BTreeSet<Topic>,
}

impl World {
    /// Cuts tickets for those topics that a journal can take.
    pub(crate) fn begin_journal(&mut self, topics: &[Topic]) -> Result<(), Stopped> {
        for topic in topics {
            match self.with(*topic, |replica| replica.begin_journal()) {
                Ok(Some(ticket)) => {
                    let dir = self.dir_of(*topic).path().to_path_buf();
                    self.journaling.entry(dir).or_default().begun.push((*topic, ticket));
                }
                Ok(None) => {}
                Err(error) => return self.settle(*topic, Err(error)).map(|_| ()),
            }
        }
        Ok(())
    }

    /// Writes what was begun to the journals, which are made when they are first needed. Returns whom that released, whatever became of the
    /// other directories.
    pub(crate) fn end_journal(&mut self) -> (Vec<Ack>, Result<(), Stopped>) {
        let mut journaling = std::mem::take(&mut self.journaling);
        let (mut acks, mut result) = (Vec::new(), Ok(()));
        for (dir, journaling) in &mut journaling {
            let dir = self.dirs.dirs().iter().find(|found| found.path() == dir).expect("a directory");
            match self.commit(dir, journaling) {
                Ok(released) => acks.extend(released),
                Err(stopped) => result = Err(stopped),
            }
        }
        self.journaling = journaling;
        (acks, result)
    }

    fn commit(&self, dir: &LogDir, journaling: &mut Journaling) -> Result<Vec<Ack>, Stopped> {
        let (topics, tickets): (Vec<_>, Vec<_>) = std::mem::take(&mut journaling.begun).into_iter().unzip();
        if tickets.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |error: std::io::Error| dir.failed(&error);
        let journal = match &mut journaling.journal {
            Some(journal) => journal,
            none => {
                let run = Uuid::from_parts(9, self.fs.operations());
                none.insert(Journal::create(&self.fs, dir.path(), HALF_BYTES, run).map_err(failed)?)
            }
        };
        match journal.commit(&tickets).map_err(failed)? {
            Committed::Full => return Ok(Vec::new()),
            Committed::Safe => {}
            Committed::Turned => journaling.retiring = std::mem::take(&mut journaling.touched),
        }
        journaling.touched.extend(&topics);
        let both = topics.iter().zip(&tickets);
        Ok(both
            .flat_map(|(topic, ticket)| self.with(*topic, |replica| replica.complete_journal(ticket)))
            .collect())
    }

    /// Has the journal of a topic's directory forget what it has of it, before the topic's log is cut.
    pub(crate) fn begin_cut(&mut self, topic: Topic, target: Offset) -> Result<(), Stopped> {
        let dir = self.dir_of(topic);
        let ticket = self.with(topic, |replica| replica.log_mut().begin_cut(target));
        let ticket = ticket.map_err(|error| self.failed(topic, &error))?;
        ticket.map_or(Ok(()), |ticket| self.forget(&dir, ticket))
    }

    /// Has the journal of a directory, if there is one, forget what a ticket says.
    pub(crate) fn forget(&mut self, dir: &LogDir, ticket: JournalTicket) -> Result<(), Stopped> {
        if !self.rules.is_forgetting {
            return Ok(());
        }
        let Some(journaling) = self.journaling.get_mut(dir.path()) else { return Ok(()) };
        let Some(journal) = &mut journaling.journal else { return Ok(()) };
        match journal.commit(&[ticket]).map_err(|error| dir.failed(&error))? {
            Committed::Full => Err(Stopped::Idle),
            Committed::Safe => Ok(()),
            Committed::Turned => {
                journaling.retiring = std::mem::take(&mut journaling.touched);
                if journaling.retiring.is_empty() {
                    journal.retired();
                }
                Ok(())
            }
        }
    }

    /// Makes one topic durable in place that the full half of a journal has; after the last one the half is free.
    pub(crate) fn retire(&mut self) -> Result<Vec<Ack>, Stopped> {
        let full = self.journaling.iter_mut().find(|(_, journaling)| !journaling.retiring.is_empty());
        let (dir, journaling) = full.ok_or(Stopped::Idle)?;
        let (dir, topic) = (dir.clone(), journaling.retiring.pop_first().expect("not empty"));
        let mut acks = Vec::new();
        if self.rules.is_retiring && self.topics().contains(&topic) && self.dir_of(topic).path() == dir {
            let now_ms = self.now_ms;
            acks = match self.with(topic, |replica| replica.begin_flush(now_ms)) {
                Ok(Some(ticket)) => {
                    let outcome = ticket.sync(&self.fs);
                    let outcome = self.with(topic, |replica| replica.complete_flush(outcome));
                    self.settle(topic, outcome)?
                }
                Ok(None) => self.with(topic, |replica| replica.advance()),
                Err(error) => return self.settle(topic, Err(error)),
            };
        }
        if let Some(journaling) = self.journaling.get_mut(&dir)
            && journaling.retiring.is_empty()
            && let Some(journal) = &mut journaling.journal
        {
            journal.retired();
        }
        Ok(acks)
    }
}
