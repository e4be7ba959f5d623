//! Which segments become one (`Cleaner.groupSegmentsBySize`): cleaning again and again must not leave ever more ever smaller
//! segments.

use ottla_types::Offset;

/// What grouping looks at in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) base: Offset,
    pub(super) log_bytes: u64,
    pub(super) index_bytes: u64,
    pub(super) time_index_bytes: u64,
}

/// Number of segments of each group, in order: as many as fit into one segment and its indexes, and whose offsets a segment
/// can express. `end` is the offset after the last of them.
pub(super) fn group(segments: &[Sizes], max_bytes: u64, max_index_bytes: u64, end: Offset) -> Vec<usize> {
    let mut groups = Vec::new();
    let mut rest = segments;
    while let Some((first, mut others)) = rest.split_first() {
        let mut total = *first;
        let mut len = 1;
        while let Some((next, after)) = others.split_first() {
            let last_offset = after.first().map_or(end, |after| after.base) - 1;
            let fits = total.log_bytes + next.log_bytes <= max_bytes
                && total.index_bytes + next.index_bytes <= max_index_bytes
                && total.time_index_bytes + next.time_index_bytes <= max_index_bytes
                // An empty segment has no offsets; without this one would be left every 2^31 of them.
                && (next.log_bytes == 0 || last_offset - first.base <= i64::from(i32::MAX));
            if !fits {
                break;
            }
            total.log_bytes += next.log_bytes;
            total.index_bytes += next.index_bytes;
            total.time_index_bytes += next.time_index_bytes;
            len += 1;
            others = after;
        }
        groups.push(len);
        rest = others;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(segments: &[(i64, u64)]) -> Vec<Sizes> {
        let sizes = |(base, log_bytes): &(i64, u64)| Sizes {
            base: Offset(*base),
            log_bytes: *log_bytes,
            index_bytes: log_bytes / 10,
            time_index_bytes: log_bytes / 5,
        };
        segments.iter().map(sizes).collect()
    }

    #[test]
    fn groups_up_to_the_size_of_a_segment() {
        let segments = sizes(&[(0, 40), (10, 40), (20, 40), (30, 100), (40, 0), (50, 10)]);
        assert_eq!(group(&segments, 100, 1000, Offset(60)), [2, 1, 2, 1]);
        assert_eq!(group(&segments, 1000, 1000, Offset(60)), [6]);
        assert_eq!(group(&segments, 1000, 16, Offset(60)), [2, 1, 1, 2]);
        assert_eq!(group(&[], 100, 100, Offset(0)), [0_usize; 0]);
    }

    #[test]
    fn a_group_spans_no_more_offsets_than_an_index_can_express() {
        let far = i64::from(i32::MAX);
        let segments = sizes(&[(0, 10), (far, 10), (far + 1, 10), (far + 2, 0)]);
        assert_eq!(group(&segments, 1000, 1000, Offset(far + 3)), [2, 2]);
    }
}
