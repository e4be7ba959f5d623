//! What a broker does from time to time: checkpoints, retention, closing idle files, expiring producers.

use std::sync::Arc;
use std::time::Duration;

use ottla_storage::dir::{Checkpoint, apply_retention, close_idle_files, flush_due};
use tokio::task::JoinHandle;
use tracing::info;

use crate::broker::Broker;
use crate::clock;

/// A log without reads and writes for so long gives up its open files and caches.
const IDLE_MS: i64 = 60_000;

fn interval(ms: i64) -> Duration {
    // A never-ending interval is one of centuries.
    Duration::from_millis(u64::try_from(ms.max(1)).unwrap_or(1)).min(Duration::from_secs(3_000_000_000))
}

fn every(broker: &Arc<Broker>, first: Duration, period: Duration, duty: fn(&Broker)) -> JoinHandle<()> {
    let broker = Arc::clone(broker);
    tokio::spawn(async move {
        tokio::time::sleep(first).await;
        loop {
            let working = Arc::clone(&broker);
            // Duties touch the disk; a panic in one must not end the others.
            _ = tokio::task::spawn_blocking(move || duty(&working)).await;
            tokio::time::sleep(period).await;
        }
    })
}

/// Starts all duties; abort them before the logs are closed.
pub(crate) fn start(broker: &Arc<Broker>) -> Vec<JoinHandle<()>> {
    let config = broker.config();
    let values = config.values();
    let initial = interval(values.long("log.initial.task.delay.ms"));
    let checkpoints = interval(i64::from(values.int("log.flush.offset.checkpoint.interval.ms")));
    let starts = interval(i64::from(values.int("log.flush.start.offset.checkpoint.interval.ms")));
    let high_watermarks = interval(values.long("replica.high.watermark.checkpoint.interval.ms"));
    let retention = interval(values.long("log.retention.check.interval.ms"));
    let flushes = interval(values.long("log.flush.scheduler.interval.ms"));
    let producers = interval(i64::from(values.int("producer.id.expiration.check.interval.ms")));
    let short = Duration::from_secs(15);
    vec![
        every(broker, initial, checkpoints, |b| b.replicas.checkpoint(b, &[Checkpoint::RecoveryPoints])),
        every(broker, initial, starts, |b| b.replicas.checkpoint(b, &[Checkpoint::LogStarts])),
        every(broker, high_watermarks, high_watermarks, |b| {
            b.replicas.checkpoint(b, &[Checkpoint::HighWatermarks]);
        }),
        every(broker, initial, retention, apply),
        every(broker, initial, flushes, |b| {
            b.replicas
                .each_dir(b, |dirs, dir, owner| flush_due(dirs, dir, owner, clock::now_ms()).map(|_| ()));
        }),
        every(broker, short, short, tidy),
        every(broker, producers, producers, |b| {
            for partition in b.partitions() {
                partition.with(|replica| replica.log_mut().expire_producers(clock::now_ms()));
            }
        }),
    ]
}

fn apply(broker: &Broker) {
    broker.replicas.each_dir(broker, |dirs, dir, owner| {
        let summary = apply_retention(dirs, dir, owner, clock::now_ms())?;
        if summary.segments > 0 {
            info!(dir = %dir.path().display(), "retention removed {} segments, {} bytes", summary.segments, summary.bytes);
        }
        Ok(())
    });
}

fn tidy(broker: &Broker) {
    let now_ms = clock::now_ms();
    broker.telemetry.expire();
    for partition in broker.partitions() {
        partition.settle_if_idle();
    }
    broker
        .replicas
        .each_dir(broker, |dirs, dir, owner| close_idle_files(dirs, dir, owner, now_ms, IDLE_MS).map(|_| ()));
}
