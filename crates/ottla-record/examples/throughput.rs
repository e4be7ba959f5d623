//! Prints what checksums, validation and reading do on this machine:
//! `cargo run --release -p ottla-record --example throughput`.

use std::hint::black_box;
use std::time::Instant;

use ottla_record::validate::{Rules, check};
use ottla_record::{BatchBuilder, BatchView, Compression, crc32c};
use ottla_types::TopicPartition;

fn main() {
    for size in [1 << 10, 16 << 10, 1 << 20, 64 << 20] {
        let bytes: Vec<u8> = (0..size).map(|i| ((i * 31) >> 3) as u8).collect();
        let rounds = (4 << 30) / size;
        let seconds = seconds(rounds, || u64::from(crc32c(black_box(&bytes))));
        println!("crc32c of {size:>9} bytes: {:6.2} GB/s", (rounds * size) as f64 / seconds / 1e9);
    }
    let topic = TopicPartition::new("bench", 0);
    let rules = Rules::defaults(&topic);
    for codec in Compression::ALL {
        let mut batch = batch(codec);
        let rounds = 20_000;
        let seconds = seconds(rounds, || check(&mut batch, &rules, 0).expect("valid").record_count() as u64);
        report("validate", codec, &batch, rounds, seconds);
    }
    for codec in Compression::ALL {
        let batch = batch(codec);
        let rounds = 20_000;
        let seconds = seconds(rounds, || read(&batch));
        report("read", codec, &batch, rounds, seconds);
    }
}

const RECORDS: usize = 100;
const VALUE: usize = 150;

/// A batch of about 16 KiB of text.
fn batch(codec: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new().codec(codec);
    for i in 0..RECORDS {
        let value: String = (0..).map(|n| format!("field{n}={} ", i * n)).take(30).collect();
        builder.append(0, None, value.as_bytes().get(..VALUE), &[]).expect("small");
    }
    builder.build().expect("small")
}

fn read(bytes: &[u8]) -> u64 {
    let mut records = BatchView::parse(bytes).expect("whole").0.records().expect("known codec");
    let mut sum = 0;
    while let Some(record) = records.try_next().expect("good") {
        sum += record.value.map_or(0, <[u8]>::len) as u64;
    }
    sum
}

fn seconds(rounds: usize, mut work: impl FnMut() -> u64) -> f64 {
    let start = Instant::now();
    let sum = (0..rounds).fold(0_u64, |sum, _| sum.wrapping_add(work()));
    black_box(sum);
    start.elapsed().as_secs_f64()
}

fn report(what: &str, codec: Compression, batch: &[u8], rounds: usize, seconds: f64) {
    let plain = (rounds * RECORDS * VALUE) as f64;
    println!(
        "{what} {codec:>6} ({:5} bytes): {:6.2} us a batch, {:5.1} ns a record, {:6.2} GB/s of values",
        batch.len(),
        seconds * 1e6 / rounds as f64,
        seconds * 1e9 / (rounds * RECORDS) as f64,
        plain / seconds / 1e9
    );
}
