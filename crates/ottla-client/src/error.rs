//! What can go wrong between a client and a cluster, said so that a person can act.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::{ApiKey, DecodeError, EncodeError, ErrorCode, VersionRange};
use ottla_record::RecordError;

/// A failed call. Cheap to clone, as one failure may concern many waiting records.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection could be made.
    #[error("cannot connect to {address}: {source}; is a broker listening there?")]
    Connect {
        /// The address as configured or advertised.
        address: String,
        /// The operating system's error.
        source: Arc<io::Error>,
    },
    /// The connection broke while a call was under way; whether the broker acted on the call is unknown.
    #[error("connection to {address} lost: {reason}")]
    Disconnected {
        /// The peer.
        address: String,
        /// How.
        reason: String,
    },
    /// No answer in time; whether the broker acted on the call is unknown.
    #[error("{what}: no answer from {address} within {} ms", after.as_millis())]
    TimedOut {
        /// What was asked.
        what: String,
        /// The peer.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// The broker does not speak a version of this request that this client speaks.
    #[error(
        "{} does not have {api:?} in a version that this client speaks (it has {theirs}, needed is {ours}); {}",
        address,
        "use brokers of Kafka 3.0 or later"
    )]
    Unsupported {
        /// The peer.
        address: String,
        /// The request.
        api: ApiKey,
        /// Versions that the client can use.
        ours: VersionRange,
        /// Versions of the broker, as text.
        theirs: String,
    },
    /// The broker answered with an error code.
    #[error("{what}: {}", said(*code, message.as_deref()))]
    Broker {
        /// What was asked, and of what.
        what: String,
        /// The code.
        code: ErrorCode,
        /// The broker's own words.
        message: Option<String>,
    },
    /// Bytes that are no valid message.
    #[error("malformed answer: {0}")]
    Decode(#[from] DecodeError),
    /// A request that cannot be expressed in the negotiated version.
    #[error("cannot encode the request: {0}")]
    Encode(#[from] EncodeError),
    /// A batch of records that is broken, or cannot be built.
    #[error("bad record batch: {0}")]
    Record(#[from] RecordError),
    /// The caller asked for something that makes no sense.
    #[error("{0}")]
    Usage(String),
}

impl ClientError {
    /// An error code with what it is about.
    pub fn broker(what: impl Into<String>, code: ErrorCode) -> Self {
        Self::Broker { what: what.into(), code, message: None }
    }

    /// The error code, if the broker gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the same call may succeed a little later.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Disconnected { .. } | Self::TimedOut { .. } => true,
            Self::Broker { code, .. } => code.is_retriable(),
            _ => false,
        }
    }

    /// Whether the peer could not be reached at all or went away.
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Disconnected { .. } | Self::TimedOut { .. })
    }
}

/// The broker's words, or those of the code, and what to do.
fn said(code: ErrorCode, message: Option<&str>) -> String {
    let (message, advice) = (message.unwrap_or(code.message()), advice(code));
    let message = if advice.is_empty() { message } else { message.trim_end_matches('.') };
    format!("{message}{advice}")
}

/// `Ok` for code 0, otherwise the error.
pub(crate) fn check(
    code: i16,
    message: Option<&str>,
    what: impl FnOnce() -> String,
) -> Result<(), ClientError> {
    match ErrorCode::from_code(code) {
        ErrorCode::None => Ok(()),
        code => {
            let message = message.filter(|text| !text.is_empty()).map(str::to_owned);
            Err(ClientError::Broker { what: what(), code, message })
        }
    }
}

/// What to do about an error code, as the continuation of a sentence; empty where there is nothing to add.
pub fn advice(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => {
            "; check the name with 'ottla topic list', or create it with 'ottla topic create'"
        }
        ErrorCode::TopicAlreadyExists => "; choose another name, or look at it with 'ottla topic describe'",
        ErrorCode::InvalidReplicationFactor => {
            "; a topic can have at most as many replicas as there are brokers"
        }
        ErrorCode::GroupIdNotFound => "; check the name with 'ottla group list'",
        ErrorCode::NonEmptyGroup => "; stop its consumers first",
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => {
            "; send smaller records, or raise 'max.message.bytes' of the topic"
        }
        ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => {
            "; bring brokers back, or lower 'min.insync.replicas' of the topic"
        }
        ErrorCode::LeaderNotAvailable => "; a broker that holds the partition has to come back",
        ErrorCode::TopicAuthorizationFailed
        | ErrorCode::GroupAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed => "; ask for an ACL that allows it",
        ErrorCode::InvalidProducerEpoch | ErrorCode::ProducerFenced => {
            "; another producer with the same transactional id has taken over"
        }
        ErrorCode::UnsupportedVersion => "; the broker is of another generation than this client",
        _ => "",
    }
}
