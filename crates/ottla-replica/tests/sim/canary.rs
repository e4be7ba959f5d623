//! Nodes that are broken on purpose: the simulation must notice.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ottla_replica::Durability;
use ottla_storage::fs::Operation;

use crate::life::Life;
use crate::world::Rules;

fn caught(rules: Rules, seeds: u64) -> usize {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let failed =
        (0..seeds).filter(|seed| catch_unwind(AssertUnwindSafe(|| Life::new(*seed, rules).live())).is_err());
    let failed: Vec<u64> = failed.collect();
    std::panic::set_hook(hook);
    eprintln!("caught by {} of {seeds} seeds: {failed:?}", failed.len());
    failed.len()
}

#[test]
fn a_node_that_acknowledges_before_it_syncs_is_caught() {
    let rules = Rules { durability: Durability::PageCache, ..Rules::default() };
    assert!(caught(rules, 20) > 5);
}

#[test]
fn a_disk_that_says_it_synced_and_did_not_is_caught() {
    assert!(caught(pretending(Operation::Sync, "/"), 20) > 5);
}

#[test]
fn records_that_are_not_synced_are_missed() {
    assert!(caught(pretending(Operation::Sync, ".log"), 20) > 5);
}

#[test]
fn directories_that_are_not_synced_are_missed() {
    assert!(caught(pretending(Operation::SyncDir, "-0"), 60) > 5);
}

#[test]
fn a_clean_shutdown_marker_that_does_not_go_for_good_is_noticed() {
    assert!(caught(pretending(Operation::SyncDir, "/"), 60) > 5);
}

fn pretending(operation: Operation, part: &'static str) -> Rules {
    Rules { pretended: Some((operation, part)), ..Rules::default() }
}

#[test]
fn a_journal_that_forgets_what_is_not_in_place_is_caught() {
    assert!(caught(Rules { is_retiring: false, ..Rules::default() }, 300) > 0);
}

#[test]
fn a_journal_that_is_not_told_of_cuts_is_caught() {
    assert!(caught(Rules { is_forgetting: false, ..Rules::default() }, 300) > 0);
}
