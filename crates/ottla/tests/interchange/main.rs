//! Apache Kafka and ottla take turns in one data directory: each goes on with what the other has left, after an orderly stop
//! and after `kill -9`.
//!
//! Runs when `OTTLA_INTERCHANGE` names a directory with `kafka` (4.4), `kafka-4.0`, `kafka-4.2`, `kafka-tools` and
//! `kafka-logging`, each with its `jars`, and there is a java; says SKIPPED otherwise. `cargo xtask test --lane interchange`
//! sets that up.

mod check_dir;
mod dump;
mod peer;
mod server;
mod view;
mod work;

use std::io::Write as _;
use std::path::PathBuf;

use crate::server::{Release, Shape, Site};
use crate::work::{Turn, decided};

/// Where the jars are; `None`, said loudly, when they are not there.
fn jars(test: &str) -> Option<PathBuf> {
    let found = std::env::var_os("OTTLA_INTERCHANGE").map(PathBuf::from);
    if found.is_none() {
        // Past the capture of passing tests' output: this has to be seen.
        let text = format!("SKIPPED: {test}: OTTLA_INTERCHANGE (directory of Kafka's jars) is not set\n");
        std::io::stderr().write_all(text.as_bytes()).expect("a standard error");
    }
    found
}

/// Kafka formats and begins; each of the two takes over after an orderly stop, and after a kill with a torn tail.
#[test]
fn takes_turns_with_kafka_4_4() {
    let Some(jars) = jars("takes_turns_with_kafka_4_4") else { return };
    let site = Site::new(jars, Shape { dirs: 2, static_voters: false });
    site.format_by(Release::V4_4);
    let mut turn = Turn::first(site);
    turn.run_kafka(Release::V4_4).works().stops();
    turn.run_ottla().works().stops();
    turn.run_kafka(Release::V4_4).works().is_killed();
    turn.tear_a_tail();
    turn.run_ottla().works().is_killed();
    turn.tear_a_tail();
    turn.run_kafka(Release::V4_4).works().stops();
    turn.run_ottla().works().stops();
    turn.finish();
}

/// ottla formats and begins, and Kafka goes on.
#[test]
fn kafka_4_4_goes_on_with_a_directory_that_ottla_made() {
    let Some(jars) = jars("kafka_4_4_goes_on_with_a_directory_that_ottla_made") else { return };
    let site = Site::new(jars, Shape { dirs: 1, static_voters: false });
    site.format_by_ottla();
    let mut turn = Turn::first(site);
    turn.run_ottla().works().stops();
    turn.run_kafka(Release::V4_4).works().stops();
    turn.run_ottla().works().stops();
    turn.finish();
}

/// A commit and an abort that were decided, but not carried out: each of the two completes what the other has left.
#[test]
fn completes_transactions_whose_end_was_decided_with_kafka_4_4() {
    let Some(jars) = jars("completes_transactions_whose_end_was_decided_with_kafka_4_4") else { return };
    for ottla_decides in [true, false] {
        let site = Site::new(jars.clone(), Shape { dirs: 1, static_voters: false });
        let start = |ottla: bool, turn: usize| {
            if ottla { site.start_ottla(turn) } else { site.start_kafka(Release::V4_4, turn) }
        };
        site.format_by_ottla();
        let mut server = start(ottla_decides, 1);
        decided::begin(&mut site.peer());
        server.stop();
        decided::decide(&site);
        let mut server = start(!ottla_decides, 2);
        decided::are_ended(&mut site.peer());
        server.stop();
        // It is the end for who began, too.
        let mut server = start(ottla_decides, 3);
        decided::are_ended(&mut site.peer());
        decided::go_on(&mut site.peer());
        server.stop();
    }
}

/// The features of an older release stay as they are, and that release opens its directory again.
#[test]
fn leaves_a_directory_of_kafka_4_0_to_kafka_4_0() {
    let Some(jars) = jars("leaves_a_directory_of_kafka_4_0_to_kafka_4_0") else { return };
    let site = Site::new(jars, Shape { dirs: 1, static_voters: true });
    site.format_by(Release::V4_0);
    let mut turn = Turn::first(site);
    turn.run_kafka(Release::V4_0).works().stops();
    turn.run_ottla().works().stops();
    turn.run_kafka(Release::V4_0).works().stops();
    turn.run_ottla().works().stops();
    turn.finish();
}

/// As with 4.0; here ottla is killed.
#[test]
fn leaves_a_directory_of_kafka_4_2_to_kafka_4_2() {
    let Some(jars) = jars("leaves_a_directory_of_kafka_4_2_to_kafka_4_2") else { return };
    let site = Site::new(jars, Shape { dirs: 2, static_voters: false });
    site.format_by(Release::V4_2);
    let mut turn = Turn::first(site);
    turn.run_kafka(Release::V4_2).works().stops();
    turn.run_ottla().works().is_killed();
    turn.run_kafka(Release::V4_2).works().is_killed();
    turn.run_ottla().works().stops();
    turn.finish();
}
