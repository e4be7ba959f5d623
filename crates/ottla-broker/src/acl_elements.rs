//! Numbers that stand for the parts of an access control entry (`AclOperation`, `AclPermissionType`, `ResourceType`,
//! `PatternType`): 0 is "unknown" in all of them, and Kafka cannot read a request that says so.

/// Whether none of the parts is "unknown".
pub(crate) fn are_known(parts: [i8; 4]) -> bool {
    !parts.contains(&0)
}
