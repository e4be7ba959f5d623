//! Where `reset-offsets` sets a group: the rules of Kafka's tool, without a cluster.

use ottla_types::{Offset, TimestampMs};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Earliest,
    Latest,
    /// Where the group is; at the end where it has committed nothing.
    Current,
    At(Offset),
    /// So many records on, or back.
    ShiftBy(i64),
    /// The first record of this time or later, or the end.
    Time(TimestampMs),
}

/// What is known of a partition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    pub(super) start: Option<Offset>,
    pub(super) end: Option<Offset>,
    pub(super) committed: Option<Offset>,
    /// The first record of the time asked for or later.
    pub(super) at_time: Option<Offset>,
}

impl Target {
    /// The new offset. One outside of the partition becomes its nearest end.
    pub(super) fn offset(&self, known: Known) -> Result<Offset, String> {
        let start = known.start.ok_or("its first offset is not known")?;
        let end = known.end.ok_or("its end is not known")?;
        let within = |offset: i64| Offset(offset.clamp(start.value(), end.value()));
        Ok(match self {
            Self::Earliest => start,
            Self::Latest => end,
            Self::Current => known.committed.unwrap_or(end),
            Self::At(offset) => within(offset.value()),
            Self::ShiftBy(count) => {
                let committed = known.committed.ok_or("the group has committed nothing to shift")?;
                within(committed.value().saturating_add(*count))
            }
            Self::Time(_) => known.at_time.unwrap_or(end),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_stay_within_the_partition() {
        let known = Known {
            start: Some(Offset(10)),
            end: Some(Offset(20)),
            committed: Some(Offset(15)),
            at_time: Some(Offset(12)),
        };
        for (target, expected) in [
            (Target::Earliest, 10),
            (Target::Latest, 20),
            (Target::Current, 15),
            (Target::At(Offset(17)), 17),
            (Target::At(Offset(5)), 10),
            (Target::At(Offset(25)), 20),
            (Target::ShiftBy(-3), 12),
            (Target::ShiftBy(-30), 10),
            (Target::ShiftBy(i64::MAX), 20),
            (Target::Time(0), 12),
        ] {
            assert_eq!(target.offset(known), Ok(Offset(expected)), "{target:?}");
        }
        let nothing = Known { committed: None, at_time: None, ..known };
        assert_eq!(Target::Current.offset(nothing), Ok(Offset(20)));
        assert_eq!(Target::Time(0).offset(nothing), Ok(Offset(20)));
        assert!(Target::ShiftBy(1).offset(nothing).is_err());
        assert!(Target::Earliest.offset(Known::default()).is_err());
    }
}
