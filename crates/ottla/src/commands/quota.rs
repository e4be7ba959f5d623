//! `ottla quota`: limits of users, clients and addresses.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use ottla_client::{EntityQuotas, QuotaEntity, QuotaMatch};
use serde_json::{Map, Value, json};

use super::ClusterArgs;
use crate::output::{BadUsage, OutputArgs, counted};

const KEYS: &str = "\
Quotas:
  producer_byte_rate         bytes per second that may be produced (users, clients)
  consumer_byte_rate         bytes per second that may be fetched (users, clients)
  request_percentage         share of the broker's threads, in percent of one thread (users, clients)
  controller_mutation_rate   partitions per second that may be created and deleted (users, clients)
  connection_creation_rate   connections per second (addresses)";

/// What to do with quotas.
#[derive(Debug, Subcommand)]
pub(crate) enum QuotaCommand {
    /// Show quotas: all, or those of whom is named
    #[command(
        visible_alias = "list",
        after_help = "\
Examples:
  ottla quota describe
  ottla quota describe --user alice
  ottla quota describe --client-defaults --json"
    )]
    Describe(DescribeArgs),
    /// Set quotas
    #[command(after_help = format!("\
A user and a client together limit that client of that user.

{KEYS}

Examples:
  ottla quota set --user alice producer_byte_rate=1048576 consumer_byte_rate=2097152
  ottla quota set --user alice --client-id import producer_byte_rate=1024
  ottla quota set --client-defaults request_percentage=50
  ottla quota set --ip 10.0.0.1 connection_creation_rate=10"))]
    Set(SetArgs),
    /// Take quotas away; without keys, all that are set
    #[command(after_help = format!("\
{KEYS}

Examples:
  ottla quota delete --user alice producer_byte_rate
  ottla quota delete --client-defaults"))]
    Delete(DeleteArgs),
}

/// Whose quotas.
#[derive(Debug, Args)]
#[command(next_help_heading = "Whose")]
struct Entity {
    /// A user's
    #[arg(long, value_name = "NAME", conflicts_with_all = ["user_defaults", "ip", "ip_defaults"])]
    user: Option<String>,
    /// Those of every user without one of its own
    #[arg(long, conflicts_with_all = ["ip", "ip_defaults"])]
    user_defaults: bool,
    /// A client's, by client.id
    #[arg(long, alias = "client", value_name = "NAME", conflicts_with_all = ["client_defaults", "ip", "ip_defaults"])]
    client_id: Option<String>,
    /// Those of every client without one of its own
    #[arg(long, conflicts_with_all = ["ip", "ip_defaults"])]
    client_defaults: bool,
    /// An address's
    #[arg(long, value_name = "ADDRESS", conflicts_with = "ip_defaults")]
    ip: Option<String>,
    /// Those of every address without one of its own
    #[arg(long)]
    ip_defaults: bool,
}

