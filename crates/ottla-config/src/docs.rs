//! `docs/configuration.md`, written from the table.

use std::fmt::Write;

use crate::embedded;
use crate::key::{ConfigKey, Effect, Importance, Origin, Preset, Scope, Update};
use crate::synonyms::{broker_key_of_group, broker_keys_of_topic};
use crate::table::AREAS;

const HEAD: &str = "\
# Configuration

<!-- Written from the table in crates/ottla-config; `UPDATE=1 cargo test -p ottla-config` writes it again. -->

Keys, types, defaults and allowed values are those of Apache Kafka 4.4. Settings come from the embedded properties below or,
when one is given, from a `server.properties` file; then from `key=value` options on the command line; then from changes at run
time, first those of the whole cluster, then those of one broker. Topics, groups and client metrics subscriptions have settings
of their own.

**Run time** says whether a broker key can change while the server runs: *no*, *broker* (for one broker at a time) or *cluster*
(for one broker or for all). **Works** says whether ottla acts on a key: *yes*, *not yet* (the key is checked, kept and shown,
and has no effect so far), or *nothing to do* (there is nothing here that it could act on, such as a Java class). Keys marked
**ottla** are not in Kafka. *Hidden* keys are left out of descriptions unless they are set.
";

/// The whole document.
pub fn markdown() -> String {
    let mut text = HEAD.to_owned();
    text.push_str("\n## Without a file\n\n```properties\n");
    for (key, value) in embedded::PROPERTIES {
        writeln!(text, "{key}={value}").expect("a String takes every write");
    }
    text.push_str("```\n");
    for scope in [Scope::Broker, Scope::Topic, Scope::Group, Scope::ClientMetrics] {
        let areas: Vec<_> = AREAS.iter().filter(|area| area.scope == scope).collect();
        let heading = match scope {
            Scope::Broker => "Broker and controller keys",
            Scope::Topic => "Topic keys",
            Scope::Group => "Group keys",
            Scope::ClientMetrics => "Client metrics keys",
        };
        write!(text, "\n## {heading}\n").expect("a String takes every write");
        for area in &areas {
            if areas.len() > 1 {
                write!(text, "\n### {}\n", area.title).expect("a String takes every write");
            }
            text.push_str(table_head(scope));
            for key in area.keys {
                text.push_str(&row(key));
            }
        }
    }
    text
}

fn table_head(scope: Scope) -> &'static str {
    match scope {
        Scope::Broker => {
            "\n| Key | Type | Default | Allowed | Importance | Run time | Works | What it does |\n\
             |---|---|---|---|---|---|---|---|\n"
        }
        _ => {
            "\n| Key | Type | Default | Allowed | Broker's default | Works | What it does |\n\
             |---|---|---|---|---|---|---|\n"
        }
    }
}

fn row(key: &ConfigKey) -> String {
    let mark = match key.origin {
        Origin::Kafka => "",
        Origin::KafkaInternal => " *hidden*",
        Origin::Ottla => " **ottla**",
    };
    let default = match key.preset {
        Preset::Required => "*required*".to_owned(),
        Preset::Null => "*none*".to_owned(),
        Preset::Text("") => "*empty*".to_owned(),
        Preset::Text(text) => format!("`{text}`"),
    };
    let allowed = key.rule.to_string();
    let works = match key.effect {
        Effect::Yes => "yes",
        Effect::Later => "not yet",
        Effect::Nothing => "nothing to do",
    };
    let middle = match key.scope {
        Scope::Broker => format!("{} | {}", importance(key.importance), run_time(key.update)),
        _ => broker_default(key),
    };
    let kind = key.kind.name().to_lowercase();
    format!("| `{}`{mark} | {kind} | {default} | {allowed} | {middle} | {works} | {} |\n", key.name, key.doc)
}

const fn importance(importance: Importance) -> &'static str {
    match importance {
        Importance::High => "high",
        Importance::Medium => "medium",
        Importance::Low => "low",
    }
}

const fn run_time(update: Update) -> &'static str {
    match update {
        Update::ReadOnly => "no",
        Update::PerBroker => "broker",
        Update::ClusterWide | Update::Always => "cluster",
        Update::DynamicOnly => "cluster, not in the file",
    }
}

fn broker_default(key: &ConfigKey) -> String {
    let names: Vec<String> = match key.scope {
        Scope::Topic => broker_keys_of_topic(key.name).iter().map(|(name, _)| (*name).to_owned()).collect(),
        Scope::Group => broker_key_of_group(key.name).into_iter().collect(),
        _ => Vec::new(),
    };
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
