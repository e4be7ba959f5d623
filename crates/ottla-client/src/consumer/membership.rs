//! Membership in a group, in either protocol.

use std::sync::Arc;

use ottla_types::{TopicName, TopicPartition};

use super::group::ClassicMembership;
use super::server_group::ServerMembership;
use super::{ConsumerConfig, GroupProtocol};
use crate::admin::Committer;
use crate::{Client, ClientError, Result};

/// A consumer's membership.
#[derive(Debug)]
pub(super) enum Membership {
    /// Members assign partitions (`group.protocol=classic`).
    Classic(ClassicMembership),
    /// The coordinator assigns partitions (`group.protocol=consumer`, KIP-848).
    Server(ServerMembership),
}

/// What came of joining.
#[derive(Debug)]
pub(super) struct Joined {
    /// The partitions that are the member's.
    pub(super) partitions: Vec<TopicPartition>,
    /// Whether nothing holds of what was there before: others may have had the partitions meanwhile.
    pub(super) is_new: bool,
}

macro_rules! either {
    ($self:expr, $it:ident => $call:expr) => {
        match $self {
            Membership::Classic($it) => $call,
            Membership::Server($it) => $call,
        }
    };
}

impl Membership {
    pub(super) fn new(
        client: &Client,
        config: Arc<ConsumerConfig>,
        group: String,
        topics: Vec<TopicName>,
    ) -> Self {
        match config.protocol {
            GroupProtocol::Classic => Self::Classic(ClassicMembership::new(client, config, group, topics)),
            GroupProtocol::Consumer => Self::Server(ServerMembership::new(client, config, group, topics)),
        }
    }

    /// The client with the member's own connection to the coordinator.
    pub(super) fn client(&self) -> &Client {
        either!(self, it => it.client())
    }

    pub(super) fn group(&self) -> &str {
        either!(self, it => it.group())
    }

    /// Whether the assignment holds.
    pub(super) fn is_stable(&self) -> bool {
        either!(self, it => it.is_stable())
    }

    /// Whether offsets may still be committed in this member's name.
    pub(super) fn may_commit(&self) -> bool {
        either!(self, it => it.may_commit())
    }

    /// Resolves when the standing may have changed.
    pub(super) async fn changed(&self) {
        either!(self, it => it.changed().await);
    }

    /// Who commits.
    pub(super) fn committer(&self) -> Committer<'_> {
        either!(self, it => it.committer())
    }

    /// Takes note of an error that came back for a commit.
    pub(super) fn note(&self, error: &ClientError) {
        either!(self, it => it.note(error));
    }

    /// Joins again when partitions were added to the topics, where that is a member's business.
    pub(super) async fn check_topics(&mut self) {
        if let Self::Classic(membership) = self {
            membership.check_topics().await;
        }
    }

    /// The partitions that stay this member's through the rebalance that is due; what else it has goes.
    pub(super) async fn staying(&self) -> Vec<TopicPartition> {
        match self {
            Self::Classic(_) => Vec::new(),
            Self::Server(membership) => membership.staying().await,
        }
    }

    /// Joins the group, or joins it again, and returns the partitions that are this member's.
    pub(super) async fn join(&mut self) -> Result<Joined> {
        match self {
            Self::Classic(membership) => Ok(Joined { partitions: membership.join().await?, is_new: true }),
            Self::Server(membership) => membership.join().await,
        }
    }

    /// Leaves the group, so that its partitions go to others at once.
    pub(super) async fn leave(self) -> Result<()> {
        either!(self, it => it.leave().await)
    }
}
