//! Numeric identities: nodes, epochs, producers and their sequences.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($repr:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $repr);

        impl $name {
            /// The plain number, for the wire and the disk.
            pub const fn value(self) -> $repr {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl From<$repr> for $name {
            fn from(value: $repr) -> Self {
                Self(value)
            }
        }
    };
}

id!(
    /// Id of a broker or controller (`node.id`); brokers and controllers share one id space.
    NodeId(i32)
);
id!(
    /// Leader epoch of a partition, or of the metadata quorum: grows by one with each new leader.
    LeaderEpoch(i32)
);
id!(
    /// Epoch of a broker's registration: the metadata log offset at which it registered.
    BrokerEpoch(i64)
);
id!(
    /// Id of an idempotent or transactional producer.
    ProducerId(i64)
);
id!(
    /// Epoch of a producer id: a higher one fences all lower ones.
    ProducerEpoch(i16)
);
id!(
    /// Sequence number of a record of an idempotent producer, per partition; wraps from `i32::MAX` to 0.
    Sequence(i32)
);

impl NodeId {
    /// "No node": a partition without leader, an unknown controller.
    pub const NONE: Self = Self(-1);
}

impl LeaderEpoch {
    /// "No epoch known".
    pub const NONE: Self = Self(-1);

    /// The epoch of the next leader.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl BrokerEpoch {
    /// "No registration": skips the epoch check in requests.
    pub const NONE: Self = Self(-1);
}

impl ProducerId {
    /// The batch is not from an idempotent producer.
    pub const NONE: Self = Self(-1);

    /// Whether this names a producer.
    pub const fn is_some(self) -> bool {
        self.0 >= 0
    }
}

impl ProducerEpoch {
    /// The batch is not from an idempotent producer.
    pub const NONE: Self = Self(-1);
}

impl Sequence {
    /// The batch carries no sequence.
    pub const NONE: Self = Self(-1);

    /// The sequence `n` records later; the sequence after `i32::MAX` is 0 (`DefaultRecordBatch.incrementSequence`).
    pub const fn plus(self, n: i32) -> Self {
        if self.0 > i32::MAX - n { Self(n - (i32::MAX - self.0) - 1) } else { Self(self.0 + n) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(Sequence(i32::MAX).plus(1), Sequence(0));
        assert_eq!(Sequence(i32::MAX - 1).plus(3), Sequence(1));
        assert_eq!(Sequence(5).plus(2), Sequence(7));
    }
}
