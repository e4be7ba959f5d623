//! What ottla is to reach beside Apache Kafka, and whether it does.

use super::super::results::Outcome;
use super::super::scenarios::{latency, limits, measure, saturation, start, throughput};
use super::super::system::{DEFAULT_POLICY, KAFKA, POLICIES, ottla};
use super::table::number;

/// A target and what came of it.
pub(super) struct Row {
    pub(super) target: String,
    /// `None` if its scenarios were not run.
    pub(super) verdict: Option<Verdict>,
    /// Why it is missed, if it is.
    pub(super) why: &'static str,
}

/// What was measured.
pub(super) struct Verdict {
    pub(super) measured: String,
    pub(super) met: bool,
}

/// All results there are.
struct Results<'a>(&'a [Outcome]);

impl Results<'_> {
    fn median(&self, scenario: &str, system: &str, case: &str, measure: &str) -> Option<f64> {
        self.0.iter().find(|outcome| outcome.scenario == scenario)?.median(system, case, measure)
    }
}

/// The policy that promises what Apache Kafka does.
const KAFKAS_PROMISE: &str = "page-cache";
/// What stands behind a missed target, as far as it is known.
mod why {
    pub(super) const PRODUCE: &str = "most of it is the kernel's, write-back included, which the bare limit leaves to the kernel's own threads: [where the time goes](performance.md#where-the-time-goes)";
    pub(super) const SYNC_COST: &str = "each group of appends is a sync, which costs as much as the rest: [how `sync` syncs](performance.md#how-sync-syncs)";
    pub(super) const CONSUME: &str =
        "nearly all of it is `sendfile`: [where the time goes](performance.md#where-the-time-goes)";
    pub(super) const SATURATION: &str = "the client takes more than half of the two cores: a server that cost nothing would not reach it with few \
                                         partitions; compare the broker's CPU time below";
    pub(super) const DURABLE: &str = "the disk: [how `sync` syncs](performance.md#how-sync-syncs)";
    pub(super) const TAIL: &str = "the client itself takes as long, with a broker in its own memory (scenario `limits`): \
                                   [where it comes from](performance.md#where-the-latency-of-page-cache-comes-from)";
    pub(super) const FULL: &str = "client and server share the cores, and the disk has all it can take: \
                                   [when the disk has all it can take](performance.md#when-the-disk-has-all-it-can-take)";
    pub(super) const SYNC_TAIL: &str = "an acknowledgement waits for the disk, Kafka's does not: compare the disk beside it; \
                                        [how `sync` syncs](performance.md#how-sync-syncs)";
    pub(super) const START: &str = "what was tried: [performance.md](performance.md)";
    pub(super) const MANY: &str = "[many partitions](performance.md#many-partitions)";
    pub(super) const MEMORY: &str = "[memory](performance.md#memory)";
}

/// A pause that is no pause.
const LONGEST_PAUSE_MS: f64 = 20.0;

/// All targets.
pub(super) fn rows(outcomes: &[Outcome]) -> Vec<Row> {
    let results = Results(outcomes);
    let mut rows = Vec::new();
    for policy in POLICIES {
        cost(&results, policy, &mut rows);
    }
    throughput_rows(&results, &mut rows);
    for policy in POLICIES {
        tail(&results, policy, &mut rows);
    }
    start_rows(&results, &mut rows);
    rows
}

/// `value` is to be at most `limit` times `base`.
fn at_most(value: Option<f64>, base: Option<f64>, limit: f64, unit: &str) -> Option<Verdict> {
    let (value, base) = (value?, base?);
    let ratio = value / base;
    let measured = format!("×{ratio:.2} ({} against {} {unit})", number(value), number(base));
    Some(Verdict { measured, met: ratio <= limit })
}

