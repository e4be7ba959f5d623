//! Registered brokers and controllers.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::messages::broker_registration_change_record::BrokerRegistrationChangeRecord;
use ottla_protocol::messages::register_broker_record::{BrokerEndpoint, BrokerFeature, RegisterBrokerRecord};
use ottla_protocol::messages::register_controller_record::{
    ControllerEndpoint, ControllerFeature, RegisterControllerRecord,
};
use ottla_types::{BrokerEpoch, NodeId, Uuid};

use crate::features::{LevelRange, MetadataVersion};
use crate::record::VersionedRecord;
use crate::{ReplayError, UnwritableError};

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Name of the listener.
    pub name: String,
    /// Advertised host.
    pub host: String,
    /// Advertised port.
    pub port: u16,
    /// 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

/// A broker's registration (`BrokerRegistration`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its node id.
    pub id: NodeId,
    /// Offset of the registration; a later registration has a higher one.
    pub epoch: BrokerEpoch,
    /// Drawn anew at each start of the process.
    pub incarnation: Uuid,
    /// Its advertised listeners.
    pub listeners: Vec<Listener>,
    /// Levels that it supports, by feature.
    pub features: BTreeMap<String, LevelRange>,
    /// Its rack.
    pub rack: Option<String>,
    /// Whether it is fenced: not to lead and not in any ISR.
    pub fenced: bool,
    /// Whether it is moving its leaderships away before it stops.
    pub in_controlled_shutdown: bool,
    /// Left over from ZooKeeper; always false in 4.x.
    pub migrating_from_zk: bool,
    /// Ids of its online log directories; empty for brokers without directory ids.
    pub directories: Vec<Uuid>,
    /// Directories that take no new replicas; `None` while the broker has not said.
    pub cordoned: Option<Vec<Uuid>>,
}

impl Broker {
    /// Whether it may lead partitions and be in their ISR.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// Whether a replica in that directory is online: reserved ids stand for "not known yet", except the lost one, and a
    /// broker without directories keeps all of them online (`DirectoryId.isOnline`).
    pub fn has_online_dir(&self, directory: Uuid) -> bool {
        if directory == Uuid::DIR_UNASSIGNED || directory == Uuid::DIR_MIGRATING {
            return true;
        }
        if directory == Uuid::DIR_LOST {
            return false;
        }
        self.directories.is_empty() || self.directories.contains(&directory)
    }

    /// Whether it has a directory for new replicas.
    pub fn has_uncordoned_dir(&self) -> bool {
        match &self.cordoned {
            Some(cordoned) if !self.directories.is_empty() => {
                self.directories.iter().any(|id| !cordoned.contains(id))
            }
            _ => true,
        }
    }

    /// Directory that a new replica on this broker is recorded with.
    pub fn default_dir(&self) -> Uuid {
        match self.directories.as_slice() {
            [] => Uuid::DIR_MIGRATING,
            [only] => *only,
            _ => Uuid::DIR_UNASSIGNED,
        }
    }

    /// The listener of that name.
    pub fn listener(&self, name: &str) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.name == name)
    }

    fn from_record(record: &RegisterBrokerRecord<'_>) -> Self {
        let listener = |endpoint: &BrokerEndpoint<'_>| Listener {
            name: endpoint.name.to_string(),
            host: endpoint.host.to_string(),
            port: endpoint.port,
            security_protocol: endpoint.security_protocol,
        };
        let feature = |feature: &BrokerFeature<'_>| {
            let range = LevelRange { min: feature.min_supported_version, max: feature.max_supported_version };
            (feature.name.to_string(), range)
        };
        Self {
            id: NodeId(record.broker_id),
            epoch: BrokerEpoch(record.broker_epoch),
            incarnation: record.incarnation_id,
            listeners: record.end_points.iter().map(listener).collect(),
            features: record.features.iter().map(feature).collect(),
            rack: record.rack.as_ref().map(ToString::to_string),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            migrating_from_zk: record.is_migrating_zk_broker,
            directories: record.log_dirs.clone(),
            cordoned: record.cordoned_log_dirs.clone(),
        }
    }

    fn to_record(&self, version: MetadataVersion) -> Result<VersionedRecord, UnwritableError> {
        let lost = |lost: &str| UnwritableError { version, lost: lost.to_owned() };
        let mut record = RegisterBrokerRecord {
            broker_id: self.id.0,
            is_migrating_zk_broker: self.migrating_from_zk,
            incarnation_id: self.incarnation,
            broker_epoch: self.epoch.0,
            rack: self.rack.clone().map(Into::into),
            fenced: self.fenced,
            in_controlled_shutdown: self.in_controlled_shutdown,
            ..RegisterBrokerRecord::default()
        };
        record.end_points = endpoints(&self.listeners, |name, host, port, security_protocol| {
            BrokerEndpoint { name: name.into(), host: host.into(), port, security_protocol }
        });
        record.features = features(&self.features, |name, range| BrokerFeature {
            name: name.into(),
            min_supported_version: range.min,
            max_supported_version: range.max,
        });
        if version.has_directory_assignment() {
            record.log_dirs.clone_from(&self.directories);
        } else if !self.directories.is_empty() {
            return Err(lost("the online log directories of one or more brokers"));
        }
        if version.has_cordoned_dirs() {
            record.cordoned_log_dirs.clone_from(&self.cordoned);
        } else if self.cordoned.as_ref().is_some_and(|dirs| !dirs.is_empty()) {
            return Err(lost("the cordoned log directories of one or more brokers"));
        }
        Ok(VersionedRecord::new(record, version.register_broker_record_version()))
    }
}

