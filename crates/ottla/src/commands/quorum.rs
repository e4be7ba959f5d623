//! `ottla quorum`: the controllers' log.

use clap::{Args, Subcommand};
use ottla_client::{QuorumDescription, QuorumReplica};
use serde_json::{Value, json};

use super::ClusterArgs;
use super::values::{now_ms, shown_time};
use crate::output::{OutputArgs, or_dash, print_json, print_line, print_table};

/// What to do with the quorum.
#[derive(Debug, Subcommand)]
pub(crate) enum QuorumCommand {
    /// Show leader, voters and observers of the metadata log, and how far each is behind
    #[command(
        visible_alias = "describe",
        after_help = "Examples:\n  ottla quorum status\n  ottla quorum status --json"
    )]
    Status(StatusArgs),
}

/// Arguments of `quorum status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl QuorumCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self::Status(args) = self;
        let client = args.cluster.connect().await?;
        let cluster_id = client.describe_cluster(false).await?.cluster_id;
        let quorum = client.describe_quorum().await?;
        if args.output.is_json() {
            return Ok(print_json(&quorum_json(&cluster_id, &quorum))?);
        }
        print_line(&format!(
            "cluster {cluster_id}  leader {}  epoch {}  high watermark {}",
            quorum.leader, quorum.leader_epoch, quorum.high_watermark
        ))?;
        let end = leader_end(&quorum);
        let roles = [("voter", &quorum.voters), ("observer", &quorum.observers)];
        let rows = roles.into_iter().flat_map(|(role, replicas)| {
            let quorum = &quorum;
            replicas.iter().map(move |replica| {
                let role = if replica.id == quorum.leader { "leader" } else { role };
                vec![
                    replica.id.to_string(),
                    role.to_owned(),
                    if replica.directory.is_zero() { "-".to_owned() } else { replica.directory.to_string() },
                    replica.log_end_offset.to_string(),
                    (end - replica.log_end_offset).max(0).to_string(),
                    or_dash(time(replica.last_fetch)),
                    or_dash(time(replica.last_caught_up)),
                    or_dash(quorum.listeners.get(&replica.id).map(|listeners| listeners.join(","))),
                ]
            })
        });
        let headings =
            ["NODE", "ROLE", "DIRECTORY", "END-OFFSET", "LAG", "LAST-FETCH", "LAST-CAUGHT-UP", "LISTENERS"];
        Ok(print_table(&headings, rows)?)
    }
}

fn time(ms: i64) -> Option<String> {
    (ms >= 0).then(|| shown_time(ms))
}

fn leader_end(quorum: &QuorumDescription) -> i64 {
    let leader = quorum.voters.iter().find(|replica| replica.id == quorum.leader);
    leader.map_or(quorum.high_watermark, |leader| leader.log_end_offset)
}

fn quorum_json(cluster_id: &str, quorum: &QuorumDescription) -> Value {
    let end = leader_end(quorum);
    let replica = |replica: &QuorumReplica| {
        json!({
            "id": replica.id.value(),
            "directoryId": replica.directory.to_string(),
            "logEndOffset": replica.log_end_offset,
            "lag": (end - replica.log_end_offset).max(0),
            "lastFetchTimestamp": replica.last_fetch,
            "lastCaughtUpTimestamp": replica.last_caught_up,
            "listeners": quorum.listeners.get(&replica.id),
        })
    };
    let now = now_ms();
    let lags = quorum.voters.iter().chain(&quorum.observers).filter(|it| it.id != quorum.leader);
    let lag_ms = lags.filter(|it| it.last_caught_up >= 0).map(|it| (now - it.last_caught_up).max(0)).max();
    json!({
        "clusterId": cluster_id,
        "leaderId": quorum.leader.value(),
        "leaderEpoch": quorum.leader_epoch,
        "highWatermark": quorum.high_watermark,
        "maxFollowerLagMs": lag_ms.unwrap_or(0),
        "voters": quorum.voters.iter().map(replica).collect::<Vec<_>>(),
        "observers": quorum.observers.iter().map(replica).collect::<Vec<_>>(),
    })
}
