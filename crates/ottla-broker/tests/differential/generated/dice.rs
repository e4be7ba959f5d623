//! Numbers from a seed.

use ottla_protocol::messages::ApiKey;
use ottla_types::SplitMix64;

/// What a sequence of requests is drawn with.
pub(super) struct Dice(SplitMix64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    /// 0 to `bound` - 1.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0.index(bound)
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn one<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    /// The first of `all` most of the time.
    pub(super) fn mostly<T: Clone>(&mut self, all: &[T]) -> T {
        if self.chance(75) { all[0].clone() } else { self.one(all) }
    }

    pub(super) fn version(&mut self, key: ApiKey, lowest: i16) -> i16 {
        let versions: Vec<i16> =
            key.stable_versions().expect("served").iter().filter(|version| *version >= lowest).collect();
        if self.chance(50) { *versions.last().expect("a version") } else { self.one(&versions) }
    }

    pub(super) fn topic(&mut self) -> u8 {
        self.mostly(&[0, 0, 1, 1, 2, 8, 9])
    }

    pub(super) fn partition(&mut self) -> i32 {
        self.mostly(&[0, 1, 1, 2, 7, -1])
    }

    /// Some of `all`, or none.
    pub(super) fn texts(&mut self, all: &[&str]) -> Vec<String> {
        let count = self.below(3);
        (0..count).map(|_| self.one(all).to_owned()).collect()
    }
}
