//! Go clients: the programs of `tests/compat/go`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::test::node::Node;
use crate::test::{Context, Outcome, run_command, setup};

/// Builds the programs and runs one against a node of its own.
fn check(context: &Context, program: &str) -> Result<Outcome> {
    let Some(bin) = build(context)? else { return Ok(Outcome::Skipped("go is missing".into())) };
    let mut node = Node::start(&context.ottla()?, &context.target)?;
    run_command(Command::new(bin.join(program)).arg(&node.bootstrap))?;
    node.stop()?;
    Ok(Outcome::Passed)
}

fn build(context: &Context) -> Result<Option<PathBuf>> {
    if !setup::has("go", "version") {
        return Ok(None);
    }
    let bin = context.target.join("clients/go");
    let mut out = bin.clone().into_os_string();
    out.push("/");
    run_command(
        Command::new("go")
            .args(["build", "-o"])
            .arg(out)
            .arg("./...")
            .current_dir(context.root.join("tests/compat/go")),
    )?;
    Ok(Some(bin))
}

pub(crate) fn franz(context: &Context) -> Result<Outcome> {
    check(context, "franz")
}

pub(crate) fn sarama(context: &Context) -> Result<Outcome> {
    check(context, "sarama")
}

pub(crate) fn segmentio(context: &Context) -> Result<Outcome> {
    check(context, "segmentio")
}
