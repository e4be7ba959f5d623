//! How many offsets each group has committed since the node started.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Groups that are counted one by one.
const MAX_GROUPS: usize = 1000;

/// The counters; their number is bounded.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    total: AtomicU64,
    groups: Mutex<BTreeMap<String, u64>>,
}

impl Commits {
    /// A group has committed so many offsets.
    pub(crate) fn note(&self, group: &str, offsets: usize) {
        if offsets == 0 {
            return;
        }
        self.total.fetch_add(offsets as u64, Ordering::Relaxed);
        let mut groups = self.groups();
        if let Some(count) = groups.get_mut(group) {
            *count += offsets as u64;
        } else if groups.len() < MAX_GROUPS {
            groups.insert(group.to_owned(), offsets as u64);
        }
    }

    /// Offsets committed by all groups.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Offsets committed by group; groups that are not there any more are forgotten, and make room.
    pub(crate) fn by_group(&self, is_there: impl Fn(&str) -> bool) -> Vec<(String, u64)> {
        let mut groups = self.groups();
        groups.retain(|group, _| is_there(group));
        groups.iter().map(|(group, count)| (group.clone(), *count)).collect()
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_beyond_the_bound_count_in_the_total_until_others_go() {
        let commits = Commits::default();
        for index in 0..=MAX_GROUPS {
            commits.note(&format!("g{index:04}"), 2);
        }
        commits.note("none", 0);
        commits.note("g0000", 1);
        let last = format!("g{MAX_GROUPS:04}");
        let counted = commits.by_group(|_| true);
        assert_eq!((counted.len(), &counted[0]), (MAX_GROUPS, &("g0000".to_owned(), 3)));
        assert!(!counted.iter().any(|(group, _)| *group == last));
        assert_eq!(commits.total(), 2 * MAX_GROUPS as u64 + 3);

        assert_eq!(commits.by_group(|group| group == "g0001"), [("g0001".to_owned(), 2)]);
        commits.note(&last, 5);
        assert_eq!(commits.by_group(|_| true).last(), Some(&(last, 5)));
    }
}
