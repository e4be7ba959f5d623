//! Groups that change their protocol while members are in them: a classic group becomes a consumer group when the first
//! consumer of the newer protocol joins, and the other way round when the last one leaves (KIP-848, online migration).

use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;

use super::embedded;
use super::group::{ConsumerGroup, hash_of};
use super::member::ConsumerMember;
use super::record::{
    ClassicMetadata, ConsumerRecord, CurrentAssignment, MemberMetadata, MemberState, OwnedPartitions,
};
use super::turn::Refusal;
use crate::group::GroupConfig;
use crate::group::classic::{ClassicGroup, ClassicState, Member, Protocol};
use crate::group::deadline::Deadline;
use crate::group::effect::{GroupId, MemberId};
use crate::group::topics::ClusterView;

/// `group.consumer.migration.policy`: in which directions groups may change online.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// Not at all.
    Disabled,
    /// From classic to consumer.
    Upgrade,
    /// From consumer to classic.
    Downgrade,
    /// Both ways.
    #[default]
    Bidirectional,
}

impl MigrationPolicy {
    /// The policy with this name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "disabled" => Some(Self::Disabled),
            "upgrade" => Some(Self::Upgrade),
            "downgrade" => Some(Self::Downgrade),
            "bidirectional" => Some(Self::Bidirectional),
            _ => None,
        }
    }

    pub(crate) const fn allows_upgrade(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    pub(crate) const fn allows_downgrade(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

fn refuse<T>(classic: &ClassicGroup, why: &str) -> Result<T, Refusal> {
    let text = format!("Cannot upgrade classic group {} to consumer group because {why}.", classic.id);
    Err(Refusal::new(ErrorCode::GroupIdNotFound, text))
}

/// Whether a classic group may become a consumer group at all.
///
/// # Errors
/// GROUP_ID_NOT_FOUND, as Kafka answers: the policy or the classic group does not allow it.
pub(crate) fn check_upgrade(classic: &ClassicGroup, config: &GroupConfig) -> Result<(), Refusal> {
    let refuse = |why| refuse(classic, why);
    if !config.consumer_migration.allows_upgrade() {
        return refuse("online upgrade is disabled");
    }
    if !classic.uses_consumer_protocol() {
        return refuse("the group does not use the consumer embedded protocol");
    }
    if classic.members.len() > usize::try_from(config.consumer_max_size).unwrap_or(0) {
        return refuse("the group size exceeds the consumer group maximum size");
    }
    Ok(())
}

/// The records that make a consumer group of a classic one that [may become one](check_upgrade), without the classic one's
/// tombstone; and the group.
///
/// # Errors
/// GROUP_ID_NOT_FOUND, as Kafka answers: what its clients keep in the classic group is not the consumers' own.
pub(crate) fn upgraded(
    classic: &ClassicGroup,
    cluster: &dyn ClusterView,
) -> Result<(Vec<ConsumerRecord>, ConsumerGroup), Refusal> {
    let refuse = |why| refuse(classic, why);
    let Some(protocol) = classic.protocol.as_deref() else {
        return Err(Refusal::new(ErrorCode::UnknownServerError, "The classic group has no protocol yet."));
    };
    let mut members = Vec::with_capacity(classic.members.len());
    for member in classic.members.values() {
        let Ok((partitions, has_user_data)) = embedded::assigned(&member.assignment, cluster) else {
            return refuse("the embedded consumer protocol is malformed");
        };
        if has_user_data {
            return refuse("an unsupported custom assignor is in use");
        }
        let Ok(said) = embedded::subscription(&member.metadata(Some(protocol))) else {
            return refuse("the embedded consumer protocol is malformed");
        };
        let owned = partitions.iter().map(|(topic, partitions)| {
            (*topic, partitions.iter().map(|partition| (*partition, classic.generation)).collect())
        });
        let owned: OwnedPartitions = owned.collect();
        members.push((consumer_member(member, said, owned, classic.generation), partitions));
    }
    let group = || GroupId::clone(&classic.id);
    let id = |member: &ConsumerMember| MemberId::clone(&member.id);
    let mut records = Vec::new();
    records.extend(members.iter().map(|(member, _)| ConsumerRecord::Member {
        group: group(),
        member: id(member),
        value: Some(member.metadata.clone()),
    }));
    let epoch_at = records.len();
    records.extend(members.iter().map(|(member, partitions)| ConsumerRecord::Target {
        group: group(),
        member: id(member),
        value: Some(partitions.clone()),
    }));
    records.push(ConsumerRecord::TargetMetadata { group: group(), value: Some((classic.generation, 0)) });
    records.extend(members.iter().map(|(member, _)| ConsumerRecord::Current {
        group: group(),
        member: id(member),
        value: Some(member.current.clone()),
    }));
    let mut upgraded = ConsumerGroup::new(group());
    records.iter().for_each(|record| upgraded.replay(record));
    let hash = hash_of(&upgraded.topics, cluster);
    let epoch = ConsumerRecord::Epoch { group: group(), value: Some((classic.generation, hash)) };
    upgraded.replay(&epoch);
    records.insert(epoch_at, epoch);
    Ok((records, upgraded))
}

fn consumer_member(
    member: &Member,
    said: embedded::Subscription,
    assigned: OwnedPartitions,
    generation: i32,
) -> ConsumerMember {
    let protocols = member.protocols.iter();
    let protocols = protocols.map(|protocol| (protocol.name.clone(), protocol.metadata.clone())).collect();
    ConsumerMember {
        id: MemberId::clone(&member.id),
        metadata: MemberMetadata {
            instance_id: member.instance_id.clone(),
            rack_id: said.rack_id,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            topic_names: said.topics.into_iter().collect(),
            topic_regex: Some("".into()),
            assignor: None,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            classic: Some(ClassicMetadata { session_timeout_ms: member.session_timeout_ms, protocols }),
        },
        current: CurrentAssignment {
            epoch: generation,
            previous_epoch: generation,
            state: MemberState::Stable,
            assigned,
            pending_revocation: OwnedPartitions::new(),
        },
    }
}

/// The classic group of what is left when `leaving` are gone and `joining` has taken the place of the static member with its
/// instance id.
///
/// # Errors
/// GROUP_ID_NOT_FOUND, as Kafka answers: a member's subscription cannot be read.
pub(crate) fn downgraded(
    group: &ConsumerGroup,
    leaving: &BTreeSet<MemberId>,
    joining: Option<&ConsumerMember>,
    now_ms: i64,
    cluster: &dyn ClusterView,
) -> Result<ClassicGroup, Refusal> {
    let mut classic = ClassicGroup::new(GroupId::clone(&group.id), Some(now_ms));
    classic.state = ClassicState::Stable;
    classic.generation = group.epoch;
    classic.protocol_type = Some("consumer".into());
    let replaced = joining.and_then(|joining| group.static_members.get(joining.instance_id()?));
    let stays = |id: &MemberId| !leaving.contains(id) && replaced != Some(id);
    for member in group.members.values().filter(|member| stays(&member.id)).chain(joining) {
        classic.insert(classic_member(member));
    }
    classic.protocol = classic.select_protocol();
    classic.subscribed_topics = classic.compute_subscribed_topics();
    let ids: Vec<MemberId> = classic.members.keys().cloned().collect();
    for id in ids {
        let is_joining = joining.is_some_and(|joining| joining.id == id);
        let target_id = if is_joining { replaced.unwrap_or(&id) } else { &id };
        let target = group.target_of(target_id).cloned().unwrap_or_default();
        let protocol = classic.protocol.clone();
        let Some(member) = classic.members.get_mut(&id) else { continue };
        let said = member.metadata(protocol.as_deref());
        member.assignment = embedded::assignment(&target, &said, cluster).map_err(|_| {
            let text = format!("Cannot downgrade the classic group {}: malformed subscription.", group.id);
            Refusal::new(ErrorCode::GroupIdNotFound, text)
        })?;
    }
    Ok(classic)
}

fn classic_member(member: &ConsumerMember) -> Member {
    let metadata = &member.metadata;
    let protocols = metadata.classic.iter().flat_map(|classic| &classic.protocols);
    Member {
        id: MemberId::clone(&member.id),
        instance_id: metadata.instance_id.clone(),
        client_id: metadata.client_id.clone(),
        client_host: metadata.client_host.clone(),
        rebalance_timeout_ms: metadata.rebalance_timeout_ms,
        session_timeout_ms: member.classic_session_timeout_ms().unwrap_or(0),
        protocols: protocols
            .map(|(name, metadata)| Protocol { name: name.clone(), metadata: metadata.clone() })
            .collect(),
        assignment: bytes::Bytes::new(),
        is_new: false,
        awaiting_join: None,
        awaiting_sync: None,
        session: Deadline::default(),
    }
}
