//! Replies of the classic protocol, shaped for the version of the request that they answer.

use std::borrow::Cow;

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::join_group_response::JoinGroupResponseMember;
use ottla_protocol::messages::leave_group_response::MemberResponse;
use ottla_protocol::messages::{HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse, SyncGroupResponse};

use super::classic::ClassicGroup;
use super::effect::{GroupResponse, Parked, Step};

/// The first JoinGroup version whose protocol name may be null.
const NULLABLE_PROTOCOL_NAME: i16 = 7;
/// The first LeaveGroup version with a list of members.
const BATCHED_LEAVE: i16 = 3;

/// A JoinGroup response in the form its version allows: before v7 the protocol name is empty where it is null later.
pub(crate) fn join_response(api_version: i16, mut response: JoinGroupResponse<'static>) -> GroupResponse {
    let name = response.protocol_name.take().filter(|name| !name.is_empty());
    response.protocol_name =
        if api_version < NULLABLE_PROTOCOL_NAME { Some(name.unwrap_or_default()) } else { name };
    GroupResponse::JoinGroup(response)
}

/// A refused JoinGroup.
pub(crate) fn join_refusal(api_version: i16, member_id: &str, error: ErrorCode) -> GroupResponse {
    let response = JoinGroupResponse {
        error_code: error.code(),
        member_id: Cow::Owned(member_id.to_owned()),
        ..JoinGroupResponse::default()
    };
    join_response(api_version, response)
}

/// A refused SyncGroup.
pub(crate) fn sync_refusal(error: ErrorCode) -> GroupResponse {
    GroupResponse::SyncGroup(SyncGroupResponse { error_code: error.code(), ..SyncGroupResponse::default() })
}

/// An answered Heartbeat.
pub(crate) fn heartbeat_response(error: ErrorCode) -> GroupResponse {
    GroupResponse::Heartbeat(HeartbeatResponse { error_code: error.code(), ..HeartbeatResponse::default() })
}

/// A LeaveGroup refused as a whole.
pub(crate) fn leave_refusal(error: ErrorCode) -> GroupResponse {
    GroupResponse::LeaveGroup(LeaveGroupResponse {
        error_code: error.code(),
        ..LeaveGroupResponse::default()
    })
}

/// A LeaveGroup answered per member; before v3 the only member's error is the response's.
pub(crate) fn leave_response(api_version: i16, members: Vec<MemberResponse<'static>>) -> GroupResponse {
    if api_version >= BATCHED_LEAVE {
        return GroupResponse::LeaveGroup(LeaveGroupResponse { members, ..LeaveGroupResponse::default() });
    }
    let error_code = members.first().map_or(ErrorCode::None.code(), |member| member.error_code);
    GroupResponse::LeaveGroup(LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() })
}

/// Answers a JoinGroup with an error.
pub(crate) fn join_error(step: &mut Step<'_>, parked: Parked, member_id: &str, error: ErrorCode) {
    step.reply(parked.token, join_refusal(parked.api_version, member_id, error));
}

/// Answers a JoinGroup with the current generation, seen as if `leader` led it; the members are listed when `with_members`.
pub(crate) fn join_success(
    step: &mut Step<'_>,
    group: &ClassicGroup,
    parked: Parked,
    member_id: &str,
    leader: Option<&str>,
    listing: Listing,
) {
    let response = JoinGroupResponse {
        generation_id: group.generation,
        protocol_type: owned(group.protocol_type.as_deref()),
        protocol_name: owned(group.protocol.as_deref()),
        leader: owned(leader).unwrap_or_default(),
        skip_assignment: listing == Listing::MembersAlreadyAssigned,
        member_id: Cow::Owned(member_id.to_owned()),
        members: if listing == Listing::Nobody { Vec::new() } else { members(group) },
        ..JoinGroupResponse::default()
    };
    step.reply(parked.token, join_response(parked.api_version, response));
}

/// What a JoinGroup response says about the other members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    /// Nothing: it goes to a follower.
    Nobody,
    /// Who they are: it goes to the leader, which assigns.
    Members,
    /// Who they are, to a leader that must not assign again (KIP-814).
    MembersAlreadyAssigned,
}

fn members(group: &ClassicGroup) -> Vec<JoinGroupResponseMember<'static>> {
    let describe = |member: &super::classic::Member| JoinGroupResponseMember {
        member_id: Cow::Owned(member.id.as_ref().to_owned()),
        group_instance_id: owned(member.instance_id.as_deref()),
        metadata: Cow::Owned(member.metadata(group.protocol.as_deref()).to_vec()),
    };
    group.members.values().map(describe).collect()
}

/// Answers a SyncGroup with an error.
pub(crate) fn sync_error(step: &mut Step<'_>, parked: Parked, error: ErrorCode) {
    step.reply(parked.token, sync_refusal(error));
}

/// Answers a SyncGroup with an assignment.
pub(crate) fn sync_success(step: &mut Step<'_>, group: &ClassicGroup, parked: Parked, assignment: &Bytes) {
    let response = SyncGroupResponse {
        protocol_type: owned(group.protocol_type.as_deref()),
        protocol_name: owned(group.protocol.as_deref()),
        assignment: Cow::Owned(assignment.to_vec()),
        ..SyncGroupResponse::default()
    };
    step.reply(parked.token, GroupResponse::SyncGroup(response));
}

pub(crate) fn owned(text: Option<&str>) -> Option<Cow<'static, str>> {
    text.map(|text| Cow::Owned(text.to_owned()))
}

/// Answers the JoinGroup of a static member whose return could not be logged: an error, beside the generation in force.
pub(crate) fn static_rejoin_error(
    step: &mut Step<'_>,
    group: &ClassicGroup,
    parked: Parked,
    leader: Option<&str>,
    error: ErrorCode,
) {
    let response = JoinGroupResponse {
        error_code: error.code(),
        generation_id: group.generation,
        protocol_type: owned(group.protocol_type.as_deref()),
        protocol_name: owned(group.protocol.as_deref()),
        leader: owned(leader).unwrap_or_default(),
        ..JoinGroupResponse::default()
    };
    step.reply(parked.token, join_response(parked.api_version, response));
}
