//! Sequences drawn from a seed, played on both servers step by step.

mod consumers;
mod dice;
mod draw;
mod draw_consumers;
mod draw_transactions;
mod groups;
mod ids;
mod ops;
mod play;
mod quotas;
mod records;
mod shrink;
mod transactions;
mod world;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ops::Op;
use play::Difference;

use crate::Servers;

/// What to play, from the environment: `DIFFERENTIAL_SEEDS` (how many), `DIFFERENTIAL_FROM` (the first), `DIFFERENTIAL_OPS`
/// (steps of each), `DIFFERENTIAL_SCRIPT` (a file of steps, nothing else), `DIFFERENTIAL_WORKERS`;
/// with `DIFFERENTIAL_SHOW` every answer is printed.
#[derive(Debug)]
pub(crate) struct Settings {
    seeds: u64,
    from: u64,
    ops: usize,
    workers: usize,
    pub(crate) script: Option<String>,
}

impl Settings {
    pub(crate) fn from_environment() -> Self {
        let number = |key: &str, default: u64| match std::env::var(key) {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("{key} is no number")),
            Err(_) => default,
        };
        Self {
            seeds: number("DIFFERENTIAL_SEEDS", 60),
            from: number("DIFFERENTIAL_FROM", 1),
            ops: usize::try_from(number("DIFFERENTIAL_OPS", 40)).expect("a count"),
            workers: usize::try_from(number("DIFFERENTIAL_WORKERS", 3)).expect("a count"),
            script: std::env::var("DIFFERENTIAL_SCRIPT").ok(),
        }
    }
}

/// Stop looking for more after so many differing sequences.
const ENOUGH: usize = 5;

/// How often a sequence is played again because of random ids.
const MOST_DRAWS: usize = 40;

/// The longest that one sequence is shrunk.
const SHRINKING: Duration = Duration::from_secs(90);

/// Plays recorded sequences and those of the seeds; says what differs.
pub(crate) fn run(servers: Servers, settings: &Settings) -> String {
    if let Some(script) = &settings.script {
        let text = std::fs::read_to_string(script).unwrap_or_else(|error| panic!("{script}: {error}"));
        return check(servers, script, &ops::parse(&text));
    }
    let begin = Instant::now();
    let mut report = String::new();
    let found = recorded();
    for (name, ops) in &found {
        report.push_str(&check(servers, name, ops));
    }
    let next = AtomicU64::new(settings.from);
    let full = AtomicBool::new(false);
    let reports = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..settings.workers {
            scope.spawn(|| {
                while !full.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= settings.from + settings.seeds {
                        break;
                    }
                    let played = seed - settings.from;
                    if played > 0 && played.is_multiple_of(100) {
                        eprintln!(
                            "differential: {played} of {} seeds in {:?}",
                            settings.seeds,
                            begin.elapsed()
                        );
                    }
                    let differs = check(servers, &format!("seed {seed}"), &draw::draw(seed, settings.ops));
                    if !differs.is_empty() {
                        eprintln!("{differs}");
                        let mut reports = reports.lock().expect("no panic while locked");
                        reports.push(differs);
                        full.store(reports.len() >= ENOUGH, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    for text in reports.into_inner().expect("no panic while locked") {
        report.push_str(&text);
    }
    let count = found.len() as u64 + settings.seeds;
    eprintln!("differential: {count} generated sequences in {:?}", begin.elapsed());
    report
}

/// Sequences that differed once.
fn recorded() -> Vec<(String, Vec<Op>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/found");
    let Ok(files) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut found: Vec<_> = files
        .flatten()
        .filter(|file| file.path().extension().is_some_and(|end| end == "jsonl"))
        .map(|file| {
            let text = std::fs::read_to_string(file.path()).expect("a readable file");
            (file.file_name().to_string_lossy().into_owned(), ops::parse(&text))
        })
        .collect();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}

/// Plays one sequence; when it differs, the shortest that does, as a script.
fn check(servers: Servers, name: &str, ops: &[Op]) -> String {
    let Some(mut last) = differs(servers, ops) else { return String::new() };
    let begin = Instant::now();
    let cut = ops.get(..=last.step).unwrap_or(ops);
    let short = shrink::shrink(cut, &mut |candidate| {
        if begin.elapsed() > SHRINKING {
            return false;
        }
        let found = differs(servers, candidate);
        let still = found.is_some();
        last = found.unwrap_or_else(|| last.clone());
        still
    });
    let mut text = format!("{name} differs at step {}; the steps, for `--script FILE`:\n", last.step);
    for op in &short {
        writeln!(text, "{}", ops::line(op)).expect("a string takes all");
    }
    writeln!(text, "{}", last.text).expect("a string takes all");
    text
}

/// A difference counts when it is there however much time the servers are given to settle between steps.
fn differs(servers: Servers, ops: &[Op]) -> Option<Difference> {
    let mut last = None;
    for grace_ms in [15, 60, 240] {
        last = Some(differs_with_like_ids(servers, ops, Duration::from_millis(grace_ms))?);
    }
    last
}

/// Plays until the ids that the servers drew can be compared (`ids.rs`), or often enough to say that it is not them.
fn differs_with_like_ids(servers: Servers, ops: &[Op], grace: Duration) -> Option<Difference> {
    let mut last = play::play(servers, ops, grace)?;
    for _ in 0..MOST_DRAWS {
        if last.has_like_ids {
            break;
        }
        last = play::play(servers, ops, grace)?;
    }
    Some(last)
}
