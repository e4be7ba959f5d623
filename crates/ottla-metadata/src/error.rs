//! What can go wrong with the cluster's metadata.

use ottla_protocol::ErrorCode;
use ottla_types::{BrokerEpoch, NodeId, PartitionIndex, Uuid};

use crate::features::MetadataVersion;

/// A record cannot be applied to the state before it: the log is damaged, was written by something else, or this program has
/// a bug. There is no way on; a node stops.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReplayError {
    /// No topic of that id.
    #[error("no topic with id {0}")]
    UnknownTopic(Uuid),
    /// No such partition.
    #[error("no partition {0}:{1}")]
    UnknownPartition(Uuid, PartitionIndex),
    /// No such broker.
    #[error("no broker {0} is registered")]
    UnknownBroker(NodeId),
    /// The record is about another registration of the broker.
    #[error("broker {id} is registered with epoch {registered}, not {record}")]
    BrokerEpoch {
        /// The broker.
        id: NodeId,
        /// Epoch of its registration.
        registered: BrokerEpoch,
        /// Epoch in the record.
        record: BrokerEpoch,
    },
    /// A `metadata.version` that this program does not know.
    #[error("metadata.version {0} is not supported; upgrade this node before the cluster's metadata.version")]
    UnsupportedMetadataVersion(i16),
    /// A feature level that this program does not know.
    #[error("level {level} of feature {name} is not supported")]
    UnsupportedFeature {
        /// Name of the feature.
        name: String,
        /// The level.
        level: i16,
    },
    /// Anything else that contradicts the state, or itself.
    #[error("{0}")]
    Contradiction(String),
    /// The bytes are no record, or one of a newer release.
    #[error("metadata record: {0}")]
    Undecodable(String),
    /// A transaction begins inside another one, or ends where none is open.
    #[error("metadata transaction: {0}")]
    Transaction(&'static str),
}

/// Part of the state cannot be written at the cluster's `metadata.version`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metadata has been lost because metadata.version {version} cannot express {lost}")]
pub struct UnwritableError {
    /// The version.
    pub version: MetadataVersion,
    /// What it cannot express.
    pub lost: String,
}

/// Why a request, or a part of one, is refused: Kafka's error code with the text that the client sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The code.
    pub code: ErrorCode,
    /// The text; `None` where Kafka sends none and clients show the code's own.
    pub message: Option<String>,
}

impl ApiError {
    /// With a text of its own.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()) }
    }

    /// With the code's own text, sent explicitly.
    pub fn with_default_text(code: ErrorCode) -> Self {
        Self { code, message: Some(code.message().to_owned()) }
    }

    /// Without a text.
    pub fn bare(code: ErrorCode) -> Self {
        Self { code, message: None }
    }
}

impl From<ErrorCode> for ApiError {
    fn from(code: ErrorCode) -> Self {
        Self::bare(code)
    }
}
