//! Who a client is: on a PLAINTEXT listener nobody in particular (`KafkaPrincipal`).

/// The type of all principals that Kafka knows itself.
pub(crate) const USER: &str = "User";
/// The name of a client that did not authenticate.
pub(crate) const ANONYMOUS: &str = "ANONYMOUS";
