//! The schema model and its text form, one file per area under `schema/` (the form is described in `schema/README.md`).

use std::fmt::{self, Write as _};

use anyhow::{Context, Result, bail, ensure};

/// Inclusive range of message versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) low: i16,
    pub(crate) high: i16,
}

/// What a message is, with its API key, record type or coordinator record type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request(i16),
    Response(i16),
    Metadata(i16),
    Key(i16),
    Value(i16),
    Header,
    Data,
}

/// One message with all its versions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// `None` when Kafka keeps the API key but supports no version any more.
    pub(crate) versions: Option<Range>,
    /// The first version with compact lengths and tagged fields.
    pub(crate) flexible: Option<i16>,
    /// Whether the newest version is not yet stable, so that servers do not advertise it.
    pub(crate) unstable: bool,
    /// Listeners that serve the request.
    pub(crate) listeners: Vec<String>,
    pub(crate) fields: Vec<Field>,
    /// Structs that several fields share.
    pub(crate) structs: Vec<Struct>,
}

/// A struct shared by several fields of one message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) versions: Range,
    pub(crate) fields: Vec<Field>,
}

/// A field; the ranges are already narrowed to the versions of the struct around it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) versions: Range,
    pub(crate) nullable: Option<Range>,
    pub(crate) tag: Option<u16>,
    /// Kafka's text of the default, unless it is the zero of the type.
    pub(crate) default: Option<String>,
    pub(crate) ignorable: bool,
    /// Encoded as in old versions even when the message is flexible (the client id of request headers).
    pub(crate) inflexible: bool,
    /// The fields of the struct that this field defines.
    pub(crate) fields: Vec<Field>,
}

/// Type of a field or of the elements of an array.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    Bool,
    I8,
    I16,
    U16,
    I32,
    U32,
    I64,
    F64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

const PRIMITIVES: [(&str, Type); 12] = [
    ("bool", Type::Bool),
    ("int8", Type::I8),
    ("int16", Type::I16),
    ("uint16", Type::U16),
    ("int32", Type::I32),
    ("uint32", Type::U32),
    ("int64", Type::I64),
    ("float64", Type::F64),
    ("uuid", Type::Uuid),
    ("string", Type::String),
    ("bytes", Type::Bytes),
    ("records", Type::Records),
];

impl Range {
    /// Reads `3`, `3-5`, `3+` (up to `high`); `none` is no range.
    pub(crate) fn parse(text: &str, high: i16) -> Result<Option<Self>> {
        let number = |t: &str| t.parse::<i16>().with_context(|| format!("bad version `{t}`"));
        let range = if text == "none" {
            return Ok(None);
        } else if let Some(low) = text.strip_suffix('+') {
            Self { low: number(low)?, high }
        } else if let Some((low, high)) = text.split_once('-') {
            Self { low: number(low)?, high: number(high)? }
        } else {
            Self { low: number(text)?, high: number(text)? }
        };
        Ok(Some(range))
    }

    pub(crate) fn intersect(self, other: Self) -> Option<Self> {
        let (low, high) = (self.low.max(other.low), self.high.min(other.high));
        (low <= high).then_some(Self { low, high })
    }

    /// How a field of this range is written inside a struct of the range `outer`.
    fn show(self, outer: Self) -> String {
        match self {
            Self { low, high } if high == outer.high => format!("{low}+"),
            Self { low, high } if low == high => format!("{low}"),
            Self { low, high } => format!("{low}-{high}"),
        }
    }
}

impl Type {
    /// Reads a type as Kafka spells it.
    pub(crate) fn parse(text: &str) -> Self {
        if let Some(element) = text.strip_prefix("[]") {
            return Self::Array(Box::new(Self::parse(element)));
        }
        let primitive = PRIMITIVES.iter().find(|(name, _)| *name == text);
        primitive.map_or_else(|| Self::Struct(text.to_owned()), |(_, ty)| ty.clone())
    }

