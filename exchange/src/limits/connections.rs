//! What the exchange asks of those who connect: how often they try, how many streams a connection
//! listens to, how much it says.

use fts_core::time::UnixNanos;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const ATTEMPTS_WINDOW_MS: i64 = 5 * 60_000;
/// Beyond this many addresses those that did not try lately are forgotten.
const ADDRESSES_KEPT: usize = 10_000;
const SECOND: Duration = Duration::from_secs(1);

/// The limits of the real exchange on its streams, as it documents them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Streams of one connection; with more it is closed with 1008.
    pub streams: usize,
    /// Attempts to connect of one address in 5 minutes; more are answered with 429.
    pub attempts_in_5_min: usize,
    /// Messages of a client in any second: requests, pings and pongs. With more the connection is
    /// closed with 1008.
    pub messages_per_second: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { streams: 1024, attempts_in_5_min: 300, messages_per_second: 5 }
    }
}

/// The attempts to connect of each address.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<HashMap<IpAddr, VecDeque<i64>>>);

impl Attempts {
    /// Notes an attempt; `Err`: it is one too many, come back after so many seconds. Attempts that
    /// are refused do not count.
    pub(crate) fn attempt(&self, from: IpAddr, limit: usize, now: UnixNanos) -> Result<(), i64> {
        let now = now.millis();
        let since = now - ATTEMPTS_WINDOW_MS;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= ADDRESSES_KEPT && !all.contains_key(&from) {
            all.retain(|_, times| times.back().is_some_and(|last| *last > since));
        }
        let times = all.entry(from).or_default();
        while times.front().is_some_and(|first| *first <= since) {
            times.pop_front();
        }
        match times.front() {
            Some(first) if times.len() >= limit => Err((first - since + 999) / 1000),
            None if limit == 0 => Err(ATTEMPTS_WINDOW_MS / 1000),
            _ => {
                times.push_back(now);
                Ok(())
            }
        }
    }
}

/// What a client says, message by message.
#[derive(Debug)]
pub(crate) struct Pace {
    limit: usize,
    /// The messages of the last second.
    times: VecDeque<Instant>,
}

impl Pace {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, times: VecDeque::new() }
    }

    /// Whether one more message is within the limit.
    pub(crate) fn allow(&mut self, now: Instant) -> bool {
        while self.times.front().is_some_and(|first| *first + SECOND <= now) {
            self.times.pop_front();
        }
        self.times.push_back(now);
        self.times.len() <= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn attempts_are_counted_for_five_minutes_and_by_address() {
        let attempts = Attempts::default();
        let (a, b) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
        let at = |seconds: i64| UnixNanos::from_millis(seconds * 1000);
        assert_eq!(attempts.attempt(a, 2, at(0)), Ok(()));
        assert_eq!(attempts.attempt(a, 2, at(100)), Ok(()));
        assert_eq!(attempts.attempt(a, 2, at(120)), Err(180));
        assert_eq!(attempts.attempt(b, 2, at(120)), Ok(()));
        assert_eq!(attempts.attempt(a, 2, at(299)), Err(1));
        assert_eq!(attempts.attempt(a, 2, at(300)), Ok(()));
        assert_eq!(attempts.attempt(a, 2, at(301)), Err(99));
    }

    #[tokio::test(start_paused = true)]
    async fn six_messages_in_a_second_are_too_many_and_five_are_not() {
        let mut pace = Pace::new(5);
        let begun = Instant::now();
        for number in 0..50 {
            assert!(pace.allow(begun + Duration::from_millis(200) * number), "{number}");
        }
        let begun = begun + Duration::from_secs(60);
        for number in 0..7 {
            assert_eq!(pace.allow(begun + Duration::from_millis(number)), number < 5);
        }
    }
}
