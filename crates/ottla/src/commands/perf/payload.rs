//! What `perf produce` sends.

use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;

use crate::output::BadUsage;

/// Where the values of records come from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Payload")]
#[group(required = true, multiple = false, args = ["record_size", "payload_file", "payload_monotonic"])]
pub(super) struct PayloadArgs {
    /// Values of so many bytes, drawn anew for each record
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    record_size: Option<u32>,
    /// Values out of this file, in an order drawn anew
    #[arg(long, value_name = "FILE")]
    payload_file: Option<PathBuf>,
    /// Values that count: 0, 1, 2, …
    #[arg(long)]
    payload_monotonic: bool,
    /// What stands between the values in the file; \n, \t and \\ are understood
    #[arg(long, value_name = "TEXT", default_value = "\\n", requires = "payload_file")]
    payload_delimiter: String,
}

/// Makes the values.
#[derive(Debug)]
pub(super) enum Payload {
    Random { size: usize, random: Random },
    Listed { values: Vec<Bytes>, random: Random },
    Counting(u64),
}

/// A small generator of random numbers (xorshift64*): good enough for letters, and nobody is to predict nothing.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap_or(0)
    }
}

impl PayloadArgs {
    pub(super) fn payload(&self) -> anyhow::Result<Payload> {
        let random = Random(0x9e37_79b9_7f4a_7c15);
        if let Some(size) = self.record_size {
            return Ok(Payload::Random { size: size as usize, random });
        }
        let Some(path) = &self.payload_file else { return Ok(Payload::Counting(0)) };
        let text = std::fs::read(path)
            .map_err(|error| BadUsage(format!("cannot read {}: {error}", path.display())))?;
        let delimiter =
            self.payload_delimiter.replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\");
        let values = split(&text, delimiter.as_bytes());
        if values.is_empty() {
            return Err(BadUsage(format!("{} has no values", path.display())).into());
        }
        Ok(Payload::Listed { values, random })
    }
}

/// What stands between delimiters; what is empty is left out.
fn split(text: &[u8], delimiter: &[u8]) -> Vec<Bytes> {
    let mut values = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let found = if delimiter.is_empty() {
            None
        } else {
            rest.windows(delimiter.len()).position(|window| window == delimiter)
        };
        let (value, next) = match found {
            Some(at) => (&rest[..at], &rest[at + delimiter.len()..]),
            None => (rest, &rest[rest.len()..]),
        };
        if !value.is_empty() {
            values.push(Bytes::copy_from_slice(value));
        }
        rest = next;
    }
    values
}

impl Payload {
    pub(super) fn next(&mut self) -> Bytes {
        match self {
            Self::Random { size, random } => {
                let mut value = Vec::with_capacity(*size + 8);
                while value.len() < *size {
                    // Capital letters, as Kafka's tool sends them: they compress a little.
                    value.extend(random.next().to_le_bytes().map(|byte| b'A' + byte % 26));
                }
                value.truncate(*size);
                value.into()
            }
            Self::Listed { values, random } => {
                values.get(random.below(values.len())).cloned().unwrap_or_default()
            }
            Self::Counting(next) => {
                *next += 1;
                (*next - 1).to_string().into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_size_that_is_asked_for() {
        let mut payload = Payload::Random { size: 13, random: Random(1) };
        let (first, second) = (payload.next(), payload.next());
        assert_eq!((first.len(), second.len()), (13, 13));
        assert_ne!(first, second);
        assert!(first.iter().all(u8::is_ascii_uppercase));
    }

    #[test]
    fn files_are_split_at_the_delimiter() {
        assert_eq!(split(b"a--b----c", b"--"), ["a", "b", "c"].map(Bytes::from));
        assert_eq!(split(b"", b"-"), [] as [Bytes; 0]);
        let mut payload = Payload::Counting(0);
        assert_eq!((payload.next(), payload.next()), ("0".into(), "1".into()));
    }
}
