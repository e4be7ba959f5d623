//! Addresses inside configuration values: `host:port` and `id@host:port`.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::ConfigError;

/// A host and a port, not resolved. An IPv6 host is kept without brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl HostPort {
    /// Parses `host:port` or `[host]:port`, with an optional `scheme://` in front (`Utils.getHost`, `Utils.getPort`).
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = split_host_port(text)?;
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }
}

/// Whether all characters may occur in a host name or address (`Utils.validHostPattern`).
pub(crate) fn is_host(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'%' | b'.' | b'_' | b':'))
}

/// Host and digits of the port.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let address = match text.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(':') && is_host(scheme) => rest,
        _ => text,
    };
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    (digits && is_host(host)).then_some((host, port))
}

/// Parses the entries of `controller.quorum.voters` (`QuorumConfig.parseVoterConnections`).
///
/// # Errors
/// An entry is not of the form `id@host:port`.
pub fn parse_voters(entries: &[String]) -> Result<BTreeMap<i32, HostPort>, ConfigError> {
    const KEY: &str = "controller.quorum.voters";
    const FORM: &str = "Each entry should be in the form `{id}@{host}:{port}`.";
    let mut voters = BTreeMap::new();
    for entry in entries {
        let parts: Vec<&str> = entry.trim_end_matches('@').split('@').collect();
        let [id, address] = parts[..] else {
            return Err(ConfigError::config(format!("Invalid configuration value for {KEY}. {FORM}")));
        };
        let id: i32 = id
            .parse()
            .map_err(|_| ConfigError::config(format!("Failed to parse voter ID as an integer from {id}")))?;
        if split_host_port(address).is_none() {
            return Err(ConfigError::config(format!(
                "Failed to parse host name from entry {entry} for the configuration {KEY}. {FORM}"
            )));
        }
        let address = HostPort::parse(address).ok_or_else(|| {
            ConfigError::config(format!(
                "Failed to parse host port from entry {entry} for the configuration {KEY}. {FORM}"
            ))
        })?;
        voters.insert(id, address);
    }
    Ok(voters)
}

/// Parses the entries of `controller.quorum.bootstrap.servers` (`QuorumConfig.parseBootstrapServers`).
///
/// # Errors
/// An entry is not of the form `host:port`.
pub fn parse_bootstrap_servers(entries: &[String]) -> Result<Vec<HostPort>, ConfigError> {
    const KEY: &str = "controller.quorum.bootstrap.servers";
    const FORM: &str = "Each entry should be in the form \"{host}:{port}\"";
    let parse = |entry: &String| {
        let part = if split_host_port(entry).is_none() { "name" } else { "port" };
        HostPort::parse(entry).ok_or_else(|| {
            ConfigError::config(format!(
                "Failed to parse host {part} from {entry} for the configuration {KEY}. {FORM}"
            ))
        })
    };
    entries.iter().map(parse).collect()
}
