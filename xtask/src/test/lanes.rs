//! What each lane does.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};

use super::node::Node;
use super::{Context, Outcome, output_of, run_command, setup, side_by_side};

pub(crate) fn format(context: &Context) -> Result<Outcome> {
    run_command(context.cargo().args(["fmt", "--all", "--check"]))?;
    // Outside the workspace, because it builds librdkafka.
    run_command(context.cargo().args(["fmt", "--manifest-path", "xtask/load/Cargo.toml", "--check"]))?;
    Ok(Outcome::Passed)
}

pub(crate) fn tidy(context: &Context) -> Result<Outcome> {
    crate::tidy::run(&context.root)?;
    Ok(Outcome::Passed)
}

pub(crate) fn codegen(context: &Context) -> Result<Outcome> {
    run_command(context.cargo().args(["run", "--quiet", "--package", "xtask", "--", "codegen", "--check"]))?;
    Ok(Outcome::Passed)
}

pub(crate) fn clippy(context: &Context) -> Result<Outcome> {
    let args = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    run_command(context.cargo().args(args))?;
    // Cheap only where the benchmark has built librdkafka.
    let built = context.target.join("bench/load");
    if built.join("release/ottla-load").exists() {
        let args = ["clippy", "--release", "--locked", "--quiet", "--manifest-path", "xtask/load/Cargo.toml"];
        let mut cargo = context.cargo();
        cargo.args(args).arg("--target-dir").arg(built).args(["--", "-D", "warnings"]);
        run_command(&mut cargo)?;
    }
    Ok(Outcome::Passed)
}

/// How many files of Python tests run at the same time: they wait most of their time.
const PYTHON_WORKERS: usize = 3;

/// Which of them take longest, and begin first.
const SLOW_PYTHON: &[&str] = &["test_kill_everything.py", "test_kill_rounds.py", "test_disks.py"];

pub(crate) fn python(context: &Context) -> Result<Outcome> {
    let Some(python) = setup::python(context)? else {
        return Ok(Outcome::Skipped("python3 is missing".into()));
    };
    let binary = context.ottla()?;
    let dir = context.root.join("tests/clients/python");
    let names = fs::read_dir(&dir)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("test_") && name.ends_with(".py")).collect();
    ensure!(names.len() >= 11, "the tests are in {}", dir.display());
    let kafkas = setup::interchange_jars(context)?.then_some(("OTTLA_INTERCHANGE", &context.target));
    names.sort_by_key(|name| (!SLOW_PYTHON.contains(&&**name), name.clone()));
    let logs = context.target.join("lanes/python");
    fs::create_dir_all(&logs)?;
    let failed = Mutex::new(Vec::new());
    side_by_side::each(names, PYTHON_WORKERS, |name| {
        let mut pytest = Command::new(&python);
        pytest.args(["-B", "-m", "pytest", "-q", "-p", "no:cacheprovider"]).arg(dir.join(&name));
        let log = logs.join(format!("{name}.log"));
        let (printed, succeeded) = side_by_side::logged(pytest.env("OTTLA_BIN", &binary).envs(kafkas), &log)
            .unwrap_or_else(|error| (format!("{error:#}"), false));
        println!("{name}: {}", printed.trim_end());
        if !succeeded {
            failed.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(Outcome::Passed)
}

pub(crate) fn examples(context: &Context) -> Result<Outcome> {
    let Some(python) = setup::python(context)? else {
        return Ok(Outcome::Skipped("python3 is missing".into()));
    };
    let binary = context.ottla()?;
    let mut names: Vec<PathBuf> = fs::read_dir(context.root.join("examples"))?
        .flatten()
        .map(|entry| entry.path().join("check.sh"))
        .collect();
    names.retain(|script| script.exists());
    names.sort();
    ensure!(names.len() >= 3, "three examples with a check.sh, found {}", names.len());
    for script in names {
        let node = Node::start(&binary, &context.target)?;
        println!("example {}", script.display());
        run_command(
            Command::new("sh")
                .arg(&script)
                .env("OTTLA", &binary)
                .env("PYTHON", &python)
                .env("OTTLA_BOOTSTRAP_SERVER", &node.bootstrap),
        )?;
    }
    Ok(Outcome::Passed)
}

pub(crate) fn kafkajs(context: &Context) -> Result<Outcome> {
    let Some(dir) = setup::kafkajs(context)? else {
        return Ok(Outcome::Skipped("node or npm is missing".into()));
    };
    let mut node = Node::start(&context.ottla()?, &context.target)?;
    run_command(Command::new("node").arg("test.js").arg(&node.bootstrap).current_dir(dir))?;
    node.stop()?;
    Ok(Outcome::Passed)
}

fn pipe(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("a piped stdin")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}: {command:?}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

pub(crate) fn kcat(context: &Context) -> Result<Outcome> {
    let Some((program, libraries)) = setup::kcat(context)? else {
        return Ok(Outcome::Skipped("kcat is missing and Debian's package cannot be had".into()));
    };
    let mut node = Node::start(&context.ottla()?, &context.target)?;
    let kcat = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.args(["-b", &node.bootstrap]).args(args).env("LD_LIBRARY_PATH", &libraries);
        command
    };
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("kcat-{codec}");
        let lines: String = (0..500).map(|i| format!("k{}:value {i}\n", i % 5)).collect();
        pipe(&mut kcat(&["-P", "-t", &topic, "-K:", "-z", codec, "-H", "h=1", "-p", "0"]), &lines)?;
        let read =
            output_of(&mut kcat(&["-C", "-t", &topic, "-o", "beginning", "-e", "-q", "-f", "%k:%s %h\n"]))?;
        ensure!(read == lines.replace('\n', " h=1\n"), "{topic}: other records than produced:\n{read}");
        let group = format!("{topic}-group");
        let read = output_of(&mut kcat(&[
            "-G",
            &group,
            "-o",
            "beginning",
            "-X",
            "auto.offset.reset=earliest",
            "-e",
            "-q",
            &topic,
        ]))?;
        ensure!(read.lines().count() == 500, "{topic}: the group read {} lines", read.lines().count());
    }
    let listing = output_of(&mut kcat(&["-L"]))?;
    ensure!(listing.contains("topic \"kcat-zstd\" with 1 partitions"), "{listing}");
    node.stop()?;
    Ok(Outcome::Passed)
}

