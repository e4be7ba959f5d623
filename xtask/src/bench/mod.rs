//! `cargo xtask bench`: ottla beside Apache Kafka, in the same run, with the same clients.
//!
//! Servers take turns (A B A B …); each figure is the median of the repetitions with its spread. The load comes from Apache
//! Kafka's own `ProducerPerformance` and `ConsumerPerformance`; the cost is the broker's CPU time from `/proc`.

mod server;
mod table;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::test::{Context, setup};
use server::{Server, System};
use table::Table;

/// Options of `cargo xtask bench`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// A shorter run: one repetition, less data
    #[arg(long)]
    quick: bool,
    /// Repetitions of each measurement
    #[arg(long, default_value_t = 3)]
    repetitions: usize,
    /// Do not write docs/benchmarks.md
    #[arg(long)]
    dry_run: bool,
}

/// What one measured life of a server yields.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    ready_ms: f64,
    idle_mib: f64,
    produce_cpu_s_per_gb: f64,
    produce_mb_s: f64,
    consume_cpu_s_per_gb: f64,
    consume_mb_s: f64,
    loaded_mib: f64,
}

const RECORD_BYTES: u64 = 1024;

struct Load<'a> {
    tools: &'a Path,
    records: u64,
}

impl Load<'_> {
    fn gigabytes(&self) -> f64 {
        (self.records * RECORD_BYTES) as f64 / 1e9
    }

    fn run(&self, class: &str, args: &[String]) -> Result<String> {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        setup::java_tool(self.tools, class, &args, None)
    }

    fn produce(&self, server: &Server, topic: &str, records: u64) -> Result<f64> {
        let properties = [
            format!("bootstrap.servers={}", server.bootstrap),
            "acks=all".into(),
            "batch.size=65536".into(),
            "linger.ms=5".into(),
            "buffer.memory=67108864".into(),
        ];
        let mut args: Vec<String> =
            ["--topic", topic, "--num-records", &records.to_string(), "--record-size"]
                .map(str::to_owned)
                .to_vec();
        args.extend([
            RECORD_BYTES.to_string(),
            "--throughput".into(),
            "-1".into(),
            "--command-property".into(),
        ]);
        args.extend(properties);
        let printed = self.run("org.apache.kafka.tools.ProducerPerformance", &args)?;
        let last = printed.lines().rev().find(|l| l.contains("records sent")).context("a summary line")?;
        let rate = last.split('(').nth(1).and_then(|s| s.split(" MB/sec").next()).context("MB/sec")?;
        Ok(rate.trim().parse()?)
    }

    fn consume(&self, server: &Server, topic: &str) -> Result<f64> {
        let records = self.records.to_string();
        let args = [
            "--topic",
            topic,
            "--bootstrap-server",
            &server.bootstrap,
            "--num-records",
            &records,
            "--hide-header",
        ]
        .map(str::to_owned);
        let printed = self.run("org.apache.kafka.tools.ConsumerPerformance", &args)?;
        let last = printed.lines().rev().find(|l| l.contains(", ")).context("a result line")?;
        Ok(last.split(", ").nth(3).context("MB.sec")?.trim().parse()?)
    }
}

fn measure(system: &System, load: &Load<'_>) -> Result<Figures> {
    let mut server = Server::start(system)?;
    let ready_ms = server.ready.as_secs_f64() * 1000.0;
    std::thread::sleep(Duration::from_secs(3));
    let idle_mib = server.resident_mib()?;
    // Warms the client's and the server's paths (and the JVM's compiler).
    load.produce(&server, "bench", load.records / 10)?;
    let before = server.cpu_seconds()?;
    let produce_mb_s = load.produce(&server, "bench", load.records)?;
    let produced = server.cpu_seconds()?;
    let consume_mb_s = load.consume(&server, "bench")?;
    let consumed = server.cpu_seconds()?;
    let loaded_mib = server.resident_mib()?;
    server.stop()?;
    Ok(Figures {
        ready_ms,
        idle_mib,
        produce_cpu_s_per_gb: (produced - before) / load.gigabytes(),
        produce_mb_s,
        consume_cpu_s_per_gb: (consumed - produced) / load.gigabytes(),
        consume_mb_s,
        loaded_mib,
    })
}

