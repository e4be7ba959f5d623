//! Settings of connections and clients.

use std::time::Duration;

/// Settings of one connection.
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    /// `client.id`: shows up in the broker's logs, metrics and quotas.
    pub client_id: String,
    /// Limit on making a connection, name resolution included.
    pub connect_timeout: Duration,
    /// `request.timeout.ms`: limit on waiting for a response.
    pub request_timeout: Duration,
    /// Largest response that is accepted, in bytes.
    pub max_response_bytes: usize,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            client_id: "ottla".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            max_response_bytes: 256 * 1024 * 1024,
        }
    }
}

/// Settings of a client.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Addresses to find the cluster by, `host:port`.
    pub bootstrap: Vec<String>,
    /// How connections are made.
    pub connection: ConnectionConfig,
    /// `default.api.timeout.ms`: limit on a call with all its retries.
    pub api_timeout: Duration,
    /// `retry.backoff.ms`: pause before the first retry; it doubles up to a second.
    pub retry_backoff: Duration,
    /// `metadata.max.age.ms`: metadata older than this is fetched again.
    pub metadata_max_age: Duration,
    /// Whether asking for a topic that is missing may create it, if the broker's `auto.create.topics.enable` is on.
    pub allow_auto_create_topics: bool,
}

impl ClientConfig {
    /// The defaults for a comma-separated list of `host:port`; the port may be left out (9092).
    pub fn new(bootstrap: &str) -> Self {
        let bootstrap = bootstrap.split(',').map(str::trim).filter(|address| !address.is_empty());
        Self {
            bootstrap: bootstrap.map(with_port).collect(),
            connection: ConnectionConfig::default(),
            api_timeout: Duration::from_mins(1),
            retry_backoff: Duration::from_millis(100),
            metadata_max_age: Duration::from_mins(5),
            allow_auto_create_topics: false,
        }
    }
}

fn with_port(address: &str) -> String {
    let host_end = address.rfind(']').unwrap_or(0);
    let has_port = address[host_end..].contains(':');
    if has_port { address.to_owned() } else { format!("{address}:9092") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_the_usual_port() {
        let config = ClientConfig::new("a, b:1,[::1] ,[::1]:2,");
        assert_eq!(config.bootstrap, ["a:9092", "b:1", "[::1]:9092", "[::1]:2"]);
    }
}
