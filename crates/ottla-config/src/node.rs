//! What a node is and where it can be reached: roles, id, listeners, quorum, directories.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ottla_types::NodeId;

use crate::address::{self, HostPort};
use crate::error::ConfigError;
use crate::values::{Props, Values};

/// How the peers of a listener are authenticated and whether it is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without encryption.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// All protocols, by their ids.
    pub const ALL: [Self; 4] = [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl];

    /// Number in broker registrations.
    pub const fn id(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }

    /// Name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// The protocol of this name, in any case of letters.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    /// Whether peers authenticate with SASL.
    pub const fn is_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    /// Whether the connection is encrypted.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }
}

/// One address of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the listener, in upper case.
    pub listener: String,
    /// Protocol spoken there.
    pub protocol: SecurityProtocol,
    /// Host; `None` means every interface when listening, and the machine's own name when advertised.
    pub host: Option<String>,
    /// Port; 0 lets the system choose.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.clone().unwrap_or_default();
        write!(f, "{}://{}", self.listener, HostPort { host, port: self.port })
    }
}

/// What a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// It keeps partitions and serves clients.
    pub broker: bool,
    /// It takes part in the metadata quorum.
    pub controller: bool,
}

/// The settings that make up a node, checked against each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// `node.id`.
    pub node_id: NodeId,
    /// `process.roles`.
    pub roles: Roles,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Where to listen, for both roles.
    pub listeners: Vec<Endpoint>,
    /// Addresses of the broker that are told to others.
    pub advertised_broker_listeners: Vec<Endpoint>,
    /// Addresses of the controller that are told to others.
    pub advertised_controller_listeners: Vec<Endpoint>,
    /// `controller.listener.names`, in upper case; the first is the one to reach controllers by.
    pub controller_listener_names: Vec<String>,
    /// Listener for traffic between brokers, in upper case.
    pub inter_broker_listener: String,
    /// Its protocol.
    pub inter_broker_protocol: SecurityProtocol,
    /// Protocol of every listener name that is known.
    pub protocols: BTreeMap<String, SecurityProtocol>,
    /// `controller.quorum.voters`: a fixed quorum; empty when the voters are kept in the metadata log.
    pub voters: BTreeMap<i32, HostPort>,
    /// `controller.quorum.bootstrap.servers`.
    pub bootstrap_servers: Vec<HostPort>,
    /// `log.dirs`, else `log.dir`.
    pub log_dirs: Vec<String>,
    /// `metadata.log.dir`, else the first log directory.
    pub metadata_log_dir: String,
}

impl NodeConfig {
    /// Reads the settings and checks them; `explicit` holds the keys that were set at all.
    ///
    /// # Errors
    /// The first contradiction, as one sentence.
    pub(crate) fn resolve(values: &Values, explicit: &Props) -> Result<Self, ConfigError> {
        let controller_listener_names: Vec<String> =
            values.list("controller.listener.names").iter().map(|name| name.to_uppercase()).collect();
        let protocols = protocol_map(values, explicit, &controller_listener_names)?;
        let listeners = parse_endpoints("listeners", values.list("listeners"), &protocols, true)?;
        let advertised = match values.opt_list("advertised.listeners") {
            Some(entries) => Some(parse_endpoints("advertised.listeners", entries, &protocols, false)?),
            None => None,
        };
        let (inter_broker_listener, inter_broker_protocol) = inter_broker(values, explicit, &protocols)?;
        let is_controllers = |endpoint: &&Endpoint| controller_listener_names.contains(&endpoint.listener);
        let advertised_broker_listeners = advertised.as_ref().unwrap_or(&listeners);
        let log_dirs = values.opt_list("log.dirs").unwrap_or_else(|| values.list("log.dir")).to_vec();
        let roles = values.list("process.roles");
        let metadata_log_dir =
            values.string("metadata.log.dir").or_else(|| log_dirs.first().map(String::as_str));
        let node = Self {
            node_id: NodeId(values.int("node.id")),
            roles: Roles {
                broker: roles.iter().any(|role| role == "broker"),
                controller: roles.iter().any(|role| role == "controller"),
            },
            rack: values.string("broker.rack").map(str::to_owned),
            advertised_broker_listeners: advertised_broker_listeners
                .iter()
                .filter(|endpoint| !is_controllers(endpoint))
                .cloned()
                .collect(),
            advertised_controller_listeners: Vec::new(),
            inter_broker_listener,
            inter_broker_protocol,
            protocols,
            voters: address::parse_voters(values.list("controller.quorum.voters"))?,
            bootstrap_servers: address::parse_bootstrap_servers(
                values.list("controller.quorum.bootstrap.servers"),
            )?,
            metadata_log_dir: metadata_log_dir.unwrap_or_default().to_owned(),
            log_dirs,
            listeners,
            controller_listener_names,
        };
        let controllers = node.advertised_controllers(advertised.as_deref().unwrap_or_default());
        let node = Self { advertised_controller_listeners: controllers, ..node };
        node.check(values)?;
        Ok(node)
    }