    /// The struct that the type names, directly or as array element.
    pub(crate) fn struct_name(&self) -> Option<&str> {
        match self {
            Self::Struct(name) => Some(name),
            Self::Array(element) => element.struct_name(),
            _ => None,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Struct(name) => f.write_str(name),
            Self::Array(element) => write!(f, "[]{element}"),
            other => {
                let name = PRIMITIVES.iter().find(|(_, ty)| ty == other).map(|(name, _)| *name);
                f.write_str(name.unwrap_or("?"))
            }
        }
    }
}

/// Writes messages in the text form.
pub(crate) fn print(messages: &[Message]) -> String {
    let mut out = String::new();
    for message in messages {
        if !out.is_empty() {
            out.push('\n');
        }
        let (kind, key) = match message.kind {
            Kind::Request(key) => ("request", Some(key)),
            Kind::Response(key) => ("response", Some(key)),
            Kind::Metadata(key) => ("metadata", Some(key)),
            Kind::Key(key) => ("key", Some(key)),
            Kind::Value(key) => ("value", Some(key)),
            Kind::Header => ("header", None),
            Kind::Data => ("data", None),
        };
        out.push_str(kind);
        if let Some(key) = key {
            let _ = write!(out, " {key}");
        }
        let versions = message.versions.map_or("none".to_owned(), |v| v.show(Range { low: 0, high: -1 }));
        let _ = write!(out, " {} {versions}", message.name);
        if let Some(flexible) = message.flexible {
            let _ = write!(out, " flexible={flexible}+");
        }
        if message.unstable {
            out.push_str(" unstable");
        }
        if !message.listeners.is_empty() {
            let _ = write!(out, " listeners={}", message.listeners.join(","));
        }
        out.push('\n');
        if let Some(versions) = message.versions {
            print_fields(&mut out, &message.fields, versions, 1);
            for shared in &message.structs {
                let _ = write!(out, "  struct {}", shared.name);
                if shared.versions != versions {
                    let _ = write!(out, " {}", shared.versions.show(versions));
                }
                out.push('\n');
                print_fields(&mut out, &shared.fields, shared.versions, 2);
            }
        }
    }
    out
}

fn print_fields(out: &mut String, fields: &[Field], outer: Range, depth: usize) {
    for field in fields {
        let _ = write!(out, "{:1$}{2} {3}", "", depth * 2, field.name, field.ty);
        if field.versions != outer {
            let _ = write!(out, " {}", field.versions.show(outer));
        }
        if let Some(tag) = field.tag {
            let _ = write!(out, " tag={tag}");
        }
        if let Some(nullable) = field.nullable {
            out.push_str(" null");
            if nullable != field.versions {
                let _ = write!(out, "={}", nullable.show(field.versions));
            }
        }
        if let Some(default) = &field.default {
            let _ = write!(out, " default={default}");
        }
        if field.ignorable {
            out.push_str(" ignorable");
        }
        if field.inflexible {
            out.push_str(" inflexible");
        }
        out.push('\n');
        print_fields(out, &field.fields, field.versions, depth + 1);
    }
}

/// One line of a schema file, with the lines below it.
struct Node<'t> {
    number: usize,
    words: Vec<&'t str>,
    children: Vec<Node<'t>>,
}

/// Reads the text form.
pub(crate) fn parse(text: &str) -> Result<Vec<Message>> {
    let lines: Vec<(usize, &str)> = text
        .lines()
        .enumerate()
        .map(|(i, line)| (i + 1, line.split('#').next().unwrap_or_default().trim_end()))
        .filter(|(_, line)| !line.is_empty())
        .collect();
    let mut at = 0;
    nodes(&lines, &mut at, 0)?
        .iter()
        .map(|node| parse_message(node).with_context(|| format!("line {}", node.number)))
        .collect()
}

