//! How long to wait before trying again.

use std::time::Duration;

/// Exponential backoff with full jitter: each wait is a random part of a bound that doubles.
///
/// Chance comes in as a parameter: the caller owns it, tests choose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits between `min` and `max`.
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0 }
    }

    /// After a failure: how long to wait. `chance` is uniform over `u32`.
    pub fn next(&mut self, chance: u32) -> Duration {
        let bound = self.min.saturating_mul(1 << self.failures.min(16)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        // Never less than the minimum: a whole fleet at zero would defeat the purpose.
        let spread = bound.saturating_sub(self.min);
        let share = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX) >> 32;
        let fine = (u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX) & 0xffff_ffff)
            .saturating_mul(u64::from(chance))
            >> 32;
        self.min + Duration::from_nanos(share.saturating_mul(u64::from(chance)) + fine)
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_to_the_maximum_and_starts_again() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let waits: Vec<_> = (0..6).map(|_| backoff.next(u32::MAX).as_millis()).collect();
        assert_eq!(waits, [100, 199, 399, 799, 999, 999]);
        backoff.reset();
        assert_eq!(backoff.next(u32::MAX).as_millis(), 100);
    }

    #[test]
    fn chance_spreads_it_but_never_below_the_minimum() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        for _ in 0..40 {
            assert_eq!(backoff.next(0), Duration::from_millis(100));
        }
        let wait = backoff.next(u32::MAX / 2);
        assert!((Duration::from_secs(14)..Duration::from_secs(16)).contains(&wait), "{wait:?}");
    }
}
