//! Every request in every version, asked of a node and of Apache Kafka: the answers must be the same.
//!
//! `OTTLA_KAFKA_CLASSPATH` names a directory with the jars of Apache Kafka 4.4.0. Without it the answers are only decoded, and
//! their error codes compared with the recorded ones (`codes.txt`; `UPDATE=1` records Kafka's). `ORACLE_ONLY=fetch,groups`
//! runs some scripts only. What two right servers may answer differently stands in `rules.rs`.

mod admin;
#[allow(dead_code, reason = "shared with the differential sequences, which use more of it")]
mod client;
mod cluster;
mod compaction;
mod compare;
mod configs;
mod consumers;
mod cordoned;
mod dynamic;
mod fetch;
mod groups;
mod log_dirs;
mod malformed;
mod members;
mod migration;
mod offsets;
mod produce;
mod quotas;
mod requests;
mod rules;
mod security;
mod servers;
mod telemetry;
mod topics;
mod transaction_data;
mod transactions;
mod tree;

use std::net::SocketAddr;

use client::{Entry, Peer};
use servers::{Kafka, Own};

type Script = fn(&mut Peer);

const SCRIPTS: &[(&str, Script)] = &[
    ("cluster", cluster::script),
    ("topics", topics::script),
    ("configs", configs::script),
    ("produce", produce::script),
    ("fetch", fetch::script),
    ("compaction", compaction::script),
    ("log_dirs", log_dirs::script),
    ("offsets", offsets::script),
    ("groups", groups::script),
    ("members", members::script),
    ("consumers", consumers::script),
    ("migration", migration::script),
    ("quotas", quotas::script),
    ("transactions", transactions::script),
    ("transaction_data", transaction_data::script),
    ("telemetry", telemetry::script),
    ("malformed", malformed::script),
    ("security", security::script),
    ("dynamic", dynamic::script),
    ("admin", admin::script),
];

fn scripts() -> Vec<(&'static str, Script)> {
    let only = std::env::var("ORACLE_ONLY").ok();
    let is_wanted =
        |name: &str| only.as_ref().is_none_or(|only| only.split(',').any(|wanted| wanted == name));
    SCRIPTS.iter().copied().filter(|(name, _)| is_wanted(name)).collect()
}

fn run(name: &str, address: SocketAddr) -> Vec<Entry> {
    let mut peer = Peer::new(address);
    requests::settle(&mut peer);
    for (script, play) in scripts() {
        let begin = std::time::Instant::now();
        play(&mut peer);
        eprintln!("{name}: {script} took {:?}, {} answers", begin.elapsed(), peer.entries.len());
    }
    peer.entries
}

/// The requests and versions that no script asked.
fn untested(entries: &[Entry]) -> Vec<String> {
    if std::env::var_os("ORACLE_ONLY").is_some() {
        return Vec::new();
    }
    let all = cluster::SERVED.iter().chain(cluster::UNADVERTISED).flat_map(|key| {
        let versions = key.stable_versions().into_iter().flat_map(|range| range.iter());
        versions.map(move |version| (format!("{key}: "), version))
    });
    let is_asked = |(case, version): &(String, i16)| {
        entries.iter().any(|entry| entry.version == *version && entry.case.starts_with(case))
    };
    all.filter(|asked| !is_asked(asked)).map(|(case, version)| format!("{case}{version}")).collect()
}

#[test]
fn no_request_is_served_that_the_scripts_do_not_know() {
    use ottla_protocol::messages::ApiVersionsRequest;
    let own = Own::start(&[]);
    let answer = Peer::new(own.address).ask(0, &ApiVersionsRequest::default()).expect("an answer");
    let mut served: Vec<i16> = answer.api_keys.iter().map(|key| key.api_key).collect();
    served.sort_unstable();
    let known: Vec<i16> = cluster::SERVED.iter().map(|key| key.code()).collect();
    assert_eq!(served, known, "a new request needs its cases here, and its key in SERVED");
}

#[test]
fn answers_every_request_in_every_version_as_kafka_does() {
    let (ours, theirs) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| Kafka::start(&[]).map(|kafka| run("Apache Kafka", kafka.address)));
        let own = Own::start(&[]);
        let ours = run("ottla", own.address);
        (ours, theirs.join().expect("Kafka's run"))
    });
    assert_eq!(untested(&ours), [""; 0], "not asked at all");
    let mut report = theirs.as_ref().map_or_else(String::new, |theirs| compare::differences(&ours, theirs));
    if std::env::var_os("ORACLE_ONLY").is_none() {
        let kafka = theirs.as_deref().map(compare::codes);
        if let Err(differ) = compare::check_codes(&compare::codes(&ours), kafka.as_deref()) {
            report.push_str(&differ);
        }
    }
    assert!(report.is_empty(), "\n{report}");
}
