//! All values of one resource, parsed: what typed code reads.

use std::collections::BTreeMap;

use crate::error::ConfigError;
use crate::key::Scope;
use crate::table;
use crate::value::{Password, Value};

/// Configuration as text: what a file, a ConfigRecord or a request holds.
pub type Props = BTreeMap<String, String>;

/// The value of every key of a scope.
///
/// The getters take names from the table as literals; a name that is not in the scope, or of another kind, is a bug in
/// the caller and panics.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    scope: Scope,
    values: BTreeMap<&'static str, Value>,
}

impl Values {
    /// Every key with its value from `props`, else from `defaults`, else from the table. Names that the scope does not
    /// have are left out.
    ///
    /// # Errors
    /// All that is wrong, in the order of the names, with Kafka's texts. Values from `defaults` are checked too, as
    /// `LogConfig.validate` does with those of the broker.
    pub fn parse(
        scope: Scope,
        props: &Props,
        defaults: &BTreeMap<&'static str, Value>,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut values = BTreeMap::new();
        let mut errors = Vec::new();
        for key in table::keys(scope) {
            let value = match (props.get(key.name), defaults.get(key.name)) {
                (Some(text), _) => key.parse(text),
                (None, Some(value)) => key.rule.check(key.name, value.clone()),
                (None, None) => key.default_value().ok_or_else(|| {
                    let name = key.name;
                    ConfigError::config(format!(
                        "Missing required configuration \"{name}\" which has no default value."
                    ))
                }),
            };
            match value {
                Ok(value) => {
                    values.insert(key.name, value);
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self { scope, values }) } else { Err(errors) }
    }

    /// The value of a key.
    pub fn get(&self, name: &str) -> &Value {
        self.values.get(name).unwrap_or_else(|| panic!("{name} is no key of {:?}", self.scope))
    }

    /// All keys with their values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.values.iter().map(|(name, value)| (*name, value))
    }

    /// Value of a boolean key.
    pub fn boolean(&self, name: &str) -> bool {
        match self.get(name) {
            Value::Boolean(value) => *value,
            other => wrong_kind(name, other, "boolean"),
        }
    }

    /// Value of an int key that is never null.
    pub fn int(&self, name: &str) -> i32 {
        self.opt_int(name).unwrap_or_else(|| wrong_kind(name, &Value::Null, "int"))
    }

    /// Value of an int key, `None` for null.
    pub fn opt_int(&self, name: &str) -> Option<i32> {
        match self.get(name) {
            Value::Int(value) => Some(*value),
            Value::Null => None,
            other => wrong_kind(name, other, "int"),
        }
    }

    /// Value of a short key.
    pub fn short(&self, name: &str) -> i16 {
        match self.get(name) {
            Value::Short(value) => *value,
            other => wrong_kind(name, other, "short"),
        }
    }

    /// Value of a long, int or short key that is never null.
    pub fn long(&self, name: &str) -> i64 {
        self.opt_long(name).unwrap_or_else(|| wrong_kind(name, &Value::Null, "long"))
    }

    /// Value of a long, int or short key, `None` for null.
    pub fn opt_long(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Value::Long(value) => Some(*value),
            Value::Int(value) => Some((*value).into()),
            Value::Short(value) => Some((*value).into()),
            Value::Null => None,
            other => wrong_kind(name, other, "long"),
        }
    }

    /// Value of a double key.
    pub fn double(&self, name: &str) -> f64 {
        match self.get(name) {
            Value::Double(value) => *value,
            other => wrong_kind(name, other, "double"),
        }
    }

    /// Value of a string or class key, `None` for null.
    pub fn string(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Value::String(value) => Some(value),
            Value::Null => None,
            other => wrong_kind(name, other, "string"),
        }
    }

    /// Value of a list key; null reads as empty.
    pub fn list(&self, name: &str) -> &[String] {
        self.opt_list(name).unwrap_or_default()
    }

    /// Value of a list key, `None` for null.
    pub fn opt_list(&self, name: &str) -> Option<&[String]> {
        match self.get(name) {
            Value::List(values) => Some(values),
            Value::Null => None,
            other => wrong_kind(name, other, "list"),
        }
    }

    /// Value of a password key, `None` for null.
    pub fn password(&self, name: &str) -> Option<&Password> {
        match self.get(name) {
            Value::Password(value) => Some(value),
            Value::Null => None,
            other => wrong_kind(name, other, "password"),
        }
    }
}

#[track_caller]
fn wrong_kind(name: &str, value: &Value, wanted: &str) -> ! {
    panic!("{name} was read as {wanted}, but it is {value:?}")
}
