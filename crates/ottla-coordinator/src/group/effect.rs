//! What a step of the shard asks of its runtime, as plain data: replies, timers, records to append.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use ottla_protocol::messages::{
    ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatResponse, DeleteGroupsResponse,
    DescribeGroupsResponse, HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse, ListGroupsResponse,
    OffsetCommitResponse, OffsetDeleteResponse, SyncGroupResponse, TxnOffsetCommitResponse,
};
use ottla_types::{ProducerEpoch, ProducerId};

use super::GroupConfig;
use super::consumer::Wait;
use super::pending::Completion;
use super::record::GroupRecord;

/// A group id, cheap to clone.
pub type GroupId = Arc<str>;
/// A member id, cheap to clone.
pub type MemberId = Arc<str>;

/// Names one request that the runtime holds open. Chosen by the runtime, unique among open requests; the shard answers
/// each token exactly once, in this step or a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestToken(pub u64);

/// Names one append of a shard. Grows by one with each append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(pub u64);

/// What the shard needs to know of a request besides its body.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext<'a> {
    /// Where the reply goes.
    pub token: RequestToken,
    /// The version of the request; the reply is shaped for it.
    pub api_version: i16,
    /// The client id of the request header; empty when it had none.
    pub client_id: &'a str,
    /// The client's address as Kafka prints it: `/127.0.0.1` (see [`client_host`]).
    pub client_host: &'a str,
}

/// The text that Kafka stores and describes for a client's address (`InetAddress.toString` without a host name).
pub fn client_host(address: core::net::IpAddr) -> String {
    match address {
        core::net::IpAddr::V4(v4) => format!("/{v4}"),
        core::net::IpAddr::V6(v6) => {
            let segments: Vec<String> = v6.segments().iter().map(|s| format!("{s:x}")).collect();
            format!("/{}", segments.join(":"))
        }
    }
}

/// One timer of a shard. At most one timer per key is pending: scheduling a key again moves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerKey {
    /// The session of a member, or the wait of a member that was handed an id and has not joined with it yet.
    Member {
        /// The group.
        group: GroupId,
        /// The member.
        member: MemberId,
    },
    /// The join phase of a group: the initial rebalance delay, or the rebalance timeout.
    Join {
        /// The group.
        group: GroupId,
    },
    /// The sync phase of a group: members that do not send SyncGroup in time are removed.
    Sync {
        /// The group.
        group: GroupId,
    },
    /// A member of a consumer group.
    Consumer {
        /// The group.
        group: GroupId,
        /// The member.
        member: MemberId,
        /// What it is expected to do.
        wait: Wait,
    },
    /// The periodic search for expired offsets and groups.
    Expiry,
}

