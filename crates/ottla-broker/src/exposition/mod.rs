//! A node's metrics as whoever watches it reads them: everything is collected when it is asked for, from counters that the
//! hot paths keep anyway. The number of series is bounded.

mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_net::{ListenerStats, MemoryBudget};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::ApiKey;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::broker::Broker;
use crate::dispatch;
use crate::metrics::{Latency, Moved};

/// Topics with series of their own, by name.
const MAX_TOPICS: usize = 1000;
/// Partitions with series of their own.
const MAX_PARTITIONS: usize = 10_000;
/// Offsets of groups with series of their own.
const MAX_GROUP_OFFSETS: usize = 10_000;

/// Collects the metrics of a node.
pub(crate) struct NodeMetrics {
    broker: Arc<Broker>,
    listeners: Vec<(String, Arc<ListenerStats>)>,
    budget: MemoryBudget,
}

/// Labels of a series.
type Labels<'a> = Vec<(&'static str, &'a str)>;

/// One family while it is written.
struct Family<'a, 'e> {
    encoder: &'a mut DescriptorEncoder<'e>,
    name: &'static str,
    help: &'static str,
}

impl<'a, 'e> Family<'a, 'e> {
    fn new(encoder: &'a mut DescriptorEncoder<'e>, name: &'static str, help: &'static str) -> Self {
        Self { encoder, name, help }
    }

    fn counters<'l>(self, series: impl IntoIterator<Item = (Labels<'l>, u64)>) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(self.name, self.help, None, MetricType::Counter)?;
        for (labels, value) in series {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn sums<'l>(self, series: impl IntoIterator<Item = (Labels<'l>, f64)>) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(self.name, self.help, None, MetricType::Counter)?;
        for (labels, value) in series {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn gauges<'l>(self, series: impl IntoIterator<Item = (Labels<'l>, f64)>) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        for (labels, value) in series {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn latencies<'l>(self, series: impl IntoIterator<Item = (Labels<'l>, Latency)>) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(self.name, self.help, None, MetricType::Histogram)?;
        for (labels, latency) in series {
            let mut family = family.encode_family(&labels)?;
            family.encode_histogram::<NoLabelSet>(latency.seconds, latency.count, &latency.buckets, None)?;
        }
        Ok(())
    }
}

/// A partition's state when it was looked at.
struct PartitionState {
    topic: String,
    index: String,
    partition: i32,
    size_bytes: u64,
    start: i64,
    end: i64,
    high_watermark: i64,
}

impl PartitionState {
    fn labels(&self) -> Labels<'_> {
        vec![("topic", self.topic.as_str()), ("partition", self.index.as_str())]
    }
}

