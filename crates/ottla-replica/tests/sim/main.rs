//! A node's storage in a simulated world: seeded histories of appends, flushes, rolls, checkpoints, retention, compaction,
//! truncation, stops, kills, failing disks and power cuts, during recovery as well. After each of them the node is opened again
//! and must keep what it has promised (`model.rs`).
//!
//! `cargo xtask sim` plays more seeds (`OTTLA_SIM_SEEDS`, from `OTTLA_SIM_FIRST` on, `OTTLA_SIM_JOBS` at once), or one and tells
//! what happens in it (`OTTLA_SIM_SEED`). The first that fails ends it, unless `OTTLA_SIM_KEEP_GOING` is set.

#![allow(missing_docs)]

mod canary;
mod check;
mod dice;
mod dump;
mod journal;
mod life;
mod load;
mod model;
mod pinned;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use life::{Life, Tally};
use world::Rules;

const SEEDS: u64 = 300;
/// Seeds between two lines that tell how far it is.
const PROGRESS: u64 = 1000;

fn number(key: &str) -> Option<u64> {
    std::env::var(key).ok().map(|text| text.parse().expect("a number"))
}

/// What no other test has: an empty last segment behind lost records, left in the old replica of a compacted topic by the power cut at the
/// end of a move.
#[test]
fn an_empty_segment_of_the_old_replica_does_not_keep_the_node_from_starting() {
    Life::new(5_049_457, Rules::default()).live();
}

#[test]
fn what_was_promised_is_kept() {
    if let Some(seed) = number("OTTLA_SIM_SEED") {
        let tally = Life::new(seed, Rules::default()).told().live();
        eprintln!("seed {seed}: {tally:?}");
        return;
    }
    let seeds = number("OTTLA_SIM_SEEDS").unwrap_or(SEEDS);
    let first = number("OTTLA_SIM_FIRST").unwrap_or(0);
    let processors = || std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let jobs = number("OTTLA_SIM_JOBS").unwrap_or_else(processors).max(1);
    let keeps_going = std::env::var_os("OTTLA_SIM_KEEP_GOING").is_some();
    let (next, total, failed) = (AtomicU64::new(0), Mutex::new(Tally::default()), Mutex::new(Vec::new()));
    let is_over = || !keeps_going && !failed.lock().expect("no panic while held").is_empty();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= seeds || is_over() {
                        return;
                    }
                    if at > 0 && at.is_multiple_of(PROGRESS) {
                        eprintln!("{at} of {seeds} seeds from {first}");
                    }
                    let life = AssertUnwindSafe(|| Life::new(first + at, Rules::default()).live());
                    match catch_unwind(life) {
                        Ok(tally) => total.lock().expect("no panic while held").add(&tally),
                        Err(_) => {
                            eprintln!("seed {} failed", first + at);
                            failed.lock().expect("no panic while held").push(first + at);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic while held");
    if let Some(seed) = failed.first() {
        panic!("{} seeds failed: {failed:?}; cargo xtask sim --seed {seed}", failed.len());
    }
    let total = total.into_inner().expect("no panic while held");
    eprintln!("{seeds} seeds: {total:?}");
    if seeds >= SEEDS {
        total.assert_broad();
    }
}