const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const DUMP: &str = "org.apache.kafka.tools.DumpLogSegments";

pub(crate) fn java(context: &Context) -> Result<Outcome> {
    let Some(jars) = setup::tools_jars(context)? else {
        return Ok(Outcome::Skipped("java or mvn is missing".into()));
    };
    let mut node = Node::start(&context.ottla()?, &context.target)?;
    let server = node.bootstrap.clone();
    let tool = |class: &str, args: &[&str]| {
        let args: Vec<&str> =
            ["--bootstrap-server", &server].into_iter().chain(args.iter().copied()).collect();
        setup::java_tool(&jars, class, &args, None)
    };
    tool(TOPICS, &["--create", "--topic", "java", "--partitions", "2", "--config", "segment.bytes=1048576"])?;
    let input = node.dir.join("lines");
    let mut expected = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let lines: Vec<String> = (0..200).map(|i| format!("h:{codec}\tk{i}\t{codec} value {i}")).collect();
        fs::write(&input, lines.join("\n") + "\n")?;
        let properties = ["parse.key=true", "parse.headers=true"].map(|p| format!("--reader-property={p}"));
        let compression = format!("--compression-codec={codec}");
        let args =
            ["--bootstrap-server", &server, "--topic", "java", &compression, &properties[0], &properties[1]];
        setup::java_tool(&jars, PRODUCER, &args, Some(&input))?;
        expected.extend(lines);
    }
    let count = expected.len().to_string();
    let format = ["print.key=true", "print.headers=true"].map(|p| format!("--formatter-property={p}"));
    let args = ["--topic", "java", "--from-beginning", "--timeout-ms", "30000", "--max-messages", &count];
    let args: Vec<&str> =
        args.into_iter().chain([&*format[0], &*format[1], "--group", "java-group"]).collect();
    let mut read: Vec<String> = tool(CONSUMER, &args)?.lines().map(str::to_owned).collect();
    read.retain(|line| line.starts_with("h:"));
    read.sort();
    expected.sort();
    ensure!(
        read == expected,
        "the console consumer read {} records, other than the {count} sent",
        read.len()
    );
    let described = tool(GROUPS, &["--describe", "--group", "java-group"])?;
    ensure!(described.contains("java-group"), "{described}");
    consumer_group(&tool, &count)?;
    ensure!(tool(TOPICS, &["--describe", "--topic", "java"])?.contains("PartitionCount: 2"));
    node.stop()?;
    dump(&jars, &node.dir.join("data"))?;
    Ok(Outcome::Passed)
}

