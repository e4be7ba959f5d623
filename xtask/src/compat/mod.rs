//! `cargo xtask compat`: other people's software on top of a built ottla, each lane one product.
//!
//! Unlike the lanes of `cargo xtask test` these fetch large products (Flink, Spark, Kafka Connect) and take minutes. A complete
//! run with `--write` records its results in docs/compatibility.md.

mod connect;
mod go;
mod http;
mod jvm;
mod streams;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::test::{Context, Outcome};

/// Options of `cargo xtask compat`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Run only these lanes (see --list)
    #[arg(long = "lane", value_name = "NAME", conflicts_with = "write")]
    lanes: Vec<String>,
    /// List the lanes and what they check
    #[arg(long)]
    list: bool,
    /// Write the results into docs/compatibility.md
    #[arg(long)]
    write: bool,
}

struct Lane {
    name: &'static str,
    /// Product and release.
    product: &'static str,
    about: &'static str,
    run: fn(&Context) -> Result<Outcome>,
}

const LANES: &[Lane] = &[
    Lane {
        name: "streams",
        product: "Kafka Streams 4.4.0",
        about: "word count, windowed join; exactly_once_v2 while application and broker are killed",
        run: streams::run,
    },
    Lane {
        name: "connect",
        product: "Kafka Connect 4.3.1",
        about: "distributed worker, file source to topic to file sink, over a crash of the broker",
        run: connect::file,
    },
    Lane {
        name: "mirror",
        product: "MirrorMaker 2 4.3.1",
        about: "records, topic configs and a group's offsets from Apache Kafka 4.4.0",
        run: connect::mirror,
    },
    Lane {
        name: "verifiable",
        product: "VerifiableProducer and VerifiableConsumer 4.3.1",
        about: "both group protocols, over a crash of the broker",
        run: jvm::verifiable,
    },
    Lane {
        name: "schemas",
        product: "Kafka Connect's KafkaBasedLog 4.3.1",
        about: "a compacted topic as a store, as schema registries keep `_schemas`",
        run: jvm::schemas,
    },
    Lane {
        name: "flink",
        product: "Flink 2.2.1",
        about: "topic to topic with exactly-once sinks, two failures of the job in the middle",
        run: jvm::flink,
    },
    Lane {
        name: "spark",
        product: "Spark Structured Streaming 4.1.1",
        about: "topic to files and topic to topic over restarts of the queries, batch reads",
        run: jvm::spark,
    },
    Lane {
        name: "franz-go",
        product: "franz-go 1.22.3",
        about: "codecs, cooperative group, lag, transactions with aborts",
        run: go::franz,
    },
    Lane {
        name: "sarama",
        product: "sarama 1.61.1",
        about: "codecs, group, idempotent and transactional producer, admin",
        run: go::sarama,
    },
    Lane {
        name: "kafka-go",
        product: "kafka-go 0.4.51",
        about: "codecs, group over a restart, offsets by time",
        run: go::segmentio,
    },
];

/// The Go clients one after the other, for `cargo xtask test`.
pub(crate) fn go_clients(context: &Context) -> Result<Outcome> {
    for client in [go::franz, go::sarama, go::segmentio] {
        if let Outcome::Skipped(why) = client(context)? {
            return Ok(Outcome::Skipped(why));
        }
    }
    Ok(Outcome::Passed)
}

/// Runs the lanes and prints what became of each.
///
/// # Errors
/// When a lane fails, or a name is unknown.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    if options.list {
        for lane in LANES {
            println!("{:12} {}: {}", lane.name, lane.product, lane.about);
        }
        return Ok(());
    }
    if let Some(unknown) = options.lanes.iter().find(|name| !LANES.iter().any(|lane| lane.name == **name)) {
        bail!("no lane '{unknown}'; `cargo xtask compat --list` names them");
    }
    let context = Context::of(root);
    let mut rows = String::new();
    let mut failed = Vec::new();
    for lane in LANES {
        if !options.lanes.is_empty() && !options.lanes.iter().any(|name| name == lane.name) {
            continue;
        }
        println!("\n=== {}: {}, {}", lane.name, lane.product, lane.about);
        let start = Instant::now();
        let word = match (lane.run)(&context) {
            Ok(Outcome::Passed) => "passes".to_owned(),
            Ok(Outcome::Skipped(why)) => {
                eprintln!("SKIPPED: lane {}: {why}", lane.name);
                format!("skipped: {why}")
            }
            Err(error) => {
                eprintln!("FAILED: lane {}: {error:#}", lane.name);
                failed.push(lane.name);
                "fails".to_owned()
            }
        };
        println!("{}: {word} after {:.0} s", lane.name, start.elapsed().as_secs_f64());
        writeln!(rows, "| {} | {} | {word} |", lane.product, lane.about)?;
    }
    if options.write {
        write(root, &rows)?;
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

const BEGIN: &str = "<!-- results: written by `cargo xtask compat --write` -->\n";
const END: &str = "<!-- end of results -->";

fn write(root: &Path, rows: &str) -> Result<()> {
    let path = root.join("docs/compatibility.md");
    let text = fs::read_to_string(&path)?;
    let (before, rest) = text.split_once(BEGIN).context("where results begin in docs/compatibility.md")?;
    let (_, after) = rest.split_once(END).context("where results end in docs/compatibility.md")?;
    fs::write(
        &path,
        format!("{before}{BEGIN}\n| software | what it does | result |\n|---|---|---|\n{rows}\n{END}{after}"),
    )?;
    Ok(())
}
