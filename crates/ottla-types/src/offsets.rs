//! Log offsets and their arithmetic.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// Position of a record in a partition's log. Ends of ranges are exclusive unless a name says `last`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub i64);

impl Offset {
    /// "No offset".
    pub const NONE: Self = Self(-1);
    /// The start of a fresh log.
    pub const ZERO: Self = Self(0);
    /// Beyond every record.
    pub const MAX: Self = Self(i64::MAX);

    /// The plain number, for the wire and the disk.
    pub const fn value(self) -> i64 {
        self.0
    }

    /// The offset after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Add<i64> for Offset {
    type Output = Self;
    fn add(self, rhs: i64) -> Self {
        Self(self.0 + rhs)
    }
}

impl AddAssign<i64> for Offset {
    fn add_assign(&mut self, rhs: i64) {
        self.0 += rhs;
    }
}

impl Sub<i64> for Offset {
    type Output = Self;
    fn sub(self, rhs: i64) -> Self {
        Self(self.0 - rhs)
    }
}

/// Distance between two offsets.
impl Sub for Offset {
    type Output = i64;
    fn sub(self, rhs: Self) -> i64 {
        self.0 - rhs.0
    }
}

impl From<i64> for Offset {
    fn from(value: i64) -> Self {
        Self(value)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offset({})", self.0)
    }
}
