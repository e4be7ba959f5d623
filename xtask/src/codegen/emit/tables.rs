//! What the messages have in common: API keys, request/response pairs, record types.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::message::describe;
use crate::codegen::names::screaming;
use crate::codegen::schema::{Field, Kind, Message, Type};

type Areas = BTreeMap<String, Vec<Message>>;

/// The names that every generated module uses, and the traits that tie messages together.
pub(super) fn traits(areas: &Areas) -> Result<String> {
    let mut out = String::from(
        "//! What generated modules import, and which response answers which request.\n\n\
         pub(super) use std::borrow::Cow;\n\npub(super) use ottla_types::Uuid;\n\n\
         pub(super) use crate::wire::{Element, Message, Reader, RecordData, VersionRange, Writer};\n\n\
         use super::*;\nuse crate::records::{CoordinatorKey, CoordinatorValue};\nuse crate::wire::Request;\n\n",
    );
    for messages in areas.values() {
        for message in messages.iter().filter(|message| message.versions.is_some()) {
            let (name, a) = (&message.name, lifetime(message, "a"));
            let pair = |wanted: fn(&Kind) -> Option<i16>, key: i16| {
                messages.iter().find(|other| wanted(&other.kind) == Some(key))
            };
            match message.kind {
                Kind::Request(key) => {
                    let response =
                        pair(|kind| if let Kind::Response(key) = kind { Some(*key) } else { None }, key);
                    let response = response.with_context(|| format!("no response for {name}"))?;
                    let (api, r) = (name.trim_end_matches("Request"), lifetime(response, "r"));
                    let _ = writeln!(
                        out,
                        "impl<'a> Request<'a> for {name}{a} {{\nconst KEY: ApiKey = ApiKey::{api};\n\
                         type Response<'r> = {}{r};\n}}\n",
                        response.name
                    );
                }
                Kind::Key(key) => {
                    let value = pair(|kind| if let Kind::Value(key) = kind { Some(*key) } else { None }, key);
                    let value = value.with_context(|| format!("no value for {name}"))?;
                    let v = lifetime(value, "v");
                    let _ = writeln!(
                        out,
                        "impl<'a> CoordinatorKey<'a> for {name}{a} {{\nconst TYPE: i16 = {key};\n\
                         type Value<'v> = {}{v};\n}}\n",
                        value.name
                    );
                }
                Kind::Value(key) => {
                    let _ = writeln!(
                        out,
                        "impl<'a> CoordinatorValue<'a> for {name}{a} {{\nconst TYPE: i16 = {key};\n}}\n"
                    );
                }
                _ => {}
            }
        }
    }
    Ok(out)
}

fn lifetime(message: &Message, name: &str) -> String {
    if borrows(&message.fields) || shared_borrows(message) { format!("<'{name}>") } else { String::new() }
}

fn borrows(fields: &[Field]) -> bool {
    fields.iter().any(|field| {
        let element = match &field.ty {
            Type::Array(element) => element,
            other => other,
        };
        matches!(element, Type::String | Type::Bytes | Type::Records) || borrows(&field.fields)
    })
}

/// Shared structs count only when something uses them; all do.
fn shared_borrows(message: &Message) -> bool {
    message.structs.iter().any(|shared| borrows(&shared.fields))
}

