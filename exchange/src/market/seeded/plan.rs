//! How many trades and book updates fall into which second.
//!
//! An hour of a symbol has a fixed number of aggregate trades `A`, of trades `N ≥ A` and of book
//! updates `4A`; weights (bursts among them) spread them over its seconds. So the numbers of all
//! that came before a second are known without generating any of it, and ids have no holes.

use super::noise::{Path, hash, smooth};

/// Book updates for each aggregate trade. An integer, so that a second with a trade has an update.
const UPDATES_PER_AGG: u64 = 4;
/// Trades for ten aggregate trades.
const TRADES_PER_TEN_AGGS: u64 = 16;
pub(crate) const MINUTES_PER_HOUR: u64 = 60;
pub(crate) const SECONDS_PER_MINUTE: u64 = 60;
const SECONDS_PER_HOUR: u64 = MINUTES_PER_HOUR * SECONDS_PER_MINUTE;

/// Messages (trades and book updates) for ten aggregate trades.
const MESSAGES_PER_TEN_AGGS: u64 = TRADES_PER_TEN_AGGS + 10 * UPDATES_PER_AGG;
/// Book updates for each message.
pub(crate) const UPDATES_SHARE: f64 = (10 * UPDATES_PER_AGG) as f64 / MESSAGES_PER_TEN_AGGS as f64;

/// How busy a symbol is, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Activity {
    seed: u64,
    path: Path,
    /// Aggregate trades an hour.
    pub(crate) aggs_per_hour: u64,
    /// Trades an hour beyond one for each aggregate trade.
    extras_per_hour: u64,
    /// Whether every second is as busy as any other.
    steady: bool,
}

/// Numbers since the epoch, up to the beginning of some second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) aggs: u64,
    pub(crate) trades: u64,
    pub(crate) updates: u64,
}

/// The counts at the beginning of each second of a minute, and at its end.
#[derive(Debug, Clone)]
pub(crate) struct Minute {
    pub(crate) minute: u64,
    counts: Vec<Counts>,
}

impl Minute {
    /// What lies before the second (0–59) of this minute and what before the one after it.
    pub(crate) fn second(&self, second: u64) -> (Counts, Counts) {
        let at = |n: u64| {
            usize::try_from(n).ok().and_then(|n| self.counts.get(n)).copied().unwrap_or_default()
        };
        (at(second), at(second + 1))
    }

    /// What lies before the next minute.
    pub(crate) fn after(&self) -> Counts {
        self.counts.last().copied().unwrap_or_default()
    }

    /// The second (0–59) in which the given count is passed.
    pub(crate) fn find(&self, of: impl Fn(&Counts) -> u64, index: u64) -> u64 {
        let passed = self.counts.iter().skip(1).filter(|counts| of(counts) <= index).count();
        (passed as u64).min(SECONDS_PER_MINUTE - 1)
    }
}

impl Activity {
    /// An activity of about so many trades and book updates a second.
    pub(crate) fn new(seed: u64, path: Path, messages_per_second: f64, steady: bool) -> Self {
        let per_hour = messages_per_second * SECONDS_PER_HOUR as f64;
        let aggs_per_hour =
            (per_hour * 10.0 / MESSAGES_PER_TEN_AGGS as f64).round().max(1.0) as u64;
        let trades = (aggs_per_hour * TRADES_PER_TEN_AGGS).div_euclid(10);
        Self { seed, path, aggs_per_hour, extras_per_hour: trades - aggs_per_hour, steady }
    }

    /// Trades an hour.
    pub(crate) fn trades_per_hour(&self) -> u64 {
        self.aggs_per_hour + self.extras_per_hour
    }

    /// The counts of a minute since the epoch.
    pub(crate) fn minute(&self, minute: u64) -> Minute {
        let (hour, within) = (minute / MINUTES_PER_HOUR, minute % MINUTES_PER_HOUR);
        let (mut before, mut all) = (0_u64, 0_u64);
        for other in 0..MINUTES_PER_HOUR {
            let weight = self.minute_weight(hour * MINUTES_PER_HOUR + other);
            if other < within {
                before += weight;
            }
            all += weight;
        }
        let weight = self.minute_weight(minute);
        let seconds: Vec<u64> = (0..SECONDS_PER_MINUTE)
            .map(|second| self.second_weight(minute * SECONDS_PER_MINUTE + second))
            .collect();
        let total: u64 = seconds.iter().sum();
        // The share of the hour that lies before a second, as an exact fraction.
        let denominator = u128::from(all) * u128::from(total);
        let mut passed = 0;
        let mut counts = Vec::with_capacity(seconds.len() + 1);
        for weight_of_second in std::iter::once(0).chain(seconds) {
            passed += weight_of_second;
            let share =
                u128::from(before) * u128::from(total) + u128::from(weight) * u128::from(passed);
            counts.push(self.counts(hour, share, denominator));
        }
        Minute { minute, counts }
    }