fn endpoints<T>(listeners: &[Listener], make: impl Fn(String, String, u16, i16) -> T) -> Vec<T> {
    let make = |l: &Listener| make(l.name.clone(), l.host.clone(), l.port, l.security_protocol);
    listeners.iter().map(make).collect()
}

fn features<T>(features: &BTreeMap<String, LevelRange>, make: impl Fn(String, LevelRange) -> T) -> Vec<T> {
    features.iter().map(|(name, range)| make(name.clone(), *range)).collect()
}

/// A controller's registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerNode {
    /// Its node id.
    pub id: NodeId,
    /// Drawn anew at each start of the process.
    pub incarnation: Uuid,
    /// Left over from ZooKeeper.
    pub zk_migration_ready: bool,
    /// Its listeners.
    pub listeners: Vec<Listener>,
    /// Levels that it supports, by feature.
    pub features: BTreeMap<String, LevelRange>,
}

impl ControllerNode {
    fn from_record(record: &RegisterControllerRecord<'_>) -> Self {
        let listener = |endpoint: &ControllerEndpoint<'_>| Listener {
            name: endpoint.name.to_string(),
            host: endpoint.host.to_string(),
            port: endpoint.port,
            security_protocol: endpoint.security_protocol,
        };
        let feature = |feature: &ControllerFeature<'_>| {
            let range = LevelRange { min: feature.min_supported_version, max: feature.max_supported_version };
            (feature.name.to_string(), range)
        };
        Self {
            id: NodeId(record.controller_id),
            incarnation: record.incarnation_id,
            zk_migration_ready: record.zk_migration_ready,
            listeners: record.end_points.iter().map(listener).collect(),
            features: record.features.iter().map(feature).collect(),
        }
    }

    fn to_record(&self) -> VersionedRecord {
        let mut record = RegisterControllerRecord {
            controller_id: self.id.0,
            incarnation_id: self.incarnation,
            zk_migration_ready: self.zk_migration_ready,
            ..RegisterControllerRecord::default()
        };
        record.end_points = endpoints(&self.listeners, |name, host, port, security_protocol| {
            ControllerEndpoint { name: name.into(), host: host.into(), port, security_protocol }
        });
        record.features = features(&self.features, |name, range| ControllerFeature {
            name: name.into(),
            min_supported_version: range.min,
            max_supported_version: range.max,
        });
        VersionedRecord::new(record, 0)
    }
}

/// What a record changes of a registration; `None` leaves it.
#[derive(Clone, Debug, Default)]
pub(super) struct RegistrationChange {
    fenced: Option<bool>,
    in_controlled_shutdown: Option<bool>,
    directories: Option<Vec<Uuid>>,
    cordoned: Option<Vec<Uuid>>,
}

impl RegistrationChange {
    pub(super) fn fenced(fenced: bool) -> Self {
        Self { fenced: Some(fenced), ..Self::default() }
    }

