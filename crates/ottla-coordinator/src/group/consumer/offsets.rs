//! Which offsets members of a consumer group may commit and fetch (`ConsumerGroup.validateOffsetCommit`,
//! `validateOffsetFetch`).

use ottla_protocol::ErrorCode;
use ottla_types::Uuid;

use super::group::ConsumerGroup;
use super::member::ConsumerMember;

/// The first OffsetCommit version for members of the newer protocol.
const MEMBER_EPOCHS: i16 = 9;

impl ConsumerMember {
    /// The error for an epoch that does not fit, in the terms of the member's protocol.
    fn wrong_epoch(&self) -> ErrorCode {
        if self.uses_classic_protocol() { ErrorCode::IllegalGeneration } else { ErrorCode::StaleMemberEpoch }
    }
}

impl ConsumerGroup {
    /// Checks who commits: an administrator of an empty group, a transaction of nobody in particular, or a member that
    /// claims no newer epoch than it has.
    pub(crate) fn validate_commit(
        &self,
        (member_id, instance_id): (&str, Option<&str>),
        epoch: i32,
        is_transactional: bool,
        api_version: i16,
    ) -> Result<(), ErrorCode> {
        if epoch < 0 && self.is_empty() {
            return Ok(());
        }
        if is_transactional && epoch == -1 && member_id.is_empty() && instance_id.is_none() {
            return Ok(());
        }
        let member = self.members.get(member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if !is_transactional && !member.uses_classic_protocol() && api_version < MEMBER_EPOCHS {
            return Err(ErrorCode::UnsupportedVersion);
        }
        if epoch > member.current.epoch { Err(member.wrong_epoch()) } else { Ok(()) }
    }

    /// Checks that a member with an older epoch may commit for the partition: it had it in that epoch already.
    pub(crate) fn validate_place(
        &self,
        member_id: &str,
        epoch: i32,
        topic: Uuid,
        partition: i32,
    ) -> Result<(), ErrorCode> {
        let Some(member) = self.members.get(member_id) else { return Ok(()) };
        if epoch >= member.current.epoch {
            return Ok(());
        }
        let owned = [&member.current.assigned, &member.current.pending_revocation];
        let since = owned.into_iter().find_map(|owned| owned.get(&topic)?.get(&partition));
        match since {
            Some(since) if epoch >= *since => Ok(()),
            _ => Err(member.wrong_epoch()),
        }
    }

    /// Checks who fetches: anybody who claims no membership, or a member in its epoch.
    pub(crate) fn validate_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        if member_id.is_none() && epoch < 0 {
            return Ok(());
        }
        let member = member_id.and_then(|id| self.members.get(id)).ok_or(ErrorCode::UnknownMemberId)?;
        if member.current.epoch == epoch { Ok(()) } else { Err(member.wrong_epoch()) }
    }
}
