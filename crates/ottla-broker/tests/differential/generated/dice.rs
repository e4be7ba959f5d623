//! Numbers from a seed.

use ottla_protocol::messages::ApiKey;

/// SplitMix64: the same numbers for the same seed, everywhere and always.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `bound` - 1.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("a small number");
        usize::try_from(self.roll() % bound).expect("a small number")
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
