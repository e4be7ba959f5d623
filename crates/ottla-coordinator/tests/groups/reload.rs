//! Random histories: what a shard knows must be in its log, and nobody may be left without an answer.

use crate::world::command::Scene;
use proptest::prelude::*;

const CLIENTS: [&str; 4] = ["A", "B", "C", "D"];

/// One command; `with_failures` allows appends to fail.
fn command(with_failures: bool) -> impl Strategy<Value = String> {
    let client = prop::sample::select(&CLIENTS[..]);
    let protocols = prop::sample::select(&["range/t", "range/t,sticky/u", "sticky/t+u"][..]);
    let version = prop::sample::select(&[3, 9][..]);
    let group = prop::sample::select(&["g", "h"][..]);
    let topic = prop::sample::select(&["t", "u", "v"][..]);
    let steps = prop::sample::select(&[1, 500, 3_000, 7_000, 60_000, 700_000][..]);
    let failures = prop::sample::select(
        &["refuse NOT_LEADER_OR_FOLLOWER", "refuse MESSAGE_TOO_LARGE", "fail REQUEST_TIMED_OUT", "reload"][..],
    );
    let offset = 0..100_i64;
    let join = (client.clone(), protocols, version.clone()).prop_map(|(client, protocols, version)| {
        format!("join {client} v={version} protocols={protocols} session=10000 rebalance=20000")
    });
    let join_static = (client.clone(), version).prop_map(|(client, version)| {
        let instance = client.to_lowercase();
        format!("join {client} v={} instance=i{instance} id=-", version.max(5))
    });
    let sync = (client.clone(), offset.clone())
        .prop_map(|(c, n)| format!("sync {c} v=4 assign=A:a{n},B:b{n},C:c{n},D:d{n}"));
    let commit =
        (group.clone(), topic.clone(), 0..3, offset.clone()).prop_map(|(group, topic, p, offset)| {
            format!("commit anyone group={group} offsets={topic}-{p}:{offset}")
        });
    let member_commit = (client.clone(), topic.clone(), offset.clone())
        .prop_map(|(client, topic, offset)| format!("commit {client} offsets={topic}-0:{offset}"));
    let txn = (1..3, group.clone(), topic.clone(), 0..3, offset).prop_map(|(id, group, topic, p, n)| {
        format!("txn-commit {id} group={group} offsets={topic}-{p}:{n}")
    });
    let marker = (1..3, any::<bool>())
        .prop_map(|(id, commit)| format!("marker {id} {}", if commit { "commit" } else { "abort" }));
    let topics =
        prop::sample::select(&["topics=t", "topics=t,u", "topics=u", "regex=[tu]", "topics=t regex=v.*"][..]);
    let assignor = prop::sample::select(&["", "assignor=range", "assignor=uniform"][..]);
    let beat_join =
        (client.clone(), topics, assignor, any::<bool>()).prop_map(|(c, topics, assignor, fixed)| {
            let instance = if fixed { format!("instance=i{}", c.to_lowercase()) } else { String::new() };
            format!("beat {c} join {topics} {assignor} {instance} rebalance=20000")
        });
    let what =
        prop::sample::select(&["", "has", "has=", "has=t-0", "leave", "away", "topics=u", "regex=-"][..]);
    let beat = (client.clone(), what).prop_map(|(client, what)| format!("beat {client} {what}"));
    let change = (topic.clone(), 0..5).prop_map(|(topic, partitions)| format!("topic {topic} {partitions}"));
    let held = prop::sample::select(&["hold on", "hold off", "commit-log"][..]).prop_map(str::to_owned);
    let failure: BoxedStrategy<String> = if with_failures {
        failures.prop_map(str::to_owned).boxed()
    } else {
        Just("list".to_owned()).boxed()
    };
    prop_oneof![
        6 => join,
        3 => join_static,
        6 => sync,
        2 => client.clone().prop_map(|client| format!("heartbeat {client} v=2")),
        2 => client.prop_map(|client| format!("leave {client}")),
        2 => commit,
        2 => member_commit,
        1 => txn,
        4 => beat_join,
        8 => beat,
        2 => change,
        2 => Just("resolve".to_owned()),
        1 => marker,
        4 => steps.prop_map(|ms| format!("advance {ms}")),
        2 => held,
        1 => topic.prop_map(|topic| format!("delete-topic {topic}")),
        1 => group.clone().prop_map(|group| format!("delete {group}")),
        1 => group.prop_map(|group| format!("fetch group={group} stable")),
        2 => failure,
    ]
}

