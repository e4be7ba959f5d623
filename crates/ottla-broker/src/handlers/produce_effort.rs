//! How much work a Produce request may be for the thread that received it, which serves other connections as well.
//!
//! What a compressed batch unpacks to is not known before: half a megabyte may be gigabytes. So each is checked under a bound first. What
//! exceeds it, and requests that are large anyway, are worked on aside, few at a time (`Broker::aside`), while their
//! connection waits.

use ottla_record::validate::{self, Checked, InvalidBatch, Rules, TargetCompression};
use ottla_record::{BatchView, Limits};

/// The largest body of a request that is worked on at once.
const QUICK_BODY_BYTES: usize = 4 << 20;
/// What a batch may unpack to meanwhile.
const QUICK_UNPACKED_BYTES: usize = 4 << 20;
/// The same of one that is compressed anew, which takes longer.
const QUICK_REPACKED_BYTES: usize = 256 << 10;
/// What a batch may unpack to at all that is compressed anew: its records are in memory then, some of them twice …
const MAX_REPACKED_BYTES: usize = 32 << 20;
/// … or so many times `max.message.bytes`, if that is more.
const MAX_REPACKED_RATIO: usize = 16;

/// How much work may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// As little as others can wait for.
    Quick,
    /// All that there is.
    Any,
}

impl Effort {
    /// What a request with such a body may be given first.
    pub(super) fn of_body(bytes: usize) -> Self {
        if bytes > QUICK_BODY_BYTES { Self::Any } else { Self::Quick }
    }

    /// Checks a batch; `None` if more work is needed to find out about it.
    pub(super) fn check(
        self,
        bytes: &mut [u8],
        rules: &Rules<'_>,
        now_ms: i64,
    ) -> Option<Result<Checked, InvalidBatch>> {
        let Ok((batch, _)) = BatchView::parse(bytes) else {
            return Some(validate::check(bytes, rules, now_ms));
        };
        let is_repacked = match rules.compression {
            TargetCompression::Producer => false,
            TargetCompression::Fixed(codec) => batch.attributes().compression() != Ok(codec.compression()),
        };
        let is_packed = batch.attributes().is_compressed();
        let most = if is_repacked {
            let wide = rules.max_message_bytes.saturating_mul(MAX_REPACKED_RATIO);
            rules.limits.max_batch_bytes.min(MAX_REPACKED_BYTES.max(wide))
        } else {
            rules.limits.max_batch_bytes
        };
        let quick = if is_repacked { QUICK_REPACKED_BYTES } else { QUICK_UNPACKED_BYTES };
        if self == Self::Any || !(is_packed || is_repacked) {
            return Some(check_within(most, bytes, rules, now_ms));
        }
        if bytes.len() > quick {
            return None;
        }
        // If not all is well, the bound may be the reason.
        check_within(most.min(quick), bytes, rules, now_ms).ok().map(Ok)
    }
}

fn check_within(
    max_batch_bytes: usize,
    bytes: &mut [u8],
    rules: &Rules<'_>,
    now_ms: i64,
) -> Result<Checked, InvalidBatch> {
    let limits = Limits { max_batch_bytes, ..rules.limits };
    validate::check(bytes, &Rules { limits, ..rules.clone() }, now_ms)
}

#[cfg(test)]
mod tests {
    use ottla_record::{BatchBuilder, Codec, Compression};
    use ottla_types::TopicPartition;

    use super::*;

    fn zeros(codec: Compression, bytes: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new().codec(codec);
        for _ in 0..bytes >> 16 {
            builder.append(1, None, Some(&vec![0; 1 << 16]), &[]).expect("a record");
        }
        builder.build().expect("a batch")
    }

    /// Whether it is taken, quickly and with any effort.
    fn verdicts(mut batch: Vec<u8>, rules: &Rules<'_>) -> (Option<bool>, Option<bool>) {
        let taken = |checked: Option<Result<Checked, InvalidBatch>>| checked.map(|checked| checked.is_ok());
        let quick = taken(Effort::Quick.check(&mut batch, rules, 1));
        (quick, taken(Effort::Any.check(&mut batch, rules, 1)))
    }

    #[test]
    fn a_batch_that_unpacks_to_much_needs_more_effort() {
        let partition = TopicPartition::new("t", 0);
        let rules = Rules::defaults(&partition);
        assert_eq!(verdicts(zeros(Compression::Zstd, 1 << 20), &rules), (Some(true), Some(true)));
        let bomb = zeros(Compression::Zstd, 64 << 20);
        assert!(bomb.len() < 64 << 10, "it looks small: {}", bomb.len());
        assert_eq!(verdicts(bomb, &rules), (None, Some(true)));
        let mut broken = zeros(Compression::Zstd, 1 << 20);
        let end = broken.len();
        broken[end - 1] ^= 1;
        assert_eq!(verdicts(broken, &rules), (None, Some(false)));
        let large = Rules { max_message_bytes: 16 << 20, ..rules };
        assert_eq!(verdicts(zeros(Compression::None, 8 << 20), &large), (Some(true), Some(true)));
    }

    #[test]
    fn a_batch_that_is_compressed_anew_is_bounded_by_memory() {
        let partition = TopicPartition::new("t", 0);
        let compression = TargetCompression::Fixed(Codec::from(Compression::Lz4));
        let rules = Rules { compression, max_message_bytes: 2 << 20, ..Rules::defaults(&partition) };
        assert_eq!(verdicts(zeros(Compression::None, 64 << 10), &rules), (Some(true), Some(true)));
        assert_eq!(verdicts(zeros(Compression::None, 1 << 20), &rules), (None, Some(true)));
        assert_eq!(verdicts(zeros(Compression::Gzip, 1 << 20), &rules), (None, Some(true)));
        assert_eq!(verdicts(zeros(Compression::Zstd, 30 << 20), &rules), (None, Some(true)));
        assert_eq!(verdicts(zeros(Compression::Zstd, 40 << 20), &rules), (None, Some(false)));
    }
}