    /// The listeners for brokers and clients.
    pub fn broker_listeners(&self) -> impl Iterator<Item = &Endpoint> {
        self.listeners.iter().filter(|endpoint| !self.controller_listener_names.contains(&endpoint.listener))
    }

    /// The listeners for the quorum and for brokers that talk to this controller.
    pub fn controller_listeners(&self) -> impl Iterator<Item = &Endpoint> {
        self.listeners.iter().filter(|endpoint| self.controller_listener_names.contains(&endpoint.listener))
    }

    /// Per controller listener name: the advertised address, else the bound one; the first one without a usable host takes
    /// this node's address in `controller.quorum.voters` (`KafkaConfig.effectiveAdvertisedControllerListeners`).
    fn advertised_controllers(&self, advertised: &[Endpoint]) -> Vec<Endpoint> {
        let mut endpoints = Vec::new();
        for (index, name) in self.controller_listener_names.iter().enumerate() {
            if let Some(endpoint) = advertised.iter().find(|endpoint| endpoint.listener == *name) {
                endpoints.push(endpoint.clone());
                continue;
            }
            let Some(endpoint) = self.listeners.iter().find(|endpoint| endpoint.listener == *name) else {
                continue;
            };
            let mut endpoint = endpoint.clone();
            let no_host = endpoint.host.as_deref().is_none_or(|host| host == "0.0.0.0");
            match self.voters.get(&self.node_id.0) {
                Some(voter) if no_host && index == 0 => {
                    endpoint.host = Some(voter.host.clone());
                    endpoint.port = voter.port;
                }
                _ if no_host => endpoint.host = None,
                _ => {}
            }
            endpoints.push(endpoint);
        }
        endpoints
    }

    /// `KafkaConfig.validateValues`, the part about nodes.
    fn check(&self, values: &Values) -> Result<(), ConfigError> {
        if self.voters.is_empty() && self.bootstrap_servers.is_empty() {
            return fail(
                "Neither controller.quorum.bootstrap.servers nor controller.quorum.voters is set: one of them must name \
                 the controllers, as host:port or as id@host:port.",
            );
        }
        if self.roles.controller {
            self.check_controller()?;
        } else {
            self.check_broker_only(values)?;
        }
        if self.roles.broker {
            self.check_broker()?;
        } else {
            self.check_controller_only(values)?;
        }
        let advertised = self.advertised_broker_listeners.iter().chain(&self.advertised_controller_listeners);
        for endpoint in advertised {
            if endpoint.host.as_deref() == Some("0.0.0.0") {
                return fail(format!(
                    "advertised.listeners has {endpoint}, but nobody can connect to 0.0.0.0: advertise a host name or an \
                     address of this machine."
                ));
            }
        }
        Ok(())
    }

    fn check_controller(&self) -> Result<(), ConfigError> {
        if !self.voters.is_empty() && !self.voters.contains_key(&self.node_id.0) {
            let ids = join(self.voters.keys());
            return fail(format!(
                "node.id is {}, but controller.quorum.voters has only {ids}: a node with the controller role must be one \
                 of the voters.",
                self.node_id
            ));
        }
        let bound = join(self.listeners.iter().map(|endpoint| &endpoint.listener));
        for name in &self.controller_listener_names {
            if !self.listeners.iter().any(|endpoint| endpoint.listener == *name) {
                return fail(format!(
                    "controller.listener.names has {name}, but listeners has only {bound}: a controller must listen on \
                     each of its listener names."
                ));
            }
        }
        Ok(())
    }

