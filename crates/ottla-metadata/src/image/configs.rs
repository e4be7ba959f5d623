//! Dynamic configuration, per resource.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ottla_protocol::messages::ConfigRecord;
use ottla_types::NodeId;

use super::Changes;
use crate::SharedMap;
use crate::record::VersionedRecord;

/// Kind of a resource that has configuration; ordered by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// A topic.
    Topic,
    /// A broker, or all of them.
    Broker,
    /// The loggers of a broker; never stored.
    BrokerLogger,
    /// A subscription to client metrics (KIP-714).
    ClientMetrics,
    /// A group.
    Group,
}

impl ResourceKind {
    /// By its number in records and requests.
    pub fn from_id(id: i8) -> Option<Self> {
        match id {
            2 => Some(Self::Topic),
            4 => Some(Self::Broker),
            8 => Some(Self::BrokerLogger),
            16 => Some(Self::ClientMetrics),
            32 => Some(Self::Group),
            _ => None,
        }
    }

    /// Its number in records and requests.
    pub const fn id(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::BrokerLogger => 8,
            Self::ClientMetrics => 16,
            Self::Group => 32,
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "TOPIC",
            Self::Broker => "BROKER",
            Self::BrokerLogger => "BROKER_LOGGER",
            Self::ClientMetrics => "CLIENT_METRICS",
            Self::Group => "GROUP",
        })
    }
}

/// What a configuration is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its name; empty for the default of all brokers.
    pub name: Arc<str>,
}

impl ConfigResource {
    /// A resource of that kind and name.
    pub fn new(kind: ResourceKind, name: &str) -> Self {
        Self { kind, name: name.into() }
    }

    /// A topic.
    pub fn topic(name: &str) -> Self {
        Self::new(ResourceKind::Topic, name)
    }

    /// A broker.
    pub fn broker(id: NodeId) -> Self {
        Self::new(ResourceKind::Broker, &id.to_string())
    }

    /// The default of all brokers.
    pub fn all_brokers() -> Self {
        Self::new(ResourceKind::Broker, "")
    }
}

/// The configuration of one resource, by key.
pub type Config = BTreeMap<Arc<str>, Arc<str>>;

/// The configurations of all resources.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigsImage {
    resources: SharedMap<ConfigResource, Arc<Config>>,
}

impl ConfigsImage {
    /// The keys that are set on a resource; `None` when there is none.
    pub fn config(&self, resource: &ConfigResource) -> Option<&Arc<Config>> {
        self.resources.get(resource)
    }

    /// The value of one key of a resource.
    pub fn value(&self, resource: &ConfigResource, key: &str) -> Option<&str> {
        self.config(resource)?.get(key).map(AsRef::as_ref)
    }

    /// All resources that have something set, by kind and name.
    pub fn iter(&self) -> impl Iterator<Item = (&ConfigResource, &Arc<Config>)> {
        self.resources.iter()
    }

    pub(super) fn replay(&mut self, record: &ConfigRecord<'_>, changes: &mut Changes) {
        // A kind of a newer release means nothing here.
        let Some(kind) = ResourceKind::from_id(record.resource_type) else { return };
        let resource = ConfigResource::new(kind, &record.resource_name);
        // A broker's value that does not change still makes brokers read their key stores and password files anew.
        changes.configs.insert(resource.clone());
        match &record.value {
            Some(value) => {
                if !self.resources.contains_key(&resource) {
                    self.resources.insert(resource.clone(), Arc::default());
                }
                let config = self.resources.get_mut(&resource).expect("was just inserted");
                Arc::make_mut(config).insert(record.name.as_ref().into(), value.as_ref().into());
            }
            None => {
                if let Some(config) = self.resources.get_mut(&resource) {
                    let config = Arc::make_mut(config);
                    config.remove(record.name.as_ref());
                    if config.is_empty() {
                        self.resources.remove(&resource);
                    }
                }
            }
        }
    }

    /// Forgets the configuration of a topic that is deleted.
    pub(super) fn remove_topic(&mut self, name: &str, changes: &mut Changes) {
        let resource = ConfigResource::topic(name);
        if self.resources.remove(&resource).is_some() {
            changes.configs.insert(resource);
        }
    }

    pub(super) fn write(&self, sink: &mut dyn FnMut(VersionedRecord)) {
        for (resource, config) in self.iter() {
            for (name, value) in config.iter() {
                let record = ConfigRecord {
                    resource_type: resource.kind.id(),
                    resource_name: resource.name.to_string().into(),
                    name: name.to_string().into(),
                    value: Some(value.to_string().into()),
                };
                sink(VersionedRecord::new(record, 0));
            }
        }
    }
}
