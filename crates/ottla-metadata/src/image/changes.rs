//! Which parts of an image a delta changed.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{NodeId, PartitionIndex, Uuid};

use super::{ConfigResource, MetadataImage, QuotaEntity, ScramKey};

/// What happened to a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicChange {
    /// It is new since the base image.
    pub created: bool,
    /// It is in the base image and no more.
    pub deleted: bool,
    /// Partitions that are new or have another state; empty for a deleted topic.
    pub partitions: BTreeSet<PartitionIndex>,
}

/// What differs between two images, by key: compare both images for how.
///
/// A key may be listed although its value is the same as before (a broker's config that was set again).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The new image comes from a snapshot, or the log was replaced by one.
    pub snapshot: bool,
    /// Features, `metadata.version` among them.
    pub features: BTreeSet<String>,
    /// Brokers that registered, changed or left.
    pub brokers: BTreeSet<NodeId>,
    /// Controllers that registered or left.
    pub controllers: BTreeSet<NodeId>,
    /// Topics.
    pub topics: BTreeMap<Uuid, TopicChange>,
    /// Resources with configuration.
    pub configs: BTreeSet<ConfigResource>,
    /// Entities with quotas.
    pub quotas: BTreeSet<QuotaEntity>,
    /// Whether a block of producer ids was given out.
    pub producer_ids: bool,
    /// ACLs that were added or removed.
    pub acls: BTreeSet<Uuid>,
    /// SCRAM credentials that were set or removed.
    pub scram: BTreeSet<ScramKey>,
    /// Delegation tokens that were set or removed.
    pub tokens: BTreeSet<String>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn topic_created(&mut self, id: Uuid) {
        self.topics.insert(id, TopicChange { created: true, ..TopicChange::default() });
    }

    pub(super) fn topic_deleted(&mut self, id: Uuid) {
        if self.topics.get(&id).is_some_and(|change| change.created) {
            // Neither image has it.
            self.topics.remove(&id);
        } else {
            self.topics.insert(id, TopicChange { deleted: true, ..TopicChange::default() });
        }
    }

    pub(super) fn partition_changed(&mut self, id: Uuid, partition: PartitionIndex) {
        self.topics.entry(id).or_default().partitions.insert(partition);
    }

    /// What differs between two images that no common history connects.
    pub(super) fn between(old: &MetadataImage, new: &MetadataImage) -> Self {
        let mut changes = Self { snapshot: true, ..Self::default() };
        let (a, b) = (old.features.finalized(), new.features.finalized());
        changes.features = differing(&a, &b).map(|name| (*name).to_owned()).collect();
        let brokers = |image: &MetadataImage| -> BTreeMap<_, _> {
            image.cluster.brokers().map(|broker| (broker.id, broker.clone())).collect()
        };
        changes.brokers = differing(&brokers(old), &brokers(new)).copied().collect();
        let controllers = |image: &MetadataImage| -> BTreeMap<_, _> {
            image.cluster.controllers().map(|node| (node.id, node.clone())).collect()
        };
        changes.controllers = differing(&controllers(old), &controllers(new)).copied().collect();
        changes.topics = topics_between(old, new);
        let configs = |image: &MetadataImage| -> BTreeMap<_, _> {
            image.configs.iter().map(|(resource, config)| (resource.clone(), config.clone())).collect()
        };
        changes.configs = differing(&configs(old), &configs(new)).cloned().collect();
        let quotas = |image: &MetadataImage| -> BTreeMap<_, _> {
            image.quotas.iter().map(|(entity, quotas)| (entity.clone(), quotas.clone())).collect()
        };
        changes.quotas = differing(&quotas(old), &quotas(new)).cloned().collect();
        changes.producer_ids = old.producer_ids != new.producer_ids;
        let acls = |image: &MetadataImage| -> BTreeMap<_, _> {
            image.acls.iter().map(|(id, acl)| (id, acl.clone())).collect()
        };
        changes.acls = differing(&acls(old), &acls(new)).copied().collect();
        let scram = |image: &MetadataImage| -> BTreeMap<_, _> {
            image.scram.iter().map(|(key, credential)| (key.clone(), credential.clone())).collect()
        };
        changes.scram = differing(&scram(old), &scram(new)).cloned().collect();
        let tokens = |image: &MetadataImage| -> BTreeMap<_, _> {
            image.tokens.iter().map(|(id, token)| (id.to_owned(), token.clone())).collect()
        };
        changes.tokens = differing(&tokens(old), &tokens(new)).cloned().collect();
        changes
    }
}

/// Keys whose values differ, or that only one of the two has.
fn differing<'a, K: Ord, V: PartialEq>(
    old: &'a BTreeMap<K, V>,
    new: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = &'a K> {
    let gone_or_changed = old.iter().filter(|(key, value)| new.get(key) != Some(value)).map(|(key, _)| key);
    let added = new.keys().filter(|key| !old.contains_key(key));
    gone_or_changed.chain(added)
}

fn topics_between(old: &MetadataImage, new: &MetadataImage) -> BTreeMap<Uuid, TopicChange> {
    let mut topics = BTreeMap::new();
    for topic in old.topics.iter().filter(|topic| new.topics.by_id(topic.id).is_none()) {
        topics.insert(topic.id, TopicChange { deleted: true, ..TopicChange::default() });
    }
    for topic in new.topics.iter() {
        let before = old.topics.by_id(topic.id);
        let same = |index: &PartitionIndex| before.and_then(|topic| topic.partitions.get(index));
        let changed = topic.partitions.iter().filter(|(index, partition)| same(index) != Some(*partition));
        let partitions: BTreeSet<_> = changed.map(|(index, _)| *index).collect();
        if before.is_none() || !partitions.is_empty() {
            topics.insert(topic.id, TopicChange { created: before.is_none(), deleted: false, partitions });
        }
    }
    topics
}
