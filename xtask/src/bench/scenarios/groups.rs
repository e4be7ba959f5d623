//! Groups: rebalances and committed offsets.

use anyhow::Result;

use super::super::clients::librdkafka::{Commits, Settled};
use super::super::system::Compared;
use super::super::trial::Trial;
use super::saturation::flood;
use super::{Scenario, measure};

/// Rebalances.
pub(super) const GROUPS: Scenario = Scenario {
    name: "groups",
    title: "Rebalances",
    about: "librdkafka consumers of one group, two partitions for each, in one process: until every member has partitions and every \
            partition a member, after all members start at once, after one more comes, after it leaves. With the classic protocol a new \
            group waits 3 s for members (`group.initial.rebalance.delay.ms`), and members learn of a rebalance with a heartbeat; with the \
            consumer protocol (KIP-848) the broker tells them to send one every 5 s. Both are the clients' and servers' defaults.",
    minutes: 2.8,
    is_quick: false,
    compared: Compared::Default,
    run: groups,
};

/// Committed offsets.
pub(super) const COMMITS: Scenario = Scenario {
    name: "commits",
    title: "Committed offsets",
    about: "librdkafka consumers, each of a group of its own, commit one offset and wait for the answer, again and again.",
    minutes: 1.6,
    is_quick: false,
    compared: Compared::Policies,
    run: commits,
};

fn groups(trial: &mut Trial<'_>) -> Result<()> {
    let mut server = trial.server()?;
    for members in [10, 100] {
        let partitions = members * 2;
        for protocol in ["classic", "consumer"] {
            let case = format!("{members} members, {protocol} protocol");
            let topic = format!("{protocol}-{members}");
            trial.topic(&server, &topic, partitions)?;
            trial.step(&case);
            let words = format!(
                "rebalance --topic {topic} --partitions {partitions} --members {members} --protocol {protocol}"
            );
            let (settled, cpu_s): (Settled, f64) =
                server.metered(|| trial.kit.load.run(&server.bootstrap, &words))?;
            trial.record(&case, "all start, s", settled.formed);
            trial.record(&case, "one more comes, s", settled.joined);
            trial.record(&case, "it leaves, s", settled.left);
            trial.record(&case, "broker CPU-s, all three", cpu_s);
            trial.record(&case, measure::RESIDENT, server.resident_mib()?);
        }
    }
    server.stop()
}

fn commits(trial: &mut Trial<'_>) -> Result<()> {
    let mut server = trial.server()?;
    trial.topic(&server, "commits", 1)?;
    trial.step("warm-up");
    flood(trial, &server, "commits", trial.sized(3.0, 1.0))?;
    // The first commit makes the offsets topic.
    let words = format!("commits --topic commits --clients 5 --seconds {}", trial.sized(3.0, 1.0));
    trial.kit.load.run::<Commits>(&server.bootstrap, &words)?;
    let seconds = trial.sized(8.0, 3.0);
    for clients in [1, 50] {
        let case = if clients == 1 { "1 group".to_owned() } else { format!("{clients} groups") };
        trial.settle()?;
        trial.step(&case);
        let words = format!("commits --topic commits --clients {clients} --seconds {seconds}");
        let (commits, cpu_s): (Commits, f64) =
            server.metered(|| trial.kit.load.run(&server.bootstrap, &words))?;
        trial.record(&case, "commits/s", commits.count as f64 / commits.seconds);
        trial.record(&case, "broker CPU-s per million commits", cpu_s / commits.count as f64 * 1e6);
        trial.record(&case, measure::RESIDENT, server.resident_mib()?);
        trial.record_latencies(&case, &commits.latencies);
    }
    server.stop()
}