/// Arguments of `quota describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    entity: Entity,
    /// Leave out combinations with others, such as a client of the user
    #[arg(long)]
    exact: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `quota set`.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The quotas; see below
    #[arg(required = true, value_name = "QUOTA=NUMBER", value_parser = quota)]
    quotas: Vec<(String, f64)>,
    #[command(flatten)]
    entity: Entity,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `quota delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The quotas; see below
    #[arg(value_name = "QUOTA")]
    quotas: Vec<String>,
    #[command(flatten)]
    entity: Entity,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

fn quota(text: &str) -> Result<(String, f64), String> {
    let (key, value) = super::values::key_value(text)?;
    match value.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok((key, number)),
        _ => Err(format!("'{value}' is no number of 0 or more")),
    }
}

impl Entity {
    /// The parts that are named; `None` is the default of a type.
    fn parts(&self) -> QuotaEntity {
        let mut parts = QuotaEntity::new();
        for (kind, name, is_default) in [
            ("user", &self.user, self.user_defaults),
            ("client-id", &self.client_id, self.client_defaults),
            ("ip", &self.ip, self.ip_defaults),
        ] {
            if name.is_some() || is_default {
                parts.insert(kind.to_owned(), name.clone());
            }
        }
        parts
    }

    fn required(&self) -> Result<QuotaEntity, BadUsage> {
        let parts = self.parts();
        if parts.is_empty() {
            return Err(BadUsage(
                "say whose quotas: --user, --client-id, --ip, or --user-defaults, --client-defaults, --ip-defaults"
                    .to_owned(),
            ));
        }
        Ok(parts)
    }

    fn filter(&self) -> Vec<(String, QuotaMatch)> {
        let matching = |name: Option<String>| name.map_or(QuotaMatch::Default, QuotaMatch::Name);
        self.parts().into_iter().map(|(kind, name)| (kind, matching(name))).collect()
    }
}

impl QuotaCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Describe(args) => args.run().await,
            Self::Set(args) => {
                let entity = args.entity.required()?;
                let changes: Vec<_> =
                    args.quotas.into_iter().map(|(key, value)| (key, Some(value))).collect();
                args.cluster.connect().await?.alter_quotas(&entity, &changes).await?;
                done(&args.output, &entity, "set", changes.len())
            }
            Self::Delete(args) => args.run().await,
        }
    }
}

impl DescribeArgs {
    async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let found = client.describe_quotas(&self.entity.filter(), self.exact).await?;
        let json = || found.iter().map(quotas_json).collect::<Vec<Value>>().into();
        let rows = found.iter().flat_map(|found| {
            let entity = shown(&found.entity);
            found.quotas.iter().map(move |(key, value)| vec![entity.clone(), key.clone(), value.to_string()])
        });
        Ok(self.output.print(json, &["ENTITY", "QUOTA", "VALUE"], rows)?)
    }
}

impl DeleteArgs {
    async fn run(self) -> anyhow::Result<()> {
        let entity = self.entity.required()?;
        let client = self.cluster.connect().await?;
        let keys = if self.quotas.is_empty() {
            let found = client.describe_quotas(&self.entity.filter(), true).await?;
            found.into_iter().flat_map(|found| found.quotas.into_keys()).collect()
        } else {
            self.quotas
        };
        let changes: Vec<_> = keys.into_iter().map(|key| (key, None)).collect();
        if !changes.is_empty() {
            client.alter_quotas(&entity, &changes).await?;
        }
        done(&self.output, &entity, "deleted", changes.len())
    }
}

fn done(output: &OutputArgs, entity: &QuotaEntity, verb: &str, count: usize) -> anyhow::Result<()> {
    let json = || json!({ "entity": entity, "changed": count });
    Ok(output.say(json, &format!("{verb} {} of {}", counted(count, "quota"), shown(entity)))?)
}

fn quotas_json(found: &EntityQuotas) -> Value {
    let quotas: Map<String, Value> =
        found.quotas.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    json!({ "entity": found.entity, "quotas": quotas })
}

/// `user alice, client-id (default)`.
fn shown(entity: &BTreeMap<String, Option<String>>) -> String {
    let part = |(kind, name): (&String, &Option<String>)| {
        format!("{kind} {}", name.as_deref().unwrap_or("(default)"))
    };
    // The user first, as it is the outer one.
    entity.iter().rev().map(part).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_numbers() {
        assert_eq!(quota("producer_byte_rate=1024.5"), Ok(("producer_byte_rate".to_owned(), 1024.5)));
        for bad in ["x", "x=", "x=y", "x=-1", "x=NaN", "x=inf"] {
            assert!(quota(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn entities_are_shown_from_the_outside() {
        let entity = QuotaEntity::from([
            ("client-id".to_owned(), None),
            ("user".to_owned(), Some("alice".to_owned())),
        ]);
        assert_eq!(shown(&entity), "user alice, client-id (default)");
    }
}
