//! `ottla group`: list, describe, reset and delete consumer groups.

mod csv;
mod delete;
mod describe;
mod list;
mod members;
mod offsets;
mod plan;
mod reset;

use clap::Subcommand;
use ottla_client::Client;

use crate::output::BadUsage;

/// What to do with groups.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// List groups
    #[command(after_help = "\
Examples:
  ottla group list
  ottla group list --state Stable,Empty
  ottla group list --type consumer --json")]
    List(list::ListArgs),
    /// Show members, offsets and lag: how many records a group is behind
    #[command(after_help = "\
With --watch: records per second that are produced and consumed, per partition and for the group.

Examples:
  ottla group describe billing
  ottla group describe billing --watch
  ottla group describe billing --members --verbose
  ottla group describe --all-groups --state --json")]
    Describe(describe::DescribeArgs),
    /// Set where a group goes on reading; without --execute it only shows what it would do
    #[command(after_help = "\
The group must have no members: stop its consumers first.

Examples:
  ottla group reset-offsets billing --topic orders --to-earliest
  ottla group reset-offsets billing --topic orders:0,1 --shift-by -100 --execute
  ottla group reset-offsets billing --all-topics --to-datetime 2026-01-31T12:00:00Z --execute
  ottla group reset-offsets billing --all-topics --by-duration 2h --execute
  ottla group reset-offsets billing --all-topics --to-current --export > offsets.csv
  ottla group reset-offsets billing --from-file offsets.csv --execute")]
    ResetOffsets(reset::ResetArgs),
    /// Delete groups with their offsets; they must have no members
    #[command(after_help = "Example:\n  ottla group delete billing")]
    Delete(delete::DeleteArgs),
    /// Forget what a group has committed for topics that it does not read any more
    #[command(after_help = "Example:\n  ottla group delete-offsets billing --topic orders --topic users:0,1")]
    DeleteOffsets(offsets::DeleteOffsetsArgs),
    /// Take members out of a group, static ones included
    #[command(after_help = "\
A consumer that still runs joins again.

Examples:
  ottla group remove-members billing --instance-id billing-1
  ottla group remove-members billing --all")]
    RemoveMembers(members::RemoveMembersArgs),
}

impl GroupCommand {
    pub(in crate::commands) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(args) => args.run().await,
            Self::Describe(args) => args.run().await,
            Self::ResetOffsets(args) => args.run().await,
            Self::Delete(args) => args.run().await,
            Self::DeleteOffsets(args) => args.run().await,
            Self::RemoveMembers(args) => args.run().await,
        }
    }
}

/// The groups that arguments mean.
async fn named(client: &Client, groups: &[String], all: bool) -> anyhow::Result<Vec<String>> {
    if all {
        let listed = client.list_groups(&[], &[]).await?;
        return Ok(listed.into_iter().map(|group| group.group).collect());
    }
    if groups.is_empty() {
        return Err(BadUsage("name a group, or pass --all-groups".to_owned()).into());
    }
    Ok(groups.to_vec())
}
