//! Sequences written by hand: each server plays them by itself, and what it answered is compared at the end.

mod consumers;
mod groups;
mod quotas;
mod records;
mod steps;
mod topics;
mod transactions;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

use crate::Servers;
use crate::client::{Entry, Peer};
use crate::compare;

type Sequence = (&'static str, fn(&mut Peer));

const ALL: &[&[Sequence]] = &[
    topics::SEQUENCES,
    records::SEQUENCES,
    groups::SEQUENCES,
    consumers::SEQUENCES,
    quotas::SEQUENCES,
    transactions::SEQUENCES,
];

/// How many sequences are played at the same time.
const WORKERS: usize = 3;

/// Plays them all; says what differs. `DIFFERENTIAL_ONLY` is a part of the names of those wanted.
pub(crate) fn run(servers: Servers) -> String {
    let only = std::env::var("DIFFERENTIAL_ONLY").unwrap_or_default();
    let begin = Instant::now();
    let wanted: Vec<&Sequence> =
        ALL.iter().copied().flatten().filter(|(name, _)| name.contains(&only)).collect();
    let next = Mutex::new(wanted.iter());
    let reports = Mutex::new(String::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((name, sequence)) = { next.lock().expect("no panic while locked").next() } {
                    let text = compare_one(servers, name, *sequence);
                    reports.lock().expect("no panic while locked").push_str(&text);
                }
            });
        }
    });
    eprintln!("differential: {} written sequences in {:?}", wanted.len(), begin.elapsed());
    reports.into_inner().expect("no panic while locked")
}

fn compare_one(servers: Servers, name: &str, sequence: fn(&mut Peer)) -> String {
    let play = |address| {
        let mut peer = Peer::new(address);
        peer.client_ids = true;
        let played = catch_unwind(AssertUnwindSafe(|| sequence(&mut peer)));
        (peer.entries, played.is_ok())
    };
    let (ours, theirs): ((Vec<Entry>, bool), (Vec<Entry>, bool)) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| play(servers.theirs));
        (play(servers.ours), theirs.join().expect("panics are caught"))
    });
    let mut text = compare::differences(&ours.0, &theirs.0);
    if !(ours.1 && theirs.1) {
        text.push_str(&format!("played to its end: {}, by Kafka: {}\n", ours.1, theirs.1));
    }
    if text.is_empty() { text } else { format!("written sequence '{name}':\n{text}\n") }
}
