//! Kafka Streams: two plain applications, then one with exactly-once that is killed over and over, as is the broker.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::jvm::{Guard, Program, fresh_dir, logged, no_jdk};
use crate::test::node::Node;
use crate::test::{Context, Outcome};

const RECORDS: &str = "20000";
const ROUNDS: usize = 4;

pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let artifacts = ["org.apache.kafka:kafka-streams:4.4.0", "org.slf4j:slf4j-simple:1.7.36"];
    let Some(program) = Program::build(context, "streams", "StreamsCheck", &artifacts)? else {
        return no_jdk();
    };
    let dir = fresh_dir(context, "streams")?;
    let path = dir.to_str().context("a path in UTF-8")?;
    let log = |name: &str| context.target.join(format!("compat/streams-{name}.log"));
    let mut node = Node::start(&context.ottla()?, &context.target)?;
    let server = node.bootstrap.clone();
    program.run(&["wordcount", &server, path], &log("wordcount"))?;
    program.run(&["join", &server, path], &log("join"))?;

    program.run(&["topics", &server], &log("topics"))?;
    let mut feed = Guard(logged(&mut program.command(&["feed", &server, RECORDS]), &log("feed"))?);
    for round in 0..ROUNDS {
        let name = format!("count-{round}");
        let application = Guard(logged(&mut program.command(&["count", &server, path]), &log(&name))?);
        std::thread::sleep(Duration::from_secs(10));
        if round % 2 == 1 {
            node.crash_and_restart()?;
            std::thread::sleep(Duration::from_secs(5));
        }
        drop(application);
    }
    ensure!(feed.0.wait()?.success(), "not all records could be produced; see {}", log("feed").display());
    let last = Guard(logged(&mut program.command(&["count", &server, path]), &log("count-last"))?);
    program.run(&["verify", &server, RECORDS], &log("verify"))?;
    drop(last);
    node.stop()?;
    Ok(Outcome::Passed)
}
