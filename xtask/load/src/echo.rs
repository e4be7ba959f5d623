//! The least that a broker could do for a record: write it to a file and say so. What latency is left is the machine's.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::acks::{Latencies, histogram, summary};

const RECORD: usize = 1024;
/// What comes back for each record: its number.
const ANSWER: usize = 8;

/// Sends 1 KiB records at a fixed rate to a thread that appends them to `file` (page cache) and answers each; latencies count from the
/// intended times.
pub(crate) fn run(file: &Path, rate: f64, seconds: f64) -> Result<Latencies> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut file = File::create(file)?;
    let server = thread::spawn(move || -> Result<()> {
        let (stream, _) = listener.accept()?;
        serve(stream, &mut file)
    });
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let (total, start) = ((rate * seconds) as u64, Instant::now());
    let intended = move |number: u64| Duration::from_secs_f64(number as f64 / rate);
    let answers = stream.try_clone()?;
    let receiver = thread::spawn(move || receive(answers, total, start, intended));
    send(stream, total, start, intended)?;
    let latencies = receiver.join().ok().context("the receiver panicked")??;
    server.join().ok().context("the server panicked")??;
    Ok(latencies)
}

fn serve(mut stream: TcpStream, file: &mut File) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 64 * RECORD];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..])?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let whole = filled / RECORD * RECORD;
        file.write_all(&buffer[..whole])?;
        let answers: Vec<u8> = buffer[..whole].chunks(RECORD).flat_map(|r| &r[..ANSWER]).copied().collect();
        stream.write_all(&answers)?;
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

fn send(mut stream: TcpStream, total: u64, start: Instant, intended: impl Fn(u64) -> Duration) -> Result<()> {
    let mut record = [b'x'; RECORD];
    for number in 0..total {
        thread::sleep(intended(number).saturating_sub(start.elapsed()));
        record[..ANSWER].copy_from_slice(&number.to_le_bytes());
        stream.write_all(&record)?;
    }
    Ok(())
}

fn receive(
    mut stream: TcpStream,
    total: u64,
    start: Instant,
    intended: impl Fn(u64) -> Duration,
) -> Result<Latencies> {
    let mut taken = histogram()?;
    let mut answer = [0; ANSWER];
    for _ in 0..total {
        stream.read_exact(&mut answer)?;
        let latency = start.elapsed().saturating_sub(intended(u64::from_le_bytes(answer)));
        taken.saturating_record((latency.as_micros() as u64).max(1));
    }
    stream.shutdown(std::net::Shutdown::Both)?;
    Ok(summary(&taken))
}
