//! `cargo xtask codegen`: the message code of `ottla-protocol` from the descriptions in `schema/`.

mod emit;
mod import;
mod names;
mod schema;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Where the generated code goes, relative to the root of the workspace.
const OUT: &str = "crates/ottla-protocol/src/messages";

/// Options of `cargo xtask codegen`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fail when the checked-in code is not what the schemas give, instead of writing it
    #[arg(long)]
    check: bool,
    /// First rewrite schema/ from the schemas inside the Kafka jars of this directory
    #[arg(long, value_name = "DIR")]
    import: Option<PathBuf>,
}

/// Generates the code, or checks that it is up to date.
///
/// # Errors
/// A faulty schema, or with `--check` a difference.
pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    let schema_dir = root.join("schema");
    if let Some(jars) = &args.import {
        import::run(jars, &schema_dir)?;
    }
    let areas = read_schemas(&schema_dir)?;
    let wanted = rustfmt(root, emit::run(&areas)?)?;
    let out = root.join(OUT);
    let present = read_dir(&out)?;
    if args.check {
        let stale: Vec<&str> = wanted
            .iter()
            .filter(|(file, text)| present.get(*file) != Some(*text))
            .map(|(file, _)| file.as_str())
            .chain(present.keys().filter(|file| !wanted.contains_key(*file)).map(String::as_str))
            .collect();
        ensure!(stale.is_empty(), "run `cargo xtask codegen`; stale in {OUT}: {}", stale.join(", "));
        return Ok(());
    }
    fs::create_dir_all(&out)?;
    for file in present.keys().filter(|file| !wanted.contains_key(*file)) {
        fs::remove_file(out.join(file))?;
    }
    for (file, text) in wanted.iter().filter(|(file, text)| present.get(*file) != Some(*text)) {
        fs::write(out.join(file), text)?;
    }
    Ok(())
}

/// The messages by area: the file name without extension, `api` for all requests and responses.
fn read_schemas(dir: &Path) -> Result<BTreeMap<String, Vec<schema::Message>>> {
    let mut areas: BTreeMap<String, Vec<schema::Message>> = BTreeMap::new();
    for (sub, area) in [("api", Some("api")), ("", None)] {
        let mut files: Vec<PathBuf> =
            fs::read_dir(dir.join(sub))?.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|e| e == "schema"));
        files.sort();
        for path in files {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).context("bad file name")?;
            let messages =
                schema::parse(&fs::read_to_string(&path)?).with_context(|| path.display().to_string())?;
            areas.entry(area.unwrap_or(stem).to_owned()).or_default().extend(messages);
        }
    }
    Ok(areas)
}

fn read_dir(dir: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        found.insert(name, fs::read_to_string(entry.path())?);
    }
    Ok(found)
}

/// Formats all files with one run of rustfmt.
fn rustfmt(root: &Path, files: BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let scratch = std::env::temp_dir().join(format!("ottla-codegen-{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    for (name, text) in &files {
        fs::write(scratch.join(name), text)?;
    }
    let status = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(root.join("rustfmt.toml"))
        .arg(scratch.join("mod.rs"))
        .status()
        .context("running rustfmt")?;
    let formatted = read_dir(&scratch)?;
    if !status.success() {
        bail!("rustfmt failed on {}", scratch.display());
    }
    fs::remove_dir_all(&scratch)?;
    Ok(formatted)
}
