//! Sets up what lanes need below `target/`; each step is done once and found again by a stamp.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::{Context, output_of, run_command};

/// Release of Apache Kafka that ottla is compared with.
const KAFKA: &str = "org.apache.kafka:kafka_2.13:4.4.0";
/// Older releases that share data directories with ottla, and where each goes.
const OLDER_KAFKAS: &[(&str, &str)] =
    &[("kafka-4.0", "org.apache.kafka:kafka_2.13:4.0.2"), ("kafka-4.2", "org.apache.kafka:kafka_2.13:4.2.2")];
/// What makes Kafka's own log visible: Kafka's jars bring the interface (1.7) without an implementation.
const LOGGING: &str = "org.slf4j:slf4j-simple:1.7.36";
/// Newest published release of Kafka's command-line tools.
pub(crate) const KAFKA_TOOLS: &str = "org.apache.kafka:kafka-tools:4.3.1";

const PYTHON_PACKAGES: &[&str] = &[
    "kafka-python==3.0.12",
    "confluent-kafka==2.16.1",
    "aiokafka==0.14.0",
    "pytest==9.2.0",
    "pytest-timeout==2.4.0",
    "cramjam==2.14.0",
    "lz4==4.4.5",
    "zstandard==0.25.0",
    "python-snappy==0.7.3",
];

/// Whether a program can be started.
pub(crate) fn has(program: &str, arg: &str) -> bool {
    Command::new(program).arg(arg).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Runs `make` unless `dir` carries the stamp of this very `content`. Lanes that need the same wait for each other.
pub(crate) fn once(dir: &Path, content: &str, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let lock = dir.with_added_extension("lock");
    fs::create_dir_all(dir.parent().context("a directory below target/")?)?;
    let lock = fs::File::create(&lock).with_context(|| format!("creating {}", lock.display()))?;
    lock.lock().context("waiting for another lane")?;
    let stamp = dir.join(".complete");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == content) {
        return Ok(());
    }
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)?;
    make()?;
    fs::write(stamp, content)?;
    Ok(())
}

/// The interpreter of a virtual environment with all Python clients; `None` without Python.
pub(crate) fn python(context: &Context) -> Result<Option<PathBuf>> {
    if !has("python3", "--version") {
        return Ok(None);
    }
    let dir = context.target.join("clients/python");
    let python = dir.join("bin/python");
    once(&dir, &PYTHON_PACKAGES.join(" "), || {
        println!("setting up Python clients in {}", dir.display());
        run_command(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
        run_command(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PYTHON_PACKAGES))
    })?;
    Ok(Some(python))
}

/// A directory with kafkajs installed beside our script; `None` without node and npm.
pub(crate) fn kafkajs(context: &Context) -> Result<Option<PathBuf>> {
    if !has("node", "--version") || !has("npm", "--version") {
        return Ok(None);
    }
    let source = context.root.join("tests/clients/kafkajs");
    let dir = context.target.join("clients/kafkajs");
    let manifest = fs::read_to_string(source.join("package.json"))?;
    once(&dir, &manifest, || {
        println!("setting up kafkajs in {}", dir.display());
        fs::write(dir.join("package.json"), &manifest)?;
        run_command(
            Command::new("npm").args(["install", "--silent", "--no-fund", "--no-audit"]).current_dir(&dir),
        )
    })?;
    fs::copy(source.join("test.js"), dir.join("test.js"))?;
    Ok(Some(dir))
}

