//! Random values for decisions, drawn from a seed that the caller gives: the same seed gives the same records.

use ottla_types::{SplitMix64, Uuid};

/// A generator (xoshiro256**) seeded by the shell from the operating system, or by a test or simulation from its own seed.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// A generator from 32 bytes of entropy.
    pub fn new(seed: [u8; 32]) -> Self {
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&seed[at * 8..at * 8 + 8]);
            u64::from_le_bytes(bytes)
        };
        let mut state = [word(0), word(1), word(2), word(3)];
        if state == [0; 4] {
            state = [1, 2, 3, 4];
        }
        Self { state }
    }

    /// A generator for tests: short seeds are spread over the whole state.
    pub fn from_u64(seed: u64) -> Self {
        let mut bytes = [0; 32];
        // The generator that xoshiro's authors give for seeding.
        let mut spread = SplitMix64::new(seed);
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&spread.next_u64().to_le_bytes());
        }
        Self::new(bytes)
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (c2, d2) = (c ^ a, d ^ b);
        self.state = [a ^ d2, b ^ c2, c2 ^ (b << 17), d2.rotate_left(45)];
        result
    }

    /// A number below `bound`, which must not be 0. The bias of the multiplication is below 2^-32 for the small bounds used.
    pub fn below(&mut self, bound: usize) -> usize {
        debug_assert!(bound > 0, "a bound of 0 has no number below it");
        let wide = u128::from(self.next_u64()) * (bound as u128);
        usize::try_from(wide >> 64).expect("below bound, a usize")
    }

    /// Shuffles in place (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// A fresh id for a topic or an ACL.
    pub fn uuid(&mut self) -> Uuid {
        loop {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&self.next_u64().to_le_bytes());
            bytes[8..].copy_from_slice(&self.next_u64().to_le_bytes());
            if let Some(id) = Uuid::from_random(bytes) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_reproducible_and_spread() {
        let draw = |seed| {
            let mut random = Random::from_u64(seed);
            (0..100).map(|_| random.below(10)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!((0..10).all(|n| draw(7).contains(&n)));
    }

    #[test]
    fn ids_are_distinct_even_from_a_zero_seed() {
        let mut random = Random::new([0; 32]);
        let ids: std::collections::BTreeSet<_> = (0..1000).map(|_| random.uuid()).collect();
        assert_eq!(ids.len(), 1000);
    }
}
