//! The weight budget of each address: 429 when a minute's is spent, 418 for those who go on.

pub(crate) mod connections;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

const MINUTE_MS: i64 = 60_000;
/// So many refused requests in a row of minutes are taken for a misunderstanding.
const REFUSALS_BEFORE_BAN: u32 = 10;
/// The first ban; each further one is twice as long, up to three days.
const BAN_MS: i64 = 2 * MINUTE_MS;
const BAN_MS_MAX: i64 = 3 * 24 * 60 * MINUTE_MS;
/// Beyond this many addresses those that are neither active nor banned are forgotten.
const ADDRESSES_KEPT: usize = 10_000;

/// Weight used by each address.
#[derive(Debug)]
pub(crate) struct Limits {
    weight_per_minute: u32,
    usage: Mutex<HashMap<IpAddr, Usage>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Usage {
    minute: i64,
    used: u32,
    refusals: u32,
    bans: u32,
    banned_until: i64,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Served; `used` is the weight of this minute so far.
    Served {
        /// Weight used in this minute.
        used: u32,
    },
    /// 429 until the minute is over.
    TooMuch {
        /// Weight used in this minute.
        used: u32,
        /// Seconds to wait.
        retry_after: i64,
    },
    /// 418.
    Banned {
        /// Weight used in this minute.
        used: u32,
        /// Seconds to wait.
        retry_after: i64,
        /// End of the ban, ms UTC.
        until: i64,
    },
}

impl Limits {
    pub(crate) fn new(weight_per_minute: u32) -> Self {
        Self { weight_per_minute, usage: Mutex::default() }
    }

    /// The budget of an address for a minute.
    pub(crate) fn weight_per_minute(&self) -> u32 {
        self.weight_per_minute
    }

    /// Charges a request of this weight at `now` (ms UTC).
    pub(crate) fn charge(&self, address: IpAddr, weight: u32, now: i64) -> Verdict {
        let minute = now.div_euclid(MINUTE_MS);
        let mut all = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= ADDRESSES_KEPT && !all.contains_key(&address) {
            all.retain(|_, usage| usage.minute >= minute || usage.banned_until > now);
        }
        let usage = all.entry(address).or_default();
        usage.charge(minute, weight, now, self.weight_per_minute)
    }
}

impl Usage {
    fn charge(&mut self, minute: i64, weight: u32, now: i64, limit: u32) -> Verdict {
        if minute > self.minute {
            self.minute = minute;
            self.used = 0;
        }
        if now < self.banned_until {
            return self.banned(now);
        }
        self.used = self.used.saturating_add(weight);
        if self.used <= limit {
            self.refusals = 0;
            return Verdict::Served { used: self.used };
        }
        self.refusals += 1;
        if self.refusals > REFUSALS_BEFORE_BAN {
            let length = BAN_MS.saturating_mul(1 << self.bans.min(20)).min(BAN_MS_MAX);
            self.banned_until = now + length;
            self.bans += 1;
            self.refusals = 0;
            return self.banned(now);
        }
        Verdict::TooMuch { used: self.used, retry_after: seconds((minute + 1) * MINUTE_MS - now) }
    }

    fn banned(&self, now: i64) -> Verdict {
        let retry_after = seconds(self.banned_until - now);
        Verdict::Banned { used: self.used, retry_after, until: self.banned_until }
    }
}

fn seconds(millis: i64) -> i64 {
    (millis + 999).div_euclid(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn a_minutes_budget_is_spent_and_comes_back() {
        let limits = Limits::new(100);
        assert_eq!(limits.charge(A, 60, 60_000), Verdict::Served { used: 60 });
        assert_eq!(limits.charge(A, 40, 61_000), Verdict::Served { used: 100 });
        let refused = Verdict::TooMuch { used: 101, retry_after: 30 };
        assert_eq!(limits.charge(A, 1, 90_000), refused);
        assert_eq!(limits.charge(B, 1, 90_000), Verdict::Served { used: 1 });
        assert_eq!(limits.charge(A, 1, 120_000), Verdict::Served { used: 1 });
    }

    #[test]
    fn who_goes_on_is_banned_longer_each_time() {
        let limits = Limits::new(0);
        let mut now = 0;
        for expected in [120, 240, 480] {
            for _ in 0..REFUSALS_BEFORE_BAN {
                assert!(matches!(limits.charge(A, 1, now), Verdict::TooMuch { .. }));
            }
            let until = now + expected * 1000;
            for (at, retry_after) in [(now, expected), (until - 1, 1)] {
                let verdict = limits.charge(A, 1, at);
                assert!(
                    matches!(verdict, Verdict::Banned { retry_after: r, until: u, .. }
                        if r == retry_after && u == until),
                    "{verdict:?}"
                );
            }
            now = until;
        }
    }
}
