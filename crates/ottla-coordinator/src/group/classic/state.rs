//! The states of a classic group and the moves between them (`ClassicGroupState`).

/// The state of a classic group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClassicState {
    /// No members; may hold offsets.
    Empty,
    /// Waiting for members to join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// Every member has, or can fetch, its assignment.
    Stable,
    /// The shard is being unloaded.
    Dead,
}

impl ClassicState {
    /// The name that clients see.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }

    /// Whether the move to `next` is part of the protocol.
    pub(crate) const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::PreparingRebalance, Self::Empty | Self::CompletingRebalance)
                | (Self::Empty | Self::CompletingRebalance | Self::Stable, Self::PreparingRebalance)
                | (Self::CompletingRebalance, Self::Stable)
                | (_, Self::Dead)
        )
    }

    /// Whether a rebalance can start from here.
    pub(crate) const fn can_rebalance(self) -> bool {
        self.may_become(Self::PreparingRebalance)
    }
}