/// The body of a reply.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupResponse {
    /// To JoinGroup.
    JoinGroup(JoinGroupResponse<'static>),
    /// To SyncGroup.
    SyncGroup(SyncGroupResponse<'static>),
    /// To Heartbeat.
    Heartbeat(HeartbeatResponse),
    /// To LeaveGroup.
    LeaveGroup(LeaveGroupResponse<'static>),
    /// To OffsetCommit.
    OffsetCommit(OffsetCommitResponse<'static>),
    /// To one group of an OffsetFetch; [`offset_fetch_response`](super::offset_fetch_response) joins the groups.
    OffsetFetch(OffsetFetchResponseGroup<'static>),
    /// To the part of a DescribeGroups that belongs to this shard.
    DescribeGroups(DescribeGroupsResponse<'static>),
    /// To the part of a ListGroups that belongs to this shard.
    ListGroups(ListGroupsResponse<'static>),
    /// To the part of a DeleteGroups that belongs to this shard.
    DeleteGroups(DeleteGroupsResponse<'static>),
    /// To OffsetDelete.
    OffsetDelete(OffsetDeleteResponse<'static>),
    /// To TxnOffsetCommit.
    TxnOffsetCommit(TxnOffsetCommitResponse<'static>),
    /// To ConsumerGroupHeartbeat.
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse<'static>),
    /// To one group of a ConsumerGroupDescribe.
    ConsumerGroupDescribe(ConsumerGroupDescribeResponse<'static>),
}

/// One thing for the runtime to do now.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer the request.
    Reply {
        /// The request.
        token: RequestToken,
        /// The answer.
        response: GroupResponse,
    },
    /// Call [`GroupShard::on_timer`](super::GroupShard::on_timer) with the key at this time or soon after. Replaces a
    /// pending timer of the same key.
    Schedule {
        /// The timer.
        key: TimerKey,
        /// When it is due, in milliseconds of the clock that gives `now_ms`.
        at_ms: i64,
    },
    /// Forget the timer; firing it nevertheless does no harm.
    Cancel {
        /// The timer.
        key: TimerKey,
    },
    /// Find the topics of these regular expressions with [`resolve_regexes`](super::resolve_regexes), not while others wait for
    /// the shard, and hand them to [`GroupShard::regexes_resolved`](super::GroupShard::regexes_resolved).
    ResolveRegexes {
        /// The group.
        group: GroupId,
        /// All that the group uses.
        regexes: BTreeSet<Arc<str>>,
    },
    /// What an operator should find in the log at level INFO: rebalances with their reasons, members that come and go.
    Note {
        /// The group.
        group: GroupId,
        /// One sentence.
        text: String,
    },
}

/// Records that must be appended, as one batch when `atomic`.
#[derive(Clone, Debug, PartialEq)]
pub struct Append {
    /// Names the append in [`GroupShard::committed`](super::GroupShard::committed) and
    /// [`GroupShard::append_failed`](super::GroupShard::append_failed).
    pub id: AppendId,
    /// At least one record, in order.
    pub records: Vec<GroupRecord>,
    /// Whether the records must be one batch. Expiry and topic deletion may be split over several.
    pub atomic: bool,
    /// The producer of a transactional offset commit: the batch is transactional and carries its id and epoch.
    pub producer: Option<(ProducerId, ProducerEpoch)>,
}

/// The outcome of one call into the shard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// To be carried out now, in this order.
    pub effects: Vec<Effect>,
    /// To be appended after the effects.
    pub append: Option<Append>,
}

/// A request whose reply waits in the shard, with the version that shapes the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parked {
    pub(crate) token: RequestToken,
    pub(crate) api_version: i16,
}

impl RequestContext<'_> {
    pub(crate) fn parked(&self) -> Parked {
        Parked { token: self.token, api_version: self.api_version }
    }
}

/// The records of a step and what happens when they are committed or fail.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) records: Vec<GroupRecord>,
    pub(crate) atomic: bool,
    pub(crate) producer: Option<(ProducerId, ProducerEpoch)>,
    pub(crate) completion: Completion,
}

/// One step in progress: collects what will be the [`Decision`].
#[derive(Debug)]
pub(crate) struct Step<'a> {
    pub(crate) now_ms: i64,
    pub(crate) config: &'a GroupConfig,
    pub(crate) effects: Vec<Effect>,
    pub(crate) write: Option<Write>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(now_ms: i64, config: &'a GroupConfig) -> Self {
        Self { now_ms, config, effects: Vec::new(), write: None }
    }

    pub(crate) fn reply(&mut self, token: RequestToken, response: GroupResponse) {
        self.effects.push(Effect::Reply { token, response });
    }

    pub(crate) fn schedule(&mut self, key: TimerKey, at_ms: i64) {
        self.effects.push(Effect::Schedule { key, at_ms });
    }

    pub(crate) fn cancel(&mut self, key: TimerKey) {
        self.effects.push(Effect::Cancel { key });
    }

    pub(crate) fn note(&mut self, group: &GroupId, text: String) {
        self.effects.push(Effect::Note { group: GroupId::clone(group), text });
    }

    /// Asks for an atomic append. A step has at most one.
    pub(crate) fn append(&mut self, records: Vec<GroupRecord>, completion: Completion) {
        assert!(self.write.is_none(), "a step appends once");
        assert!(!records.is_empty(), "an append has records");
        self.write = Some(Write { records, atomic: true, producer: None, completion });
    }

    /// Replies once the records count; at once if there are none.
    pub(crate) fn reply_after(
        &mut self,
        records: Vec<GroupRecord>,
        ctx: &RequestContext<'_>,
        response: GroupResponse,
    ) {
        if records.is_empty() {
            self.reply(ctx.token, response);
        } else {
            self.append(records, Completion::Reply { parked: ctx.parked(), response });
        }
    }
}

/// The error that a client gets for a failed append (`CoordinatorOperationExceptionHelper`): errors about the log of
/// `__consumer_offsets` become errors about the coordinator, which clients know how to retry.
pub fn append_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::NetworkException => ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::UnknownServerError
        }
        other => other,
    }
}

impl fmt::Display for TimerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member { group, member } => write!(f, "member {group}/{member}"),
            Self::Join { group } => write!(f, "join {group}"),
            Self::Sync { group } => write!(f, "sync {group}"),
            Self::Consumer { group, member, wait } => write!(f, "{} {group}/{member}", wait.name()),
            Self::Expiry => write!(f, "expiry"),
        }
    }
}
