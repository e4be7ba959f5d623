//! What a start costs. Numbers of operations, which do not depend on the machine, and by hand
//! (`cargo test --release … many_idle_logs -- --ignored --nocapture`) the time for ten thousand logs.

use std::sync::Arc;
use std::time::Instant;

use ottla_record::Codec;
use ottla_storage::fs::{Fs, MemFs, RealFs};
use ottla_storage::log::{Log, LogConfig};
use ottla_types::Offset;

use super::support::*;

#[test]
fn opening_an_untouched_log_and_closing_it_writes_nothing() {
    let fs = MemFs::new();
    let mut log = open(&fs, LogConfig::default());
    for n in 0..50 {
        let producer = Producer { id: 1, epoch: 0, sequence: n, transactional: false };
        append(&mut log, batch(&[NOW], Some(producer), Codec::NONE)).unwrap();
    }
    log.close(NOW).unwrap();
    fs.take_trace();
    for _ in 0..3 {
        let mut log = open_with(&fs, LogConfig::default(), opening(true, Offset(50))).0;
        assert_eq!(log.log_end_offset(), Offset(50));
        log.close(NOW).unwrap();
    }
    // After a crash an idle log is only looked at.
    let log = open_with(&fs, LogConfig::default(), opening(false, Offset(50))).0;
    assert_eq!(log.active_producers().count(), 1);
    assert_eq!(fs.take_trace(), []);
    assert!(fs.list(log.dir()).unwrap().len() >= 5);
}

#[test]
#[ignore = "a measurement"]
fn many_idle_logs() {
    let root = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let count = std::env::var("OTTLA_LOG_COUNT").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let dir = |n: i32| root.path().join(format!("topic-{n}"));
    for n in 0..count {
        let mut log =
            Log::open(fs.clone(), &dir(n), LogConfig::default(), opening(false, Offset(0))).unwrap().0;
        let producer =
            (n % 2 == 0).then_some(Producer { id: 1, epoch: 0, sequence: 0, transactional: false });
        let mut records = batch(&[NOW; 10], producer, Codec::NONE);
        log.append_as_leader(&mut records, client(0)).unwrap();
        log.close(NOW).unwrap();
    }
    for (clean, what) in [(true, "clean start"), (false, "start after kill -9")] {
        let began = Instant::now();
        let mut logs: Vec<Log> = (0..count)
            .map(|n| {
                Log::open(fs.clone(), &dir(n), LogConfig::default(), opening(clean, Offset(10))).unwrap().0
            })
            .collect();
        println!("{what}: {:?} for {count} logs on one thread", began.elapsed());
        let began = Instant::now();
        for log in &mut logs {
            log.close(NOW).unwrap();
        }
        println!("close: {:?}", began.elapsed());
        assert!(logs.iter().all(|log| log.log_end_offset() == Offset(10)));
    }
}