    fn check_controller_only(&self, values: &Values) -> Result<(), ConfigError> {
        if let Some(endpoint) = self.broker_listeners().next() {
            return fail(format!(
                "listeners has {endpoint}, but with process.roles=controller only names from controller.listener.names \
                 ({}) are allowed.",
                self.controller_listener_names.join(",")
            ));
        }
        let name = &self.inter_broker_listener;
        if values.string("inter.broker.listener.name").is_some()
            && self.controller_listener_names.contains(name)
        {
            return fail(format!(
                "inter.broker.listener.name is {name}, which controller.listener.names has too: brokers and controllers \
                 need different listeners."
            ));
        }
        Ok(())
    }

    fn check_broker_only(&self, values: &Values) -> Result<(), ConfigError> {
        if self.voters.contains_key(&self.node_id.0) {
            return fail(format!(
                "node.id is {}, which controller.quorum.voters has too: a node with only the broker role must not be a \
                 voter.",
                self.node_id
            ));
        }
        if let Some(endpoint) = self.controller_listeners().next() {
            return fail(format!(
                "listeners has {endpoint}, which is named in controller.listener.names: a node with only the broker role \
                 must not listen there."
            ));
        }
        for name in &self.controller_listener_names {
            if !self.protocols.contains_key(name) {
                return fail(format!(
                    "controller.listener.names has {name}, but listener.security.protocol.map has only {}: add \
                     {name}:PROTOCOL.",
                    join(self.protocols.keys())
                ));
            }
        }
        if values.boolean("controller.quorum.auto.join.enable") {
            return fail(
                "controller.quorum.auto.join.enable is true, which is allowed only when process.roles contains controller.",
            );
        }
        Ok(())
    }

    fn check_broker(&self) -> Result<(), ConfigError> {
        let names: BTreeSet<&String> = self.advertised_broker_listeners.iter().map(|e| &e.listener).collect();
        let options = join(&names);
        if names.is_empty() {
            return fail(format!(
                "A broker needs an advertised listener, but all of {} are in controller.listener.names.",
                join(self.listeners.iter().map(|endpoint| &endpoint.listener))
            ));
        }
        if !names.contains(&self.inter_broker_listener) {
            return fail(format!(
                "Brokers talk to each other on listener {} (inter.broker.listener.name or \
                 security.inter.broker.protocol), which is not advertised: it must be one of {options}.",
                self.inter_broker_listener
            ));
        }
        if let Some(name) = names.iter().find(|name| !self.listeners.iter().any(|e| e.listener == ***name)) {
            return fail(format!(
                "advertised.listeners has {name}, but listeners has only {}.",
                join(self.listeners.iter().map(|endpoint| &endpoint.listener))
            ));
        }
        Ok(())
    }
}

fn fail(message: impl Into<String>) -> Result<(), ConfigError> {
    Err(ConfigError::config(message))
}

fn join<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(",")
}

/// `listener.security.protocol.map`; where it is not set, controller listeners are PLAINTEXT, unless a listener is named like
/// a safer protocol (`AbstractKafkaConfig.effectiveListenerSecurityProtocolMap`).
fn protocol_map(
    values: &Values,
    explicit: &Props,
    controllers: &[String],
) -> Result<BTreeMap<String, SecurityProtocol>, ConfigError> {
    const KEY: &str = "listener.security.protocol.map";
    let mut map = BTreeMap::new();
    let text = values.string(KEY).unwrap_or_default();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (name, protocol) = entry.rsplit_once(':').ok_or_else(|| {
            ConfigError::config(format!("{KEY} has the entry '{entry}': each entry must be NAME:PROTOCOL."))
        })?;
        let protocol = SecurityProtocol::parse(protocol.trim()).ok_or_else(|| {
            ConfigError::config(format!(
                "{KEY} has the entry '{entry}', but '{}' is no security protocol: allowed are {}.",
                protocol.trim(),
                SecurityProtocol::ALL.map(SecurityProtocol::name).join(", ")
            ))
        })?;
        let name = name.trim().to_uppercase();
        if map.insert(name.clone(), protocol).is_some_and(|other| other != protocol) {
            fail(format!("{KEY} has the listener {name} twice: each name may stand for one protocol only."))?;
        }
    }
    let is_safer =
        |name: &str| SecurityProtocol::parse(name).is_some_and(|p| p != SecurityProtocol::Plaintext);
    let listeners = values.list("listeners").iter();
    let names = listeners.filter_map(|entry| entry.split_once(':').map(|(name, _)| name));
    let any_safer = names.chain(controllers.iter().map(String::as_str)).any(is_safer);
    if !explicit.contains_key(KEY) && !any_safer {
        for name in controllers {
            map.insert(name.clone(), SecurityProtocol::Plaintext);
        }
    }
    Ok(map)
}