fn cost(results: &Results<'_>, policy: &str, rows: &mut Vec<Row>) {
    let size = |system: &str, case: &str, measure: &str| results.median("size", system, case, measure);
    let own = ottla(policy);
    let syncs = policy != KAFKAS_PROMISE;
    let produces = if syncs { why::SYNC_COST } else { why::PRODUCE };
    let mut row = |target: &str, verdict, why| {
        rows.push(Row { target: format!("`{policy}`: {target}"), verdict, why });
    };
    let unit = "CPU-s/GB";
    let beside_kafka = |case, measure, factor, unit| {
        at_most(size(&own, case, measure), size(KAFKA, case, measure), factor, unit)
    };
    row(
        "broker CPU per GB produced ≤ 0.25 × Kafka",
        beside_kafka(throughput::KIB, measure::PRODUCE_CPU, 0.25, unit),
        produces,
    );
    let produce = size(&own, throughput::KIB, measure::PRODUCE_CPU);
    let limit = results.median("limits", limits::SYSTEM, limits::SINK, measure::PRODUCE_CPU);
    let mut bare = at_most(produce, limit, 2.0, unit);
    let durable = results.median("limits", limits::SYSTEM, limits::DURABLE_SINK, measure::PRODUCE_CPU);
    if let (true, Some(bare), Some(durable)) = (syncs, &mut bare, durable) {
        bare.measured.push_str(&format!("; the bare limit with a sync of each 64 KiB: {}", number(durable)));
    }
    row("broker CPU per GB produced ≤ 2 × the bare limit", bare, produces);
    row(
        "broker CPU per GB consumed ≤ 0.5 × Kafka",
        beside_kafka(throughput::KIB, measure::CONSUME_CPU, 0.5, unit),
        why::CONSUME,
    );
    row(
        "broker CPU per small record produced ≤ 0.35 × Kafka",
        beside_kafka(throughput::SMALL, measure::PRODUCE_CPU_RECORDS, 0.35, "CPU-s per million"),
        produces,
    );
}

fn throughput_rows(results: &Results<'_>, rows: &mut Vec<Row>) {
    let produced = |system: &str, partitions: u64| {
        results.median("saturation", system, &saturation::case(partitions), measure::PRODUCED)
    };
    let at_least = |value: Option<f64>, base: Option<f64>, limit: f64| {
        let verdict = at_most(value, base, f64::INFINITY, "MB/s")?;
        Some(Verdict { met: value? / base? >= limit, ..verdict })
    };
    for partitions in saturation::PARTITIONS {
        let case = saturation::case(*partitions);
        let durable = produced(&ottla(DEFAULT_POLICY), *partitions);
        rows.push(Row {
            target: format!("saturation, {case}: `{DEFAULT_POLICY}` ≥ 1.5 × Kafka"),
            verdict: at_least(durable, produced(KAFKA, *partitions), 1.5),
            why: why::SATURATION,
        });
        if *partitions >= 12 {
            rows.push(Row {
                target: format!("saturation, {case}: `{DEFAULT_POLICY}` ≥ 0.8 × `{KAFKAS_PROMISE}`"),
                verdict: at_least(durable, produced(&ottla(KAFKAS_PROMISE), *partitions), 0.8),
                why: why::DURABLE,
            });
        }
    }
}

