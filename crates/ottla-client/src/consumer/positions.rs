//! How far each partition has been read, and where reading starts.

use std::collections::BTreeMap;

use ottla_types::{LeaderEpoch, Offset, TopicPartition};
use tokio::time::Instant;

use super::membership::Membership;
use super::{ConsumerConfig, OffsetReset, Position};
use crate::admin::{Committer, OffsetSpec, commit_offsets};
use crate::client::Attempt;
use crate::{Client, ClientError, Result};

/// How far a partition has been read.
#[derive(Debug)]
pub(super) struct Progress {
    /// Where to start; `None` once that is resolved.
    start: Option<Position>,
    /// The next record for the caller.
    position: Offset,
    /// The next record to fetch.
    next_fetch: Offset,
    /// Records fetched and not yet with the caller.
    buffered: usize,
    /// Epoch of the last record that the caller got.
    leader_epoch: LeaderEpoch,
    committed: Offset,
    high_watermark: Option<Offset>,
    paused_until: Option<Instant>,
}

impl Progress {
    pub(super) fn starting(from: Position) -> Self {
        Self {
            start: Some(from),
            position: Offset::NONE,
            next_fetch: Offset::NONE,
            buffered: 0,
            leader_epoch: LeaderEpoch::NONE,
            committed: Offset::NONE,
            high_watermark: None,
            paused_until: None,
        }
    }

    /// Where to start, while the offset is not known.
    pub(super) fn unresolved(&self) -> Option<Position> {
        self.start
    }

    pub(super) fn resolve(&mut self, (offset, is_committed): (Offset, bool)) {
        self.start = None;
        (self.position, self.next_fetch) = (offset, offset);
        self.committed = if is_committed { offset } else { Offset::NONE };
    }

    /// Starts anew, after the offset turned out not to exist.
    pub(super) fn restart(&mut self, from: Position) {
        self.start = Some(from);
        self.high_watermark = None;
    }

    pub(super) fn position(&self) -> Option<Offset> {
        self.start.is_none().then_some(self.position)
    }

    pub(super) fn next_fetch(&self) -> Option<Offset> {
        self.start.is_none().then_some(self.next_fetch)
    }

    /// The offset to fetch, if it is time to.
    pub(super) fn fetchable(&self, now: Instant, max_buffered: usize) -> Option<Offset> {
        let is_paused = self.paused_until.is_some_and(|until| now < until);
        self.next_fetch().filter(|_| !is_paused && self.buffered < max_buffered)
    }

    pub(super) fn pause_until(&mut self, until: Instant) {
        self.paused_until = Some(until);
    }

    pub(super) fn fetched(&mut self, records: usize, next: Offset, high_watermark: Offset) {
        self.buffered += records;
        self.next_fetch = next;
        self.high_watermark = Some(high_watermark);
        self.paused_until = None;
        self.skip_rest();
    }

    pub(super) fn consumed(&mut self, offset: Offset, leader_epoch: LeaderEpoch) {
        self.position = offset.next();
        self.leader_epoch = leader_epoch;
        self.buffered = self.buffered.saturating_sub(1);
        self.skip_rest();
    }

    /// Offsets without records for the caller (markers, compacted and aborted records) count as read.
    fn skip_rest(&mut self) {
        if self.buffered == 0 {
            self.position = self.position.max(self.next_fetch);
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.start.is_none() && self.high_watermark.is_some_and(|end| self.position >= end)
    }

    /// What is to be committed, if there is something new.
    pub(super) fn uncommitted(&self) -> Option<(Offset, LeaderEpoch)> {
        self.position()
            .filter(|position| *position != self.committed)
            .map(|position| (position, self.leader_epoch))
    }

    pub(super) fn set_committed(&mut self, offset: Offset) {
        self.committed = offset;
    }
}

/// Where to go on without an offset.
pub(super) fn reset(policy: OffsetReset) -> Option<Position> {
    match policy {
        OffsetReset::Earliest => Some(Position::Earliest),
        OffsetReset::Latest => Some(Position::Latest),
        OffsetReset::None => None,
    }
}

/// Finds the offsets of starting positions; the flag says whether the group has committed it.
pub(super) async fn resolve(
    client: &Client,
    config: &ConsumerConfig,
    group: Option<&str>,
    open: &[(TopicPartition, Position)],
) -> Result<BTreeMap<TopicPartition, (Offset, bool)>> {
    let mut found = BTreeMap::new();
    let by_group: Vec<_> =
        open.iter().filter(|(_, from)| *from == Position::Committed).map(|(it, _)| it.clone()).collect();
    if let Some(group) = group.filter(|_| !by_group.is_empty()) {
        for (partition, committed) in client.group_offsets(group, Some(&by_group)).await? {
            found.insert(partition, (committed.offset, true));
        }
    }
    let mut wanted = Vec::new();
    for (partition, from) in open {
        if found.contains_key(partition) {
            continue;
        }
        let from = if *from == Position::Committed { reset(config.reset) } else { Some(*from) };
        match from {
            Some(Position::At(offset)) => _ = found.insert(partition.clone(), (offset, false)),
            Some(Position::Earliest) => wanted.push((partition.clone(), OffsetSpec::Earliest)),
            Some(Position::Latest) => wanted.push((partition.clone(), OffsetSpec::Latest)),
            Some(Position::Since(ms)) => wanted.push((partition.clone(), OffsetSpec::Timestamp(ms))),
            Some(Position::Committed) | None => {
                return Err(ClientError::Usage(format!(
                    "group '{}' has no committed offset for {partition}, and no reset policy says where to start",
                    group.unwrap_or_default()
                )));
            }
        }
    }
    let listed = client.list_offsets(&wanted, config.isolation).await?;
    let too_young: Vec<_> = listed
        .iter()
        .filter(|(_, listed)| listed.offset.is_none())
        .map(|(partition, _)| (partition.clone(), OffsetSpec::Latest))
        .collect();
    let ends = client.list_offsets(&too_young, config.isolation).await?;
    for (partition, listed) in listed.into_iter().chain(ends) {
        if let Some(offset) = listed.offset {
            found.insert(partition, (offset, false));
        }
    }
    Ok(found)
}

/// Commits offsets in the name of the member, or of the group without membership.
pub(super) async fn commit(
    client: &Client,
    config: &ConsumerConfig,
    membership: Option<&Membership>,
    due: &[(TopicPartition, (Offset, LeaderEpoch))],
) -> Result<()> {
    let offsets: Vec<_> = due.iter().map(|(it, (offset, epoch))| (it.clone(), *offset, *epoch)).collect();
    let offsets = &offsets;
    let committer = match (membership, config.group.as_deref()) {
        (Some(membership), _) => membership.committer(),
        (None, Some(group)) => Committer::admin(group),
        (None, None) => {
            return Err(ClientError::Usage("committing needs a group: pass --group NAME".to_owned()));
        }
    };
    let commit = |connection| -> Attempt<'_, ()> {
        Box::pin(async move { commit_offsets(&connection, committer, offsets).await })
    };
    client.with_coordinator(committer.group, commit).await
}