fn inter_broker(
    values: &Values,
    explicit: &Props,
    protocols: &BTreeMap<String, SecurityProtocol>,
) -> Result<(String, SecurityProtocol), ConfigError> {
    let Some(name) = values.string("inter.broker.listener.name") else {
        let name = values.string("security.inter.broker.protocol").unwrap_or_default();
        let protocol = SecurityProtocol::parse(name).expect("the rule of the key allows only protocols");
        return Ok((protocol.name().to_owned(), protocol));
    };
    if explicit.contains_key("security.inter.broker.protocol") {
        return Err(ConfigError::config(
            "inter.broker.listener.name and security.inter.broker.protocol are both set: only one of them may be.",
        ));
    }
    let name = name.to_uppercase();
    match protocols.get(&name) {
        Some(protocol) => Ok((name, *protocol)),
        None => Err(ConfigError::config(format!(
            "inter.broker.listener.name is {name}, but listener.security.protocol.map has only {}.",
            join(protocols.keys())
        ))),
    }
}

/// Parses `NAME://host:port` entries and checks that names and, if wanted, ports differ.
fn parse_endpoints(
    key: &str,
    entries: &[String],
    protocols: &BTreeMap<String, SecurityProtocol>,
    distinct_ports: bool,
) -> Result<Vec<Endpoint>, ConfigError> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for entry in entries {
        let endpoint = parse_endpoint(key, entry, protocols)?;
        if endpoints.iter().any(|other| other.listener == endpoint.listener) {
            fail(format!(
                "{key} has the listener name {} twice: each listener must have a name of its own.",
                endpoint.listener
            ))?;
        }
        if distinct_ports && let Some(other) = endpoints.iter().find(|other| !may_coexist(other, &endpoint)) {
            fail(format!(
                "{key} has {other} and {endpoint} on the same port: ports must differ, unless one host is an IPv4 address \
                 and the other an IPv6 address."
            ))?;
        }
        endpoints.push(endpoint);
    }
    Ok(endpoints)
}

fn may_coexist(a: &Endpoint, b: &Endpoint) -> bool {
    let ip = |endpoint: &Endpoint| endpoint.host.as_deref().and_then(|host| host.parse::<IpAddr>().ok());
    let families = (ip(a).map(|ip| ip.is_ipv4()), ip(b).map(|ip| ip.is_ipv4()));
    a.port != b.port || a.port == 0 || matches!(families, (Some(a), Some(b)) if a != b)
}

fn parse_endpoint(
    key: &str,
    entry: &str,
    protocols: &BTreeMap<String, SecurityProtocol>,
) -> Result<Endpoint, ConfigError> {
    let malformed = || {
        ConfigError::config(format!("{key} has the entry '{entry}': each entry must be NAME://host:port."))
    };
    let (name, address) = entry.split_once("://").ok_or_else(malformed)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    if name.is_empty() || !address::is_host(host) {
        return Err(malformed());
    }
    let port = port.parse().map_err(|_| {
        ConfigError::config(format!(
            "{key} has the entry '{entry}', but '{port}' is no port: allowed are 0 to 65535."
        ))
    })?;
    let listener = name.to_uppercase();
    let protocol = *protocols.get(&listener).ok_or_else(|| {
        ConfigError::config(format!(
            "{key} has the entry '{entry}', but listener.security.protocol.map has only {}: add {listener}:PROTOCOL.",
            join(protocols.keys())
        ))
    })?;
    Ok(Endpoint { listener, protocol, host: Some(host.to_owned()).filter(|host| !host.is_empty()), port })
}
