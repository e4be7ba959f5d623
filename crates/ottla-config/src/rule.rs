//! Which values a key takes (the validators of Kafka's `ConfigDef`), with Kafka's messages.

use std::fmt;

use crate::address;
use crate::error::ConfigError;
use crate::value::Value;

/// A restriction on the values of a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Everything of the right kind, null too.
    Any,
    /// A number not below this.
    AtLeast(i64),
    /// A number in this range, both ends included.
    Between(i64, i64),
    /// A number in this range with a fractional upper end.
    BetweenReal(i64, f64),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// One of these texts, in any case of letters.
    OneOfIgnoreCase(&'static [&'static str]),
    /// A list of these texts; may be empty.
    ListOf(&'static [&'static str]),
    /// A list of these texts with at least one element.
    NonEmptyListOf(&'static [&'static str]),
    /// A list of any non-empty texts; may be empty.
    UniqueList,
    /// A list of any non-empty texts, or null.
    NullableUniqueList,
    /// A list of any non-empty texts with at least one element.
    NonEmptyUniqueList,
    /// A list of any non-empty texts with at least one element, or null.
    NullableNonEmptyUniqueList,
    /// Anything but null.
    NonNull,
    /// A text that is not empty, or null.
    NonEmpty,
    /// 1 to 9, or -1.
    GzipLevel,
    /// Entries `id@host:port` (`QuorumConfig.ControllerQuorumVotersValidator`).
    QuorumVoters,
    /// Entries `host:port` (`QuorumConfig.ControllerQuorumBootstrapServersValidator`).
    BootstrapServers,
    /// `*` or entries `partition:broker` (`ThrottledReplicaListValidator`).
    ThrottledReplicas,
    /// `earliest`, `latest` or `by_duration:` with an ISO 8601 duration (`ShareGroupAutoOffsetResetStrategy`).
    ShareOffsetReset,
}

impl Rule {
    /// Whether the value is a list in which each element may stand once.
    pub(crate) const fn is_set(self) -> bool {
        matches!(
            self,
            Self::ListOf(_)
                | Self::NonEmptyListOf(_)
                | Self::UniqueList
                | Self::NullableUniqueList
                | Self::NonEmptyUniqueList
                | Self::NullableNonEmptyUniqueList
        )
    }

    /// Checks a parsed value; hands it back, without repeated elements where Kafka drops them.
    ///
    /// # Errors
    /// The value is not allowed; the message is Kafka's.
    pub fn check(&self, name: &str, value: Value) -> Result<Value, ConfigError> {
        match self {
            Self::Any => {}
            Self::AtLeast(min) => check_range(name, &value, Some(real(*min)), None)?,
            Self::Between(min, max) => check_range(name, &value, Some(real(*min)), Some(real(*max)))?,
            Self::BetweenReal(min, max) => check_range(name, &value, Some(real(*min)), Some(*max))?,
            Self::OneOf(allowed) => check_one_of(name, &value, allowed)?,
            Self::OneOfIgnoreCase(allowed) => check_one_of_ignore_case(name, &value, allowed)?,
            Self::ListOf(allowed) => return check_list(name, value, allowed, true, false),
            Self::NonEmptyListOf(allowed) => return check_list(name, value, allowed, false, false),
            Self::UniqueList => return check_list(name, value, &[], true, false),
            Self::NullableUniqueList => return check_list(name, value, &[], true, true),
            Self::NonEmptyUniqueList => return check_list(name, value, &[], false, false),
            Self::NullableNonEmptyUniqueList => return check_list(name, value, &[], false, true),
            Self::NonNull if value == Value::Null => {
                return Err(ConfigError::value(name, "null", "entry must be non null"));
            }
            Self::NonNull => {}
            Self::NonEmpty if value == Value::String(String::new()) => {
                return Err(ConfigError::value(name, value, "String must be non-empty"));
            }
            Self::NonEmpty => {}
            Self::GzipLevel => check_gzip_level(name, &value)?,
            Self::QuorumVoters => {
                address::parse_voters(list(&value))?;
            }
            Self::BootstrapServers => {
                address::parse_bootstrap_servers(list(&value))?;
            }
            Self::ThrottledReplicas => check_throttled(name, &value)?,
            Self::ShareOffsetReset => check_offset_reset(name, &value)?,
        }
        Ok(value)
    }
}

impl fmt::Display for Rule {
    /// What is allowed, short, for documents and messages; empty when everything is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any | Self::UniqueList | Self::NullableUniqueList => Ok(()),
            Self::AtLeast(min) => write!(f, "≥ {min}"),
            Self::Between(min, max) => write!(f, "{min} … {max}"),
            Self::BetweenReal(min, max) => write!(f, "{min} … {max}"),
            Self::OneOf(allowed) => f.write_str(&allowed.join(", ")),
            Self::OneOfIgnoreCase(allowed) => write!(f, "{} (any case)", allowed.join(", ")),
            Self::ListOf(allowed) => write!(f, "list of {}", allowed.join(", ")),
            Self::NonEmptyListOf(allowed) => write!(f, "non-empty list of {}", allowed.join(", ")),
            Self::NonEmptyUniqueList | Self::NullableNonEmptyUniqueList => f.write_str("non-empty list"),
            Self::NonNull => f.write_str("not null"),
            Self::NonEmpty => f.write_str("not empty"),
            Self::GzipLevel => f.write_str("1 … 9 or -1"),
            Self::QuorumVoters => f.write_str("id@host:port, …"),
            Self::BootstrapServers => f.write_str("host:port, …"),
            Self::ThrottledReplicas => f.write_str("* or partition:broker, …"),
            Self::ShareOffsetReset => f.write_str("latest, earliest, by_duration:PnDTnHnMn.nS"),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "the bounds in the table are far below 2^53")]
