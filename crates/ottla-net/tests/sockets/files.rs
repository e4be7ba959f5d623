//! File ranges in responses.

use std::io::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::{Client, Script, config, serve};

const SIZE: usize = 5 * 1024 * 1024 + 77;

fn pattern(position: usize) -> u8 {
    (position.wrapping_mul(2_654_435_761) >> 11) as u8
}

fn file() -> (std::fs::File, Vec<u8>) {
    let contents: Vec<u8> = (0..SIZE).map(pattern).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&contents).unwrap();
    (file, contents)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_arrive_exactly_between_other_parts() {
    let (file, contents) = file();
    let script = Script::new(Some(file));
    let listener = serve(config(), &script).await;
    let mut client = Client::connect(&listener).await;
    for kind in ["file", "slowfile"] {
        for (offset, len) in [
            (0, 1),
            (1, 4096),
            (4095, 70_001),
            (100_000, 0),
            (0, SIZE),
            (SIZE - 1, 1),
            (3_333_333, 1_500_000),
        ] {
            client.send(format!("{kind} {offset} {len}")).await;
            client.send("echo after").await;
            let body = client.receive().await.unwrap();
            assert_eq!((body.first(), body.last()), (Some(&b'<'), Some(&b'>')));
            assert!(body[1..=len] == contents[offset..offset + len], "{kind} {offset}+{len}");
            assert_eq!(client.receive().await.unwrap(), b"echo after");
        }
    }
    assert!(listener.stats().file_bytes_out.load(Ordering::Relaxed) > SIZE as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_ranges_to_a_slow_reader_arrive_in_order() {
    let (file, contents) = file();
    let script = Script::new(Some(file));
    let listener = serve(config(), &script).await;
    let mut client = Client::connect(&listener).await;
    for i in 0..8 {
        client.send(format!("file {} {}", i * 10_007, SIZE - i * 10_007)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    for i in 0..8 {
        let body = client.receive().await.unwrap();
        assert!(body[1..body.len() - 1] == contents[i * 10_007..], "range {i}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_lost_its_end_closes_the_connection() {
    let (file, _) = file();
    let script = Script::new(Some(file));
    let listener = serve(config(), &script).await;
    for kind in ["file", "slowfile"] {
        let mut client = Client::connect(&listener).await;
        client.send(format!("{kind} {} 100", SIZE - 50)).await;
        assert_eq!(client.receive().await, None, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_that_are_not_cached_are_read_in_first() {
    let (file, contents) = file();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let script = Script::new(Some(file));
    let listener = serve(config(), &script).await;
    let mut client = Client::connect(&listener).await;
    client.send(format!("file 0 {SIZE}")).await;
    let body = client.receive().await.unwrap();
    assert!(body[1..=SIZE] == contents[..]);
    // Not on every file system can pages be dropped or looked up, so the count is not asserted.
    println!("cold reads: {}", listener.stats().cold_reads.load(Ordering::Relaxed));
}
