//! Control records of the quorum, in its own terms.

use ottla_protocol::messages::leader_change_message::{LeaderChangeMessage, Voter as LeaderChangeVoter};
use ottla_protocol::messages::voters_record::{
    Endpoint as EndpointMessage, KRaftVersionFeature, Voter as VoterMessage, VotersRecord,
};
use ottla_protocol::messages::{KRaftVersionRecord, SnapshotFooterRecord, SnapshotHeaderRecord};
use ottla_protocol::records::ControlRecord;
use ottla_record::{RecordError, control_batch};
use ottla_types::{LeaderEpoch, NodeId, Offset, TimestampMs, Uuid};

use crate::{Endpoint, Voter, VoterSet};

/// What a control record of the metadata log or of a snapshot says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// A leader epoch begins.
    LeaderChange {
        /// Its leader.
        leader: NodeId,
        /// All voters.
        voters: Vec<NodeId>,
        /// Who voted for the leader.
        granting: Vec<NodeId>,
    },
    /// A snapshot begins.
    SnapshotHeader {
        /// When the last batch in it was appended to the log.
        last_contained_log_timestamp: TimestampMs,
    },
    /// A snapshot is complete.
    SnapshotFooter,
    /// `kraft.version` from here on.
    KRaftVersion(i16),
    /// The voters from here on.
    Voters(VoterSet),
}

impl Control {
    fn to_record(&self) -> ControlRecord<'_> {
        match self {
            Self::LeaderChange { leader, voters, granting } => {
                let list = |ids: &[NodeId]| {
                    let voter =
                        |id: &NodeId| LeaderChangeVoter { voter_id: id.0, voter_directory_id: Uuid::ZERO };
                    ids.iter().map(voter).collect()
                };
                ControlRecord::LeaderChange(LeaderChangeMessage {
                    version: 0,
                    leader_id: leader.0,
                    voters: list(voters),
                    granting_voters: list(granting),
                })
            }
            Self::SnapshotHeader { last_contained_log_timestamp } => {
                ControlRecord::SnapshotHeader(SnapshotHeaderRecord {
                    version: 0,
                    last_contained_log_timestamp: *last_contained_log_timestamp,
                })
            }
            Self::SnapshotFooter => ControlRecord::SnapshotFooter(SnapshotFooterRecord { version: 0 }),
            Self::KRaftVersion(level) => {
                ControlRecord::KRaftVersion(KRaftVersionRecord { version: 0, kraft_version: *level })
            }
            Self::Voters(voters) => {
                let voters = voters.iter().map(voter_message).collect();
                ControlRecord::KRaftVoters(VotersRecord { version: 0, voters })
            }
        }
    }

    /// Reads a control record. Transaction markers and unknown types have no place in these logs.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<Self, String> {
        let record = ControlRecord::decode(key, value).map_err(|e| e.to_string())?;
        Ok(match record.ok_or("unknown type of control record")? {
            ControlRecord::LeaderChange(message) => Self::LeaderChange {
                leader: NodeId(message.leader_id),
                voters: message.voters.iter().map(|voter| NodeId(voter.voter_id)).collect(),
                granting: message.granting_voters.iter().map(|voter| NodeId(voter.voter_id)).collect(),
            },
            ControlRecord::SnapshotHeader(header) => {
                Self::SnapshotHeader { last_contained_log_timestamp: header.last_contained_log_timestamp }
            }
            ControlRecord::SnapshotFooter(_) => Self::SnapshotFooter,
            ControlRecord::KRaftVersion(record) => Self::KRaftVersion(record.kraft_version),
            ControlRecord::KRaftVoters(record) => {
                Self::Voters(VoterSet::new(record.voters.iter().map(voter)))
            }
            ControlRecord::Abort(_) | ControlRecord::Commit(_) => {
                return Err("transaction marker in the metadata log".to_owned());
            }
        })
    }

    /// A batch of control records, all of time `now_ms`.
    ///
    /// # Errors
    /// When they exceed a batch.
    pub fn batch(
        records: &[Self],
        base_offset: Offset,
        epoch: LeaderEpoch,
        now_ms: TimestampMs,
    ) -> Result<Vec<u8>, RecordError> {
        let too_large =
            |_| RecordError::Unbuildable("a control record has a field that does not fit its encoding");
        let mut values = Vec::with_capacity(records.len());
        for record in records {
            let record = record.to_record();
            values.push((record.control_type(), record.encode_value().map_err(too_large)?));
        }
        let borrowed: Vec<_> = values.iter().map(|(kind, value)| (*kind, value.as_slice())).collect();
        control_batch(base_offset, epoch, now_ms, &borrowed)
    }
}

fn voter_message(voter: &Voter) -> VoterMessage<'_> {
    let endpoint = |endpoint: &Endpoint| EndpointMessage {
        name: endpoint.listener.clone().into(),
        host: endpoint.host.clone().into(),
        port: endpoint.port,
    };
    VoterMessage {
        voter_id: voter.id.0,
        voter_directory_id: voter.directory.unwrap_or(Uuid::ZERO),
        endpoints: voter.endpoints.iter().map(endpoint).collect(),
        kraft_version_feature: KRaftVersionFeature {
            min_supported_version: voter.min_kraft_version,
            max_supported_version: voter.max_kraft_version,
        },
    }
}

fn voter(message: &VoterMessage<'_>) -> Voter {
    let endpoint = |endpoint: &EndpointMessage<'_>| Endpoint {
        listener: endpoint.name.to_string(),
        host: endpoint.host.to_string(),
        port: endpoint.port,
    };
    Voter {
        id: NodeId(message.voter_id),
        directory: Some(message.voter_directory_id).filter(|id| !id.is_zero()),
        endpoints: message.endpoints.iter().map(endpoint).collect(),
        min_kraft_version: message.kraft_version_feature.min_supported_version,
        max_kraft_version: message.kraft_version_feature.max_supported_version,
    }
}
