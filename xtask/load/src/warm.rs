//! Touches memory and gives it back. Where a hypervisor takes free pages away ("free page reporting"), the first to use them again pays
//! for that: 0.45 instead of 0.25 CPU seconds for a file of a gigabyte. So free memory is touched before a measurement, by this
//! program and not by the server.

use anyhow::Result;
use serde::Serialize;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    mib: usize,
}

#[derive(Serialize)]
pub(crate) struct Outcome {
    mib: usize,
}

pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let memory = vec![1_u8; args.mib << 20];
    std::hint::black_box(&memory);
    Ok(Outcome { mib: memory.len() >> 20 })
}
