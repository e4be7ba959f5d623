//! Random histories: what a shard knows must be in its log, nobody may be left without an answer, and what was decided stands.

use crate::transaction_world::World;
use proptest::prelude::*;

/// One command; producers guess ids and epochs that may well exist.
fn command(with_failures: bool) -> impl Strategy<Value = String> {
    let id = prop::sample::select(&["a", "b"][..]);
    let producer = (1000..1004_i64, 0..5_i16).prop_map(|(id, epoch)| format!("{id}:{epoch}"));
    let version = prop::sample::select(&[0, 2][..]);
    let places = prop::sample::select(&["t-0", "t-1,u-0", "t-0,t-1"][..]);
    let outcome = prop::sample::select(&["commit", "abort"][..]);
    let steps = prop::sample::select(&[1, 1_000, 30_000, 70_000, 4_000_000, 700_000_000][..]);
    let init = (id.clone(), prop::option::of(producer.clone())).prop_map(|(id, expected)| match expected {
        Some(expected) => format!("init {id} expected={expected}"),
        None => format!("init {id}"),
    });
    let add = (id.clone(), producer.clone(), places, version.clone())
        .prop_map(|(id, producer, places, v)| format!("add {id} {producer} {places} v={v}"));
    let end = (id.clone(), producer, outcome, version)
        .prop_map(|(id, producer, outcome, v)| format!("end {id} {producer} {outcome} v={v}"));
    let held = prop::sample::select(&["hold on", "hold off", "count", "markers off", "markers on"][..]);
    let failures = prop::sample::select(
        &[
            "refuse NOT_LEADER_OR_FOLLOWER",
            "refuse RECORD_LIST_TOO_LARGE",
            "fail REQUEST_TIMED_OUT",
            "reload",
            "ids 0",
            "ids 5",
        ][..],
    );
    let failure: BoxedStrategy<String> = if with_failures {
        failures.prop_map(str::to_owned).boxed()
    } else {
        Just("list".to_owned()).boxed()
    };
    prop_oneof![
        4 => init,
        6 => add,
        6 => end,
        2 => steps.prop_map(|ms| format!("advance {ms}")),
        2 => id.prop_map(|id| format!("written {id}")),
        3 => held.prop_map(str::to_owned),
        1 => (0..3).prop_map(|level| format!("level {level}")),
        2 => failure,
    ]
}

fn settle(world: &mut World) {
    world.run("hold off");
    world.run("markers on");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_shard_loaded_from_the_log_knows_what_the_live_one_knows(
        commands in prop::collection::vec(command(false), 1..60)
    ) {
        let mut world = World::new();
        world.run("level 1");
        for command in commands.iter().filter(|command| !command.starts_with("level 0")) {
            world.run(command);
        }
        while world.count() {}
        let (live, loaded) = (world.live_state(), world.loaded_state());
        prop_assert_eq!(loaded, live);
    }

    #[test]
    fn every_request_is_answered_once_and_every_transaction_ends_whatever_fails(
        commands in prop::collection::vec(command(true), 1..80)
    ) {
        let mut world = World::new();
        for command in &commands {
            world.run(command);
        }
        // Answering twice panics in the world, and so does a request without an answer at a reload.
        world.reload();
        settle(&mut world);
        world.run("ids 100");
        for _ in 0..20 {
            world.advance(100_000);
        }
        prop_assert!(world.open.is_empty() && world.markers.is_empty());
        for (id, value) in world.live_state() {
            prop_assert!(value.state.is_idle(), "{id}: {value:?}");
        }
    }

    #[test]
    fn what_was_decided_is_not_decided_otherwise(commands in prop::collection::vec(command(true), 1..80)) {
        let mut world = World::new();
        let mut decided: Option<(String, bool)> = None;
        for command in &commands {
            world.run(command);
            for (id, value) in world.live_state() {
                let is_commit = value.state.name().ends_with("Commit");
                let is_open = decided.as_ref().is_some_and(|(other, _)| *other == id);
                if is_open && !value.state.is_prepared() {
                    let (_, commit) = decided.take().expect("looked at above");
                    // Completed as it was decided; the next transaction of the id may have begun since.
                    if matches!(value.state.name(), "CompleteCommit" | "CompleteAbort") {
                        prop_assert_eq!(commit, is_commit, "{}", id);
                    }
                } else if decided.is_none() && value.state.is_prepared() {
                    decided = Some((id, is_commit));
                }
            }
        }
    }
}
