//! What state the node and its cluster are in: the cleaner, log directories, partitions and brokers.

use std::fmt;

use ottla_metadata::image::{MetadataImage, Partition};
use ottla_types::NodeId;
use prometheus_client::encoding::DescriptorEncoder;

use super::{Family, NodeMetrics, float};
use crate::cleaner::CleanerView;

/// Partitions by what an operator should look at (`ReplicaManager` and `KafkaController` in Kafka).
#[derive(Debug, Default, PartialEq, Eq)]
struct Health {
    /// Led by this node.
    leaders: u64,
    /// Led by this node, with replicas that are not in sync.
    under_replicated: u64,
    /// Led by this node, with fewer in sync than `min.insync.replicas`: writes with `acks=all` fail.
    under_min_isr: u64,
    /// Led by this node, with just as many in sync.
    at_min_isr: u64,
    /// Led by nobody, in the whole cluster.
    offline: u64,
    /// Led by another than the preferred replica, in the whole cluster.
    not_preferred: u64,
}

impl Health {
    fn of(image: &MetadataImage, node: NodeId, min_isr: impl Fn(&str) -> usize) -> Self {
        let mut health = Self::default();
        for topic in image.topics().iter() {
            let min_isr = min_isr(&topic.name);
            topic.partitions.values().for_each(|partition| health.count(partition, node, min_isr));
        }
        health
    }

    fn count(&mut self, partition: &Partition, node: NodeId, min_isr: usize) {
        let is = u64::from;
        self.offline += is(partition.leader == NodeId::NONE);
        self.not_preferred += is(partition.replicas.first() != Some(&partition.leader));
        if partition.leader != node {
            return;
        }
        self.leaders += 1;
        // What a reassignment adds is not expected to be in sync yet.
        let wanted = partition.replicas.len() - partition.adding.len();
        self.under_replicated += is(partition.isr.len() < wanted);
        self.under_min_isr += is(partition.isr.len() < min_isr);
        self.at_min_isr += is(partition.isr.len() == min_isr);
    }
}

impl NodeMetrics {
    pub(super) fn encode_state(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_health(encoder)?;
        self.encode_directories(encoder)?;
        self.encode_cleaner(encoder)
    }

    fn encode_health(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let image = self.broker.image();
        let min_isr = |topic: &str| {
            let wanted = self.broker.topic_settings(&image, topic).min_insync_replicas;
            usize::try_from(wanted).unwrap_or(1)
        };
        let health = Health::of(&image, self.broker.node_id, min_isr);
        let fenced = image.cluster().brokers().filter(|broker| broker.fenced).count() as u64;
        let active = image.cluster().brokers().count() as u64 - fenced;
        let gauges = [
            ("ottla_partitions_led", "Partitions that this node leads.", health.leaders),
            (
                "ottla_partitions_under_replicated",
                "Partitions led here with replicas out of sync.",
                health.under_replicated,
            ),
            (
                "ottla_partitions_under_min_isr",
                "Partitions led here with fewer replicas in sync than min.insync.replicas.",
                health.under_min_isr,
            ),
            (
                "ottla_partitions_at_min_isr",
                "Partitions led here with just min.insync.replicas in sync.",
                health.at_min_isr,
            ),
            (
                "ottla_cluster_partitions_offline",
                "Partitions of the cluster without a leader.",
                health.offline,
            ),
            (
                "ottla_cluster_partitions_not_preferred",
                "Partitions of the cluster that the preferred replica does not lead.",
                health.not_preferred,
            ),
            ("ottla_cluster_brokers_active", "Brokers that are not fenced.", active),
            ("ottla_cluster_brokers_fenced", "Brokers that are fenced.", fenced),
        ];
        for (name, help, value) in gauges {
            Family::new(encoder, name, help).gauges([(Vec::new(), float(value))])?;
        }
        Ok(())
    }

    fn encode_directories(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let dirs = self.broker.replicas.dirs().dirs().iter();
        let dirs: Vec<_> = dirs.map(|dir| (dir.path().display().to_string(), !dir.is_online())).collect();
        Family::new(encoder, "ottla_log_dir_offline", "Whether a log directory is out of service.").gauges(
            dirs.iter().map(|(dir, is_offline)| (vec![("dir", dir.as_str())], f64::from(*is_offline))),
        )
    }

    fn encode_cleaner(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let CleanerView { runs, read_bytes, kept_bytes, last_run_ms, max_dirty_ratio, uncleanable } =
            self.broker.cleaner.view();
        let counters = [
            ("ottla_log_cleaner_runs", "Logs compacted.", runs),
            ("ottla_log_cleaner_bytes_read", "Bytes read by compaction.", read_bytes),
            ("ottla_log_cleaner_bytes_written", "Bytes that compaction left.", kept_bytes),
        ];
        for (name, help, value) in counters {
            Family::new(encoder, name, help).counters([(Vec::new(), value)])?;
        }
        let help = "When a log was compacted last, in seconds since 1970.";
        Family::new(encoder, "ottla_log_cleaner_last_run_timestamp_seconds", help)
            .gauges(last_run_ms.map(|at_ms| (Vec::new(), float(at_ms) / 1000.0)))?;
        let help = "The largest dirty part of the logs that wait for compaction, as of the last look.";
        Family::new(encoder, "ottla_log_cleaner_max_dirty_ratio", help)
            .gauges([(Vec::new(), max_dirty_ratio)])?;
        let help = "Partitions that are left alone until the next start, as they could not be compacted.";
        Family::new(encoder, "ottla_log_cleaner_uncleanable_partitions", help)
            .gauges([(Vec::new(), float(uncleanable))])
    }
}

#[cfg(test)]
mod tests {
    use ottla_metadata::image::LeaderRecovery;
    use ottla_types::{LeaderEpoch, Uuid};

    use super::*;

    fn partition(leader: i32, isr: &[i32]) -> Partition {
        let ids = |ids: &[i32]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        Partition {
            replicas: ids(&[1, 2, 3]),
            directories: vec![Uuid::ZERO; 3],
            isr: ids(isr),
            removing: Vec::new(),
            adding: Vec::new(),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            leader: NodeId(leader),
            recovery: LeaderRecovery::Recovered,
            leader_epoch: LeaderEpoch(1),
            partition_epoch: 1,
        }
    }

    #[test]
    fn partitions_are_counted_by_what_is_wrong_with_them() {
        let counted = |partition: &Partition| {
            let mut health = Health::default();
            health.count(partition, NodeId(1), 2);
            health
        };
        let led = Health { leaders: 1, ..Health::default() };
        assert_eq!(counted(&partition(1, &[1, 2, 3])), led);
        let at_min = Health { under_replicated: 1, at_min_isr: 1, leaders: 1, ..Health::default() };
        assert_eq!(counted(&partition(1, &[1, 2])), at_min);
        let under_min = Health { under_replicated: 1, under_min_isr: 1, leaders: 1, ..Health::default() };
        assert_eq!(counted(&partition(1, &[1])), under_min);
        let elsewhere = Health { not_preferred: 1, ..Health::default() };
        assert_eq!(counted(&partition(2, &[2])), elsewhere);
        let offline = Health { offline: 1, not_preferred: 1, ..Health::default() };
        assert_eq!(counted(&partition(-1, &[2])), offline);
        let reassigned = Partition { adding: vec![NodeId(3)], ..partition(1, &[1, 2]) };
        assert_eq!(counted(&reassigned).under_replicated, 0);
    }
}
