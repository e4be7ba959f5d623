//! The durable part of a voter: epoch, leader and vote, in the file `quorum-state` (`FileQuorumStateStore`).

use std::path::{Path, PathBuf};
use std::str::FromStr;

use ottla_storage::fs::{Fs, exists, read_file, replace_file};
use ottla_types::{LeaderEpoch, NodeId, Uuid};
use serde::{Deserialize, Serialize};

use crate::QuorumError;

/// Name of the file in the metadata partition's directory.
pub const QUORUM_STATE_FILE: &str = "quorum-state";

/// Larger files are not ours.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What must be durable before anybody is told about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElectionState {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Its leader, once known.
    pub leader: Option<NodeId>,
    /// Whom this node has voted for in the epoch, with the candidate's directory where that is known.
    pub voted: Option<(NodeId, Option<Uuid>)>,
}

/// Both layouts of the file; fields of the other layout are absent.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_id: Option<String>,
    leader_id: i32,
    leader_epoch: i32,
    voted_id: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    voted_directory_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied_offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_voters: Option<Vec<CurrentVoter>>,
    #[serde(rename = "data_version")]
    data_version: i16,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CurrentVoter {
    voter_id: i32,
}

impl ElectionState {
    /// The file's contents: layout 0 for `kraft.version` 0, with the static voters, layout 1 for 1.
    pub fn to_json(&self, kraft_version: i16, voters: impl Iterator<Item = NodeId>) -> String {
        let dynamic = kraft_version >= 1;
        let directory = self.voted.and_then(|(_, directory)| directory).unwrap_or(Uuid::ZERO);
        let document = Document {
            cluster_id: (!dynamic).then(String::new),
            leader_id: self.leader.map_or(-1, |id| id.0),
            leader_epoch: self.epoch.0,
            voted_id: self.voted.map_or(-1, |(id, _)| id.0),
            voted_directory_id: dynamic.then(|| directory.to_string()),
            applied_offset: (!dynamic).then_some(0),
            current_voters: (!dynamic).then(|| voters.map(|id| CurrentVoter { voter_id: id.0 }).collect()),
            data_version: i16::from(dynamic),
        };
        serde_json::to_string(&document).expect("numbers and strings only")
    }

    /// Reads the file's contents, of either layout.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let document: Document =
            serde_json::from_str(text.lines().next().unwrap_or_default()).map_err(|e| e.to_string())?;
        if !(0..=1).contains(&document.data_version) {
            return Err(format!("data_version {} is not supported", document.data_version));
        }
        let directory = match document.voted_directory_id.as_deref() {
            None => None,
            Some(text) => Some(Uuid::from_str(text).map_err(|e| e.to_string())?).filter(|id| !id.is_zero()),
        };
        let id = |id: i32| (id >= 0).then_some(NodeId(id));
        Ok(Self {
            epoch: LeaderEpoch(document.leader_epoch),
            leader: id(document.leader_id),
            voted: id(document.voted_id).map(|id| (id, directory)),
        })
    }
}

/// The file `quorum-state` of one metadata directory.
#[derive(Clone, Debug)]
pub struct ElectionFile {
    path: PathBuf,
}

impl ElectionFile {
    /// The file in the metadata partition's directory `dir`.
    pub fn new(dir: &Path) -> Self {
        Self { path: dir.join(QUORUM_STATE_FILE) }
    }

    /// What is stored; `None` on a node that never took part in an epoch.
    ///
    /// # Errors
    /// When the file cannot be read, or is not a quorum state.
    pub fn load(&self, fs: &dyn Fs) -> Result<Option<ElectionState>, QuorumError> {
        if !exists(fs, &self.path)? {
            return Ok(None);
        }
        let bytes = read_file(fs, &self.path, MAX_FILE_BYTES)?;
        let corrupt = |reason: String| QuorumError::CorruptQuorumState { path: self.path.clone(), reason };
        let text = std::str::from_utf8(&bytes).map_err(|e| corrupt(e.to_string()))?;
        ElectionState::from_json(text).map(Some).map_err(corrupt)
    }

    /// Stores durably.
    ///
    /// # Errors
    /// As the file system's; afterwards it is unknown which state is stored.
    pub fn store(
        &self,
        fs: &dyn Fs,
        state: &ElectionState,
        kraft_version: i16,
        voters: impl Iterator<Item = NodeId>,
    ) -> Result<(), QuorumError> {
        Ok(replace_file(fs, &self.path, state.to_json(kraft_version, voters).as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As written by Apache Kafka 4.4.0.
    const SEEN: &str = r#"{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#;

    #[test]
    fn reads_and_writes_the_dynamic_layout() {
        let state = ElectionState::from_json(SEEN).unwrap();
        assert_eq!(state, ElectionState { epoch: LeaderEpoch(1), leader: Some(NodeId(1)), voted: None });
        assert_eq!(state.to_json(1, [NodeId(1)].into_iter()), SEEN);
        let voted = ElectionState {
            epoch: LeaderEpoch(7),
            leader: None,
            voted: Some((NodeId(2), Some(Uuid::from_parts(1, 2)))),
        };
        assert_eq!(ElectionState::from_json(&voted.to_json(1, std::iter::empty())).unwrap(), voted);
    }

    #[test]
    fn reads_and_writes_the_static_layout() {
        let state = ElectionState { epoch: LeaderEpoch(3), leader: None, voted: Some((NodeId(2), None)) };
        let text = state.to_json(0, [NodeId(1), NodeId(2)].into_iter());
        assert_eq!(
            text,
            r#"{"clusterId":"","leaderId":-1,"leaderEpoch":3,"votedId":2,"appliedOffset":0,"currentVoters":[{"voterId":1},{"voterId":2}],"data_version":0}"#
        );
        assert_eq!(ElectionState::from_json(&text).unwrap(), state);
    }

    #[test]
    fn refuses_what_is_no_quorum_state() {
        for text in ["", "{}", "[1]", r#"{"leaderId":1,"leaderEpoch":1,"votedId":-1,"data_version":2}"#] {
            assert!(ElectionState::from_json(text).is_err(), "{text}");
        }
        assert!(ElectionState::from_json(&SEEN.replace("AAAA", "!!!!")).is_err());
    }
}
