//! What the machine itself can do: the least that receiving, checking and keeping records costs, or sending them; and how long
//! the disk takes to make something durable.

use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};

use super::super::clients::librdkafka::Latencies;
use super::super::system::{Compared, System};
use super::super::trial::Trial;
use super::{Scenario, measure};

/// The limits.
pub(super) const LIMITS: Scenario = Scenario {
    name: "limits",
    title: "Limits of the machine",
    about: "Without any server. Sink: one thread reads 64 KiB from a socket, takes their CRC-32C and appends them to a file (page \
            cache). Source: one thread sends a file from the page cache to a socket with `sendfile`, 1 MiB at a time. CPU \
            seconds are that thread's. Sync: `fdatasync` after each append of 64 KiB.",
    minutes: 0.5,
    is_quick: true,
    compared: Compared::Machine,
    run: limits,
};

/// The only column.
pub(crate) const SYSTEM: &str = System::MACHINE;
/// The bare produce.
pub(crate) const SINK: &str = "socket → CRC-32C → file";
/// The bare consume.
pub(crate) const SOURCE: &str = "file → socket, sendfile";
/// The bare acknowledgement.
pub(crate) const SYNC: &str = "append 64 KiB, fdatasync";

const CHUNK: usize = 64 * 1024;

fn limits(trial: &mut Trial<'_>) -> Result<()> {
    let dir = trial.scratch().to_owned();
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    let chunks = trial.sized(32_768, 8_192);
    let gb = (chunks * CHUNK) as f64 / 1e9;
    let file = dir.join("limits");
    trial.step("sink");
    let (cpu_s, seconds) = sink(&file, chunks)?;
    trial.record(SINK, measure::PRODUCE_CPU, cpu_s / gb);
    trial.record(SINK, measure::PRODUCED, gb * 1e3 / seconds);
    trial.step("source");
    let (cpu_s, seconds) = source(&file)?;
    trial.record(SOURCE, measure::CONSUME_CPU, cpu_s / gb);
    trial.record(SOURCE, measure::CONSUMED, gb * 1e3 / seconds);
    fs::remove_file(&file)?;
    trial.step("fdatasync");
    let latencies = sync(&dir.join("sync"), trial.sized(2_000, 500))?;
    trial.record_latencies(SYNC, &latencies);
    fs::remove_dir_all(&dir)?;
    Ok(())
}

/// CPU time of the calling thread.
fn thread_cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// What `work` takes on this thread: CPU seconds and seconds.
fn timed(work: impl FnOnce() -> Result<()>) -> Result<(f64, f64)> {
    let (start, cpu_s) = (Instant::now(), thread_cpu_s());
    work()?;
    Ok((thread_cpu_s() - cpu_s, start.elapsed().as_secs_f64()))
}

/// Receives and keeps `chunks`, which another thread sends.
fn sink(file: &Path, chunks: usize) -> Result<(f64, f64)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let sender = thread::spawn(move || -> Result<()> {
        let mut stream = TcpStream::connect(address)?;
        let chunk = vec![b'x'; CHUNK];
        (0..chunks).try_for_each(|_| stream.write_all(&chunk))?;
        Ok(())
    });
    let (mut stream, _) = listener.accept()?;
    let mut file = File::create(file)?;
    let mut chunk = vec![0; CHUNK];
    let mut sums = 0_u64;
    let taken = timed(|| {
        for _ in 0..chunks {
            stream.read_exact(&mut chunk)?;
            sums ^= crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &chunk);
            file.write_all(&chunk)?;
        }
        Ok(())
    });
    // Else the checksums might be left out as unused.
    std::hint::black_box(sums);
    sender.join().ok().context("the sender panicked")??;
    taken
}

/// Sends a file to a thread that throws it away.
fn source(file: &Path) -> Result<(f64, f64)> {
    const STEP: usize = 1024 * 1024;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let receiver = thread::spawn(move || -> Result<()> {
        let mut stream = TcpStream::connect(address)?;
        let mut chunk = vec![0; 4 * CHUNK];
        while stream.read(&mut chunk)? > 0 {}
        Ok(())
    });
    let (stream, _) = listener.accept()?;
    let file = File::open(file)?;
    let taken = timed(|| {
        let mut offset = 0;
        while rustix::fs::sendfile(&stream, &file, Some(&mut offset), STEP)? > 0 {}
        Ok(())
    });
    drop(stream);
    receiver.join().ok().context("the receiver panicked")??;
    taken
}

/// Appends and syncs so often.
fn sync(file: &Path, times: usize) -> Result<Latencies> {
    let mut file = File::create(file)?;
    let chunk = vec![b'x'; CHUNK];
    let mut taken_ms = Vec::with_capacity(times);
    for _ in 0..times {
        file.write_all(&chunk)?;
        let start = Instant::now();
        file.sync_data()?;
        taken_ms.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    taken_ms.sort_by(f64::total_cmp);
    let at = |percentile: f64| {
        let rank = (percentile / 100.0 * (times - 1) as f64).round() as usize;
        (percentile, taken_ms[rank])
    };
    Ok(Latencies { percentiles_ms: [0.0, 25.0, 50.0, 75.0, 90.0, 99.0, 99.9, 100.0].map(at).to_vec() })
}
