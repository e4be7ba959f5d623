//! Values: parsing as `ConfigDef.parseType` does, printing as `ConfigDef.convertToString` does.

use std::fmt;

use crate::error::ConfigError;
use crate::key::Kind;

/// A parsed value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Not set, and the default is null.
    Null,
    /// Of a [`Kind::Boolean`] key.
    Boolean(bool),
    /// Of a [`Kind::String`] or [`Kind::Class`] key.
    String(String),
    /// Of a [`Kind::Int`] key.
    Int(i32),
    /// Of a [`Kind::Short`] key.
    Short(i16),
    /// Of a [`Kind::Long`] key.
    Long(i64),
    /// Of a [`Kind::Double`] key.
    Double(f64),
    /// Of a [`Kind::List`] key.
    List(Vec<String>),
    /// Of a [`Kind::Password`] key.
    Password(Password),
}

/// A text that neither `Display` nor `Debug` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// What is printed in place of the text.
    pub const HIDDEN: &'static str = "[hidden]";

    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::HIDDEN)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::HIDDEN)
    }
}

impl Value {
    /// Parses `text` as `kind`, without looking at the key's rule.
    ///
    /// # Errors
    /// The text is not of this kind; the message is Kafka's.
    pub fn parse(name: &str, kind: Kind, text: &str) -> Result<Self, ConfigError> {
        let trimmed = java_trim(text);
        let not_a_number =
            || ConfigError::value(name, text, format_args!("Not a number of type {}", kind.name()));
        Ok(match kind {
            Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Self::Boolean(true),
            Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Self::Boolean(false),
            Kind::Boolean => {
                return Err(ConfigError::value(name, text, "Expected value to be either true or false"));
            }
            Kind::String | Kind::Class => Self::String(trimmed.to_owned()),
            Kind::Password => Self::Password(Password::new(trimmed)),
            Kind::Int => Self::Int(trimmed.parse().map_err(|_| not_a_number())?),
            Kind::Short => Self::Short(trimmed.parse().map_err(|_| not_a_number())?),
            Kind::Long => Self::Long(trimmed.parse().map_err(|_| not_a_number())?),
            Kind::Double => Self::Double(parse_java_double(trimmed).ok_or_else(not_a_number)?),
            Kind::List => Self::List(split_list(trimmed)),
        })
    }

    /// The text that DescribeConfigs shows and a ConfigRecord holds; `None` for null. A password shows as
    /// [`Password::HIDDEN`].
    pub fn to_text(&self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Boolean(value) => value.to_string(),
            Self::String(value) => value.clone(),
            Self::Int(value) => value.to_string(),
            Self::Short(value) => value.to_string(),
            Self::Long(value) => value.to_string(),
            Self::Double(value) => java_double(*value),
            Self::List(values) => values.join(","),
            Self::Password(value) => value.to_string(),
        })
    }

    /// The number, for range checks; `None` for null and for kinds without a number.
    pub(crate) fn as_number(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(f64::from(*value)),
            Self::Short(value) => Some(f64::from(*value)),
            #[expect(clippy::cast_precision_loss, reason = "Kafka compares ranges as doubles too")]
            Self::Long(value) => Some(*value as f64),
            Self::Double(value) => Some(*value),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    /// As Java prints the parsed object inside a message: lists in brackets, null as `null`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::List(values) => write!(f, "[{}]", values.join(", ")),
            other => f.write_str(&other.to_text().unwrap_or_default()),
        }
    }
}

/// `String.trim` of Java: everything up to and including the space goes, nothing else does.
pub(crate) fn java_trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

/// Splits at commas with the white space around them, keeping empty parts; an empty text is an empty list.
pub(crate) fn split_list(trimmed: &str) -> Vec<String> {
    if trimmed.is_empty() {
        return Vec::new();
    }
    let is_space = |c| matches!(c, ' ' | '\t' | '\n' | '\x0B' | '\x0C' | '\r');
    trimmed.split(',').map(|part| part.trim_matches(is_space).to_owned()).collect()
}

/// `Double.parseDouble` without hexadecimal numbers: an optional `f` or `d` at the end, `NaN` and `Infinity` exactly so.
fn parse_java_double(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned {
        "NaN" => return Some(f64::NAN),
        "Infinity" if text.starts_with('-') => return Some(f64::NEG_INFINITY),
        "Infinity" => return Some(f64::INFINITY),
        _ => {}
    }
    let digits = unsigned.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(unsigned);
    let plain = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    if !plain || digits.starts_with(['+', '-']) {
        return None;
    }
    let value: f64 = digits.parse().ok()?;
    Some(if text.starts_with('-') { -value } else { value })
}

/// `Double.toString` of Java: plain between 10^-3 and 10^7, otherwise `d.dddE±n`; always a digit after the point.
fn java_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        let text = value.to_string();
        return if text.contains('.') { text } else { format!("{text}.0") };
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').expect("the e format has an e");
    let point = if mantissa.contains('.') { "" } else { ".0" };
    format!("{mantissa}{point}E{exponent}")
}
