//! The order in which Java's `HashMap` and `HashSet` are iterated: by bucket.

use ottla_types::Uuid;

/// `String.hashCode`.
pub(crate) fn hash_of_text(text: &str) -> u32 {
    text.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)))
}

/// `Uuid.hashCode` of Kafka.
pub(crate) fn hash_of_id(id: &Uuid) -> u32 {
    id.as_bytes()
        .chunks(4)
        .fold(0, |hash, part| hash ^ part.iter().fold(0, |word, &byte| (word << 8) | u32::from(byte)))
}

/// The buckets of a table that grew by adding `count` keys one after the other.
pub(crate) fn grown_capacity(count: usize) -> usize {
    let mut capacity = 16;
    while count > capacity / 4 * 3 {
        capacity *= 2;
    }
    capacity
}

/// The buckets of a set that was made of a collection of `count` keys (`new HashSet<>(collection)`).
pub(crate) fn copied_capacity(count: usize) -> usize {
    (count * 4 / 3 + 1).max(16).next_power_of_two()
}

/// The keys in the order of their buckets; those of one bucket stay in the given order.
pub(crate) fn sort<T>(keys: impl Iterator<Item = T>, capacity: usize, hash: impl Fn(&T) -> u32) -> Vec<T> {
    let mut keys: Vec<T> = keys.collect();
    let mask = u32::try_from(capacity).unwrap_or(1 << 30).wrapping_sub(1);
    keys.sort_by_key(|key| {
        let hash = hash(key);
        (hash ^ (hash >> 16)) & mask
    });
    keys
}

/// Numbers of a set that was made of a collection.
pub(crate) fn sort_numbers(numbers: impl ExactSizeIterator<Item = i32>) -> Vec<i32> {
    let capacity = copied_capacity(numbers.len());
    sort(numbers, capacity, |number| number.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_java() {
        assert_eq!(hash_of_text(""), 0);
        assert_eq!(hash_of_text("Aa"), hash_of_text("BB"));
        assert_eq!(hash_of_text("Aa"), 2112);
        assert_eq!(hash_of_id(&Uuid::from_parts(1, 2)), 3);
        assert_eq!(hash_of_id(&Uuid::from_parts(1 << 32, 2)), 3);
    }

    #[test]
    fn tables_grow_at_three_quarters() {
        assert_eq!([0, 12, 13, 24, 25].map(grown_capacity), [16, 16, 32, 32, 64]);
        assert_eq!([0, 11, 12, 23, 24].map(copied_capacity), [16, 16, 32, 32, 64]);
    }

    #[test]
    fn numbers_beyond_the_table_wrap() {
        assert_eq!(sort_numbers([1, 2, 16, 17].into_iter()), [16, 1, 17, 2]);
    }
}