fn nodes<'t>(lines: &[(usize, &'t str)], at: &mut usize, depth: usize) -> Result<Vec<Node<'t>>> {
    let mut found: Vec<Node<'t>> = Vec::new();
    while let Some(&(number, line)) = lines.get(*at) {
        let indent = line.len() - line.trim_start().len();
        if indent < depth * 2 {
            break;
        }
        if indent > depth * 2 {
            let parent = found.last_mut().filter(|_| indent == depth * 2 + 2);
            parent.with_context(|| format!("line {number}: wrong indent"))?.children =
                nodes(lines, at, depth + 1)?;
            continue;
        }
        found.push(Node { number, words: line.split_whitespace().collect(), children: Vec::new() });
        *at += 1;
    }
    Ok(found)
}

fn parse_message(node: &Node<'_>) -> Result<Message> {
    let mut words = node.words.iter().copied();
    let kind = words.next().context("empty line")?;
    let mut key = || words.next().context("no key")?.parse::<i16>().context("bad key");
    let kind = match kind {
        "request" => Kind::Request(key()?),
        "response" => Kind::Response(key()?),
        "metadata" => Kind::Metadata(key()?),
        "key" => Kind::Key(key()?),
        "value" => Kind::Value(key()?),
        "header" => Kind::Header,
        "data" => Kind::Data,
        other => bail!("unknown kind `{other}`"),
    };
    let name = words.next().context("no name")?.to_owned();
    let versions = Range::parse(words.next().context("no versions")?, -1)?;
    let mut message = Message {
        kind,
        name,
        versions,
        flexible: None,
        unstable: false,
        listeners: Vec::new(),
        fields: Vec::new(),
        structs: Vec::new(),
    };
    for word in words {
        match word.split_once('=') {
            Some(("flexible", from)) => {
                let from = from.strip_suffix('+').context("flexible versions must be open")?;
                message.flexible = Some(from.parse()?);
            }
            Some(("listeners", names)) => message.listeners = names.split(',').map(str::to_owned).collect(),
            None if word == "unstable" => message.unstable = true,
            _ => bail!("unknown attribute `{word}`"),
        }
    }
    let Some(versions) = versions else { return Ok(message) };
    let (shared, fields): (Vec<_>, Vec<_>) =
        node.children.iter().partition(|child| child.words.first() == Some(&"struct"));
    for child in fields {
        message.fields.push(parse_field(child, versions)?);
    }
    for child in shared {
        let name = (*child.words.get(1).context("struct without a name")?).to_owned();
        let versions = match child.words.get(2) {
            Some(text) => Range::parse(text, versions.high)?.context("struct without versions")?,
            None => versions,
        };
        let fields =
            child.children.iter().map(|field| parse_field(field, versions)).collect::<Result<_>>()?;
        message.structs.push(Struct { name, versions, fields });
    }
    Ok(message)
}

fn parse_field(node: &Node<'_>, outer: Range) -> Result<Field> {
    let context = || format!("line {}", node.number);
    let [name, ty, attributes @ ..] = node.words.as_slice() else { bail!("{}: no type", context()) };
    let mut field = Field {
        name: (*name).to_owned(),
        ty: Type::parse(ty),
        versions: outer,
        nullable: None,
        tag: None,
        default: None,
        ignorable: false,
        inflexible: false,
        fields: Vec::new(),
    };
    for word in attributes {
        match word.split_once('=') {
            Some(("tag", tag)) => field.tag = Some(tag.parse().with_context(context)?),
            Some(("null", versions)) => field.nullable = Range::parse(versions, field.versions.high)?,
            Some(("default", default)) => field.default = Some(default.to_owned()),
            None if *word == "null" => field.nullable = Some(field.versions),
            None if *word == "ignorable" => field.ignorable = true,
            None if *word == "inflexible" => field.inflexible = true,
            None => {
                field.versions =
                    Range::parse(word, outer.high).with_context(context)?.with_context(context)?
            }
            _ => bail!("{}: unknown attribute `{word}`", context()),
        }
    }
    ensure!(
        field.versions.intersect(outer) == Some(field.versions),
        "{}: versions outside the struct's",
        context()
    );
    field.fields =
        node.children.iter().map(|child| parse_field(child, field.versions)).collect::<Result<_>>()?;
    Ok(field)
}
