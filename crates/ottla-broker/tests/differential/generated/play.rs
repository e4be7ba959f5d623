//! One sequence on both servers, step by step, until they differ.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::ops::{self, Op};
use super::world::World;
use crate::Servers;
use crate::compare;

/// Where and how two servers differ.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    pub(super) step: usize,
    pub(super) text: String,
}

/// How long the other server may take for an answer that one has given.
const PATIENCE: Duration = Duration::from_secs(4);

/// Plays the steps; `grace` is how long both are given to answer what may have to wait for other requests.
pub(super) fn play(servers: Servers, ops: &[Op], grace: Duration) -> Option<Difference> {
    static RUN: AtomicU64 = AtomicU64::new(0);
    let prefix = format!("run{}", RUN.fetch_add(1, Ordering::Relaxed));
    let mut ours = World::new(servers.ours, &prefix);
    let mut theirs = World::new(servers.theirs, &prefix);
    let mut compared = 0;
    for (step, op) in ops.iter().enumerate() {
        let played = catch_unwind(AssertUnwindSafe(|| {
            ours.play(op);
            theirs.play(op);
            settle(&mut ours, &mut theirs, grace);
        }));
        let mut text = match played {
            Ok(()) => compare::differences(&ours.peer.entries[compared..], &theirs.peer.entries[compared..]),
            Err(panic) => {
                let said = panic.downcast_ref::<String>().map(String::as_str);
                format!("the step failed: {}", said.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?"))
            }
        };
        if !text.is_empty() {
            text.insert_str(0, &format!("{}\n", ops::line(op)));
            return Some(Difference { step, text });
        }
        compared = ours.peer.entries.len();
    }
    None
}

/// Takes the answers that both have given to requests that may wait; one that only one of them gives is awaited from the other.
fn settle(ours: &mut World, theirs: &mut World, grace: Duration) {
    for on in ours.waiting() {
        let answered = ours.peer.is_answered(on, grace) || theirs.peer.is_answered(on, Duration::ZERO);
        if answered {
            for world in [&mut *ours, &mut *theirs] {
                if world.peer.is_answered(on, PATIENCE) {
                    world.take(on);
                }
            }
        }
    }
}
