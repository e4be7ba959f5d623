//! `ottla topic describe --watch`: what is produced and consumed per second.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_client::{Client, Isolation, OffsetSpec};
use ottla_types::{NodeId, Offset, TopicPartition};
use serde_json::{Value, json};

use crate::commands::values::{now_ms, shown_time};
use crate::commands::watch::{Frame, Watched, rate, shown_rate};
use crate::output::table;

/// Topics that are watched.
pub(super) struct TopicWatch {
    client: Client,
    topics: Vec<String>,
}

/// Ends of partitions, and what each group has committed for them.
pub(super) struct Sample {
    ends: BTreeMap<TopicPartition, Offset>,
    groups: BTreeMap<String, BTreeMap<TopicPartition, Offset>>,
}

impl TopicWatch {
    pub(super) fn new(client: Client, topics: Vec<String>) -> Self {
        Self { client, topics }
    }
}

impl Sample {
    /// The end of a topic, all partitions together.
    fn end(&self, topic: &str) -> i64 {
        self.ends.iter().filter(|(it, _)| it.topic.as_str() == topic).map(|(_, end)| end.value()).sum()
    }

    /// What a group has committed of a topic, and how far it is behind; `None` if it has nothing.
    fn progress(&self, group: &str, topic: &str) -> Option<(i64, i64)> {
        let committed = self.groups.get(group)?.iter().filter(|(it, _)| it.topic.as_str() == topic);
        let mut sums = None;
        for (partition, offset) in committed {
            let (read, lag) = sums.unwrap_or((0, 0));
            let behind = self.ends.get(partition).map_or(0, |end| (*end - *offset).max(0));
            sums = Some((read + offset.value(), lag + behind));
        }
        sums
    }
}

impl Watched for TopicWatch {
    type Sample = Sample;

    async fn sample(&self) -> anyhow::Result<Sample> {
        let names: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        let metadata = self.client.fetch_metadata(Some(&names)).await?;
        let mut wanted = Vec::new();
        for topic in metadata.topics.values() {
            let led = topic.partitions.iter().filter(|partition| partition.leader != NodeId::NONE);
            wanted.extend(led.map(|it| (TopicPartition::new(&topic.name, it.index), OffsetSpec::Latest)));
        }
        // Offsets first: a group is never ahead of an end that is looked at later.
        let mut groups = BTreeMap::new();
        for group in self.client.list_groups(&[], &[]).await? {
            // One may go while this looks, and share groups have no such offsets.
            let Ok(committed) = self.client.group_offsets(&group.group, None).await else { continue };
            let mut offsets: BTreeMap<_, _> =
                committed.into_iter().map(|(partition, committed)| (partition, committed.offset)).collect();
            offsets.retain(|partition, _| metadata.topics.contains_key(&partition.topic));
            if !offsets.is_empty() {
                groups.insert(group.group, offsets);
            }
        }
        let listed = self.client.list_offsets(&wanted, Isolation::ReadUncommitted).await?;
        let ends = listed.into_iter().filter_map(|(partition, listed)| Some((partition, listed.offset?)));
        Ok(Sample { ends: ends.collect(), groups })
    }

    fn frame(&self, now: &Sample, before: Option<(&Sample, Duration)>) -> Frame {
        let time = shown_time(now_ms());
        let (mut rows, mut topics) = (Vec::new(), Vec::<Value>::new());
        for topic in &self.topics {
            let end = now.end(topic);
            let produced = before.map(|(before, elapsed)| rate(end, before.end(topic), elapsed));
            let mut groups = Vec::<Value>::new();
            for group in now.groups.keys() {
                let Some((read, lag)) = now.progress(group, topic) else { continue };
                let consumed = before.and_then(|(before, elapsed)| {
                    before.progress(group, topic).map(|(earlier, _)| rate(read, earlier, elapsed))
                });
                groups.push(json!({ "group": group, "consumeRate": consumed, "lag": lag }));
                let shown = (shown_rate(produced), shown_rate(consumed));
                rows.push(vec![
                    topic.clone(),
                    end.to_string(),
                    shown.0,
                    group.clone(),
                    shown.1,
                    lag.to_string(),
                ]);
            }
            if groups.is_empty() {
                let none = || "-".to_owned();
                rows.push(vec![topic.clone(), end.to_string(), shown_rate(produced), none(), none(), none()]);
            }
            topics.push(json!({
                "topic": topic,
                "endOffset": end,
                "produceRate": produced,
                "groups": groups,
            }));
        }
        let headings = ["TOPIC", "RECORDS", "PRODUCE", "GROUP", "CONSUME", "LAG"];
        Frame {
            text: format!("{time}\n{}", table(&headings, rows)),
            json: json!({ "time": time, "topics": topics }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_and_progress_are_summed_over_partitions() {
        let at = |offsets: &[(i32, i64)]| -> BTreeMap<TopicPartition, Offset> {
            offsets.iter().map(|(index, at)| (TopicPartition::new("t", *index), Offset(*at))).collect()
        };
        let sample = Sample {
            ends: at(&[(0, 10), (1, 5), (2, 7)]),
            groups: BTreeMap::from([("g".to_owned(), at(&[(0, 4), (1, 5)]))]),
        };
        assert_eq!(sample.end("t"), 22);
        assert_eq!(sample.progress("g", "t"), Some((9, 6)));
        assert_eq!(sample.progress("g", "other"), None);
        assert_eq!(sample.progress("other", "t"), None);
    }
}
