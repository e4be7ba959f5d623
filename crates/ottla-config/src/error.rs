//! The one error of this crate. Its text reaches clients unchanged, so it is Kafka's text where Kafka has one.

use std::fmt;

/// Which answer a client gets for a refused configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// INVALID_CONFIG: the value or the combination is not allowed.
    InvalidConfig,
    /// INVALID_REQUEST: the request makes no sense, or a broker refused a change of its own configuration.
    InvalidRequest,
}

/// A configuration that was refused, with the sentence that says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// Class of the error, for the wire.
    pub kind: ErrorKind,
    /// The sentence; names the key, the value and what is allowed.
    pub message: String,
}

impl ConfigError {
    /// An INVALID_CONFIG error with this text.
    pub fn config(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::InvalidConfig, message: message.into() }
    }

    /// An INVALID_REQUEST error with this text.
    pub fn request(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::InvalidRequest, message: message.into() }
    }

    /// A value that a key does not take (`ConfigException(name, value, message)`).
    pub fn value(name: &str, value: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self::config(format!("Invalid value {value} for configuration {name}: {reason}"))
    }

    /// The same text as an INVALID_REQUEST: what a broker makes of a bad change to its own configuration
    /// (`ConfigAdminManager.validateBrokerConfigChange`).
    #[must_use]
    pub fn into_request(mut self) -> Self {
        self.kind = ErrorKind::InvalidRequest;
        self
    }
}
