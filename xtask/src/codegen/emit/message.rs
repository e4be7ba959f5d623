//! The code of one message.
//!
//! A reader and a writer know version and flexibility themselves and remember their first error, so the code per field
//! is one call without `?`: that keeps the generated code small and quick to compile.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, bail, ensure};

use crate::codegen::names::{field as rust_field, snake};
use crate::codegen::schema::{Field, Kind, Message, Range, Type};

/// A struct of the message: the message itself, one that a field defines, or a shared one.
struct Body<'m> {
    name: &'m str,
    versions: Range,
    fields: &'m [Field],
}

struct Emitter<'m> {
    message: &'m Message,
    bodies: BTreeMap<&'m str, Body<'m>>,
    /// Definition order of `bodies`.
    order: Vec<&'m str>,
}

/// The whole module of a message.
pub(super) fn emit(message: &Message) -> Result<String> {
    let versions = message.versions.context("no versions")?;
    let mut emitter = Emitter { message, bodies: BTreeMap::new(), order: Vec::new() };
    emitter.collect(&message.name, versions, &message.fields)?;
    for shared in &message.structs {
        emitter.collect(&shared.name, shared.versions, &shared.fields)?;
    }
    let mut out = String::new();
    let _ = writeln!(out, "//! {}.\n", describe(message, versions));
    out.push_str("use super::traits::*;\n\n");
    for name in &emitter.order {
        emitter.emit_struct(&mut out, &emitter.bodies[name])?;
    }
    Ok(out)
}

/// What a message is, for its docs.
pub(super) fn describe(message: &Message, versions: Range) -> String {
    let Range { low, high } = versions;
    let versions = if low == high { format!("version {low}") } else { format!("versions {low} to {high}") };
    let kind = match message.kind {
        Kind::Request(key) | Kind::Response(key) => format!("API key {key}, "),
        Kind::Metadata(key) => format!("record type {key}, "),
        Kind::Key(key) => format!("key of coordinator record type {key}, "),
        Kind::Value(key) => format!("value of coordinator record type {key}, "),
        Kind::Header | Kind::Data => String::new(),
    };
    format!("`{}`: {kind}{versions}", message.name)
}

impl<'m> Emitter<'m> {
    fn collect(&mut self, name: &'m str, versions: Range, fields: &'m [Field]) -> Result<()> {
        ensure!(
            self.bodies.insert(name, Body { name, versions, fields }).is_none(),
            "struct {name} defined twice"
        );
        self.order.push(name);
        for field in fields {
            if let Some(name) = field.ty.struct_name()
                && !field.fields.is_empty()
            {
                self.collect(name, field.versions, &field.fields)?;
            }
        }
        Ok(())
    }