/// A command that starts kcat: the installed one, or Debian's unpacked below `target/`; `None` when neither can be had.
pub(crate) fn kcat(context: &Context) -> Result<Option<(PathBuf, PathBuf)>> {
    if has("kcat", "-V") {
        return Ok(Some(("kcat".into(), PathBuf::new())));
    }
    if !has("apt-get", "--version") || !has("dpkg-deb", "--version") {
        return Ok(None);
    }
    let dir = context.target.join("clients/kcat");
    let packages = ["kcat", "librdkafka1", "libyajl2"];
    let made = once(&dir, &packages.join(" "), || {
        println!("setting up kcat in {}", dir.display());
        let fetch = || {
            run_command(Command::new("apt-get").args(["download", "-qq"]).args(packages).current_dir(&dir))
        };
        if fetch().is_err() {
            run_command(Command::new("apt-get").args(["update", "-qq"]))?;
            fetch()?;
        }
        for package in fs::read_dir(&dir)?.flatten().map(|entry| entry.path()) {
            if package.extension().is_some_and(|e| e == "deb") {
                run_command(Command::new("dpkg-deb").arg("-x").arg(&package).arg(dir.join("root")))?;
            }
        }
        Ok(())
    });
    if let Err(error) = made {
        eprintln!("kcat cannot be had: {error:#}");
        return Ok(None);
    }
    let libraries = fs::read_dir(dir.join("root/usr/lib"))?
        .flatten()
        .map(|e| e.path())
        .find(|p| p.join("librdkafka.so.1").exists())
        .context("librdkafka.so.1 in the unpacked packages")?;
    Ok(Some((dir.join("root/usr/bin/kcat"), libraries)))
}

/// The jars of Maven artifacts (`group:id:version`) with all that they depend on, in `target/{name}`; `None` without Java or
/// Maven.
pub(crate) fn jars(context: &Context, name: &str, artifacts: &[&str]) -> Result<Option<PathBuf>> {
    if !has("java", "-version") || !has("mvn", "--version") {
        return Ok(None);
    }
    let dir = context.target.join(name);
    let mut dependencies = String::new();
    for artifact in artifacts {
        let [group, id, version] = artifact.split(':').collect::<Vec<_>>()[..] else {
            bail!("bad artifact {artifact}")
        };
        dependencies.push_str(&format!(
            "<dependency><groupId>{group}</groupId><artifactId>{id}</artifactId><version>{version}</version></dependency>"
        ));
    }
    let pom = format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>test</groupId><artifactId>test</artifactId><version>1</version><dependencies>{dependencies}\
         </dependencies></project>"
    );
    once(&dir, &pom, || {
        println!("fetching {} into {}", artifacts.join(", "), dir.display());
        fs::write(dir.join("pom.xml"), &pom)?;
        let goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
        run_command(Command::new("mvn").args(["-q", "-B", goal, "-DoutputDirectory=jars"]).current_dir(&dir))
    })?;
    Ok(Some(dir.join("jars")))
}

/// The directory of Apache Kafka's jars; `None` without Java or Maven.
pub(crate) fn kafka_jars(context: &Context) -> Result<Option<PathBuf>> {
    jars(context, "kafka", &[KAFKA])
}

/// The directory of the jars of Kafka's command-line tools; `None` without Java or Maven.
pub(crate) fn tools_jars(context: &Context) -> Result<Option<PathBuf>> {
    jars(context, "kafka-tools", &[KAFKA_TOOLS])
}

/// The directory of the jars of the last release that has the tool of `kafka-configs.sh` in a published jar.
pub(crate) fn config_jars(context: &Context) -> Result<Option<PathBuf>> {
    let (folder, artifact) = OLDER_KAFKAS[1];
    jars(context, folder, &[artifact])
}

/// Whether all releases of Kafka that take turns with ottla are there, each below `target/`; `false` without Java or Maven.
pub(crate) fn interchange_jars(context: &Context) -> Result<bool> {
    let older = OLDER_KAFKAS.iter().copied().chain([("kafka-logging", LOGGING)]);
    for (folder, artifact) in older {
        if jars(context, folder, &[artifact])?.is_none() {
            return Ok(false);
        }
    }
    Ok(kafka_jars(context)?.is_some() && tools_jars(context)?.is_some())
}

/// Runs a tool of Kafka's by its main class and returns what it printed.
pub(crate) fn java_tool(jars: &Path, class: &str, args: &[&str], stdin: Option<&Path>) -> Result<String> {
    let mut command = Command::new("java");
    command
        .arg("-Xmx256m")
        .arg("-XX:TieredStopAtLevel=1")
        .arg("-cp")
        .arg(jars.join("*"))
        .arg(class)
        .args(args);
    match stdin {
        Some(file) => command.stdin(fs::File::open(file)?),
        None => command.stdin(Stdio::null()),
    };
    output_of(&mut command)
}