/// The `ApiKey` enum, with the facts that schemas give.
pub(super) fn api_keys(areas: &Areas) -> Result<String> {
    let requests: BTreeMap<i16, &Message> = areas
        .get("api")
        .context("no api schemas")?
        .iter()
        .filter_map(|message| if let Kind::Request(key) = message.kind { Some((key, message)) } else { None })
        .collect();
    let mut variants = String::new();
    let mut rows = String::new();
    for (key, message) in &requests {
        let name = message.name.trim_end_matches("Request");
        let doc = match message.versions {
            Some(versions) => describe(message, versions),
            None => format!("`{}`: API key {key}, no longer served in any version", message.name),
        };
        let _ = writeln!(variants, "/// {doc}.\n{name} = {key},");
        let range = message
            .versions
            .map_or("None".to_owned(), |v| format!("Some(VersionRange::new({}, {}))", v.low, v.high));
        let response = areas["api"].iter().find(|other| other.kind == Kind::Response(*key));
        let flexible = |message: Option<&Message>| {
            message.and_then(|m| m.flexible).map_or("None".to_owned(), |v| format!("Some({v})"))
        };
        let has = |listener: &str| message.listeners.iter().any(|l| l == listener);
        let _ = writeln!(
            rows,
            "ApiFacts {{ key: ApiKey::{name}, name: \"{name}\", upper_name: \"{}\", versions: {range}, unstable: {}, \
             request_flexible: {}, response_flexible: {}, broker: {}, controller: {} }},",
            screaming(name),
            message.unstable,
            flexible(Some(message)),
            flexible(response),
            has("broker"),
            has("controller"),
        );
    }
    Ok(format!(
        "//! The API keys and what the schemas say about them.\n\n\
         use crate::api::ApiFacts;\nuse crate::wire::VersionRange;\n\n\
         /// A request type (Kafka's `ApiKeys`); the number is the key on the wire.\n\
         #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\n#[repr(i16)]\n\
         pub enum ApiKey {{\n{variants}}}\n\n\
         /// Sorted by key; there are no gaps, so the key is the index.\n\
         pub(crate) static API_FACTS: [ApiFacts; {}] = [\n{rows}];\n",
        requests.len()
    ))
}

/// An enum over all records of a log whose records carry the type before the message.
pub(super) fn records(areas: &Areas, area: &str, enum_name: &str, doc: &str) -> Result<String> {
    let mut records: Vec<(i16, &Message)> = areas
        .get(area)
        .with_context(|| format!("no {area} schemas"))?
        .iter()
        .filter_map(
            |message| if let Kind::Metadata(key) = message.kind { Some((key, message)) } else { None },
        )
        .collect();
    records.sort_by_key(|(key, _)| *key);
    let mut out = format!(
        "//! {doc}\n\nuse super::*;\nuse crate::records::FramedRecord;\n\
         use crate::wire::{{DecodeError, EncodeError, Message, Reader, VersionRange, Writer}};\n\n\
         /// {doc}\n#[derive(Clone, Debug, PartialEq)]\npub enum {enum_name}<'a> {{\n"
    );
    let short = |message: &Message| message.name.trim_end_matches("Record").to_owned();
    for (_, message) in &records {
        let versions = message.versions.context("no versions")?;
        let (name, a) = (&message.name, lifetime(message, "a"));
        let _ = writeln!(out, "/// {}.\n{}({name}{a}),", describe(message, versions), short(message));
    }
    let _ = writeln!(out, "}}\n\nimpl<'a> FramedRecord<'a> for {enum_name}<'a> {{");
    let mut method = |signature: &str, arm: &dyn Fn(i16, &Message) -> String| {
        let _ = writeln!(out, "{signature} {{\nmatch self {{");
        for (key, message) in &records {
            let _ = writeln!(out, "Self::{}", arm(*key, message));
        }
        out.push_str("}\n}\n\n");
    };
    method("fn record_type(&self) -> i16", &|key, message| format!("{}(_) => {key},", short(message)));
    method("fn name(&self) -> &'static str", &|_, m| format!("{}(_) => \"{}\",", short(m), m.name));
    method("fn versions(&self) -> VersionRange", &|_, m| format!("{}(_) => {}::VERSIONS,", short(m), m.name));
    method("fn write_body(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError>", &|_, m| {
        format!("{}(record) => record.write(w, version),", short(m))
    });
    out.push_str(
        "fn read_body(r: &mut Reader<'a>, record_type: i16, version: i16) -> Result<Self, DecodeError> {\n\
         Ok(match record_type {\n",
    );
    for (key, message) in &records {
        let _ = writeln!(out, "{key} => Self::{}(Message::read(r, version)?),", short(message));
    }
    let _ = writeln!(
        out,
        "_ => return Err(DecodeError::unknown_record_type(\"{enum_name}\", record_type, version)),\n}})\n}}\n}}\n"
    );
    for (_, message) in &records {
        let (name, a) = (&message.name, lifetime(message, "a"));
        let _ = writeln!(
            out,
            "impl<'a> From<{name}{a}> for {enum_name}<'a> {{\nfn from(record: {name}{a}) -> Self {{\n\
             Self::{}(record)\n}}\n}}\n",
            short(message)
        );
    }
    Ok(out)
}
