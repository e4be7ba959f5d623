//! `ottla config describe`.

use clap::Args;
use ottla_client::{ConfigEntry, ConfigResource, ConfigSource};
use serde_json::{Value, json};

use super::target::Target;
use crate::commands::ClusterArgs;
use crate::output::{OutputArgs, or_dash, print_json, print_line, print_table};

/// Arguments of `config describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    target: Target,
    /// Show every key, not only those that are set
    #[arg(long)]
    all: bool,
    /// Show types, and the settings that a value could come from, the one that decides first
    #[arg(long)]
    verbose: bool,
    /// Show what keys are for
    #[arg(long)]
    documentation: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl DescribeArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        self.target.check()?;
        let client = self.cluster.connect().await?;
        let resources = self.target.all(&client).await?;
        let is_one = resources.len() == 1;
        let mut described = Vec::<Value>::new();
        for resource in &resources {
            let mut entries = client.describe_configs(resource, self.documentation).await?;
            // All that loggers have is levels.
            let all = self.all || resource.kind == ottla_client::ResourceType::BrokerLogger;
            entries.retain(|entry| all || entry.is_own);
            if self.output.is_json() {
                described.push(json!({
                    "type": resource.kind.name(),
                    "name": resource.name,
                    "configs": entries.iter().map(|entry| self.entry_json(entry)).collect::<Vec<_>>(),
                }));
            } else {
                self.print(resource, &entries, is_one)?;
            }
        }
        match (self.output.is_json(), is_one) {
            (true, true) => print_json(&described.remove(0))?,
            (true, false) => print_json(&described.into())?,
            (false, _) => {}
        }
        Ok(())
    }

    fn entry_json(&self, entry: &ConfigEntry) -> Value {
        let synonyms = entry
            .synonyms
            .iter()
            .map(|(name, value, source)| json!({ "name": name, "value": value, "source": source.name() }));
        let mut json = json!({
            "name": entry.name,
            "value": entry.value,
            "source": entry.source.name(),
            "type": entry.kind,
            "readOnly": entry.is_read_only,
            "sensitive": entry.is_sensitive,
            "synonyms": synonyms.collect::<Vec<_>>(),
        });
        if let (true, Some(fields)) = (self.documentation, json.as_object_mut()) {
            fields.insert("documentation".to_owned(), json!(entry.documentation));
        }
        json
    }

    fn print(&self, resource: &ConfigResource, entries: &[ConfigEntry], is_one: bool) -> std::io::Result<()> {
        if !is_one {
            print_line(&resource.shown())?;
        }
        if entries.is_empty() {
            return print_line("nothing is set; --all shows what holds");
        }
        let mut headings = vec!["KEY", "VALUE", "SOURCE"];
        if self.verbose {
            headings.extend(["TYPE", "READ-ONLY", "SYNONYMS"]);
        }
        if self.documentation {
            headings.push("DOCUMENTATION");
        }
        let rows = entries.iter().map(|entry| {
            let source = entry.source.name().to_owned();
            let mut cells =
                vec![entry.name.clone(), shown(entry.is_sensitive, entry.value.as_deref()), source];
            if self.verbose {
                let synonym = |(name, value, source): &(String, Option<String>, ConfigSource)| {
                    format!("{}:{name}={}", source.name(), shown(entry.is_sensitive, value.as_deref()))
                };
                let synonyms: Vec<String> = entry.synonyms.iter().map(synonym).collect();
                cells.extend([entry.kind.to_owned(), entry.is_read_only.to_string(), synonyms.join(" ")]);
            }
            if self.documentation {
                cells.push(or_dash(entry.documentation.as_deref()));
            }
            cells
        });
        print_table(&headings, rows)
    }
}

fn shown(is_sensitive: bool, value: Option<&str>) -> String {
    match value {
        Some(value) => value.to_owned(),
        None if is_sensitive => "(secret)".to_owned(),
        None => "(unset)".to_owned(),
    }
}