/// Runs the comparison and writes `docs/benchmarks.md`.
///
/// # Errors
/// When a server or a client fails.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let context = Context::of(root);
    let (Some(kafka), Some(tools)) = (setup::kafka_jars(&context)?, setup::tools_jars(&context)?) else {
        bail!("the comparison needs java and mvn");
    };
    crate::test::run_command(context.cargo().args(["build", "--release", "--package", "ottla"]))?;
    let scratch = context.target.join("bench");
    let ottla = |name: &str, policy: &str| System::Ottla {
        name: name.to_owned(),
        binary: context.target.join("release/ottla"),
        scratch: scratch.clone(),
        options: vec![format!("log.durability.policy={policy}")],
    };
    let systems = [
        System::Kafka { jars: kafka, scratch: scratch.clone() },
        ottla("ottla, page-cache", "page-cache"),
        ottla("ottla, sync", "sync"),
    ];
    let repetitions = if options.quick { 1 } else { options.repetitions.max(1) };
    let load = Load { tools: &tools, records: if options.quick { 500_000 } else { 2_000_000 } };
    let mut figures: Vec<Vec<Figures>> = vec![Vec::new(); systems.len()];
    for round in 0..repetitions {
        for (system, found) in systems.iter().zip(&mut figures) {
            println!("round {} of {repetitions}: {}", round + 1, system.name());
            let measured = measure(system, &load)?;
            println!("  {measured:?}");
            found.push(measured);
        }
    }
    let names: Vec<&str> = systems.iter().map(System::name).collect();
    let text = report(&names, &figures, &load, repetitions)?;
    println!("\n{text}");
    if !options.dry_run {
        fs::write(root.join("docs/benchmarks.md"), text)?;
    }
    Ok(())
}

fn report(names: &[&str], figures: &[Vec<Figures>], load: &Load<'_>, repetitions: usize) -> Result<String> {
    type Row = (&'static str, fn(&Figures) -> f64);
    let rows: [Row; 7] = [
        ("ready on an empty directory, ms", |f| f.ready_ms),
        ("resident when idle, MiB", |f| f.idle_mib),
        ("broker CPU-s per GB produced", |f| f.produce_cpu_s_per_gb),
        ("produced, MB/s", |f| f.produce_mb_s),
        ("broker CPU-s per GB consumed", |f| f.consume_cpu_s_per_gb),
        ("consumed, MB/s", |f| f.consume_mb_s),
        ("resident after the load, MiB", |f| f.loaded_mib),
    ];
    let mut table = Table::new(names);
    for (label, value) in rows {
        table.row(label, figures.iter().map(|runs| runs.iter().map(value).collect()).collect());
    }
    Ok(format!(
        "# Benchmarks\n\n`cargo xtask bench{}` on {}, {} repetition(s), servers taking turns. Each cell is the median (minimum–maximum); \
         the ratio is to Apache Kafka.\n\nLoad: Apache Kafka 4.3.1's `ProducerPerformance` (acks=all, batch.size 65536, linger.ms 5, \
         one partition, {} records of {RECORD_BYTES} bytes) and `ConsumerPerformance`, on the same machine as the server, so that MB/s is \
         mostly the client's; broker CPU seconds are the server's own user and system time. Apache Kafka 4.4.0 runs with its shipped \
         defaults and a 1 GiB heap; it acknowledges from the page cache, as `page-cache` does; `sync`, ottla's default, waits until \
         the record is on disk.\n\n{}",
        if repetitions == 1 { " --quick" } else { "" },
        server::machine()?,
        repetitions,
        load.records,
        table.render()
    ))
}
