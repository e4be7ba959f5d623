//! Numbers from a seed.

/// SplitMix64 (Steele, Lea and Flood, 2014): the same numbers for the same seed, on every machine and in every release, so
/// that what was drawn from a seed that is written down can be drawn again. Not for anything that is to be a secret.
#[derive(Clone, Debug)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// What the state grows by with each number: 2^64 divided by the golden ratio.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    /// The sequence of this seed. Every seed is as good as another.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Number `n` of the sequence of `seed`, counted from 1, without drawing those before it.
    pub const fn nth(seed: u64, n: u64) -> u64 {
        mix(seed.wrapping_add(n.wrapping_mul(Self::STEP)))
    }

    /// The next number: 64 random bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(Self::STEP);
        mix(self.state)
    }

    /// The next number, brought below `bound` by division.
    ///
    /// # Panics
    /// When `bound` is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// As `below`, for indexes.
    ///
    /// # Panics
    /// When `len` is 0.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a usize")
    }

    /// True once in `n` times.
    ///
    /// # Panics
    /// When `n` is 0.
    pub const fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

const fn mix(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_the_sequence_of_the_reference_implementation() {
        let mut random = SplitMix64::new(1_234_567);
        let drawn = [0; 5].map(|_: u64| random.next_u64());
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(drawn, expected);
    }

    #[test]
    fn a_number_by_its_place_is_the_one_of_the_sequence() {
        let mut random = SplitMix64::new(u64::MAX - 3);
        for n in 1..100 {
            assert_eq!(SplitMix64::nth(u64::MAX - 3, n), random.next_u64());
        }
    }

    #[test]
    fn stays_below_its_bound_and_reaches_all_of_it() {
        let mut random = SplitMix64::new(7);
        let seen: std::collections::BTreeSet<usize> = (0..200).map(|_| random.index(10)).collect();
        assert_eq!(seen, (0..10).collect());
        assert_eq!((random.below(1), random.one_in(1)), (0, true));
    }
}
