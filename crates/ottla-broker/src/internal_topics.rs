//! The topics that the brokers keep for themselves.

/// Offsets and groups.
pub(crate) const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// Transactions.
pub(crate) const TRANSACTION_STATE: &str = "__transaction_state";
/// State of share groups.
pub(crate) const SHARE_GROUP_STATE: &str = "__share_group_state";

/// Whether clients may not write to the topic (`Topic.isInternal`).
pub(crate) fn is_internal(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS | TRANSACTION_STATE | SHARE_GROUP_STATE)
}
