//! How commands reach a cluster: addresses, and a file of client settings as Kafka's tools take it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use ottla_client::{Client, ClientConfig};

use crate::output::BadUsage;

const DEFAULT_BOOTSTRAP: &str = "localhost:9092";

/// How to reach the cluster.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ClusterArgs {
    /// Brokers to find the cluster by, separated by commas; the port may be left out (9092) [default: localhost:9092]
    #[arg(long, short, env = "OTTLA_BOOTSTRAP_SERVER", value_name = "HOST:PORT,…", hide_env_values = true)]
    bootstrap_server: Option<String>,
    /// Client settings as a properties file, such as client.id and request.timeout.ms
    #[arg(long, aliases = ["producer.config", "consumer.config"], value_name = "FILE")]
    command_config: Option<PathBuf>,
}

impl ClusterArgs {
    pub(super) async fn connect(&self) -> anyhow::Result<Client> {
        self.connect_with(|_| ()).await
    }

    pub(super) async fn connect_with(
        &self,
        change: impl FnOnce(&mut ClientConfig),
    ) -> anyhow::Result<Client> {
        let mut config = self.config()?;
        change(&mut config);
        Client::connect(config).await.map_err(|error| {
            if error.is_connection() {
                anyhow::anyhow!(
                    "{error} Start one with 'ottla', or name another one with --bootstrap-server."
                )
            } else {
                error.into()
            }
        })
    }

    fn config(&self) -> anyhow::Result<ClientConfig> {
        let mut config = ClientConfig::new(self.bootstrap_server.as_deref().unwrap_or(DEFAULT_BOOTSTRAP));
        config.connection.client_id = format!("ottla-cli-{}", std::process::id());
        if let Some(path) = &self.command_config {
            let text = std::fs::read_to_string(path)
                .map_err(|error| BadUsage(format!("cannot read {}: {error}", path.display())))?;
            apply_file(&mut config, &text, self.bootstrap_server.is_none(), path)?;
        }
        Ok(config)
    }
}

/// Takes over the settings of a file. What a command has no use for is left alone, as Kafka's tools do; security that this
/// client does not have is refused.
fn apply_file(
    config: &mut ClientConfig,
    text: &str,
    takes_bootstrap: bool,
    path: &Path,
) -> Result<(), BadUsage> {
    let bad = |message: String| BadUsage(format!("{}: {message}", path.display()));
    for property in ottla_config::parse_properties(text).map_err(|error| bad(error.to_string()))? {
        let (key, value) = (property.key.as_str(), property.value.trim());
        let millis = || {
            let parsed = value.parse().map(Duration::from_millis);
            parsed.map_err(|_| bad(format!("'{key}' is a number of milliseconds, not '{value}'")))
        };
        match key {
            "bootstrap.servers" if takes_bootstrap => config.bootstrap = ClientConfig::new(value).bootstrap,
            "client.id" => value.clone_into(&mut config.connection.client_id),
            "request.timeout.ms" => config.connection.request_timeout = millis()?,
            "socket.connection.setup.timeout.ms" => config.connection.connect_timeout = millis()?,
            "default.api.timeout.ms" => config.api_timeout = millis()?,
            "retry.backoff.ms" => config.retry_backoff = millis()?,
            "metadata.max.age.ms" => config.metadata_max_age = millis()?,
            "security.protocol" if value != "PLAINTEXT" => {
                return Err(bad(format!("security.protocol is '{value}', but only PLAINTEXT is supported")));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_kafkas_tools_are_taken() {
        let mut config = ClientConfig::new("a");
        let text = "bootstrap.servers=b:1,c\nclient.id=me\nrequest.timeout.ms=5\nacks=all\n";
        apply_file(&mut config, text, true, Path::new("f")).unwrap();
        assert_eq!(config.bootstrap, ["b:1", "c:9092"]);
        assert_eq!(config.connection.client_id, "me");
        assert_eq!(config.connection.request_timeout, Duration::from_millis(5));
        apply_file(&mut config, "bootstrap.servers=d", false, Path::new("f")).unwrap();
        assert_eq!(config.bootstrap, ["b:1", "c:9092"]);
        let error = apply_file(&mut config, "security.protocol=SSL", true, Path::new("f")).unwrap_err();
        assert!(error.0.contains("only PLAINTEXT"));
        assert!(apply_file(&mut config, "request.timeout.ms=x", true, Path::new("f")).is_err());
    }
}
