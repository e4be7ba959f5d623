//! What the table says about a key's effect is so: keys that work are read somewhere, the others nowhere, and those that
//! cannot mean anything here say why.

use std::fs;
use std::path::{Path, PathBuf};

use ottla_config::{Effect, Scope, find, keys};

/// Sources of the node that read configuration: all but the table and the text made from it, and the client's side.
fn sources() -> Vec<(String, String)> {
    fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("a readable directory").flatten().map(|entry| entry.path()) {
            if entry.is_dir() {
                walk(&entry, into);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                into.push(entry);
            }
        }
    }
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the directory of all crates");
    let mut files = Vec::new();
    walk(crates, &mut files);
    let name = |path: &PathBuf| path.strip_prefix(crates).expect("below").display().to_string();
    let is_read = |name: &str| {
        name.contains("/src/")
            && !["ottla/src/commands/", "ottla-client/", "ottla-protocol/"]
                .iter()
                .any(|other| name.starts_with(other))
            && !["/table/", "/docs.rs", "/checks.rs", "/embedded.rs"].iter().any(|part| name.contains(part))
    };
    let files = files.iter().map(|path| (name(path), path)).filter(|(name, _)| is_read(name));
    files.map(|(name, path)| (name, fs::read_to_string(path).expect("a source file"))).collect()
}

#[test]
fn keys_that_work_are_read_and_the_others_are_not() {
    let sources = sources();
    let readers = |key: &str| -> Vec<&str> {
        // What brokers say for all groups is read under the group's name for it.
        let quoted = match key.strip_prefix("group.").filter(|own| find(Scope::Group, own).is_some()) {
            Some(own) => format!("\"{own}\""),
            None => format!("\"{key}\""),
        };
        let reads = sources.iter().filter(|(_, text)| text.contains(&quoted));
        reads.map(|(name, _)| name.as_str()).collect()
    };
    let mut wrong = Vec::new();
    for key in [Scope::Broker, Scope::Topic].into_iter().flat_map(keys) {
        let readers = readers(key.name);
        match key.effect {
            Effect::Yes if readers.is_empty() => {
                wrong.push(format!("{} works, but nothing reads it", key.name))
            }
            Effect::Later | Effect::Nothing => {
                // The crate itself reads all keys that it validates.
                let acting: Vec<_> =
                    readers.iter().filter(|name| !name.starts_with("ottla-config/")).collect();
                if !acting.is_empty() {
                    wrong.push(format!("{} does not work, but is read in {acting:?}", key.name));
                }
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "the table's marks are not true:\n{}", wrong.join("\n"));
}

#[test]
fn keys_without_a_meaning_here_say_why() {
    let scopes = [Scope::Broker, Scope::Topic, Scope::Group, Scope::ClientMetrics];
    for key in scopes.into_iter().flat_map(keys).filter(|key| key.effect == Effect::Nothing) {
        let says_why = key.doc.contains(". ")
            || ["here", "Java", "deprecated"].iter().any(|word| key.doc.contains(word));
        assert!(says_why, "{}: {}", key.name, key.doc);
    }
}