fn tail(results: &Results<'_>, policy: &str, rows: &mut Vec<Row>) {
    let (limit, why) = if policy == KAFKAS_PROMISE { (0.2, why::TAIL) } else { (0.5, why::SYNC_TAIL) };
    let at = |system: &str, case: &str, measure: &str| results.median("latency", system, case, measure);
    let own = ottla(policy);
    for case in latency::CASES {
        let pair = |measure: &str| at_most(at(&own, case, measure), at(KAFKA, case, measure), limit, "ms");
        let least = |measure| results.median("limits", limits::SYSTEM, &limits::mock(case), measure);
        let client = least("p99, ms").zip(least("p99.9, ms"));
        let beside = match (policy == KAFKAS_PROMISE, client, at(&own, case, measure::DISK_P99)) {
            (true, Some((p99, p999)), _) => {
                format!(
                    "; the same client with a broker in its own memory: p99 {}, p99.9 {}",
                    number(p99),
                    number(p999)
                )
            }
            (false, _, Some(disk)) => format!("; the disk beside it: p99 {}", number(disk)),
            _ => String::new(),
        };
        let both = pair("p99, ms").zip(pair("p99.9, ms")).map(|(p99, p999)| Verdict {
            measured: format!("p99 {}, p99.9 {}{beside}", p99.measured, p999.measured),
            met: p99.met && p999.met,
        });
        let is_full = latency::CASES.last() == Some(case);
        rows.push(Row {
            target: format!("`{policy}`: p99 and p99.9 at {case} ≤ {limit} × Kafka"),
            verdict: both,
            why: if is_full { why::FULL } else { why },
        });
    }
    // What the disk itself takes is no fault of the broker's, where it waits for the disk.
    let waits = policy != KAFKAS_PROMISE;
    let pauses = latency::CASES.iter().filter_map(|case| {
        let disk = if waits { at(&own, case, measure::DISK_MAX)? } else { 0.0 };
        Some((at(&own, case, "max, ms")?, disk, at(&own, case, measure::LATE_MAX)?))
    });
    let worst = pauses.max_by(|(a, a_disk, _), (b, b_disk, _)| (a - a_disk).total_cmp(&(b - b_disk)));
    let verdict = worst.map(|(longest, disk, late)| Verdict {
        measured: format!(
            "{} ms, of which the disk may take {}; the generator itself was late by up to {}",
            number(longest),
            number(disk),
            number(late)
        ),
        met: longest <= LONGEST_PAUSE_MS + disk,
    });
    rows.push(Row {
        target: format!("`{policy}`: no pause over 20 ms that is not the disk's own"),
        verdict,
        why: why::FULL,
    });
}

fn start_rows(results: &Results<'_>, rows: &mut Vec<Row>) {
    let own = ottla(DEFAULT_POLICY);
    let start = |case: &str, measure: &str| results.median("start", &own, case, measure);
    let mut below = |target: &str, value: Option<f64>, limit: f64, unit: &str| {
        let why = match unit {
            "MiB" => why::MEMORY,
            _ if target.contains("partitions") => why::MANY,
            _ => why::START,
        };
        let verdict = value.map(|v| Verdict { measured: format!("{} {unit}", number(v)), met: v < limit });
        rows.push(Row { target: target.to_owned(), verdict, why });
    };
    let many = start::case(start::MOST_PARTITIONS);
    below("ready on an empty directory < 100 ms", start(start::EMPTY, measure::READY), 100.0, "ms");
    below("ready with 10,000 partitions < 1 s", start(&many, start::CLEAN), 1_000.0, "ms");
    let under_load =
        |policy: &str| results.median("size", &ottla(policy), throughput::KIB, measure::RESIDENT);
    for policy in POLICIES {
        below(
            &format!("`{policy}`: resident under the 1 KiB load < 100 MiB"),
            under_load(policy),
            100.0,
            "MiB",
        );
    }
    below("resident at 10,000 partitions < 200 MiB", start(&many, measure::RESIDENT), 200.0, "MiB");
    // Bounded by the bytes above the recovery point: reading and checking them must not be slower than the slowest of disks.
    let one = start::case(1);
    let figures = start(&one, start::CRASH).zip(start(&one, start::CLEAN)).zip(start(&one, start::RECOVERED));
    let verdict = figures.map(|((crash, clean), megabytes)| {
        let per_gb = (crash - clean) / megabytes;
        Verdict {
            measured: format!(
                "{} s per GB ({} ms for {} MB)",
                number(per_gb),
                number(crash),
                number(megabytes)
            ),
            met: per_gb <= start::RECOVERY_S_PER_GB,
        }
    });
    let target = format!("crash restart ≤ {} s per GB above the recovery point", start::RECOVERY_S_PER_GB);
    rows.push(Row { target, verdict, why: why::START });
}
