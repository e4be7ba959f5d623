//! What servers and clients need to know about an API key: versions, listeners, header versions, forwarding
//! (`ApiKeys` and `ApiMessageType` of Kafka).

use std::fmt;

use crate::messages::{API_FACTS, ApiKey};
use crate::wire::VersionRange;

/// A row of the generated table.
#[derive(Debug)]
pub(crate) struct ApiFacts {
    pub(crate) key: ApiKey,
    pub(crate) name: &'static str,
    pub(crate) upper_name: &'static str,
    pub(crate) versions: Option<VersionRange>,
    pub(crate) unstable: bool,
    pub(crate) request_flexible: Option<i16>,
    pub(crate) response_flexible: Option<i16>,
    pub(crate) broker: bool,
    pub(crate) controller: bool,
}

/// Where a request may arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listener {
    /// A broker's listener, for clients and other brokers.
    Broker,
    /// A controller's listener.
    Controller,
}

impl ApiKey {
    /// All API keys in order, those without any served version included.
    pub fn all() -> impl Iterator<Item = Self> {
        API_FACTS.iter().map(|facts| facts.key)
    }

    /// The API key of a number on the wire.
    pub fn from_code(code: i16) -> Option<Self> {
        let facts = API_FACTS.get(usize::try_from(code).ok()?)?;
        Some(facts.key)
    }

    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Kafka's name as metrics and logs have it, such as `JoinGroup`.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Kafka's name as error messages have it, such as `JOIN_GROUP`.
    pub fn upper_name(self) -> &'static str {
        self.facts().upper_name
    }

    /// The versions that can be read and written, a not yet stable one included; `None` for keys that are only reserved.
    pub fn versions(self) -> Option<VersionRange> {
        self.facts().versions
    }

    /// The versions that are served unless `unstable.api.versions.enable` is set.
    pub fn stable_versions(self) -> Option<VersionRange> {
        let VersionRange { low, high } = self.facts().versions?;
        let high = if self.facts().unstable { high - 1 } else { high };
        (low <= high).then_some(VersionRange { low, high })
    }

    /// The versions to put into an ApiVersions response of that listener; `None` when the listener does not serve the key.
    /// Brokers claim Produce version 0, which they do not serve, because librdkafka expects it (KAFKA-18659). A broker
    /// further narrows the [forwardable](Self::is_forwardable) keys to what its controller serves.
    pub fn advertised_versions(self, listener: Listener) -> Option<VersionRange> {
        let stable = self.stable_versions().filter(|_| self.is_served_by(listener))?;
        let low = if self == Self::Produce && listener == Listener::Broker { 0 } else { stable.low };
        Some(VersionRange { low, ..stable })
    }

    /// Whether requests of this kind may arrive at such a listener.
    pub fn is_served_by(self, listener: Listener) -> bool {
        match listener {
            Listener::Broker => self.facts().broker,
            Listener::Controller => self.facts().controller,
        }
    }

    /// The version of the request header; defined for versions beyond the known ones too, as ApiVersions needs it.
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.facts().request_flexible.is_some_and(|first| version >= first) { 2 } else { 1 }
    }

    /// The version of the response header. ApiVersions stays at 0 so that every client can read it (KIP-511).
    pub fn response_header_version(self, version: i16) -> i16 {
        let is_flexible = self.facts().response_flexible.is_some_and(|first| version >= first);
        if is_flexible && self != Self::ApiVersions { 1 } else { 0 }
    }

    /// Whether a broker hands the request on to the active controller (KIP-590).
    pub fn is_forwardable(self) -> bool {
        matches!(
            self,
            Self::CreateTopics
                | Self::DeleteTopics
                | Self::CreateAcls
                | Self::DeleteAcls
                | Self::AlterConfigs
                | Self::CreatePartitions
                | Self::CreateDelegationToken
                | Self::RenewDelegationToken
                | Self::ExpireDelegationToken
                | Self::ElectLeaders
                | Self::IncrementalAlterConfigs
                | Self::AlterPartitionReassignments
                | Self::ListPartitionReassignments
                | Self::AlterClientQuotas
                | Self::AlterUserScramCredentials
                | Self::DescribeQuorum
                | Self::UpdateFeatures
                | Self::UnregisterBroker
                | Self::AllocateProducerIds
                | Self::AddRaftVoter
                | Self::RemoveRaftVoter
                | Self::UnregisterController
        )
    }

    /// Whether only nodes of the cluster send it, with the right to `CLUSTER_ACTION`.
    pub fn is_cluster_action(self) -> bool {
        matches!(
            self,
            Self::LeaderAndIsr
                | Self::StopReplica
                | Self::UpdateMetadata
                | Self::ControlledShutdown
                | Self::WriteTxnMarkers
                | Self::Vote
                | Self::BeginQuorumEpoch
                | Self::EndQuorumEpoch
                | Self::DescribeQuorum
                | Self::AlterPartition
                | Self::UpdateFeatures
                | Self::Envelope
                | Self::BrokerRegistration
                | Self::BrokerHeartbeat
                | Self::AllocateProducerIds
                | Self::InitializeShareGroupState
                | Self::ReadShareGroupState
                | Self::WriteShareGroupState
                | Self::DeleteShareGroupState
                | Self::ReadShareGroupStateSummary
        )
    }

    fn facts(self) -> &'static ApiFacts {
        let index = usize::try_from(self.code()).expect("API keys start at 0");
        API_FACTS.get(index).expect("API keys have no gaps")
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_indexes_of_the_table() {
        for (index, facts) in API_FACTS.iter().enumerate() {
            assert_eq!(usize::try_from(facts.key.code()).unwrap(), index);
            assert_eq!(ApiKey::from_code(facts.key.code()), Some(facts.key));
        }
        assert_eq!(ApiKey::from_code(-1), None);
        assert_eq!(ApiKey::from_code(ApiKey::all().count().try_into().unwrap()), None);
    }

    #[test]
    fn advertises_only_served_and_stable_versions() {
        let broker = |key: ApiKey| key.advertised_versions(Listener::Broker);
        assert_eq!(broker(ApiKey::Produce), Some(VersionRange::new(0, 13)));
        assert_eq!(ApiKey::Produce.versions(), Some(VersionRange::new(3, 13)));
        assert_eq!(broker(ApiKey::InitProducerId), Some(VersionRange::new(0, 5)));
        assert_eq!(ApiKey::InitProducerId.versions(), Some(VersionRange::new(0, 6)));
        assert_eq!(broker(ApiKey::LeaderAndIsr), None);
        assert_eq!(broker(ApiKey::Vote), None);
        assert!(ApiKey::Vote.advertised_versions(Listener::Controller).is_some());
        assert_eq!(ApiKey::JoinGroup.advertised_versions(Listener::Controller), None);
    }

    #[test]
    fn headers_become_flexible_with_the_body() {
        assert_eq!(ApiKey::JoinGroup.request_header_version(5), 1);
        assert_eq!(ApiKey::JoinGroup.request_header_version(6), 2);
        assert_eq!(ApiKey::JoinGroup.response_header_version(5), 0);
        assert_eq!(ApiKey::JoinGroup.response_header_version(6), 1);
        assert_eq!(ApiKey::ApiVersions.request_header_version(3), 2);
        assert_eq!(ApiKey::ApiVersions.request_header_version(i16::MAX), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(i16::MAX), 0);
        assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
    }
}
