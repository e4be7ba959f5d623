//! Who votes in the quorum, and how to reach them (KIP-853).

use std::collections::BTreeMap;

use ottla_types::{NodeId, Offset, Uuid};

/// Where a voter listens: one of its `controller.listener.names`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the listener, upper case as configured.
    pub listener: String,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Its node id.
    pub id: NodeId,
    /// Id of its metadata log directory; `None` in a static quorum, where voters are known by id only.
    pub directory: Option<Uuid>,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// Lowest `kraft.version` it supports.
    pub min_kraft_version: i16,
    /// Highest `kraft.version` it supports.
    pub max_kraft_version: i16,
}

impl Voter {
    /// Whether this voter is the node of that id and directory; an unknown directory on either side matches by id alone
    /// (`VoterSet.VoterNode.isVoter`).
    pub fn is(&self, id: NodeId, directory: Option<Uuid>) -> bool {
        self.id == id && (self.directory.is_none() || self.directory == directory)
    }
}

/// The voters, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoterSet {
    voters: BTreeMap<NodeId, Voter>,
}

impl VoterSet {
    /// Of the given voters; a later one of the same id replaces an earlier one.
    pub fn new(voters: impl IntoIterator<Item = Voter>) -> Self {
        Self { voters: voters.into_iter().map(|voter| (voter.id, voter)).collect() }
    }

    /// The voter of that id.
    pub fn get(&self, id: NodeId) -> Option<&Voter> {
        self.voters.get(&id)
    }

    /// All voters by rising id.
    pub fn iter(&self) -> impl Iterator<Item = &Voter> {
        self.voters.values()
    }

    /// Ids of all voters, rising.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.voters.keys().copied()
    }

    /// Number of voters.
    pub fn len(&self) -> usize {
        self.voters.len()
    }

    /// Whether no voter is known, as on a node that has yet to find its quorum.
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    /// Whether the node of that id and directory votes.
    pub fn contains(&self, id: NodeId, directory: Option<Uuid>) -> bool {
        self.get(id).is_some_and(|voter| voter.is(id, directory))
    }

    /// Whether that node alone makes the quorum.
    pub fn is_only_voter(&self, id: NodeId, directory: Option<Uuid>) -> bool {
        self.len() == 1 && self.contains(id, directory)
    }

    /// Votes or acknowledgements that decide.
    pub fn majority(&self) -> usize {
        self.len() / 2 + 1
    }

    /// The set with `voter` in place of the one of its id, if that one is the same node but differs in endpoints or
    /// versions; `None` when nothing is to change.
    pub fn updated(&self, voter: &Voter) -> Option<Self> {
        let old = self.get(voter.id)?;
        if !old.is(voter.id, voter.directory) || old == voter {
            return None;
        }
        let mut next = self.clone();
        next.voters.insert(voter.id, voter.clone());
        Some(next)
    }
}

/// Values that control records have set, by the offset of the record: a voter set takes effect when it is appended, and
/// an older one is in effect again after a truncation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History<T> {
    entries: BTreeMap<Offset, T>,
}

impl<T> Default for History<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new() }
    }
}

impl<T> History<T> {
    /// Notes a value set at `offset`.
    pub fn add(&mut self, offset: Offset, value: T) {
        self.entries.insert(offset, value);
    }

    /// The newest value and its offset.
    pub fn last(&self) -> Option<(Offset, &T)> {
        self.entries.last_key_value().map(|(offset, value)| (*offset, value))
    }

    /// The value in effect at `offset`.
    pub fn at(&self, offset: Offset) -> Option<&T> {
        self.entries.range(..=offset).next_back().map(|(_, value)| value)
    }

    /// Forgets values set at or after `end`, which the log was cut back to.
    pub fn truncate(&mut self, end: Offset) {
        self.entries.split_off(&end);
    }

    /// Forgets all values but the one in effect at `start`, the new start of the log, and later ones.
    pub fn trim(&mut self, start: Offset) {
        if let Some(keep) = self.entries.range(..=start).next_back().map(|(offset, _)| *offset) {
            self.entries = self.entries.split_off(&keep);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voter(id: i32, port: u16) -> Voter {
        let endpoints = vec![Endpoint { listener: "CONTROLLER".into(), host: "localhost".into(), port }];
        let directory = Some(Uuid::from_parts(7, id as u64));
        Voter { id: NodeId(id), directory, endpoints, min_kraft_version: 0, max_kraft_version: 1 }
    }

    #[test]
    fn an_update_needs_the_same_directory_and_a_difference() {
        let set = VoterSet::new([voter(1, 9093)]);
        assert_eq!(set.updated(&voter(1, 9093)), None);
        assert_eq!(set.updated(&voter(2, 9093)), None);
        let mut other = voter(1, 9094);
        assert_eq!(set.updated(&other), Some(VoterSet::new([voter(1, 9094)])));
        other.directory = Some(Uuid::from_parts(7, 99));
        assert_eq!(set.updated(&other), None);
        assert!(set.is_only_voter(NodeId(1), voter(1, 0).directory));
        assert!(!set.is_only_voter(NodeId(1), None));
    }

    #[test]
    fn history_goes_back_and_is_trimmed() {
        let mut history = History::default();
        for offset in [0, 10, 20] {
            history.add(Offset(offset), offset);
        }
        assert_eq!(history.at(Offset(15)), Some(&10));
        history.trim(Offset(15));
        assert_eq!(history.at(Offset(9)), None);
        assert_eq!(history.at(Offset(10)), Some(&10));
        history.truncate(Offset(20));
        assert_eq!(history.last(), Some((Offset(10), &10)));
    }
}
