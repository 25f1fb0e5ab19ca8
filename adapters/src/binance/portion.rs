//! What part of an address's limits is this process's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A fraction, which may change at any time; clones share it. Whole by default.
///
/// The exchange counts by IP address. Processes behind one address that each keep to a portion, and
/// whose portions add up to no more than one, keep to its limits together.
#[derive(Debug, Clone)]
pub struct Portion(Arc<AtomicU64>);

impl Default for Portion {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(pack(1, 1))))
    }
}

impl Portion {
    /// From here on it is `mine` out of `all`; all of it where `all` is 0.
    pub fn set(&self, mine: u32, all: u32) {
        let (mine, all) = if all == 0 { (1, 1) } else { (mine.min(all), all) };
        self.0.store(pack(mine, all), Ordering::Relaxed);
    }

    /// That part of `limit`, rounded down.
    pub fn of(&self, limit: u32) -> u32 {
        let packed = self.0.load(Ordering::Relaxed);
        let (mine, all) = (packed >> 32, packed & u64::from(u32::MAX));
        u32::try_from(u64::from(limit) * mine / all.max(1)).unwrap_or(limit)
    }
}

fn pack(mine: u32, all: u32) -> u64 {
    u64::from(mine) << 32 | u64::from(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(mine: u32, all: u32, limit: u32, expected: u32) {
        let portion = Portion::default();
        portion.clone().set(mine, all);
        assert_eq!(portion.of(limit), expected, "{mine} of {all} of {limit}");
    }

    #[test]
    fn a_portion_is_rounded_down_and_never_more_than_all() {
        assert_eq!(Portion::default().of(5_000), 5_000);
        check(1, 3, 5_000, 1_666);
        check(0, 3, 5_000, 0);
        check(4, 3, 5_000, 5_000);
        check(0, 0, 5_000, 5_000);
        check(u32::MAX, u32::MAX, u32::MAX, u32::MAX);
    }

    proptest! {
        #[test]
        fn portions_of_one_limit_never_add_up_to_more(
            parts in prop::collection::vec(0..10_000_u32, 1..20),
            limit in 0..100_000_u32,
        ) {
            let all = parts.iter().sum();
            let portion = |mine: &u32| {
                let portion = Portion::default();
                portion.set(*mine, all);
                portion.of(limit)
            };
            let sum: u32 = parts.iter().map(portion).sum();
            prop_assert!(all == 0 || sum <= limit);
        }
    }
}
