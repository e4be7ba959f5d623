//! The boundary to whoever answers requests.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::{Frame, Response};

/// What is known about a connection when it is accepted; it does not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Number of the connection, unique in this process.
    pub id: u64,
    /// Name of the listener that accepted it, as in `listeners`.
    pub listener: Arc<str>,
    /// The client's address.
    pub peer: SocketAddr,
    /// Our own address as the client sees it.
    pub local: SocketAddr,
}

impl fmt::Display for ConnectionInfo {
    /// Kafka's connection id: `local-remote-number`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.local, self.peer, self.id)
    }
}

/// A response that is not there yet. Whatever it waits for must go on without it: it is polled only when all earlier
/// responses of its connection are on their way out, and dropped when the connection goes away.
pub type ResponseFuture = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What became of a request.
pub enum Outcome {
    /// The response is here.
    Ready(Response),
    /// The request has its place in the order of things, the response comes later.
    Later(ResponseFuture),
    /// The request has no place in the order of things before it has waited: the connection takes no other until the future
    /// has brought its next outcome.
    Hold(ResponseFuture),
    /// There is no response to this request (Produce with `acks=0`).
    None,
    /// There is no response, and no request of the connection is read for this time.
    Pause(Duration),
    /// The connection cannot go on, for this reason (it goes into the log). Responses to earlier requests are still sent.
    Close(Cow<'static, str>),
}

impl Outcome {
    /// Wraps a future.
    pub fn later(future: impl Future<Output = Self> + Send + 'static) -> Self {
        Self::Later(Box::pin(future))
    }

    /// Wraps a future that later requests of the connection must wait for.
    pub fn hold(future: impl Future<Output = Self> + Send + 'static) -> Self {
        Self::Hold(Box::pin(future))
    }

    /// Closes the connection for `reason`.
    pub fn close(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Close(reason.into())
    }
}

impl From<Response> for Outcome {
    fn from(response: Response) -> Self {
        Self::Ready(response)
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(response) => f.debug_tuple("Ready").field(response).finish(),
            Self::Later(_) => f.write_str("Later"),
            Self::Hold(_) => f.write_str("Hold"),
            Self::None => f.write_str("None"),
            Self::Pause(time) => f.debug_tuple("Pause").field(time).finish(),
            Self::Close(reason) => f.debug_tuple("Close").field(reason).finish(),
        }
    }
}

/// Answers requests.
pub trait Service: Send + Sync + 'static {
    /// What the service keeps for a connection: who the client is, how far its authentication got. Dropped when the
    /// connection is closed and the last [`ResponseFuture`] that holds it is gone.
    type Session: Send + Sync + 'static;

    /// A connection was accepted.
    fn connected(&self, connection: ConnectionInfo) -> Self::Session;

    /// Takes a request: the frame without its length.
    ///
    /// Order first, wait second: calls of one connection come one after the other, in the order of the requests, and the
    /// next one comes when this one has returned. Everything that fixes the request's place (appending to a log) is done
    /// here, without waiting; the waiting is put into [`Outcome::Later`].
    ///
    /// The frame holds a part of the listener's [`MemoryBudget`](crate::MemoryBudget): drop it when its bytes are used up,
    /// do not wait with it.
    fn call(&self, session: &Arc<Self::Session>, frame: Frame) -> Outcome;
}