    fn counts(&self, hour: u64, share: u128, denominator: u128) -> Counts {
        let part =
            |whole: u64| u64::try_from(u128::from(whole) * share / denominator).unwrap_or(u64::MAX);
        let aggs = part(self.aggs_per_hour);
        // Whenever `aggs` passes a whole number, so does this one.
        let updates = part(self.aggs_per_hour * UPDATES_PER_AGG);
        let extras = u128::from(self.extras_per_hour) * u128::from(aggs);
        let extras = u64::try_from(extras / u128::from(self.aggs_per_hour)).unwrap_or(0);
        Counts {
            aggs: hour * self.aggs_per_hour + aggs,
            trades: hour * self.trades_per_hour() + aggs + extras,
            updates: hour * self.aggs_per_hour * UPDATES_PER_AGG + updates,
        }
    }

    /// The minute in which the trade (counted from the epoch) happens.
    pub(crate) fn minute_of_trade(&self, index: u64) -> Minute {
        self.find(index / self.trades_per_hour(), |counts| counts.trades, index)
    }

    /// The minute in which the aggregate trade (counted from the epoch) happens.
    pub(crate) fn minute_of_agg(&self, index: u64) -> Minute {
        self.find(index / self.aggs_per_hour, |counts| counts.aggs, index)
    }

    fn find(&self, hour: u64, of: impl Fn(&Counts) -> u64, index: u64) -> Minute {
        let first = hour * MINUTES_PER_HOUR;
        let (mut low, mut high) = (first, first + MINUTES_PER_HOUR - 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if of(&self.minute(middle).after()) <= index { low = middle + 1 } else { high = middle }
        }
        self.minute(low)
    }

    fn minute_weight(&self, minute: u64) -> u64 {
        if self.steady {
            return 1;
        }
        let tide = smooth(hash(self.seed, 1), minute, 25);
        let chance = hash(hash(self.seed, 2), minute);
        let lively = if chance.is_multiple_of(20) { 900 } else { 0 };
        300 + ((tide + 1.0) * 350.0) as u64 + chance % 300 + lively
    }

    /// Most seconds are quiet; some are ten to twenty times as busy.
    fn second_weight(&self, second: u64) -> u64 {
        if self.steady {
            return 1;
        }
        let chance = hash(hash(self.seed, 3), second);
        let usual = 30 + (chance >> 8) % 140;
        if self.path.is_moving(second) {
            usual * 6
        } else if chance.is_multiple_of(50) {
            usual * (10 + (chance >> 32) % 11)
        } else {
            usual
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity(rate: f64) -> Activity {
        Activity::new(5, Path::new(6, 1.0), rate, false)
    }

    #[test]
    fn minutes_join_without_a_hole_and_hours_add_up() {
        for rate in [0.01, 0.3, 7.0, 900.0] {
            let activity = activity(rate);
            let mut last = Counts::default();
            for minute in 0..180 {
                let plan = activity.minute(minute);
                assert_eq!(plan.second(0).0, last, "minute {minute} at {rate}");
                for second in 0..SECONDS_PER_MINUTE {
                    let (before, after) = plan.second(second);
                    assert_eq!(before, last);
                    let (aggs, trades) = (after.aggs - before.aggs, after.trades - before.trades);
                    assert!(trades >= aggs && (aggs > 0 || trades == 0));
                    assert!(aggs == 0 || after.updates > before.updates, "a trade without a book");
                    last = after;
                }
            }
            assert_eq!(last.trades, 3 * activity.trades_per_hour());
            assert_eq!(last.aggs, 3 * activity.aggs_per_hour);
        }
    }

    #[test]
    fn what_is_counted_is_found_again() {
        let activity = activity(3.0);
        for index in (0..2 * activity.trades_per_hour()).step_by(37) {
            let plan = activity.minute_of_trade(index);
            let second = plan.find(|counts| counts.trades, index);
            let (before, after) = plan.second(second);
            assert!((before.trades..after.trades).contains(&index), "{index}");
        }
        for index in (0..2 * activity.aggs_per_hour).step_by(37) {
            let plan = activity.minute_of_agg(index);
            let (before, after) = plan.second(plan.find(|counts| counts.aggs, index));
            assert!((before.aggs..after.aggs).contains(&index), "{index}");
        }
    }

    #[test]
    fn a_steady_second_is_as_any_other() {
        let activity = Activity::new(5, Path::new(6, 1.0), 100.0, true);
        for minute in 0..61 {
            let plan = activity.minute(minute);
            for second in 0..SECONDS_PER_MINUTE {
                let (before, after) = plan.second(second);
                let messages = after.updates - before.updates + after.trades - before.trades;
                assert!((97..=103).contains(&messages), "{messages}");
            }
        }
    }

    #[test]
    fn some_seconds_are_ten_times_as_busy() {
        let activity = activity(100.0);
        let mut seconds: Vec<u64> = (0..60)
            .flat_map(|minute| {
                let plan = activity.minute(minute);
                (0..60).map(move |second| plan.second(second)).collect::<Vec<_>>()
            })
            .map(|(before, after)| after.updates - before.updates)
            .collect();
        seconds.sort_unstable();
        assert!(seconds[3_599] > 8 * seconds[1_800], "{:?}", (seconds[1_800], seconds[3_599]));
    }
}
