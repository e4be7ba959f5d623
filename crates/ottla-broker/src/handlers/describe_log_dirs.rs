//! DescribeLogDirs (35), versions 1–5: the log directories of this broker, what is in them, and how full their volumes are.
//!
//! Version 2 has flexible fields, 3 an error code for all of the response, 4 the volumes' bytes (KIP-827), 5 whether a directory
//! is cordoned (KIP-1066). Error per directory: `KAFKA_STORAGE_ERROR`. Partitions that are not here are left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use ottla_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use ottla_storage::dir::LogDir;
use ottla_types::TopicPartition;

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let wanted = {
        let message: DescribeLogDirsRequest<'_> = match request.decode() {
            Ok(message) => message,
            Err(error) => return Outcome::close(error.to_string()),
        };
        Wanted::of(&message)
    };
    let broker = Arc::clone(broker);
    // Asking a volume how full it is may take its time.
    Outcome::later(async move {
        let described = tokio::task::spawn_blocking(move || {
            let dirs = broker.replicas.dirs().dirs();
            dirs.iter().map(|dir| describe(&broker, dir, &wanted)).collect()
        });
        let results: Vec<DescribeLogDirsResult<'static>> = match described.await {
            Ok(results) => results,
            Err(failure) => return Outcome::close(failure.to_string()),
        };
        request.reply(&DescribeLogDirsResponse { results, ..DescribeLogDirsResponse::default() })
    })
}

/// The partitions that are asked for; `None`: all.
struct Wanted(Option<Vec<TopicPartition>>);

impl Wanted {
    fn of(message: &DescribeLogDirsRequest<'_>) -> Self {
        let topics = message.topics.as_ref();
        Self(topics.map(|topics| {
            let named = topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|index| TopicPartition::new(&topic.topic, *index))
            });
            named.collect()
        }))
    }

    fn has(&self, id: &TopicPartition) -> bool {
        self.0.as_ref().is_none_or(|wanted| wanted.contains(id))
    }
}

fn describe(broker: &Broker, dir: &LogDir, wanted: &Wanted) -> DescribeLogDirsResult<'static> {
    let path = std::path::absolute(dir.path()).unwrap_or_else(|_| dir.path().to_owned());
    let failed = DescribeLogDirsResult {
        error_code: ErrorCode::KafkaStorageError.code(),
        log_dir: path.display().to_string().into(),
        ..DescribeLogDirsResult::default()
    };
    if !dir.is_online() {
        return failed;
    }
    let Ok((total, usable)) = dir.fs().space(dir.path()) else { return failed };
    let mut topics: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for partition in broker.partitions() {
        if !wanted.has(&partition.id) {
            continue;
        }
        for (size, offset_lag, is_future_key) in partition.sizes_in(dir) {
            topics.entry(partition.id.topic.to_string()).or_default().push(DescribeLogDirsPartition {
                partition_index: partition.id.partition,
                partition_size: i64::try_from(size).unwrap_or(i64::MAX),
                offset_lag,
                is_future_key,
            });
        }
    }
    let topics = topics.into_iter().map(|(name, mut partitions)| {
        partitions.sort_by_key(|partition| partition.partition_index);
        DescribeLogDirsTopic { name: name.into(), partitions }
    });
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    DescribeLogDirsResult {
        error_code: ErrorCode::None.code(),
        topics: topics.collect(),
        total_bytes: bytes(total),
        usable_bytes: bytes(usable),
        is_cordoned: broker.is_cordoned(dir.path()),
        ..failed
    }
}
