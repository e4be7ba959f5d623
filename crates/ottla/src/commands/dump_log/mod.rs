//! `ottla dump-log`: what is in the files of a log directory (Kafka's `kafka-dump-log.sh`), its flags and its lines.
//!
//! Records that are decoded print all their fields, bytes as lists of numbers; Kafka leaves out fields of other versions.

mod decode;
mod index;
mod log;
mod small;
mod value;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use self::decode::Decoder;
use crate::log_file::base_and_extension;
use crate::output::{is_broken_pipe, print_error, sentence};

/// Arguments of `dump-log`.
#[derive(Debug, Args)]
#[command(after_help = "\
Files: segments (.log), snapshots of the metadata (.checkpoint), .index, .timeindex, .txnindex, producer snapshots
(.snapshot), and the small files of text: checkpoints, partition.metadata, quorum-state, meta.properties. Nothing is changed.

Examples:
  ottla dump-log --files orders-0/00000000000000000000.log --print-data-log
  ottla dump-log --files orders-0/00000000000000000000.index,orders-0/00000000000000000000.timeindex --index-sanity-check
  ottla dump-log --cluster-metadata-decoder --files __cluster_metadata-0/00000000000000000000.log
  ottla dump-log --offsets-decoder --files __consumer_offsets-12/00000000000000000000.log

Exit codes: 0 all is well, 1 a file is damaged or an index does not fit its segment, 2 bad usage.")]
pub(crate) struct DumpLogArgs {
    /// The files, separated by commas
    #[arg(long, required = true, value_delimiter = ',', value_name = "FILE,…")]
    files: Vec<PathBuf>,
    /// Print keys and values of records
    #[arg(long)]
    print_data_log: bool,
    /// Read the records inside of batches
    #[arg(long)]
    deep_iteration: bool,
    /// Only say whether an index is fit for use, as a start decides it
    #[arg(long)]
    index_sanity_check: bool,
    /// Compare indexes with their segments without printing them
    #[arg(long)]
    verify_index_only: bool,
    /// Stop after so many bytes of batches
    #[arg(long, value_name = "BYTES", default_value_t = u64::MAX, hide_default_value = true)]
    max_bytes: u64,
    /// Leave out what is about a record; print its contents only
    #[arg(long)]
    skip_record_metadata: bool,
    /// Read values as records of the metadata log
    #[arg(long, group = "decoder")]
    cluster_metadata_decoder: bool,
    /// Read records as those of __consumer_offsets
    #[arg(long, group = "decoder")]
    offsets_decoder: bool,
    /// Read records as those of __transaction_state
    #[arg(long, group = "decoder")]
    transaction_log_decoder: bool,
    /// Read records as those of __share_group_state
    #[arg(long, group = "decoder")]
    share_group_state_decoder: bool,
}

/// Whether the files are as they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    Damaged,
}

impl DumpLogArgs {
    pub(crate) fn run(self) -> ExitCode {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let result = self.dump(&mut out).and_then(|health| Ok(out.flush().map(|()| health)?));
        match result {
            Ok(Health::Good) => ExitCode::SUCCESS,
            Ok(Health::Damaged) => ExitCode::FAILURE,
            Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
            Err(error) => {
                print_error(&sentence(&error));
                ExitCode::FAILURE
            }
        }
    }

    fn decoder(&self) -> Option<Decoder> {
        [
            (self.cluster_metadata_decoder, Decoder::Metadata),
            (self.offsets_decoder || self.transaction_log_decoder || self.share_group_state_decoder, {
                if self.offsets_decoder {
                    Decoder::Groups
                } else if self.transaction_log_decoder {
                    Decoder::Transactions
                } else {
                    Decoder::ShareGroups
                }
            }),
        ]
        .into_iter()
        .find_map(|(on, decoder)| on.then_some(decoder))
    }

    fn dump(&self, out: &mut impl Write) -> anyhow::Result<Health> {
        let mut health = Health::Good;
        for file in &self.files {
            writeln!(out, "Dumping {}", file.display())?;
            if self.dump_file(file, out)? == Health::Damaged {
                health = Health::Damaged;
            }
        }
        Ok(health)
    }

    fn dump_file(&self, file: &Path, out: &mut impl Write) -> anyhow::Result<Health> {
        let checks = index::Checks { sanity: self.index_sanity_check, quiet: self.verify_index_only };
        match base_and_extension(file) {
            Some((base, "log")) => {
                writeln!(out, "Log starting offset: {base}")?;
                self.dump_batches(file, out)
            }
            Some((base, "index")) => index::offsets(file, base, checks, out),
            Some((base, "timeindex")) => index::times(file, base, checks, out),
            Some((_, "txnindex")) => index::aborted(file, out),
            Some((_, "snapshot")) => index::producers(file, out),
            _ => match file.extension().and_then(|extension| extension.to_str()) {
                Some("checkpoint") => {
                    if let Some((offset, epoch)) = snapshot_id(file) {
                        writeln!(out, "Snapshot end offset: {offset}, epoch: {epoch}")?;
                    }
                    self.dump_batches(file, out)
                }
                _ => small::text(file, out),
            },
        }
    }

    fn dump_batches(&self, file: &Path, out: &mut impl Write) -> anyhow::Result<Health> {
        let options = log::Options {
            decoder: self.decoder(),
            print: self.print_data_log || self.decoder().is_some(),
            deep: self.deep_iteration,
            about_records: !self.skip_record_metadata,
            max_bytes: self.max_bytes,
        };
        log::dump(file, options, out)
    }
}

/// End offset and epoch in the name of a metadata snapshot.
fn snapshot_id(file: &Path) -> Option<(i64, i32)> {
    let (offset, epoch) = file.file_stem()?.to_str()?.split_once('-')?;
    Some((offset.parse().ok()?, epoch.parse().ok()?))
}
