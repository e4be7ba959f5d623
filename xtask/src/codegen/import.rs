//! `cargo xtask codegen --import DIR`: rewrites `schema/` from the message schemas inside Kafka's jars. Facts only: names, types,
//! versions, tags, defaults.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::schema::{self, Field, Kind, Message, Range, Struct, Type};

/// Jars that hold schemas, and the file under `schema/` for what is not a request or response in them.
const JARS: [(&str, &str); 7] = [
    ("kafka-clients", "common"),
    ("kafka-metadata", "metadata"),
    ("kafka-group-coordinator", "group-coordinator"),
    ("kafka-share-coordinator", "share-coordinator"),
    ("kafka-transaction-coordinator", "transaction-coordinator"),
    ("kafka-storage", "storage"),
    ("kafka-raft", "raft"),
];

/// Reads the schemas of the jars in `jars` and replaces the files in `schema_dir`.
///
/// # Errors
/// When a jar is missing or duplicated, or a schema says what the text form cannot.
pub(crate) fn run(jars: &Path, schema_dir: &Path) -> Result<()> {
    let mut files: BTreeMap<String, Vec<Message>> = BTreeMap::new();
    let scratch = std::env::temp_dir().join(format!("ottla-schemas-{}", std::process::id()));
    for (jar, area) in JARS {
        let into = scratch.join(jar);
        unzip(&find_jar(jars, jar)?, &into)?;
        for path in json_files(&into)? {
            let message = read(&path).with_context(|| path.display().to_string())?;
            let file = match message.kind {
                Kind::Request(_) | Kind::Response(_) => {
                    let name = message.name.trim_end_matches("Request").trim_end_matches("Response");
                    format!("api/{name}")
                }
                _ => area.to_owned(),
            };
            files.entry(file).or_default().push(message);
        }
    }
    fs::remove_dir_all(&scratch)?;
    fs::create_dir_all(schema_dir.join("api"))?;
    for (file, mut messages) in files {
        messages.sort_by_key(order);
        let text = schema::print(&messages);
        ensure!(schema::parse(&text)? == messages, "{file}: the text form loses something");
        fs::write(schema_dir.join(format!("{file}.schema")), text)?;
    }
    Ok(())
}

fn order(message: &Message) -> (u8, i16, u8, String) {
    let (rank, key, side) = match message.kind {
        Kind::Request(key) => (0, key, 0),
        Kind::Response(key) => (0, key, 1),
        Kind::Header => (1, 0, 0),
        Kind::Metadata(key) => (2, key, 0),
        Kind::Key(key) => (3, key, 0),
        Kind::Value(key) => (3, key, 1),
        Kind::Data => (4, 0, 0),
    };
    (rank, key, side, message.name.clone())
}

fn find_jar(jars: &Path, name: &str) -> Result<PathBuf> {
    let prefix = format!("{name}-");
    let mut found = Vec::new();
    for entry in fs::read_dir(jars)?.flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let version = file.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".jar"));
        if version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit())) {
            found.push(entry.path());
        }
    }
    ensure!(found.len() == 1, "{} jars named {prefix}VERSION.jar in {}", found.len(), jars.display());
    found.pop().context("no jar")
}

fn unzip(jar: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    let status = Command::new("unzip")
        .args(["-qq", "-o"])
        .arg(jar)
        .args(["*message/*.json", "*metadata/*.json", "-d"])
        .arg(into)
        .stderr(std::process::Stdio::null())
        .status()
        .context("running unzip")?;
    // Code 11: one of the two patterns matched nothing.
    ensure!(status.success() || status.code() == Some(11), "unzip {}: {status}", jar.display());
    Ok(())
}

fn json_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.append(&mut json_files(&path)?);
        } else if path.extension().is_some_and(|e| e == "json") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<Message> {
    let text = fs::read_to_string(path)?;
    let plain: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    message(&serde_json::from_str(&plain.join("\n"))?)
}

fn text(json: &Value, key: &str) -> Option<String> {
    match &json[key] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn required(json: &Value, key: &str) -> Result<String> {
    text(json, key).with_context(|| format!("no `{key}` in {}", json["name"]))
}

/// Ranges are open at the top in Kafka's files; `high` closes them.
fn range(json: &Value, key: &str, high: i16) -> Result<Option<Range>> {
    text(json, key).map_or(Ok(None), |text| Range::parse(&text, high))
}

fn list(json: &Value) -> &[Value] {
    json.as_array().map_or(&[], Vec::as_slice)
}

fn message(json: &Value) -> Result<Message> {
    let key = || required(json, "apiKey")?.parse::<i16>().context("bad apiKey");
    let kind = match required(json, "type")?.as_str() {
        "request" => Kind::Request(key()?),
        "response" => Kind::Response(key()?),
        "metadata" => Kind::Metadata(key()?),
        "coordinator-key" => Kind::Key(key()?),
        "coordinator-value" => Kind::Value(key()?),
        "header" => Kind::Header,
        "data" => Kind::Data,
        other => bail!("unknown type `{other}`"),
    };
    let versions = range(json, "validVersions", -1)?;
    let mut message = Message {
        kind,
        name: required(json, "name")?,
        versions,
        flexible: None,
        unstable: json["latestVersionUnstable"] == true,
        listeners: list(&json["listeners"]).iter().filter_map(|l| l.as_str().map(str::to_owned)).collect(),
        fields: Vec::new(),
        structs: Vec::new(),
    };
    let Some(versions) = versions else { return Ok(message) };
    if let Some(flexible) = range(json, "flexibleVersions", i16::MAX)? {
        ensure!(flexible.high == i16::MAX, "flexible versions end");
        message.flexible = Some(flexible.low);
    }
    message.fields = fields(&json["fields"], versions)?;
    for shared in list(&json["commonStructs"]) {
        let declared = range(shared, "versions", versions.high)?.context("struct without versions")?;
        let versions = declared.intersect(versions).context("struct in no version")?;
        let fields = fields(&shared["fields"], versions)?;
        message.structs.push(Struct { name: required(shared, "name")?, versions, fields });
    }
    Ok(message)
}

fn fields(json: &Value, outer: Range) -> Result<Vec<Field>> {
    let mut found = Vec::new();
    for json in list(json) {
        let tagged = range(json, "taggedVersions", outer.high)?;
        let declared = range(json, "versions", outer.high)?.or(tagged).context("field without versions")?;
        // Some schemas keep fields of versions that are no longer supported.
        let Some(versions) = declared.intersect(outer) else { continue };
        let name = required(json, "name")?;
        ensure!(tagged.is_none_or(|tagged| tagged == declared), "{name}: tagged in some versions only");
        let nullable = range(json, "nullableVersions", outer.high)?;
        let default = text(json, "default").filter(|default| !default.is_empty());
        found.push(Field {
            ty: Type::parse(&required(json, "type")?),
            versions,
            nullable: nullable.and_then(|nullable| nullable.intersect(versions)),
            tag: tagged.map(|_| required(json, "tag")?.parse().context("bad tag")).transpose()?,
            default,
            ignorable: text(json, "ignorable").as_deref() == Some("true"),
            inflexible: text(json, "flexibleVersions").as_deref() == Some("none"),
            fields: fields(&json["fields"], versions)?,
            name,
        });
    }
    Ok(found)
}