    pub(super) fn from_record(record: &BrokerRegistrationChangeRecord) -> Result<Self, ReplayError> {
        let unknown = |field: &str, value: i8| {
            Err(ReplayError::Contradiction(format!(
                "unknown value {value} of {field} in a registration change"
            )))
        };
        let fenced = match record.fenced {
            -1 => Some(false),
            0 => None,
            1 => Some(true),
            other => return unknown("fenced", other),
        };
        let in_controlled_shutdown = match record.in_controlled_shutdown {
            0 => None,
            1 => Some(true),
            other => return unknown("inControlledShutdown", other),
        };
        let directories = Some(record.log_dirs.clone()).filter(|dirs| !dirs.is_empty());
        Ok(Self { fenced, in_controlled_shutdown, directories, cordoned: record.cordoned_log_dirs.clone() })
    }
}

/// The nodes of the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterImage {
    brokers: Arc<BTreeMap<NodeId, Arc<Broker>>>,
    controllers: Arc<BTreeMap<NodeId, Arc<ControllerNode>>>,
}

impl ClusterImage {
    /// The broker of that id, fenced or not.
    pub fn broker(&self, id: NodeId) -> Option<&Arc<Broker>> {
        self.brokers.get(&id)
    }

    /// All registered brokers by rising id.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.values()
    }

    /// All registered controllers by rising id.
    pub fn controllers(&self) -> impl Iterator<Item = &Arc<ControllerNode>> {
        self.controllers.values()
    }

    /// The controller of that id.
    pub fn controller(&self, id: NodeId) -> Option<&Arc<ControllerNode>> {
        self.controllers.get(&id)
    }

    /// Whether that broker may lead and be in an ISR.
    pub fn is_active(&self, id: NodeId) -> bool {
        self.broker(id).is_some_and(|broker| broker.is_active())
    }

    pub(super) fn register_broker(&mut self, record: &RegisterBrokerRecord<'_>) -> NodeId {
        let broker = Broker::from_record(record);
        let id = broker.id;
        Arc::make_mut(&mut self.brokers).insert(id, Arc::new(broker));
        id
    }

    pub(super) fn unregister_broker(&mut self, id: NodeId, epoch: BrokerEpoch) -> Result<(), ReplayError> {
        self.check_epoch(id, epoch)?;
        Arc::make_mut(&mut self.brokers).remove(&id);
        Ok(())
    }

    pub(super) fn change_broker(
        &mut self,
        id: NodeId,
        epoch: BrokerEpoch,
        change: RegistrationChange,
    ) -> Result<(), ReplayError> {
        self.check_epoch(id, epoch)?;
        let brokers = Arc::make_mut(&mut self.brokers);
        let broker = Arc::make_mut(brokers.get_mut(&id).expect("its epoch was just compared"));
        broker.fenced = change.fenced.unwrap_or(broker.fenced);
        broker.in_controlled_shutdown =
            change.in_controlled_shutdown.unwrap_or(broker.in_controlled_shutdown);
        if let Some(directories) = change.directories {
            broker.directories = directories;
        }
        if change.cordoned.is_some() {
            broker.cordoned = change.cordoned;
        }
        Ok(())
    }

    fn check_epoch(&self, id: NodeId, epoch: BrokerEpoch) -> Result<(), ReplayError> {
        match self.broker(id) {
            None => Err(ReplayError::UnknownBroker(id)),
            Some(broker) if broker.epoch != epoch => {
                Err(ReplayError::BrokerEpoch { id, registered: broker.epoch, record: epoch })
            }
            Some(_) => Ok(()),
        }
    }

    pub(super) fn register_controller(&mut self, record: &RegisterControllerRecord<'_>) -> NodeId {
        let controller = ControllerNode::from_record(record);
        let id = controller.id;
        Arc::make_mut(&mut self.controllers).insert(id, Arc::new(controller));
        id
    }

    pub(super) fn unregister_controller(&mut self, id: NodeId) -> Result<(), ReplayError> {
        let removed = Arc::make_mut(&mut self.controllers).remove(&id);
        removed
            .map(|_| ())
            .ok_or_else(|| ReplayError::Contradiction(format!("controller {id} is not registered")))
    }

    pub(super) fn write(
        &self,
        version: MetadataVersion,
        sink: &mut dyn FnMut(VersionedRecord),
    ) -> Result<(), UnwritableError> {
        for broker in self.brokers() {
            sink(broker.to_record(version)?);
        }
        if !self.controllers.is_empty() && !version.has_controller_registration() {
            return Err(UnwritableError { version, lost: "controller registration data".to_owned() });
        }
        for controller in self.controllers() {
            sink(controller.to_record());
        }
        Ok(())
    }
}
