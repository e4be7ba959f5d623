//! Properties of image and controller over random workloads.

mod workload;

use std::collections::BTreeSet;

use ottla_protocol::messages::{AbortTransactionRecord, BeginTransactionRecord, EndTransactionRecord};
use ottla_types::{LeaderEpoch, NodeId, Offset};
use proptest::prelude::*;

use self::workload::Workload;
use super::*;
use crate::image::{Loader, LocalChanges, MetadataDelta, Provenance};
use crate::random::Random;

/// The image without how far it reaches.
fn state(image: &MetadataImage) -> MetadataImage {
    let mut image = image.clone();
    image.set_provenance(Provenance::default());
    image
}

fn through_a_snapshot(image: &MetadataImage) -> MetadataImage {
    let values: Vec<_> = image.to_records().unwrap().iter().map(VersionedRecord::to_bytes).collect();
    let values = values.iter().map(Vec::as_slice);
    MetadataImage::from_snapshot(Offset(100), LeaderEpoch(1), 7, values).unwrap()
}

fn sorted(mut changes: LocalChanges) -> LocalChanges {
    for list in [&mut changes.deleted, &mut changes.leaders, &mut changes.elected, &mut changes.followers] {
        list.sort_by_key(|p| (p.topic_id, p.index));
    }
    changes.directories.sort_by_key(|(p, _)| (p.topic_id, p.index));
    changes
}

