//! How large the bodies are that are sent: as large as the configuration allows while the server keeps
//! up, smaller while it does not. What did not get through is never sent again as it was: that might
//! never end.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fts_core::metrics::STORE_BODY_BYTES;

/// The most bytes of rows in one request, as the server is now. The least is one document, however
/// large.
#[derive(Debug)]
pub(super) struct Size {
    /// The configured most.
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: usize,
    /// What the server is known to take at all.
    ceiling: usize,
}

impl Size {
    pub(super) fn new(most: usize) -> Self {
        show(most);
        Self { most, state: Mutex::new(State { now: most, ceiling: most }) }
    }

    /// The most bytes in the next body; it may exceed them by less than one document.
    pub(super) fn now(&self) -> usize {
        self.with(|state| state.now)
    }

    /// A body of so many bytes did not get through in time. Of several that were under way at once
    /// only the smallest counts.
    pub(super) fn slow(&self, bytes: usize, reason: &str) {
        self.shrink(bytes, reason, |state| state.ceiling);
    }

    /// A body of so many bytes is larger than the server takes.
    pub(super) fn large(&self, bytes: usize, reason: &str) {
        // Not just below what was refused: each further step down would be another refusal.
        self.shrink(bytes, reason, |state| state.ceiling.min((bytes - bytes / 8).max(1)));
    }

    /// A body of so many bytes got through after `took` of the time that it had: the next one may be an
    /// eighth larger, unless this one took half of the time. A server that goes on as it is is not
    /// asked for more than it can do.
    pub(super) fn done(&self, bytes: usize, took: Duration, limit: Duration) {
        if took >= limit / 2 {
            return;
        }
        self.with(|state| {
            let most = self.most.min(state.ceiling);
            let larger = bytes.saturating_add(bytes / 8 + 1).min(most);
            // A body that was not full says nothing.
            if bytes < state.now || larger <= state.now {
                return;
            }
            state.now = larger;
            show(larger);
            if larger == most {
                tracing::info!(bytes = larger, "bodies are as large as they may be again");
            }
        });
    }

    fn shrink(&self, bytes: usize, reason: &str, ceiling: impl Fn(&State) -> usize) {
        self.with(|state| {
            state.ceiling = ceiling(state);
            let smaller = (bytes / 2).max(1);
            if smaller < state.now {
                state.now = smaller;
                show(smaller);
                tracing::warn!(from = bytes, to = smaller, reason, "smaller bodies from here on");
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn show(bytes: usize) {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    metrics::gauge!(STORE_BODY_BYTES, "store" => super::NAME).set(f64::from(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(8);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn it_halves_to_one_document_and_grows_back_no_further_than_configured() {
        let size = Size::new(1_000);
        let mut seen = Vec::new();
        for _ in 0..12 {
            size.slow(size.now(), "late");
            seen.push(size.now());
        }
        assert_eq!(seen, [500, 250, 125, 62, 31, 15, 7, 3, 1, 1, 1, 1]);
        // One document, whatever was allowed; then as many as fit.
        seen.clear();
        while seen.last() != Some(&1_000) {
            size.done(size.now().max(300), Duration::ZERO, LIMIT);
            seen.push(size.now());
        }
        assert_eq!(seen, [338, 381, 429, 483, 544, 613, 690, 777, 875, 985, 1_000]);
        size.done(1_100, Duration::ZERO, LIMIT);
        assert_eq!(size.now(), 1_000);
    }

    #[test]
    fn what_takes_half_of_the_time_or_was_not_full_makes_nothing_larger() {
        let size = Size::new(10_000);
        size.slow(2_000, "late");
        size.done(1_000, seconds(4), LIMIT);
        size.done(999, Duration::ZERO, LIMIT);
        assert_eq!(size.now(), 1_000);
        size.done(1_000, seconds(3), LIMIT);
        assert_eq!(size.now(), 1_126);
    }

    #[test]
    fn those_under_way_at_once_count_once() {
        let size = Size::new(1_000);
        for _ in 0..4 {
            size.slow(1_000, "late");
        }
        assert_eq!(size.now(), 500);
        for _ in 0..4 {
            size.done(500, seconds(2), LIMIT);
        }
        assert_eq!(size.now(), 563);
    }

    #[test]
    fn what_the_server_takes_at_all_is_found_and_not_exceeded_for_ever() {
        const TAKES: usize = 300_000;
        let size = Size::new(5_000_000);
        let mut refused = 0;
        for _ in 0..1_000 {
            let bytes = size.now();
            if bytes > TAKES {
                size.large(bytes, "too large");
                refused += 1;
            } else {
                size.done(bytes, Duration::ZERO, LIMIT);
            }
        }
        assert!(refused < 20, "{refused} refusals");
        assert!((TAKES * 3 / 4..=TAKES).contains(&size.now()), "{}", size.now());
    }
}