fn run(scene: &mut Scene, command: &str) {
    let nothing_in_flight = scene.world.in_flight.is_empty();
    if nothing_in_flight && (command == "commit-log" || command.starts_with("fail ")) {
        return;
    }
    if command == "resolve" && scene.world.searches.is_empty() {
        return;
    }
    // No append stays open for longer than `offsets.commit.timeout.ms`: that is the runtime's part of the protocol.
    let advance_ms = command.strip_prefix("advance ").and_then(|ms| ms.parse::<i64>().ok());
    if advance_ms.is_some_and(|ms| ms > 5_000) {
        while scene.world.commit_one() {}
    }
    scene.run(command);
}

fn config(scene: &mut Scene) {
    scene.run("config offsets_retention_minutes=10 offsets_retention_check_interval_ms=300000 max_size=3");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_shard_loaded_from_the_log_knows_what_the_live_one_knows(
        commands in prop::collection::vec(command(false), 1..60)
    ) {
        let mut scene = Scene::new();
        config(&mut scene);
        for command in &commands {
            run(&mut scene, command);
        }
        while scene.world.commit_one() {}
        let live = scene.world.shard.durable_state();
        let mut loaded = scene.world.load().durable_state();
        prop_assert!(loaded.rebalancing.is_empty());
        // A rebalancing group is in the log with its last generation, if it has one.
        loaded.groups.retain(|id, _| !live.rebalancing.contains(id));
        prop_assert_eq!(loaded.groups, live.groups);
        prop_assert_eq!(loaded.consumer_groups, live.consumer_groups);
        prop_assert_eq!(loaded.offsets, live.offsets);
    }

    #[test]
    fn every_request_is_answered_once_whatever_fails(
        commands in prop::collection::vec(command(true), 1..80)
    ) {
        let mut scene = Scene::new();
        config(&mut scene);
        for command in &commands {
            run(&mut scene, command);
        }
        // Answering twice panics in the world; unloading must answer the rest.
        scene.world.reload();
        // Whoever was left of the members is gone after its session, and the group empty.
        for _ in 0..10 {
            scene.world.hold = false;
            scene.world.advance(70_000);
        }
        prop_assert!(scene.world.shard.durable_state().rebalancing.is_empty());
    }

    #[test]
    fn members_that_go_on_always_end_up_in_a_stable_group(
        commands in prop::collection::vec(command(true), 1..60)
    ) {
        let mut scene = Scene::new();
        config(&mut scene);
        for command in &commands {
            run(&mut scene, command);
        }
        scene.run("hold off");
        scene.world.refuse = None;
        while scene.world.commit_one() {}
        // Two members keep joining and syncing, as clients do; everybody else is silent.
        for _ in 0..40 {
            for client in ["Y", "Z"] {
                if scene.run(&format!("heartbeat {client} v=2")).contains("NONE") {
                    continue;
                }
                scene.run(&format!("join {client} v=3 protocols=range/t,sticky/t session=1800000"));
            }
            scene.run("advance 20000");
            for client in ["Y", "Z"] {
                scene.run(&format!("sync {client} v=4 assign=Y:y,Z:z"));
            }
        }
        let state = scene.world.shard.durable_state();
        let group = &state.groups.get("g").expect("the group is not rebalancing");
        prop_assert_eq!(group.state, "Stable");
        prop_assert_eq!(group.generation.members.len(), 2);
    }
}

#[test]
fn a_leader_that_syncs_twice_is_held_to_its_first_assignment() {
    let mut scene = Scene::new();
    config(&mut scene);
    for command in [
        "join B v=3 protocols=range/t session=10000 rebalance=20000",
        "join A v=3 protocols=range/t session=10000 rebalance=20000",
        "advance 7000",
        "hold on",
        "sync B v=4 assign=A:a0,B:b0",
        "sync B v=4 assign=A:a1,B:b1",
    ] {
        run(&mut scene, command);
    }
    while scene.world.commit_one() {}
    assert_eq!(scene.world.load().durable_state().groups, scene.world.shard.durable_state().groups);
}

#[test]
fn a_member_whose_leaving_cannot_be_written_does_not_stay_for_ever() {
    let mut scene = Scene::new();
    config(&mut scene);
    for command in [
        "join A v=3 protocols=range/t session=10000 rebalance=20000",
        "advance 3000",
        "beat B join topics=t   rebalance=20000",
        "join A v=3 protocols=range/t session=10000 rebalance=20000",
        "beat A ",
        "refuse NOT_LEADER_OR_FOLLOWER",
        "leave A",
        "advance 60000",
    ] {
        run(&mut scene, command);
    }
    let state = scene.world.shard.durable_state();
    assert!(!format!("{:?}", state.consumer_groups).contains("client_id: \"A\""), "{state:?}");
}
