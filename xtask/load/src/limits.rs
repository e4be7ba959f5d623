//! What the machine itself can do: the least that receiving, checking and keeping records costs, or sending them; and how long
//! the disk takes to make something durable.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::acks::{Latencies, histogram, summary};
use crate::echo;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to keep files meanwhile
    #[arg(long)]
    dir: PathBuf,
    /// Megabytes (10⁶ bytes) to receive and to send
    #[arg(long)]
    megabytes: u64,
    /// Seconds of syncs, and of echoes at each rate
    #[arg(long)]
    seconds: f64,
    /// Rates of the echo, records a second
    #[arg(long = "echo")]
    echoes: Vec<f64>,
}

#[derive(Serialize)]
pub(crate) struct Outcome {
    /// Socket → CRC-32C → file.
    sink: Cost,
    /// The same, synced after each chunk.
    durable_sink: Cost,
    /// File → socket.
    source: Cost,
    /// One `fdatasync` after the other.
    syncs: Latencies,
    /// The same at a fixed pace.
    paced_syncs: Latencies,
    /// Records written and answered, at each rate.
    echoes: Vec<Latencies>,
}

/// What a gigabyte took the one thread.
#[derive(Serialize)]
pub(crate) struct Cost {
    cpu_s_per_gb: f64,
    mb_per_s: f64,
}

const CHUNK: usize = 64 * 1024;
/// Between two paced syncs: 26 MB/s, which leaves a disk of today time to rest.
const PACE: Duration = Duration::from_micros(2_500);

pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let file = args.dir.join("limits");
    let chunks = args.megabytes * 1_000_000 / CHUNK as u64;
    // In a page cache that is full, as a broker's load is measured.
    let cached = sink(&file, chunks, false)?;
    let source = source(&file)?;
    fs::remove_file(&file)?;
    rustix::fs::sync();
    let durable_sink = sink(&file, chunks / 4, true)?;
    fs::remove_file(&file)?;
    rustix::fs::sync();
    let file = args.dir.join("sync");
    let syncs = sync(&file, args.seconds / 5.0, Duration::ZERO)?;
    let paced_syncs = sync(&file, args.seconds, PACE)?;
    fs::remove_file(&file)?;
    let file = args.dir.join("echo");
    let echoes =
        args.echoes.iter().map(|rate| echo::run(&file, *rate, args.seconds)).collect::<Result<_>>()?;
    Ok(Outcome { sink: cached, durable_sink, source, syncs, paced_syncs, echoes })
}

/// What `work` takes on this thread.
fn timed(bytes: u64, work: impl FnOnce() -> Result<()>) -> Result<Cost> {
    let (start, cpu_s) = (Instant::now(), cpu_s(ClockId::ThreadCPUTime));
    work()?;
    let gb = bytes as f64 / 1e9;
    Ok(Cost {
        cpu_s_per_gb: (self::cpu_s(ClockId::ThreadCPUTime) - cpu_s) / gb,
        mb_per_s: gb * 1e3 / start.elapsed().as_secs_f64(),
    })
}

/// CPU seconds on a clock.
pub(crate) fn cpu_s(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Receives and keeps `chunks`, which another thread sends; `durable`: syncs each.
fn sink(file: &Path, chunks: u64, durable: bool) -> Result<Cost> {
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
    let taken = timed(chunks * CHUNK as u64, || {
        for _ in 0..chunks {
            stream.read_exact(&mut chunk)?;
            sums ^= crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &chunk);
            file.write_all(&chunk)?;
            if durable {
                file.sync_data()?;
            }
        }
        Ok(())
    });
    // Else the checksums might be left out as unused.
    std::hint::black_box(sums);
    sender.join().ok().context("the sender panicked")??;
    taken
}

/// Sends a file to a thread that throws it away.
fn source(file: &Path) -> Result<Cost> {
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
    let taken = timed(file.metadata()?.len(), || {
        let mut offset = 0;
        while rustix::fs::sendfile(&stream, &file, Some(&mut offset), STEP)? > 0 {}
        Ok(())
    });
    drop(stream);
    receiver.join().ok().context("the receiver panicked")??;
    taken
}

/// Appends and syncs for so long, once in each `pace`, or as soon as the last is done.
fn sync(file: &Path, seconds: f64, pace: Duration) -> Result<Latencies> {
    let mut file = File::create(file)?;
    let chunk = vec![b'x'; CHUNK];
    let mut taken = histogram()?;
    let (start, limit) = (Instant::now(), Duration::from_secs_f64(seconds));
    let mut next = Duration::ZERO;
    while start.elapsed() < limit {
        thread::sleep(next.saturating_sub(start.elapsed()));
        next += pace;
        file.write_all(&chunk)?;
        let asked = Instant::now();
        file.sync_data()?;
        taken.saturating_record((asked.elapsed().as_micros() as u64).max(1));
    }
    Ok(summary(&taken))
}
