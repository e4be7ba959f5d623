//! Committed offsets; a group whose member stays through all turns, and one whose members come and go.

use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest,
    SyncGroupRequest,
};

use super::PLAIN;
use crate::peer::Peer;

/// `ConsumerProtocolSubscription` version 0: the topic `plain`.
const SUBSCRIPTION: &[u8] = b"\0\0\0\0\0\x01\0\x05plain\xff\xff\xff\xff";

/// The member that stays.
#[derive(Debug, Default)]
pub(crate) struct Members {
    staying: Option<(String, i32)>,
    /// Generation that the other group has reached.
    generation: i32,
}

impl Members {
    pub(crate) fn work(&mut self, peer: &mut Peer, turn: usize) {
        for group in ["simple", "staying", "passing"] {
            let request = FindCoordinatorRequest {
                coordinator_keys: vec![group.into()],
                ..FindCoordinatorRequest::default()
            };
            peer.wait_for(4, &request, |answer| answer.coordinators[0].error_code == 0);
        }
        let offset = i64::try_from(turn).expect("few");
        commit(peer, "simple", ("", -1), 0, offset);
        commit(peer, &format!("simple-{turn}"), ("", -1), 2, offset);
        match &self.staying {
            None => self.staying = Some(join(peer, "staying", Some("instance"))),
            // The member knows nothing of the change of servers.
            Some((member, generation)) => {
                let request = HeartbeatRequest {
                    group_id: "staying".into(),
                    generation_id: *generation,
                    member_id: member.clone().into(),
                    group_instance_id: Some("instance".into()),
                };
                let answer = peer.wait_for(4, &request, |answer| is_ready(answer.error_code));
                assert_eq!(answer.error_code, 0, "the member that stayed");
            }
        }
        let (member, generation) = self.staying.clone().expect("it joined");
        commit_as(peer, "staying", (&member, generation), Some("instance"), 1, offset);
        let (member, generation) = join(peer, "passing", None);
        assert!(generation > self.generation, "generation {generation} after {}", self.generation);
        commit(peer, "passing", (&member, generation), 1, offset);
        let members = vec![MemberIdentity { member_id: member.into(), ..MemberIdentity::default() }];
        let request =
            LeaveGroupRequest { group_id: "passing".into(), members, ..LeaveGroupRequest::default() };
        assert_eq!(peer.ask(4, &request).error_code, 0);
        self.generation = generation + 1;
    }
}

/// Whether it is the coordinator's last word: not one of loading, not available, not (yet) the coordinator.
pub(super) fn is_ready(error: i16) -> bool {
    !(14..=16).contains(&error)
}

fn commit(peer: &mut Peer, group: &str, member: (&str, i32), index: i32, offset: i64) {
    commit_as(peer, group, member, None, index, offset);
}

/// As a member of a consumer group, with its epoch.
pub(super) fn commit_with_epoch(peer: &mut Peer, group: &str, member: (&str, i32), index: i32, offset: i64) {
    commit_in(peer, 9, group, member, None, (index, offset));
}

fn commit_as(
    peer: &mut Peer,
    group: &str,
    member: (&str, i32),
    instance: Option<&'static str>,
    index: i32,
    offset: i64,
) {
    commit_in(peer, 8, group, member, instance, (index, offset));
}

fn commit_in(
    peer: &mut Peer,
    version: i16,
    group: &str,
    (member, generation): (&str, i32),
    instance: Option<&'static str>,
    (index, offset): (i32, i64),
) {
    let partition = OffsetCommitRequestPartition {
        partition_index: index,
        committed_offset: offset,
        committed_leader_epoch: 0,
        committed_metadata: Some(format!("turn {offset}").into()),
    };
    let topic = OffsetCommitRequestTopic {
        name: PLAIN.into(),
        partitions: vec![partition],
        ..OffsetCommitRequestTopic::default()
    };
    let request = OffsetCommitRequest {
        group_id: group.to_owned().into(),
        generation_id_or_member_epoch: generation,
        member_id: member.to_owned().into(),
        group_instance_id: instance.map(Into::into),
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    };
    let answer =
        peer.wait_for(version, &request, |answer| is_ready(answer.topics[0].partitions[0].error_code));
    assert_eq!(answer.topics[0].partitions[0].error_code, 0, "{group}: {answer:?}");
}

/// Joins as the only member and leader; returns member id and generation.
fn join(peer: &mut Peer, group: &str, instance: Option<&'static str>) -> (String, i32) {
    let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: SUBSCRIPTION.into() };
    let mut request = JoinGroupRequest {
        group_id: group.to_owned().into(),
        session_timeout_ms: 1_200_000,
        rebalance_timeout_ms: 60_000,
        group_instance_id: instance.map(Into::into),
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..JoinGroupRequest::default()
    };
    let mut joined = peer.wait_for(7, &request, |answer| is_ready(answer.error_code));
    if joined.error_code == 79 {
        // MEMBER_ID_REQUIRED: the id is given now.
        request.member_id = joined.member_id.clone();
        joined = peer.ask(7, &request);
    }
    assert_eq!(joined.error_code, 0, "{joined:?}");
    let assignment = SyncGroupRequestAssignment {
        member_id: joined.member_id.clone(),
        assignment: b"all of it"[..].into(),
    };
    let request = SyncGroupRequest {
        group_id: group.to_owned().into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        group_instance_id: instance.map(Into::into),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: vec![assignment],
    };
    let synced = peer.ask(5, &request);
    assert_eq!(synced.error_code, 0, "{synced:?}");
    (joined.member_id.into_owned(), joined.generation_id)
}