    fn body(&self, name: &str) -> Result<&Body<'m>> {
        self.bodies.get(name).with_context(|| format!("struct {name} is not defined"))
    }

    /// Whether the type holds borrowed strings or bytes. Also refuses recursive structs: nesting is static.
    fn borrows(&self, ty: &Type, depth: usize) -> Result<bool> {
        ensure!(depth < 16, "struct nested too deep");
        match ty {
            Type::String | Type::Bytes | Type::Records => Ok(true),
            Type::Array(element) => self.borrows(element, depth),
            Type::Struct(name) => {
                for field in self.body(name)?.fields {
                    if self.borrows(&field.ty, depth + 1)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    fn rust_type(&self, ty: &Type) -> Result<String> {
        Ok(match ty {
            Type::Bool => "bool".to_owned(),
            Type::I8 => "i8".to_owned(),
            Type::I16 => "i16".to_owned(),
            Type::U16 => "u16".to_owned(),
            Type::I32 => "i32".to_owned(),
            Type::U32 => "u32".to_owned(),
            Type::I64 => "i64".to_owned(),
            Type::F64 => "f64".to_owned(),
            Type::Uuid => "Uuid".to_owned(),
            Type::String => "Cow<'a, str>".to_owned(),
            Type::Bytes => "Cow<'a, [u8]>".to_owned(),
            Type::Records => "Option<RecordData<'a>>".to_owned(),
            Type::Array(element) => format!("Vec<{}>", self.rust_type(element)?),
            Type::Struct(name) => format!("{name}{}", self.lifetime(name)?),
        })
    }

    fn lifetime(&self, name: &str) -> Result<&'static str> {
        Ok(if self.borrows(&Type::Struct(name.to_owned()), 0)? { "<'a>" } else { "" })
    }

    /// The fewest bytes that a value of the type can take, over the versions of the struct `versions`.
    fn min_size(&self, ty: &Type, version: i16) -> Result<usize> {
        let flexible = self.message.flexible.is_some_and(|first| version >= first);
        Ok(match ty {
            Type::Bool | Type::I8 => 1,
            Type::I16 | Type::U16 => 2,
            Type::I32 | Type::U32 => 4,
            Type::I64 | Type::F64 => 8,
            Type::Uuid => 16,
            Type::String | Type::Bytes | Type::Records | Type::Array(_) if flexible => 1,
            Type::String => 2,
            Type::Bytes | Type::Records | Type::Array(_) => 4,
            Type::Struct(name) => {
                let mut size = usize::from(flexible);
                for field in self.body(name)?.fields {
                    if field.tag.is_none() && contains(field.versions, version) {
                        let is_null = field.nullable.is_some_and(|nullable| contains(nullable, version));
                        let is_struct = matches!(field.ty, Type::Struct(_));
                        size += if is_null && is_struct { 1 } else { self.min_size(&field.ty, version)? };
                    }
                }
                size
            }
        })
    }

    fn emit_struct(&self, out: &mut String, body: &Body<'m>) -> Result<()> {
        let (name, lifetime) = (body.name, self.lifetime(body.name)?);
        let is_top = name == self.message.name;
        let zero_defaults = body.fields.iter().all(|field| field.default_is_zero());
        let derived = if zero_defaults { ", Default" } else { "" };
        if is_top {
            let _ = writeln!(out, "/// {}.", describe(self.message, body.versions));
        } else {
            let _ = writeln!(out, "/// Part of [`{}`].", self.message.name);
        }
        let _ = writeln!(out, "#[derive(Clone, Debug, PartialEq{derived})]\npub struct {name}{lifetime} {{");
        for field in body.fields {
            let ty = self.rust_type(&field.ty)?;
            let ty = if field.nullable.is_some() && field.ty != Type::Records {
                format!("Option<{ty}>")
            } else {
                ty
            };
            let _ = writeln!(out, "pub {}: {ty},", rust_field(&field.name));
        }
        out.push_str("}\n\n");
        if !zero_defaults {
            let _ = writeln!(
                out,
                "impl Default for {name}{} {{\nfn default() -> Self {{\nSelf {{",
                lifetime.replace("'a", "'_")
            );
            for field in body.fields {
                let _ = writeln!(out, "{}: {},", rust_field(&field.name), field.default_value()?);
            }
            out.push_str("}\n}\n}\n\n");
        }
        let sizes = (body.versions.low..=body.versions.high)
            .map(|v| self.min_size(&Type::Struct(name.to_owned()), v));
        let min_size = sizes.collect::<Result<Vec<_>>>()?.into_iter().min().unwrap_or(0).max(1);
        let _ = writeln!(
            out,
            "impl<'a> Element<'a> for {name}{lifetime} {{\nconst MIN_SIZE: usize = {min_size};\n"
        );
        self.emit_read(out, body)?;
        self.emit_write(out, body)?;
        out.push_str("}\n\n");
        if is_top {
            let Range { low, high } = body.versions;
            let flexible = self.message.flexible.map_or("None".to_owned(), |v| format!("Some({v})"));
            let _ = writeln!(
                out,
                "impl<'a> Message<'a> for {name}{lifetime} {{\nconst NAME: &'static str = \"{name}\";\n\
                 const VERSIONS: VersionRange = VersionRange::new({low}, {high});\n\
                 const FIRST_FLEXIBLE: Option<i16> = {flexible};\n}}\n"
            );
        }
        Ok(())
    }

    /// Whether the struct has a tagged section in any of its versions.
    fn has_tags(&self, body: &Body<'m>) -> bool {
        self.message.flexible.is_some_and(|first| first <= body.versions.high)
    }

    fn emit_read(&self, out: &mut String, body: &Body<'m>) -> Result<()> {
        let (tagged, plain): (Vec<_>, Vec<_>) = body.fields.iter().partition(|field| field.tag.is_some());
        let has_tags = self.has_tags(body);
        let reader = if plain.is_empty() && !has_tags { "_" } else { "r" };
        let _ = writeln!(out, "fn read_from({reader}: &mut Reader<'a>) -> Self {{");
        let mut literal = String::new();
        for field in body.fields {
            let name = rust_field(&field.name);
            let value = if field.tag.is_some() {
                field.default_value()?
            } else {
                let read = read_expression(field)?;
                match condition(field.versions, body.versions) {
                    Some(condition) => {
                        format!("if {condition} {{ {read} }} else {{ {} }}", field.default_value()?)
                    }
                    None => read,
                }
            };
            let _ = writeln!(literal, "{name}: {value},");
        }
        if literal.contains("v >= ") || literal.contains("v <= ") || literal.contains("contains(&v)") {
            out.push_str("let v = r.version();\n");
        }
        if !has_tags {
            let _ = writeln!(out, "Self {{\n{literal}}}\n}}\n");
            return Ok(());
        }
        let mutable = if tagged.is_empty() { "" } else { "mut " };
        let _ = writeln!(out, "let {mutable}m = Self {{\n{literal}}};");
        if tagged.is_empty() {
            out.push_str("r.skip_tags();\n");
        } else {
            out.push_str(
                "let mut tags = r.tags();\nwhile let Some(tag) = r.next_tag(&mut tags) {\nmatch tag {\n",
            );
            let first = self.message.flexible.unwrap_or(body.versions.low).max(body.versions.low);
            let flexible_versions = Range { low: first, high: body.versions.high };
            for field in tagged {
                let read = read_expression(field)?;
                let tag = field.tag.context("no tag")?;
                let name = rust_field(&field.name);
                let _ = match condition(field.versions, flexible_versions) {
                    Some(condition) => writeln!(
                        out,
                        "{tag} if {} => m.{name} = {read},\n{tag} => r.misplaced_tag(),",
                        condition.replace("v ", "r.version() ").replace("&v", "&r.version()")
                    ),
                    None => writeln!(out, "{tag} => m.{name} = {read},"),
                };
            }
            out.push_str("_ => r.skip_tag(&tags),\n}\n}\n");
        }
        out.push_str("m\n}\n\n");
        Ok(())
    }

    fn emit_write(&self, out: &mut String, body: &Body<'m>) -> Result<()> {
        let mut code = String::new();
        for field in body.fields.iter().filter(|field| field.tag.is_none()) {
            let name = rust_field(&field.name);
            let write = write_statement(field);
            let absent = if field.ignorable {
                String::new()
            } else {
                format!(
                    "if {} {{ w.not_in_version(\"{}\"); }}",
                    field.differs_from_default(&format!("self.{name}"))?,
                    snake(&field.name)
                )
            };
            let _ = match condition(field.versions, body.versions) {
                None => writeln!(code, "{write}"),
                Some(condition) if absent.is_empty() => writeln!(code, "if {condition} {{ {write} }}"),
                Some(condition) => writeln!(code, "if {condition} {{ {write} }} else {absent}"),
            };
        }
        let mut tagged: Vec<&Field> = body.fields.iter().filter(|field| field.tag.is_some()).collect();
        tagged.sort_by_key(|field| field.tag);
        if self.has_tags(body) {
            if tagged.is_empty() {
                code.push_str("w.no_tags();\n");
            } else {
                code.push_str("let mut tags = w.tags();\n");
            }
        }
        for field in tagged {
            let name = rust_field(&field.name);
            let write = write_statement(field);
            let differs = field.differs_from_default(&format!("self.{name}"))?;
            let tag = field.tag.context("no tag")?;
            let write = format!("let at = w.tag(&mut tags, {tag}); {write} w.end_tag(at);");
            let _ = match condition(field.versions, body.versions) {
                None => writeln!(code, "if {differs} {{ {write} }}"),
                Some(condition) if field.ignorable => {
                    writeln!(code, "if {condition} && {differs} {{ {write} }}")
                }
                Some(condition) => writeln!(
                    code,
                    "if {differs} {{ if {condition} {{ {write} }} else {{ w.not_in_version(\"{}\"); }} }}",
                    snake(&field.name)
                ),
            };
        }
        let writer = if code.is_empty() { "_" } else { "w" };
        let _ = writeln!(out, "fn write_to(&self, {writer}: &mut Writer) {{");
        if code.contains("v >= ") || code.contains("v <= ") || code.contains("contains(&v)") {
            out.push_str("let v = w.version();\n");
        }
        let _ = writeln!(out, "{code}}}");
        Ok(())
    }
}

fn contains(range: Range, version: i16) -> bool {
    range.low <= version && version <= range.high
}

/// The test for `range` where `outer` is already known to hold; `None` when it always passes.
fn condition(range: Range, outer: Range) -> Option<String> {
    match (range.low > outer.low, range.high < outer.high) {
        (false, false) => None,
        (true, false) => Some(format!("v >= {}", range.low)),
        (false, true) => Some(format!("v <= {}", range.high)),
        (true, true) => Some(format!("({}..={}).contains(&v)", range.low, range.high)),
    }
}

fn read_expression(field: &Field) -> Result<String> {
    let nullable =
        field.nullable.map(|range| condition(range, field.versions).unwrap_or_else(|| "true".to_owned()));
    Ok(match (&field.ty, nullable) {
        (Type::Bool, None) => "r.bool()".to_owned(),
        (Type::I8, None) => "r.i8()".to_owned(),
        (Type::I16, None) => "r.i16()".to_owned(),
        (Type::U16, None) => "r.u16()".to_owned(),
        (Type::I32, None) => "r.i32()".to_owned(),
        (Type::U32, None) => "r.u32()".to_owned(),
        (Type::I64, None) => "r.i64()".to_owned(),
        (Type::F64, None) => "r.f64()".to_owned(),
        (Type::Uuid, None) => "r.uuid()".to_owned(),
        (Type::Struct(name), None) => format!("{name}::read_from(r)"),
        (Type::String, Some(_)) if field.inflexible => "r.inflexible_nullable_string()".to_owned(),
        (Type::String, None) => "r.string()".to_owned(),
        (Type::Bytes, None) => "r.bytes()".to_owned(),
        (Type::Array(_), None) => "r.array()".to_owned(),
        (Type::Records, None) => "r.records(false)".to_owned(),
        (Type::String, Some(nullable)) => format!("r.nullable_string({nullable})"),
        (Type::Bytes, Some(nullable)) => format!("r.nullable_bytes({nullable})"),
        (Type::Records, Some(nullable)) => format!("r.records({nullable})"),
        (Type::Array(_), Some(nullable)) => format!("r.nullable_array({nullable})"),
        (Type::Struct(_), Some(_)) if field.tag.is_some() => "r.nullable_tagged_struct()".to_owned(),
        (Type::Struct(_), Some(nullable)) => match nullable.as_str() {
            "true" => "r.nullable_struct()".to_owned(),
            condition => {
                format!("if {condition} {{ r.nullable_struct() }} else {{ Some(Element::read_from(r)) }}")
            }
        },
        (ty, Some(_)) => bail!("{}: a nullable {ty}", field.name),
    })
}

fn write_statement(field: &Field) -> String {
    let name = format!("self.{}", rust_field(&field.name));
    let nullable =
        field.nullable.map(|range| condition(range, field.versions).unwrap_or_else(|| "true".to_owned()));
    match (&field.ty, nullable) {
        // What every server looks at, whatever the message: the writer takes note of it.
        (Type::I32, _) if field.name == "ThrottleTimeMs" => format!("w.throttle_time_ms({name});"),
        (Type::I16, _) if field.name == "ErrorCode" => format!("w.error_code({name});"),
        (Type::Bool, _) => format!("w.bool({name});"),
        (Type::I8, _) => format!("w.i8({name});"),
        (Type::I16, _) => format!("w.i16({name});"),
        (Type::U16, _) => format!("w.u16({name});"),
        (Type::I32, _) => format!("w.i32({name});"),
        (Type::U32, _) => format!("w.u32({name});"),
        (Type::I64, _) => format!("w.i64({name});"),
        (Type::F64, _) => format!("w.f64({name});"),
        (Type::Uuid, _) => format!("w.uuid({name});"),
        (Type::Struct(_), None) => format!("{name}.write_to(w);"),
        (Type::String, Some(_)) if field.inflexible => {
            format!("w.inflexible_nullable_string({name}.as_deref());")
        }
        (Type::String, None) => format!("w.string(&{name});"),
        (Type::Bytes, None) => format!("w.bytes(&{name});"),
        (Type::Array(_), None) => format!("w.array(&{name});"),
        (Type::Records, None) => format!("w.records({name}.as_ref(), false);"),
        (Type::String, Some(nullable)) => format!("w.nullable_string({name}.as_deref(), {nullable});"),
        (Type::Bytes, Some(nullable)) => format!("w.nullable_bytes({name}.as_deref(), {nullable});"),
        (Type::Records, Some(nullable)) => format!("w.records({name}.as_ref(), {nullable});"),
        (Type::Array(_), Some(nullable)) => format!("w.nullable_array({name}.as_deref(), {nullable});"),
        (Type::Struct(_), Some(_)) if field.tag.is_some() => {
            format!("w.nullable_tagged_struct({name}.as_ref());")
        }
        (Type::Struct(_), Some(nullable)) => format!("w.nullable_struct({name}.as_ref(), {nullable});"),
    }
}

impl Field {
    fn is_null_by_default(&self) -> bool {
        self.ty == Type::Records || self.nullable.is_some() && self.default.as_deref() == Some("null")
    }

    /// Whether `Default` of the Rust type is the default of the field.
    fn default_is_zero(&self) -> bool {
        if self.is_null_by_default() {
            return true;
        }
        self.nullable.is_none() && matches!(self.default.as_deref(), None | Some("0" | "false" | "null"))
    }

    fn number(&self) -> Result<String> {
        let text = self.default.as_deref().unwrap_or("0");
        let value = match text.strip_prefix("0x") {
            Some(hex) => i128::from_str_radix(hex, 16)?,
            None => text.parse::<i128>().with_context(|| format!("{}: bad default {text}", self.name))?,
        };
        Ok(match (&self.ty, value) {
            (Type::I32, 0x7fff_ffff) => "i32::MAX".to_owned(),
            (Type::I32, -0x8000_0000) => "i32::MIN".to_owned(),
            (Type::I64, 0x7fff_ffff_ffff_ffff) => "i64::MAX".to_owned(),
            (Type::F64, value) => format!("{value}.0"),
            (_, value) => value.to_string(),
        })
    }

    /// The default as Rust expression.
    fn default_value(&self) -> Result<String> {
        if self.is_null_by_default() {
            return Ok("None".to_owned());
        }
        let text = self.default.as_deref();
        let value = match &self.ty {
            Type::Bool => (text == Some("true")).to_string(),
            Type::I8 | Type::I16 | Type::U16 | Type::I32 | Type::U32 | Type::I64 | Type::F64 => {
                self.number()?
            }
            Type::Uuid if text.is_none() => "Uuid::ZERO".to_owned(),
            Type::String => format!("Cow::Borrowed({:?})", text.filter(|t| *t != "null").unwrap_or("")),
            Type::Bytes if matches!(text, None | Some("null")) => "Cow::Borrowed(&[])".to_owned(),
            Type::Array(_) if matches!(text, None | Some("null")) => "Vec::new()".to_owned(),
            Type::Struct(name) if matches!(text, None | Some("null")) => format!("{name}::default()"),
            other => bail!("{}: default {text:?} of {other}", self.name),
        };
        Ok(if self.nullable.is_some() { format!("Some({value})") } else { value })
    }

    /// A test whether `value` is not the default.
    fn differs_from_default(&self, value: &str) -> Result<String> {
        if self.is_null_by_default() {
            return Ok(format!("{value}.is_some()"));
        }
        let default = self.default_value()?;
        let text = self.default.as_deref().filter(|t| *t != "null").unwrap_or("");
        Ok(match (&self.ty, self.nullable.is_some()) {
            (Type::Bool, _) if text == "true" => format!("!{value}"),
            (Type::Bool, _) => value.to_owned(),
            (Type::String, false) if text.is_empty() => format!("!{value}.is_empty()"),
            (Type::String, false) => format!("{value} != {text:?}"),
            (Type::String, true) => format!("{value}.as_deref() != Some({text:?})"),
            (Type::Bytes | Type::Array(_), false) => format!("!{value}.is_empty()"),
            (Type::Bytes | Type::Array(_), true) => {
                format!("{value}.as_ref().is_none_or(|value| !value.is_empty())")
            }
            _ => format!("{value} != {default}"),
        })
    }
}
