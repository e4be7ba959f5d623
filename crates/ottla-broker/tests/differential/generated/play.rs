//! One sequence on both servers, step by step, until they differ.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::ids;
use super::ops::{self, Op};
use super::world::World;
use crate::Servers;
use crate::compare;

/// Where and how two servers differ.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    pub(super) step: usize,
    /// Whether random ids on which assignments hang have the same order on both servers; if not, they may be all there is to it.
    pub(super) has_like_ids: bool,
    pub(super) text: String,
}

/// Held by a sequence that changes what others see too.
static ALONE: RwLock<()> = RwLock::new(());

/// How long the other server may take for an answer that one has given.
const PATIENCE: Duration = Duration::from_secs(4);

/// Plays the steps; `grace` is how long both are given to answer what may have to wait for other requests.
pub(super) fn play(servers: Servers, ops: &[Op], grace: Duration) -> Option<Difference> {
    static RUN: AtomicU64 = AtomicU64::new(0);
    let prefix = format!("run{}", RUN.fetch_add(1, Ordering::Relaxed));
    let mut ours = World::new(servers.ours, &prefix, grace);
    let mut theirs = World::new(servers.theirs, &prefix, grace);
    let is_for_all = ops.iter().any(|op| matches!(op, Op::Quota(op) if op.is_for_all()));
    let (_alone, _beside) = if is_for_all {
        (Some(ALONE.write().unwrap_or_else(PoisonError::into_inner)), None)
    } else {
        (None, Some(ALONE.read().unwrap_or_else(PoisonError::into_inner)))
    };
    let difference = play_in(&mut ours, &mut theirs, ops, grace);
    for world in [&mut ours, &mut theirs] {
        // A server that broke off says so in the difference.
        _ = catch_unwind(AssertUnwindSafe(|| world.clean()));
    }
    difference
}

fn play_in(ours: &mut World, theirs: &mut World, ops: &[Op], grace: Duration) -> Option<Difference> {
    let mut compared = 0;
    for (step, op) in ops.iter().enumerate() {
        let played = catch_unwind(AssertUnwindSafe(|| {
            failing(ours, "ours", op);
            failing(theirs, "Kafka", op);
            settle(ours, theirs, grace);
        }));
        if std::env::var_os("DIFFERENTIAL_SHOW").is_some() {
            for (who, world) in [("ours", &*ours), ("Kafka", &*theirs)] {
                for entry in &world.peer.entries[compared..] {
                    eprintln!(
                        "{who}: {} v{}\n    {}",
                        entry.case,
                        entry.version,
                        entry.fields.join("\n    ")
                    );
                }
            }
        }
        let mut text = match played {
            Ok(()) => compare::differences(&ours.peer.entries[compared..], &theirs.peer.entries[compared..]),
            Err(panic) => format!("the step failed: {}", said(&*panic)),
        };
        if !text.is_empty() {
            text.insert_str(0, &format!("{}\n", ops::line(op)));
            return Some(Difference { step, has_like_ids: ids::are_alike(ours, theirs), text });
        }
        compared = ours.peer.entries.len();
    }
    None
}

/// Plays a step; says which server it is when that fails.
fn failing(world: &mut World, server: &str, op: &Op) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world.play(op))) {
        panic!("{server}: {}", said(&*panic));
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?").to_owned()
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
