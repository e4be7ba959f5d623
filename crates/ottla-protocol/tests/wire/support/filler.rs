//! Random encodings of a message, made from its schema alone: independent of the generated code that they test.

use ottla_types::SplitMix64;

use super::schema::{Field, Message, Range, Type};

struct Filler<'m> {
    message: &'m Message,
    version: i16,
    is_flexible: bool,
    random: SplitMix64,
    out: Vec<u8>,
}

/// A valid encoding of the message with random content, as Kafka would write it: tagged fields that hold their default are
/// left out.
pub(crate) fn encoding(message: &Message, version: i16, seed: u64) -> Vec<u8> {
    let name_hash =
        message.name.bytes().fold(seed, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let random = SplitMix64::new(name_hash.wrapping_mul(1000).wrapping_add(version.unsigned_abs().into()));
    let is_flexible = message.flexible.is_some_and(|first| version >= first);
    let mut filler = Filler { message, version, is_flexible, random, out: Vec::new() };
    filler.fields(&message.fields);
    filler.out
}

impl<'m> Filler<'m> {
    fn has(&self, range: Range) -> bool {
        range.low <= self.version && self.version <= range.high
    }

    fn struct_fields(&self, name: &str) -> &'m [Field] {
        let shared = self.message.structs.iter().find(|shared| shared.name == name);
        let inline = || find_inline(&self.message.fields, name);
        let nested = || self.message.structs.iter().find_map(|shared| find_inline(&shared.fields, name));
        shared
            .map(|shared| shared.fields.as_slice())
            .or_else(inline)
            .or_else(nested)
            .expect("struct is defined")
    }

    fn fields(&mut self, fields: &'m [Field]) {
        for field in fields {
            if field.tag.is_none() && self.has(field.versions) {
                self.value(field);
            }
        }
        if !self.is_flexible {
            return;
        }
        let mut tagged: Vec<&Field> =
            fields.iter().filter(|field| field.tag.is_some() && self.has(field.versions)).collect();
        tagged.sort_by_key(|field| field.tag);
        let mut present = Vec::new();
        for field in tagged {
            if self.random.one_in(3) {
                continue;
            }
            let value = self.apart(|filler| filler.value(field));
            if value != self.apart(|filler| filler.default_value(field)) {
                present.push((field.tag.unwrap(), value));
            }
        }
        self.uvarint(present.len() as u32);
        for (tag, value) in present {
            self.uvarint(tag.into());
            self.uvarint(value.len() as u32);
            self.out.extend(value);
        }
    }

    /// What `write` writes, without keeping it.
    fn apart(&mut self, write: impl FnOnce(&mut Self)) -> Vec<u8> {
        let kept = std::mem::take(&mut self.out);
        write(self);
        std::mem::replace(&mut self.out, kept)
    }

    fn value(&mut self, field: &'m Field) {
        let nullable = field.nullable.is_some_and(|range| self.has(range));
        if nullable && self.random.one_in(4) {
            return self.null(field);
        }
        if field.nullable.is_some() && nullable && matches!(field.ty, Type::Struct(_)) {
            self.out.push(1);
        }
        self.plain(&field.ty, field.inflexible);
    }

    fn null(&mut self, field: &Field) {
        let compact = self.is_flexible && !field.inflexible;
        match field.ty {
            Type::Struct(_) if field.tag.is_some() => self.out.push(0),
            Type::Struct(_) => self.out.push(0xff),
            _ if compact => self.out.push(0),
            Type::String => self.out.extend([0xff, 0xff]),
            _ => self.out.extend([0xff; 4]),
        }
    }

    fn plain(&mut self, ty: &Type, inflexible: bool) {
        let bits = if self.random.one_in(3) { self.random.below(4) } else { self.random.next_u64() };
        match ty {
            Type::Bool => self.out.push((bits & 1) as u8),
            Type::I8 => self.out.push(bits as u8),
            Type::I16 | Type::U16 => self.out.extend((bits as u16).to_be_bytes()),
            Type::I32 | Type::U32 => self.out.extend((bits as u32).to_be_bytes()),
            Type::I64 => self.out.extend(bits.to_be_bytes()),
            Type::F64 => self.out.extend((bits as i64 as f64 / 7.0).to_be_bytes()),
            Type::Uuid => {
                self.out.extend(bits.to_be_bytes());
                self.out.extend(bits.rotate_left(9).to_be_bytes());
            }
            Type::String => {
                let text: String = (0..bits % 12).map(|i| self.character(i)).collect();
                if self.is_flexible && !inflexible {
                    self.uvarint(text.len() as u32 + 1);
                } else {
                    self.out.extend((text.len() as u16).to_be_bytes());
                }
                self.out.extend(text.as_bytes());
            }
            Type::Bytes | Type::Records => {
                // Some longer than a varint byte can say.
                let len = if self.random.one_in(8) { 130 + bits % 50 } else { bits % 20 };
                self.length(len as usize);
                for _ in 0..len {
                    let byte = self.random.next_u64() as u8;
                    self.out.push(byte);
                }
            }
            Type::Array(element) => {
                let count = bits % 4;
                self.length(count as usize);
                for _ in 0..count {
                    self.plain(element, false);
                }
            }
            Type::Struct(name) => self.fields(self.struct_fields(name)),
        }
    }

    fn character(&mut self, index: u64) -> char {
        match self.random.below(8) {
            0 if index > 0 => '\u{e4}',
            1 if index > 2 => '\u{20ac}',
            2 if index > 3 => '\u{1f980}',
            n => char::from(b'a' + n as u8),
        }
    }

    fn length(&mut self, length: usize) {
        if self.is_flexible {
            self.uvarint(length as u32 + 1);
        } else {
            self.out.extend((length as i32).to_be_bytes());
        }
    }

    fn uvarint(&mut self, value: u32) {
        ottla_types::varint::put_u32(&mut self.out, value);
    }

    /// The encoding of the field's default.
    fn default_value(&mut self, field: &'m Field) {
        let default = field.default.as_deref();
        if default == Some("null") && field.nullable.is_some() || field.ty == Type::Records {
            return self.null(field);
        }
        let number = match default {
            Some("true") => 1,
            Some(text) if text.starts_with("0x") => i64::from_str_radix(&text[2..], 16).unwrap(),
            Some(text) => text.parse().unwrap_or(0),
            None => 0,
        };
        match &field.ty {
            Type::Bool | Type::I8 => self.out.push(number as u8),
            Type::I16 | Type::U16 => self.out.extend((number as u16).to_be_bytes()),
            Type::I32 | Type::U32 => self.out.extend((number as u32).to_be_bytes()),
            Type::I64 => self.out.extend(number.to_be_bytes()),
            Type::F64 => self.out.extend((number as f64).to_be_bytes()),
            Type::Uuid => self.out.extend([0; 16]),
            Type::String if field.inflexible || !self.is_flexible => self.out.extend([0, 0]),
            Type::String | Type::Bytes | Type::Records | Type::Array(_) => self.length(0),
            Type::Struct(name) => {
                if field.nullable.is_some() {
                    self.out.push(1);
                }
                for field in self.struct_fields(name) {
                    if field.tag.is_none() && self.has(field.versions) {
                        self.default_value(field);
                    }
                }
                if self.is_flexible {
                    self.out.push(0);
                }
            }
        }
    }
}

/// The fields of the struct `name` where a field defines it.
fn find_inline<'m>(fields: &'m [Field], name: &str) -> Option<&'m [Field]> {
    fields.iter().find_map(|field| {
        if field.ty.struct_name() == Some(name) && !field.fields.is_empty() {
            return Some(field.fields.as_slice());
        }
        find_inline(&field.fields, name)
    })
}