fn real(bound: i64) -> f64 {
    bound as f64
}

fn list(value: &Value) -> &[String] {
    match value {
        Value::List(values) => values,
        _ => &[],
    }
}

fn check_range(name: &str, value: &Value, min: Option<f64>, max: Option<f64>) -> Result<(), ConfigError> {
    let Some(number) = value.as_number() else {
        return Err(ConfigError::value(name, "null", "Value must be non-null"));
    };
    if let Some(min) = min.filter(|min| number < *min) {
        return Err(ConfigError::value(name, value, format_args!("Value must be at least {min}")));
    }
    if let Some(max) = max.filter(|max| number > *max) {
        return Err(ConfigError::value(name, value, format_args!("Value must be no more than {max}")));
    }
    Ok(())
}

fn check_one_of(name: &str, value: &Value, allowed: &[&str]) -> Result<(), ConfigError> {
    match value {
        Value::String(text) if allowed.contains(&text.as_str()) => Ok(()),
        _ => {
            let allowed = allowed.join(", ");
            Err(ConfigError::value(name, value, format_args!("String must be one of: {allowed}")))
        }
    }
}

fn check_one_of_ignore_case(name: &str, value: &Value, allowed: &[&str]) -> Result<(), ConfigError> {
    match value {
        Value::String(text) if allowed.contains(&text.to_uppercase().as_str()) => Ok(()),
        _ => {
            let allowed = allowed.join(", ");
            let reason = format_args!("String must be one of (case insensitive): {allowed}");
            Err(ConfigError::value(name, value, reason))
        }
    }
}

/// `ConfigDef.ValidList`; repeated elements were dropped with a warning before, in `ConfigDef.parseValue`.
fn check_list(
    name: &str,
    value: Value,
    allowed: &[&str],
    empty: bool,
    null: bool,
) -> Result<Value, ConfigError> {
    let Value::List(values) = value else {
        if null {
            return Ok(value);
        }
        return Err(ConfigError::config(format!("Configuration '{name}' values must not be null.")));
    };
    let mut unique: Vec<String> = Vec::with_capacity(values.len());
    for value in values {
        if !unique.contains(&value) {
            unique.push(value);
        }
    }
    if unique.is_empty() && !empty {
        let valid = if allowed.is_empty() {
            "any non-empty value".to_owned()
        } else {
            format!("[{}]", allowed.join(", "))
        };
        return Err(ConfigError::config(format!(
            "Configuration '{name}' must not be empty. Valid values include: {valid}"
        )));
    }
    for element in &unique {
        if element.is_empty() {
            return Err(ConfigError::config(format!("Configuration '{name}' values must not be empty.")));
        }
        if !allowed.is_empty() {
            check_one_of(name, &Value::String(element.clone()), allowed)?;
        }
    }
    Ok(Value::List(unique))
}

fn check_gzip_level(name: &str, value: &Value) -> Result<(), ConfigError> {
    match value {
        Value::Int(-1 | 1..=9) => Ok(()),
        Value::Null => Err(ConfigError::value(name, "null", "Value must be non-null")),
        _ => Err(ConfigError::value(name, value, "Value must be between 1 and 9 or equal to -1")),
    }
}

fn check_throttled(name: &str, value: &Value) -> Result<(), ConfigError> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_replica = |text: &String| {
        text.is_empty() || text.split_once(':').is_some_and(|(p, b)| is_number(p) && is_number(b))
    };
    let values = list(value);
    if values.iter().all(is_replica) || values.concat() == "*" {
        return Ok(());
    }
    let reason = format!(
        "{name} must be the literal '*' or a list of replicas in the following format: \
         [partitionId]:[brokerId],[partitionId]:[brokerId],..."
    );
    Err(ConfigError::value(name, value, reason))
}

fn check_offset_reset(name: &str, value: &Value) -> Result<(), ConfigError> {
    if let Value::String(text) = value {
        let duration = text.strip_prefix("by_duration:").and_then(crate::duration::parse_iso8601_ms);
        if matches!(text.as_str(), "earliest" | "latest") || duration.is_some_and(|ms| ms >= 0) {
            return Ok(());
        }
    }
    let reason = format!(
        "Invalid value `{value}` for configuration {name}. The value must be either 'earliest', 'latest' \
         or of the format 'by_duration:<PnDTnHnMn.nS>'."
    );
    Err(ConfigError::value(name, value, reason))
}
