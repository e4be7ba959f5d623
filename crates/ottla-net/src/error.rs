//! What can go wrong with a listener.

use std::io;
use std::sync::Arc;

/// A listener could not be started.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The host has no address.
    #[error(
        "listener {listener}: cannot find an address for host '{host}': {source}; \
         correct the host in 'listeners', or leave it out to bind all interfaces"
    )]
    Resolve {
        /// Name of the listener.
        listener: Arc<str>,
        /// The host as configured.
        host: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// The address cannot be bound.
    #[error("listener {listener}: cannot listen on {address}: {source}; {}", advice(source))]
    Bind {
        /// Name of the listener.
        listener: Arc<str>,
        /// The address.
        address: String,
        /// The operating system's error.
        source: io::Error,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there: stop it (is a broker already running?), or choose another port in 'listeners'"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address: bind one of its own in 'listeners' and put the one that clients use \
             into 'advertised.listeners'"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need privileges: choose a higher one in 'listeners'"
        }
        _ => "check 'listeners'",
    }
}