fn float(value: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a floating point number")]
    let value = value as f64;
    value
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a floating point number")]
fn offset(value: i64) -> f64 {
    value as f64
}

impl NodeMetrics {
    pub(crate) fn new(
        broker: Arc<Broker>,
        listeners: Vec<(String, Arc<ListenerStats>)>,
        budget: MemoryBudget,
    ) -> Self {
        Self { broker, listeners, budget }
    }

    fn encode_requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let metrics = &self.broker.metrics;
        let apis: Vec<(ApiKey, &'static str)> = dispatch::served()
            .map(|key| (key, key.name()))
            .filter(|(key, _)| metrics.api(*key).requests() > 0)
            .collect();
        let label = |name: &'static str| vec![("api", name)];
        Family::new(encoder, "ottla_requests", "Requests received.")
            .counters(apis.iter().map(|(key, name)| (label(name), metrics.api(*key).requests())))?;
        Family::new(encoder, "ottla_request_bytes", "Bytes of requests received.")
            .counters(apis.iter().map(|(key, name)| (label(name), metrics.api(*key).request_bytes())))?;
        Family::new(encoder, "ottla_requests_throttled", "Requests whose client had to pause.")
            .counters(apis.iter().map(|(key, name)| (label(name), metrics.api(*key).throttled())))?;
        let throttled = |key: ApiKey| float(metrics.api(key).throttled_ms()) / 1000.0;
        Family::new(encoder, "ottla_request_throttle_seconds", "How long clients were told to pause.")
            .sums(apis.iter().map(|(key, name)| (label(name), throttled(*key))))?;
        let help = "Time from the receipt of a request to its response, waiting on purpose included.";
        Family::new(encoder, "ottla_request_duration_seconds", help)
            .latencies(apis.iter().map(|(key, name)| (label(name), metrics.api(*key).latency())))?;
        let errors = apis.iter().flat_map(|(key, name)| {
            let errors = metrics.api(*key).errors();
            errors.map(|(code, count)| {
                (vec![("api", *name), ("error", ErrorCode::from_code(code).name())], count)
            })
        });
        Family::new(encoder, "ottla_request_errors", "Error codes in responses.").counters(errors)
    }

    fn encode_connections(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Read = fn(&ListenerStats) -> &AtomicU64;
        let counters: [(&'static str, &'static str, Read); 10] = [
            ("ottla_connections_accepted", "Connections accepted.", |s| &s.accepted),
            ("ottla_connections_closed", "Connections closed.", |s| &s.closed),
            ("ottla_connections_refused", "Connections above max.connections.per.ip.", |s| &s.refused),
            ("ottla_connections_throttled", "Connections of addresses that made too many.", |s| &s.throttled),
            ("ottla_connections_evicted", "Connections closed for max.connections.", |s| &s.evicted),
            ("ottla_connections_idle_closed", "Connections closed for being idle.", |s| &s.idle_closed),
            ("ottla_connections_muted", "Pauses of connections because of a quota.", |s| &s.muted),
            ("ottla_invalid_frames", "Frames that are too large or none.", |s| &s.invalid_frames),
            ("ottla_network_bytes_in", "Bytes received.", |s| &s.bytes_in),
            ("ottla_network_bytes_out", "Bytes sent.", |s| &s.bytes_out),
        ];
        for (name, help, read) in counters {
            let value = |stats: &ListenerStats| read(stats).load(Ordering::Relaxed);
            let series = self.listeners.iter();
            Family::new(encoder, name, help)
                .counters(series.map(|(name, stats)| (vec![("listener", name.as_str())], value(stats))))?;
        }
        let open = self.listeners.iter();
        Family::new(encoder, "ottla_connections_open", "Connections open now.")
            .gauges(open.map(|(name, stats)| (vec![("listener", name.as_str())], float(stats.open()))))?;
        Family::new(encoder, "ottla_request_memory_used_bytes", "Memory of request frames.")
            .gauges([(Vec::new(), float(self.budget.used_bytes() as u64))])?;
        Family::new(encoder, "ottla_request_memory_waits", "Frames that had to wait for memory.")
            .counters([(Vec::new(), self.budget.waits())])
    }

    fn encode_quotas(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let throttled = self.broker.quotas.throttled();
        Family::new(encoder, "ottla_quota_violations", "Requests above a quota.")
            .counters(throttled.map(|(kind, count)| (vec![("quota", kind.key())], count)))?;
        let flushes = self.broker.replicas.flush_latency();
        Family::new(encoder, "ottla_log_flush_duration_seconds", "Time to make a log durable.")
            .latencies(flushes.iter().map(|(dir, latency)| (vec![("dir", dir.as_str())], latency.clone())))
    }

    fn encode_topics(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut topics: BTreeMap<String, Moved> = BTreeMap::new();
        for partition in self.broker.partitions() {
            topics.entry(partition.id.topic.to_string()).or_default().add(partition.traffic.read());
        }
        Family::new(encoder, "ottla_topics", "Topics with partitions here.")
            .gauges([(Vec::new(), float(topics.len() as u64))])?;
        type Read = fn(&Moved) -> u64;
        let counters: [(&'static str, &'static str, Read); 5] = [
            ("ottla_topic_bytes_in", "Bytes of batches appended for clients.", |t| t.bytes_in),
            ("ottla_topic_bytes_out", "Bytes of batches sent to clients.", |t| t.bytes_out),
            ("ottla_topic_messages_in", "Records appended for clients.", |t| t.records_in),
            ("ottla_topic_failed_produce_requests", "Batches that could not be appended.", |t| {
                t.failed_produce
            }),
            ("ottla_topic_failed_fetch_requests", "Reads of a log that failed.", |t| t.failed_fetch),
        ];
        for (name, help, read) in counters {
            let series = topics.iter().take(MAX_TOPICS);
            Family::new(encoder, name, help)
                .counters(series.map(|(topic, moved)| (vec![("topic", topic.as_str())], read(moved))))?;
        }
        Ok(())
    }

    fn partitions(&self) -> Vec<PartitionState> {
        let mut states: Vec<_> = self
            .broker
            .partitions()
            .into_iter()
            .filter_map(|partition| {
                partition.with(|replica| PartitionState {
                    topic: partition.id.topic.to_string(),
                    index: partition.id.partition.to_string(),
                    partition: partition.id.partition,
                    size_bytes: replica.log().size_bytes(),
                    start: replica.log().log_start_offset().value(),
                    end: replica.log().log_end_offset().value(),
                    high_watermark: replica.high_watermark().value(),
                })
            })
            .collect();
        states.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        states
    }

    fn encode_partitions(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        partitions: &[PartitionState],
    ) -> fmt::Result {
        let total: u64 = partitions.iter().map(|partition| partition.size_bytes).sum();
        Family::new(encoder, "ottla_partitions", "Partitions here.")
            .gauges([(Vec::new(), float(partitions.len() as u64))])?;
        Family::new(encoder, "ottla_log_size_bytes", "Bytes of all logs.")
            .gauges([(Vec::new(), float(total))])?;
        type Read = fn(&PartitionState) -> f64;
        let gauges: [(&'static str, &'static str, Read); 4] = [
            ("ottla_partition_size_bytes", "Bytes of the log.", |p| float(p.size_bytes)),
            ("ottla_partition_log_start_offset", "First offset of the log.", |p| offset(p.start)),
            ("ottla_partition_log_end_offset", "Offset of the next record.", |p| offset(p.end)),
            ("ottla_partition_high_watermark", "Offset up to which consumers read.", |p| {
                offset(p.high_watermark)
            }),
        ];
        for (name, help, read) in gauges {
            let series = partitions.iter().take(MAX_PARTITIONS);
            Family::new(encoder, name, help).gauges(series.map(|p| (p.labels(), read(p))))?;
        }
        Ok(())
    }

    fn encode_groups(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        partitions: &[PartitionState],
    ) -> fmt::Result {
        let ends: BTreeMap<(&str, i32), &PartitionState> =
            partitions.iter().map(|p| ((p.topic.as_str(), p.partition), p)).collect();
        let (groups, offsets) = self.broker.groups.committed(MAX_GROUP_OFFSETS);
        Family::new(encoder, "ottla_groups", "Groups whose coordinator is here.")
            .gauges([(Vec::new(), float(groups as u64))])?;
        let states = self.broker.groups.states();
        let by_state = states.iter().map(|((kind, state), count)| {
            (vec![("type", kind.name()), ("state", *state)], float(*count as u64))
        });
        Family::new(encoder, "ottla_groups_in_state", "Groups whose coordinator is here, by type and state.")
            .gauges(by_state)?;
        // Of a cut list nobody knows which groups are gone.
        let is_whole = offsets.len() < MAX_GROUP_OFFSETS;
        let known: BTreeSet<&str> = offsets.iter().map(|(group, ..)| &**group).collect();
        let commits = self.broker.groups.commits();
        let by_group = commits.by_group(|group| !is_whole || known.contains(group));
        Family::new(encoder, "ottla_offsets_committed", "Offsets committed by groups.")
            .counters([(Vec::new(), commits.total())])?;
        Family::new(encoder, "ottla_group_offsets_committed", "Offsets that a group has committed.")
            .counters(by_group.iter().map(|(group, count)| (vec![("group", group.as_str())], *count)))?;
        let shown: Vec<_> = offsets
            .into_iter()
            .map(|(group, topic, partition, committed)| {
                let end = ends.get(&(topic.as_str(), partition)).map(|state| state.high_watermark);
                (group, topic.to_string(), partition.to_string(), committed, end)
            })
            .collect();
        let series = |value: fn(i64, Option<i64>) -> Option<i64>| {
            shown.iter().filter_map(move |(group, topic, partition, committed, end)| {
                let labels: Labels<'_> =
                    vec![("group", group), ("topic", topic.as_str()), ("partition", partition.as_str())];
                value(*committed, *end).map(|value| (labels, offset(value)))
            })
        };
        Family::new(encoder, "ottla_group_committed_offset", "Offset that a group has committed.")
            .gauges(series(|committed, _| Some(committed)))?;
        Family::new(encoder, "ottla_group_lag", "Records between a group's committed offset and the end.")
            .gauges(series(|committed, end| end.map(|end| (end - committed).max(0))))
    }

    fn encode_clients(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let telemetry = &self.broker.telemetry;
        let (instances, pushes, refused) = telemetry.counts();
        Family::new(encoder, "ottla_client_instances", "Clients that take part in telemetry.")
            .gauges([(Vec::new(), float(instances as u64))])?;
        Family::new(encoder, "ottla_client_pushes", "Pushes of client metrics.")
            .counters([(vec![("outcome", "taken")], pushes), (vec![("outcome", "refused")], refused)])?;
        let points: Vec<_> = telemetry.points();
        let instances: Vec<String> = points.iter().map(|point| point.instance.to_string()).collect();
        let series = points.iter().zip(&instances).map(|(point, instance)| {
            let labels: Labels<'_> = vec![
                ("client_id", point.client_id.as_str()),
                ("client_instance_id", instance.as_str()),
                ("name", point.name.as_str()),
                ("attributes", point.attributes.as_str()),
            ];
            (labels, point.value)
        });
        Family::new(encoder, "ottla_client_metric", "What clients pushed last; sums since they began.")
            .gauges(series)
    }
}

impl fmt::Debug for NodeMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeMetrics of {:?}", self.broker)
    }
}

impl Collector for NodeMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_requests(&mut encoder)?;
        self.encode_connections(&mut encoder)?;
        self.encode_quotas(&mut encoder)?;
        self.encode_topics(&mut encoder)?;
        self.encode_state(&mut encoder)?;
        let partitions = self.partitions();
        self.encode_partitions(&mut encoder, &partitions)?;
        self.encode_groups(&mut encoder, &partitions)?;
        self.encode_clients(&mut encoder)
    }
}