/// The console consumer and the groups tool with the newer group protocol (KIP-848).
fn consumer_group(tool: &impl Fn(&str, &[&str]) -> Result<String>, count: &str) -> Result<()> {
    let newer = ["--group", "java-newer", "--command-property", "group.protocol=consumer"];
    let args = ["--topic", "java", "--from-beginning", "--timeout-ms", "30000", "--max-messages", count];
    let read = tool(CONSUMER, &args.into_iter().chain(newer).collect::<Vec<_>>())?;
    ensure!(read.lines().filter(|line| line.contains(" value ")).count().to_string() == count, "{read}");
    for (options, expected) in [
        (&["--describe", "--group", "java-newer"][..], "java-newer"),
        (&["--describe", "--group", "java-newer", "--state"], "Empty"),
        (&["--describe", "--group", "java-newer", "--members", "--verbose"], "CURRENT-ASSIGNMENT"),
        (&["--list", "--type", "consumer"], "java-newer"),
        (&["--list", "--state"], "Empty"),
        (&["--delete", "--group", "java-newer"], "successful"),
    ] {
        let said = tool(GROUPS, options)?;
        ensure!(said.contains(expected), "{options:?}: {said}");
    }
    Ok(())
}

pub(crate) fn interchange(context: &Context) -> Result<Outcome> {
    if !setup::interchange_jars(context)? {
        return Ok(Outcome::Skipped("java or mvn is missing".into()));
    }
    let mut command = context.cargo();
    command.args(["test", "--workspace", "--quiet", "--test", "interchange", "--"]);
    // Each test has at most one JVM at a time.
    command.args(["--test-threads", "2"]).env("OTTLA_INTERCHANGE", &context.target);
    run_command(&mut command)?;
    Ok(Outcome::Passed)
}

/// DumpLogSegments accepts every file of a stopped node's directory.
fn dump(jars: &Path, data: &Path) -> Result<()> {
    let (mut logs, mut indexes, mut metadata) = (Vec::new(), Vec::new(), Vec::new());
    for dir in fs::read_dir(data)?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        let is_metadata = dir.file_name().is_some_and(|name| name == "__cluster_metadata-0");
        for file in fs::read_dir(&dir)?.flatten().map(|entry| entry.path()) {
            let size = fs::metadata(&file)?.len();
            match file.extension().and_then(|e| e.to_str()) {
                Some("log" | "checkpoint") if is_metadata => metadata.push(file),
                Some("log") if size > 0 => logs.push(file),
                Some("index" | "timeindex" | "snapshot" | "txnindex") if !is_metadata && size > 0 => {
                    indexes.push(file);
                }
                _ => {}
            }
        }
    }
    ensure!(
        logs.len() >= 3 && metadata.len() >= 2 && indexes.len() >= 3,
        "files to check: {logs:?} {indexes:?}"
    );
    let join =
        |files: &[PathBuf]| files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(",");
    for (files, option) in [
        (&logs, "--deep-iteration"),
        (&indexes, "--index-sanity-check"),
        (&metadata, "--cluster-metadata-decoder"),
    ] {
        let printed = setup::java_tool(jars, DUMP, &[option, "--files", &join(files)], None)?;
        for complaint in
            ["Mismatches in", "Non-consecutive", "isvalid: false", "Exception", "corrupt", "Could not"]
        {
            if let Some(line) = printed.lines().find(|line| line.contains(complaint)) {
                bail!("DumpLogSegments {option}: {line}");
            }
        }
        println!("DumpLogSegments {option}: {} files", files.len());
    }
    Ok(())
}