/// What really differs is among what the delta says.
fn assert_covers(delta: &MetadataDelta) {
    let (noted, real) =
        (delta.changes(), MetadataDelta::replace(delta.base().clone(), delta.image().clone()));
    let real = real.changes();
    assert!(real.features.is_subset(&noted.features));
    assert!(real.brokers.is_subset(&noted.brokers));
    assert!(real.controllers.is_subset(&noted.controllers));
    assert!(real.configs.is_subset(&noted.configs));
    assert!(real.quotas.is_subset(&noted.quotas));
    assert!(real.acls.is_subset(&noted.acls));
    assert!(real.scram.is_subset(&noted.scram));
    assert!(real.tokens.is_subset(&noted.tokens));
    assert!(!real.producer_ids || noted.producer_ids);
    for (id, change) in &real.topics {
        let noted = &noted.topics[id];
        assert_eq!((change.created, change.deleted), (noted.created, noted.deleted));
        assert!(change.partitions.is_subset(&noted.partitions));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_snapshot_restores_the_image(seed: u64, steps in 1usize..120) {
        let mut workload = Workload::new(seed);
        for _ in 0..steps {
            workload.step();
        }
        let image = workload.controller.image();
        prop_assert_eq!(state(&through_a_snapshot(image)), state(image));
    }

    #[test]
    fn the_index_is_always_that_of_the_topics(seed: u64, steps in 1usize..120) {
        let mut workload = Workload::new(seed);
        for step in 0..steps {
            workload.step();
            let fresh = Index::of(workload.controller.image.topics());
            prop_assert_eq!(&workload.controller.index, &fresh, "step {}", step);
        }
    }

    #[test]
    fn deltas_of_any_length_lead_to_the_same_image(seed: u64, steps in 1usize..120, cuts: u64) {
        let mut workload = Workload::new(seed);
        for _ in 0..steps {
            workload.step();
        }
        let mut random = Random::from_u64(cuts);
        let mut loader = Loader::default();
        let mut offset = Offset(3);
        for batch in &workload.batches {
            let values: Vec<_> = batch.iter().map(VersionedRecord::to_bytes).collect();
            let before = loader.image().clone();
            let before_records = before.to_records().unwrap();
            loader.load_batch(offset, LeaderEpoch(1), 5, values.iter().map(Vec::as_slice)).unwrap();
            offset = Offset(offset.0 + i64::try_from(batch.len()).unwrap());
            if random.below(3) == 0 {
                for delta in loader.publish() {
                    assert_covers(&delta);
                    for broker in 1..=4 {
                        let replaced = MetadataDelta::replace(delta.base().clone(), delta.image().clone());
                        let broker = NodeId(broker);
                        let (a, b) = (delta.local_changes(broker), replaced.local_changes(broker));
                        prop_assert_eq!(sorted(a), sorted(b));
                    }
                    prop_assert_eq!(delta.image().provenance().last_offset, Offset(offset.0 - 1));
                }
                prop_assert_eq!(before.to_records().unwrap(), before_records, "published images stay as they are");
            }
        }
        loader.publish();
        prop_assert_eq!(state(loader.image()), state(workload.controller.image()));
    }

    #[test]
    fn an_aborted_transaction_leaves_nothing(seed: u64, before in 1usize..40, within in 1usize..40) {
        let mut workload = Workload::new(seed);
        for _ in 0..before {
            workload.step();
        }
        let expected = state(workload.controller.image());
        let mut loader = Loader::new(workload.controller.image().clone());
        let first = workload.batches.len();
        workload.accept(vec![VersionedRecord::new(BeginTransactionRecord::default(), 0)]);
        for _ in 0..within {
            workload.step();
        }
        workload.accept(vec![VersionedRecord::new(AbortTransactionRecord::default(), 0)]);
        prop_assert_eq!(&state(workload.controller.image()), &expected);
        prop_assert_eq!(&workload.controller.index, &Index::of(workload.controller.image.topics()));
        for batch in &workload.batches[first..] {
            let values: Vec<_> = batch.iter().map(VersionedRecord::to_bytes).collect();
            loader.load_batch(Offset(1000), LeaderEpoch(1), 5, values.iter().map(Vec::as_slice)).unwrap();
            for delta in loader.publish() {
                prop_assert!(delta.changes().is_empty());
            }
        }
        prop_assert_eq!(&state(loader.image()), &expected);
        // Life goes on.
        for _ in 0..10 {
            workload.step();
        }
    }
}

fn values(records: &[VersionedRecord]) -> Vec<Vec<u8>> {
    records.iter().map(VersionedRecord::to_bytes).collect()
}

#[test]
fn records_before_a_transaction_in_the_same_batch_are_published_at_once() {
    let topic = |name: &str, id: u64| {
        let topic_id = ottla_types::Uuid::from_parts(5, 1000 + id);
        let name = name.to_owned().into();
        VersionedRecord::new(ottla_protocol::messages::TopicRecord { name, topic_id }, 0)
    };
    let begin = VersionedRecord::new(BeginTransactionRecord::default(), 0);
    let end = VersionedRecord::new(EndTransactionRecord::default(), 0);
    let mut loader = Loader::default();
    let batch = values(&[topic("a", 1), begin, topic("b", 2)]);
    loader.load_batch(Offset(10), LeaderEpoch(1), 5, batch.iter().map(Vec::as_slice)).unwrap();
    let published = loader.publish();
    assert_eq!(published.len(), 1);
    let image = published[0].image();
    assert!(image.topics().id("a").is_some() && image.topics().id("b").is_none());
    assert_eq!(image.provenance().last_offset, Offset(10));
    assert!(!image.provenance().at_batch_end, "no snapshot may be made of it");
    assert!(loader.publish().is_empty());
    let batch = values(&[end]);
    loader.load_batch(Offset(13), LeaderEpoch(1), 5, batch.iter().map(Vec::as_slice)).unwrap();
    let published = loader.publish();
    assert_eq!(published.len(), 1);
    assert!(published[0].image().topics().id("b").is_some());
    assert_eq!(published[0].changes().topics.len(), 1);
}

#[test]
fn transactions_do_not_nest_and_end_only_once() {
    for records in [
        vec![VersionedRecord::new(EndTransactionRecord::default(), 0)],
        vec![VersionedRecord::new(AbortTransactionRecord::default(), 0)],
        vec![VersionedRecord::new(BeginTransactionRecord::default(), 0); 2],
    ] {
        let batch = values(&records);
        let loaded =
            Loader::default().load_batch(Offset(1), LeaderEpoch(1), 5, batch.iter().map(Vec::as_slice));
        assert!(matches!(loaded, Err(ReplayError::Transaction(_))));
        let mut controller = Workload::new(1).controller;
        let mut last = Ok(());
        for record in &records {
            last = controller.replay(&record.record, Offset(1));
        }
        assert!(matches!(last, Err(ReplayError::Transaction(_))));
    }
}

#[test]
fn a_snapshot_that_replaces_the_image_deletes_what_it_lacks() {
    let mut workload = Workload::new(3);
    for _ in 0..60 {
        workload.step();
    }
    let old = workload.controller.image().clone();
    assert!(old.topics().len() > 1);
    let mut loader = Loader::new(old.clone());
    let mut kept = MetadataImage::default();
    let mut changes = Changes::default();
    for record in
        old.to_records().unwrap().iter().take_while(|r| !matches!(r.record, MetadataRecord::Topic(_)))
    {
        kept.replay(&record.record, &mut changes).unwrap();
    }
    loader.load_snapshot(kept);
    let published = loader.publish();
    assert_eq!(published.len(), 1);
    let deleted: BTreeSet<_> =
        published[0].changes().topics.iter().filter(|(_, c)| c.deleted).map(|(id, _)| *id).collect();
    assert_eq!(deleted, old.topics().iter().map(|topic| topic.id).collect());
    assert!(published[0].changes().snapshot);
}

#[test]
fn replaying_what_does_not_fit_is_an_error() {
    use ottla_protocol::messages::{PartitionChangeRecord, RemoveTopicRecord, UnregisterBrokerRecord};
    let mut controller = Workload::new(1).controller;
    let id = ottla_types::Uuid::from_parts(5, 1000);
    let removal = RemoveTopicRecord { topic_id: id }.into();
    assert_eq!(controller.replay(&removal, Offset(1)), Err(ReplayError::UnknownTopic(id)));
    let change = PartitionChangeRecord { topic_id: id, partition_id: 3, ..Default::default() }.into();
    assert_eq!(controller.replay(&change, Offset(1)), Err(ReplayError::UnknownPartition(id, 3)));
    let gone = UnregisterBrokerRecord { broker_id: 99, broker_epoch: 1 }.into();
    assert_eq!(controller.replay(&gone, Offset(1)), Err(ReplayError::UnknownBroker(NodeId(99))));
    let level =
        ottla_protocol::messages::FeatureLevelRecord { name: "metadata.version".into(), feature_level: 99 };
    let unknown = controller.replay(&level.into(), Offset(1));
    assert_eq!(unknown, Err(ReplayError::UnsupportedMetadataVersion(99)));
}

#[test]
fn undecodable_values_are_errors_not_panics() {
    let mut workload = Workload::new(5);
    for _ in 0..80 {
        workload.step();
    }
    for record in workload.batches.iter().flatten() {
        let bytes = record.to_bytes();
        let (decoded, version) = crate::decode(&bytes).unwrap();
        assert_eq!((&decoded, version), (&record.record, record.version));
        for end in 0..bytes.len() {
            assert!(crate::decode(&bytes[..end]).is_err());
        }
    }
}
