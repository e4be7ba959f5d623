//! What is known about one configuration key, and the vocabulary of the table.

use crate::error::ConfigError;
use crate::rule::Rule;
use crate::value::Value;

/// The resource whose configuration a key belongs to. The same name may exist in several scopes
/// (`compression.type` is a broker key and a topic key).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// `server.properties`, and the broker resources of AlterConfigs.
    Broker,
    /// Overrides of a single topic (`LogConfig` in Kafka).
    Topic,
    /// Settings of a single group (`GroupConfig` in Kafka, KIP-848).
    Group,
    /// A client metrics subscription (`ClientMetricsConfigs` in Kafka, KIP-714).
    ClientMetrics,
}

impl Scope {
    /// Id of the matching resource type in AlterConfigs, DescribeConfigs and ConfigRecord (`ConfigResource.Type`).
    pub const fn resource_type(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::ClientMetrics => 16,
            Self::Group => 32,
        }
    }

    /// The scope with this resource type id; `None` for broker loggers (8) and everything unknown.
    pub const fn from_resource_type(id: i8) -> Option<Self> {
        match id {
            2 => Some(Self::Topic),
            4 => Some(Self::Broker),
            16 => Some(Self::ClientMetrics),
            32 => Some(Self::Group),
            _ => None,
        }
    }
}

/// Type of a value (`ConfigDef.Type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`, in any case of letters.
    Boolean,
    /// Text, trimmed.
    String,
    /// 32-bit integer.
    Int,
    /// 16-bit integer.
    Short,
    /// 64-bit integer.
    Long,
    /// 64-bit floating point number.
    Double,
    /// Texts separated by commas; the only kind that APPEND and SUBTRACT work on.
    List,
    /// Name of a Java class. Kept as text: nothing is loaded.
    Class,
    /// Text that is never shown.
    Password,
}

impl Kind {
    /// Number of the kind in DescribeConfigs responses (`DescribeConfigsResponse.ConfigType`); 0 there is "unknown".
    pub const fn config_type(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }

    /// Upper-case name, as Kafka prints it in messages ("Not a number of type INT").
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }
}

/// The value of a key that nobody set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// There is none: the key must be set.
    Required,
    /// Null: the key is off, or another key decides.
    Null,
    /// This text, in the form that DescribeConfigs shows.
    Text(&'static str),
}

/// How much a key matters (`ConfigDef.Importance`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Importance {
    /// Look at it for any serious installation.
    High,
    /// Look at it when tuning.
    Medium,
    /// Rarely of interest.
    Low,
}

/// Whether a key can be changed while the server runs, and for whom (`DynamicBrokerConfig`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Only with a restart.
    ReadOnly,
    /// At run time, for one broker at a time.
    PerBroker,
    /// At run time, for one broker or as the default of the whole cluster.
    ClusterWide,
    /// Like `ClusterWide`, but unknown in `server.properties` (`QuotaConfig.brokerQuotaConfigs`).
    DynamicOnly,
    /// A key of a topic, group or subscription: always at run time.
    Always,
}

/// Whether setting the key changes anything in ottla.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does what it says.
    Yes,
    /// It is checked, kept and shown, but not acted upon yet.
    Later,
    /// It is checked, kept and shown, and has nothing to act upon here (JVM matters, thread pools).
    Nothing,
}

/// Where a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A documented key of Kafka.
    Kafka,
    /// A key that Kafka keeps out of its documents and of DescribeConfigs unless it is set.
    KafkaInternal,
    /// A key of our own.
    Ottla,
}

/// One row of the table: everything that is known about a key.
#[derive(Clone, Copy, Debug)]
pub struct ConfigKey {
    /// The name, as written in `server.properties` or in a topic's configuration.
    pub name: &'static str,
    /// The resource the key belongs to.
    pub scope: Scope,
    /// Type of the value.
    pub kind: Kind,
    /// Kafka's default (see [`crate::embedded`] for what a start without a file sets on top).
    pub preset: Preset,
    /// Which values are allowed.
    pub rule: Rule,
    /// How much the key matters.
    pub importance: Importance,
    /// Whether it can change at run time.
    pub update: Update,
    /// Whether it does anything here.
    pub effect: Effect,
    /// Whose key it is.
    pub origin: Origin,
    /// What the key does, in one or two sentences.
    pub doc: &'static str,
}

impl ConfigKey {
    /// Parses and checks a value as Kafka's `ConfigDef` does.
    ///
    /// # Errors
    /// Kafka's text, as it travels in CreateTopics and AlterConfigs responses.
    pub fn parse(&self, text: &str) -> Result<Value, ConfigError> {
        let value = Value::parse(self.name, self.kind, text)?;
        self.rule.check(self.name, value)
    }

    /// The default as a value: `None` when the key has no default, `Value::Null` when the default is null.
    pub fn default_value(&self) -> Option<Value> {
        match self.preset {
            Preset::Required => None,
            Preset::Null => Some(Value::Null),
            Preset::Text(text) => {
                Some(Value::parse(self.name, self.kind, text).expect("a default in the table parses"))
            }
        }
    }

    /// The default as the text that DescribeConfigs shows, if there is one.
    pub const fn default_text(&self) -> Option<&'static str> {
        match self.preset {
            Preset::Text(text) => Some(text),
            Preset::Required | Preset::Null => None,
        }
    }

    /// Whether the value must never be shown or logged.
    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// Whether Kafka hides the key unless it is set.
    pub fn is_internal(&self) -> bool {
        self.origin == Origin::KafkaInternal
    }
}
