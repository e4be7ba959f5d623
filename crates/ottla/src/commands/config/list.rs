//! `ottla config list`.

use clap::{Args, ValueEnum};
use ottla_client::ResourceType;
use serde_json::{Value, json};

use crate::commands::ClusterArgs;
use crate::output::OutputArgs;

/// Arguments of `config list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only of this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Kind>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// The values of `--type`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Topics
    Topic,
    /// Brokers
    Broker,
    /// Loggers of brokers
    BrokerLogger,
    /// Groups
    Group,
    /// Subscriptions to metrics of clients
    ClientMetrics,
}

impl Kind {
    fn resource_type(self) -> ResourceType {
        match self {
            Self::Topic => ResourceType::Topic,
            Self::Broker => ResourceType::Broker,
            Self::BrokerLogger => ResourceType::BrokerLogger,
            Self::Group => ResourceType::Group,
            Self::ClientMetrics => ResourceType::ClientMetrics,
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

impl ListArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let mut found = Vec::new();
        for kind in Kind::value_variants() {
            if self.kind.is_none_or(|wanted| wanted.resource_type() == kind.resource_type()) {
                let names = client.list_config_resources(kind.resource_type()).await?;
                found.extend(names.into_iter().map(|name| (kind.name(), name)));
            }
        }
        let json = || {
            let found = found.iter().map(|(kind, name)| json!({ "type": kind, "name": name }));
            found.collect::<Vec<Value>>().into()
        };
        let rows = found.iter().map(|(kind, name)| {
            let name = if name.is_empty() { "(defaults)".to_owned() } else { name.clone() };
            vec![kind.clone(), name]
        });
        Ok(self.output.print(json, &["TYPE", "NAME"], rows)?)
    }
}
