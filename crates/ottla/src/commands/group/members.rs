//! `ottla group remove-members`.

use clap::{ArgGroup, Args};
use ottla_client::MemberRef;
use serde_json::json;

use crate::commands::ClusterArgs;
use crate::output::{OutputArgs, counted};

/// Arguments of `group remove-members`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("who").args(["member_id", "instance_id", "all"]).required(true).multiple(true))]
pub(crate) struct RemoveMembersArgs {
    /// Id of the group
    group: String,
    /// A member by the id that 'ottla group describe --members' shows; can be repeated
    #[arg(long, value_name = "ID")]
    member_id: Vec<String>,
    /// A static member by its group.instance.id; can be repeated
    #[arg(long, value_name = "ID")]
    instance_id: Vec<String>,
    /// All members
    #[arg(long, conflicts_with_all = ["member_id", "instance_id"])]
    all: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl RemoveMembersArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let members: Vec<MemberRef> = if self.all {
            let described = client.describe_group(&self.group).await?;
            let members = described.members.into_iter();
            members
                .map(|member| match member.instance_id {
                    Some(id) => MemberRef::Instance(id),
                    None => MemberRef::Id(member.member_id),
                })
                .collect()
        } else {
            let instances = self.instance_id.iter().cloned().map(MemberRef::Instance);
            self.member_id.iter().cloned().map(MemberRef::Id).chain(instances).collect()
        };
        if !members.is_empty() {
            client.remove_members(&self.group, &members).await?;
        }
        let count = members.len();
        let json = || json!({ "group": self.group, "removed": count });
        Ok(self.output.say(json, &format!("removed {} of group {}", counted(count, "member"), self.group))?)
    }
}
