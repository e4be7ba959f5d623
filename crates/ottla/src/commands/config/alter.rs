//! `ottla config alter` and `ottla config delete`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use ottla_client::{AlterConfig, ConfigResource, ResourceType};
use serde_json::json;

use super::target::Target;
use crate::commands::ClusterArgs;
use crate::output::{BadUsage, OutputArgs, counted};

/// Arguments of `config alter`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true)
    .args(["add_config", "add_config_file", "delete_config", "append_config", "subtract_config"]))]
pub(crate) struct AlterArgs {
    #[command(flatten)]
    target: Target,
    /// Set keys; a value with commas stands in square brackets: a=1,b=[x,y]
    #[arg(long, value_name = "KEY=VALUE,…", value_parser = pairs)]
    add_config: Vec<Pairs>,
    /// Set the keys in a properties file
    #[arg(long, value_name = "FILE", conflicts_with = "add_config")]
    add_config_file: Option<PathBuf>,
    /// Take keys back to what they inherit
    #[arg(long, value_name = "KEY,…", value_delimiter = ',')]
    delete_config: Vec<String>,
    /// Add to keys that are lists
    #[arg(long, value_name = "KEY=VALUE,…", value_parser = pairs)]
    append_config: Vec<Pairs>,
    /// Take out of keys that are lists
    #[arg(long, value_name = "KEY=VALUE,…", value_parser = pairs)]
    subtract_config: Vec<Pairs>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `config delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The keys
    #[arg(value_name = "KEY", required_unless_present = "all")]
    keys: Vec<String>,
    /// All keys that are set
    #[arg(long, conflicts_with = "keys")]
    all: bool,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Keys with values; shared, as clap clones what it parses.
type Pairs = std::sync::Arc<Vec<(String, String)>>;

/// `a=1,b=[x,y]`, as `kafka-configs.sh` takes it.
fn pairs(text: &str) -> Result<Pairs, String> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=').filter(|(key, _)| !key.is_empty() && !key.contains(',')).ok_or(
            "expected KEY=VALUE, with a value that has commas in square brackets: cleanup.policy=[compact,delete]",
        )?;
        let (value, end) = if let Some(list) = value.strip_prefix('[') {
            let (list, end) = list.split_once(']').ok_or("there is no ']' for '['")?;
            (list, end)
        } else {
            let end = value.find(',').unwrap_or(value.len());
            value.split_at(end)
        };
        pairs.push((key.trim().to_owned(), value.to_owned()));
        rest = match end.strip_prefix(',') {
            Some(rest) => rest,
            None if end.is_empty() => end,
            None => return Err(format!("'{end}' follows ']'; expected a comma or nothing")),
        };
    }
    if pairs.is_empty() { Err("expected KEY=VALUE".to_owned()) } else { Ok(pairs.into()) }
}

impl AlterArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let resource = self.target.one()?;
        let mut changes = Vec::new();
        let all = |pairs: &[Pairs]| pairs.iter().flat_map(|pairs| pairs.iter().cloned()).collect::<Vec<_>>();
        changes.extend(all(&self.add_config).into_iter().map(|(key, value)| AlterConfig::Set(key, value)));
        changes.extend(self.properties()?);
        changes
            .extend(all(&self.append_config).into_iter().map(|(key, value)| AlterConfig::Append(key, value)));
        changes.extend(
            all(&self.subtract_config).into_iter().map(|(key, value)| AlterConfig::Subtract(key, value)),
        );
        changes.extend(self.delete_config.iter().cloned().map(AlterConfig::Delete));
        let client = self.cluster.connect().await?;
        client.alter_configs(&resource, &changes).await?;
        done(&self.output, &resource, changes.len())
    }

    fn properties(&self) -> anyhow::Result<Vec<AlterConfig>> {
        let Some(path) = &self.add_config_file else { return Ok(Vec::new()) };
        let bad = |error: String| BadUsage(format!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
        let properties = ottla_config::parse_properties(&text).map_err(|error| bad(error.to_string()))?;
        Ok(properties.into_iter().map(|it| AlterConfig::Set(it.key, it.value.trim().to_owned())).collect())
    }
}

impl DeleteArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let resource = self.target.one()?;
        let client = self.cluster.connect().await?;
        let keys = if self.all {
            let entries = client.describe_configs(&resource, false).await?;
            // The root logger always has a level, which brokers refuse to delete; all others then follow it.
            let stays = |name: &str| resource.kind == ResourceType::BrokerLogger && name == "root";
            let own = entries.into_iter().filter(|entry| entry.is_own && !stays(&entry.name));
            own.map(|entry| entry.name).collect()
        } else {
            self.keys
        };
        let changes: Vec<_> = keys.into_iter().map(AlterConfig::Delete).collect();
        if !changes.is_empty() {
            client.alter_configs(&resource, &changes).await?;
        }
        done(&self.output, &resource, changes.len())
    }
}

fn done(output: &OutputArgs, resource: &ConfigResource, changes: usize) -> anyhow::Result<()> {
    let json = || json!({ "type": resource.kind.name(), "name": resource.name, "changed": changes });
    Ok(output.say(json, &format!("changed {} of {}", counted(changes, "key"), resource.shown()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_those_of_kafka() {
        let parsed = |text| {
            let pairs = pairs(text).unwrap();
            pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(parsed("a=1"), ["a=1"]);
        assert_eq!(parsed("a=1,b=[x,y],c="), ["a=1", "b=x,y", "c="]);
        assert_eq!(parsed("a=x=y"), ["a=x=y"]);
        for bad in ["", "a", "=1", "a=1,b", "a=[x", "a=[x]y", "cleanup.policy=compact,delete"] {
            assert!(pairs(bad).is_err(), "{bad}");
        }
    }
}
