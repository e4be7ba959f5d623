//! What a listener is told; the keys are Kafka's.

use std::sync::Arc;
use std::time::Duration;

/// Settings of one listener. [`ListenerConfig::new`] has Kafka's defaults.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// Its name in `listeners`, such as `PLAINTEXT`.
    pub name: Arc<str>,
    /// Host name or address to bind; empty for all interfaces.
    pub host: String,
    /// Port to bind; 0 for any free one.
    pub port: u16,
    /// `socket.listen.backlog.size`.
    pub backlog: i32,
    /// `socket.send.buffer.bytes`; `None` leaves it to the operating system (-1).
    pub send_buffer_bytes: Option<usize>,
    /// `socket.receive.buffer.bytes`; `None` leaves it to the operating system (-1).
    pub receive_buffer_bytes: Option<usize>,
    /// `socket.request.max.bytes`: the largest frame that is accepted.
    pub request_max_bytes: usize,
    /// `connections.max.idle.ms`: a connection on which nothing moves for this long is closed; `None` for never.
    pub max_idle: Option<Duration>,
    /// A peer that stops in the middle of a frame, which holds memory, is closed after this time.
    pub frame_stall: Duration,
    /// Requests of one connection that may be unanswered; more are left in the socket.
    pub max_in_flight: usize,
    /// Whether the node-wide `max.connections` does not hold up this listener (`inter.broker.listener.name`, controllers).
    pub protected: bool,
}

impl ListenerConfig {
    /// A listener with the defaults.
    pub fn new(name: &str, host: &str, port: u16) -> Self {
        Self {
            name: name.into(),
            host: host.to_owned(),
            port,
            backlog: 50,
            send_buffer_bytes: Some(100 * 1024),
            receive_buffer_bytes: Some(100 * 1024),
            request_max_bytes: 100 * 1024 * 1024,
            max_idle: Some(Duration::from_mins(10)),
            frame_stall: Duration::from_secs(30),
            max_in_flight: 64,
            protected: false,
        }
    }
}
