//! Listeners of the broker: sockets in, frames out, responses back in order.
//!
//! A [`Listener`] accepts connections and runs one task for each. The task cuts the byte stream into frames under a shared
//! [`MemoryBudget`], hands every frame to the [`Service`], and sends the responses in the order of the requests: memory by
//! vectored writes, [file ranges](Part::File) by `sendfile`. While earlier requests wait (for replication, for new data) the
//! connection already takes later ones, up to [`ListenerConfig::max_in_flight`].
//!
//! Nothing here knows what is in a frame, except the four bytes of its length.

mod budget;
mod config;
mod connection;
mod error;
mod frame;
mod limits;
mod listener;
mod outbox;
mod response;
mod service;
mod stats;
mod stream;

pub use budget::MemoryBudget;
pub use config::ListenerConfig;
pub use error::NetError;
pub use frame::Frame;
pub use limits::{ConnectionLimits, ConnectionSettings, ListenerLimits};
pub use listener::{Listener, ListenerHandle};
pub use response::{FileSource, Part, Response};
pub use service::{ConnectionInfo, Outcome, ResponseFuture, Service};
pub use stats::ListenerStats;
