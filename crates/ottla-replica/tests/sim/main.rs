//! A node's storage in a simulated world: seeded histories of appends, flushes, rolls, checkpoints, retention, compaction,
//! truncation, stops, kills, failing disks and power cuts, during recovery as well. After each of them the node is opened again
//! and must keep what it has promised (`model.rs`).
//!
//! `OTTLA_SIM_SEEDS` is the number of seeds (`cargo xtask sim --seeds N`), `OTTLA_SIM_SEED` plays a single one.

#![allow(missing_docs)]

mod canary;
mod check;
mod dice;
mod dump;
mod life;
mod load;
mod model;
mod pinned;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use life::{Life, Tally};
use world::Rules;

const SEEDS: u64 = 300;

fn number(key: &str) -> Option<u64> {
    std::env::var(key).ok().map(|text| text.parse().expect("a number"))
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
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let parts: Vec<(Tally, Vec<u64>)> = std::thread::scope(|scope| {
        let play = |thread: u64| {
            move || {
                let (mut total, mut failed) = (Tally::default(), Vec::new());
                for seed in (first..first + seeds).filter(|seed| seed % threads == thread) {
                    let life = AssertUnwindSafe(|| Life::new(seed, Rules::default()).live());
                    match catch_unwind(life) {
                        Ok(tally) => total.add(&tally),
                        Err(_) => failed.push(seed),
                    }
                }
                (total, failed)
            }
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(play(thread))).collect();
        running.into_iter().map(|thread| thread.join().expect("a seed's panic was caught")).collect()
    });
    let mut total = Tally::default();
    let mut failed = Vec::new();
    for (tally, seeds) in parts {
        total.add(&tally);
        failed.extend(seeds);
    }
    eprintln!("{seeds} seeds: {total:?}");
    failed.sort_unstable();
    assert!(
        failed.is_empty(),
        "{} of {seeds} seeds failed; play one with OTTLA_SIM_SEED: {failed:?}",
        failed.len()
    );
    if seeds >= SEEDS {
        total.assert_broad();
    }
}
