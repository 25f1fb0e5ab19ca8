//! The daily prices of a stock: a pure function of seed, symbol and day, unadjusted for splits.

use super::calendar::{is_trading_day, quarters_traded, trading_day_before};
use crate::market::seeded::noise::{hash, smooth, unit};
use jiff::civil::{Date, DateTime, date};

/// Quarters of an hour of a session: how finely a day is made up.
const QUARTERS: u64 = 26;
/// Before this day no stock has a history.
const BEGIN: Date = date(1999, 11, 1);

/// A stock: its price of today in cents, shares a day, first day, and splits (the day from which a
/// price is so many times smaller).
type Known = (&'static str, f64, f64, Date, &'static [(Date, u32)]);

/// Stocks that people know, with their real first days and splits.
const KNOWN: [Known; 8] = [
    ("TSLA", 34_000.0, 95e6, date(2010, 6, 29), &[(date(2020, 8, 31), 5), (date(2022, 8, 25), 3)]),
    ("AAPL", 23_000.0, 55e6, BEGIN, &[(date(2014, 6, 9), 7), (date(2020, 8, 31), 4)]),
    ("MSFT", 43_000.0, 22e6, BEGIN, &[(date(2003, 2, 18), 2)]),
    ("GOOGL", 18_500.0, 28e6, date(2004, 8, 19), &[(date(2014, 4, 3), 2), (date(2022, 7, 18), 20)]),
    ("AMZN", 21_000.0, 40e6, BEGIN, &[(date(2022, 6, 6), 20)]),
    ("NVDA", 14_000.0, 220e6, BEGIN, &[(date(2021, 7, 20), 4), (date(2024, 6, 10), 10)]),
    ("META", 61_000.0, 14e6, date(2012, 5, 18), &[]),
    ("IBM", 23_000.0, 5e6, BEGIN, &[]),
];

/// Ups and downs: quarters of an hour between turns, and how far they reach.
const OCTAVES: [(u64, f64); 8] = [
    (QUARTERS * 700, 0.22),
    (QUARTERS * 250, 0.12),
    (QUARTERS * 60, 0.07),
    (QUARTERS * 20, 0.04),
    (QUARTERS * 5, 0.02),
    (QUARTERS, 0.012),
    (6, 0.005),
    (1, 0.002),
];

/// One day. Prices in 1/10000 of a dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) date: Date,
    pub(super) open: i64,
    pub(super) high: i64,
    pub(super) low: i64,
    pub(super) close: i64,
    pub(super) volume: i64,
}

/// A split that was decreed: from `date` on prices are `ratio` times smaller.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Whose.
    pub symbol: String,
    /// The first day with the smaller price.
    pub date: Date,
    /// How many shares one becomes; 2 or more.
    pub ratio: u32,
}

/// Whether a symbol is listed: one to five letters, with a suffix of one to four at most.
pub(super) fn is_listed(symbol: &str) -> bool {
    let (name, suffix) = symbol.split_once('.').map_or((symbol, "A"), |(name, rest)| (name, rest));
    let letters = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase())
    };
    letters(name, 5) && letters(suffix, 4)
}

/// The last `count` days of a stock until `now` (New York), newest first; the day under way is as
/// it stands.
pub(super) fn latest(
    seed: u64,
    symbol: &str,
    now: DateTime,
    splits: &[Split],
    count: usize,
) -> Vec<Bar> {
    let stock = Stock::of(seed, symbol, splits);
    let mut bars = Vec::new();
    let today = now.date();
    let traded = quarters_traded(now);
    let mut day = match is_trading_day(today) && traded > 0 {
        true => Some(today),
        false => trading_day_before(today),
    };
    while let Some(at) = day.filter(|day| *day >= stock.listed && bars.len() < count) {
        bars.push(stock.bar(at, if at == today { traded } else { QUARTERS }));
        day = trading_day_before(at);
    }
    bars
}

struct Stock {
    seed: u64,
    cents: f64,
    volume: f64,
    listed: Date,
    /// What happened, as in the world: prices before are so many times larger.
    past: Vec<(Date, u32)>,
    /// What was decreed: prices from then on are so many times smaller.
    decreed: Vec<(Date, u32)>,
}

impl Stock {
    fn of(seed: u64, symbol: &str, splits: &[Split]) -> Self {
        let seed = symbol.bytes().fold(hash(seed, 7), |seed, byte| hash(seed, u64::from(byte)));
        let made_up: Known = (
            "",
            1_500.0 + 30_000.0 * unit(hash(seed, 1)),
            5e5 + 2e7 * unit(hash(seed, 2)),
            BEGIN,
            &[],
        );
        let known = KNOWN.into_iter().find(|(name, ..)| *name == symbol).unwrap_or(made_up);
        let (_, cents, volume, listed, past) = known;
        let decreed = splits.iter().filter(|split| split.symbol == symbol);
        Self {
            seed,
            cents,
            volume,
            listed,
            past: past.to_vec(),
            decreed: decreed.map(|split| (split.date, split.ratio.max(1))).collect(),
        }
    }

    fn bar(&self, day: Date, quarters: u64) -> Bar {
        let number = day_number(day);
        let prices: Vec<i64> = (0..=quarters).map(|quarter| self.price(day, quarter)).collect();
        let chance = hash(hash(self.seed, 3), number);
        // Quotes of half a cent are rare, and only the extremes have them.
        let half = |of: u64| if of.is_multiple_of(9) { 50 } else { 0 };
        let first = prices.first().copied().unwrap_or(0);
        let shares = self.volume * (0.5 + unit(chance) * unit(chance >> 7) * 2.0);
        let factor = self.shares_factor(day);
        let traded = shares * factor * quarters as f64 / QUARTERS as f64;
        Bar {
            date: day,
            open: first,
            high: prices.iter().copied().max().unwrap_or(0) + half(chance >> 3),
            low: prices.iter().copied().min().unwrap_or(0) - half(chance >> 11),
            close: prices.last().copied().unwrap_or(0),
            volume: (traded as i64).max(1),
        }
    }

    /// In 1/10000 of a dollar, a whole number of cents.
    fn price(&self, day: Date, quarter: u64) -> i64 {
        let number = day_number(day);
        let position = number * QUARTERS + quarter;
        let mut moved = 0.0;
        for (octave, (period, distance)) in (0_u64..).zip(OCTAVES) {
            moved += smooth(hash(self.seed, 100 + octave), position, period) * distance;
        }
        let overnight = (unit(hash(hash(self.seed, 4), number)) - 0.5) * 0.012;
        // Stocks rise, over the decades: to 1 by 2026.
        let trend = (0.15 + 0.85 * (number as f64 - 10_957.0) / 9_600.0).max(0.15);
        let cents = self.cents * trend * (1.0 + moved + overnight) / self.shares_factor(day);
        (cents.max(1.0).round() as i64) * 100
    }

    /// How many shares of that day are one of today; in the past of a split, less than one.
    fn shares_factor(&self, day: Date) -> f64 {
        let later = self.past.iter().filter(|(split, _)| day < *split);
        let earlier = self.decreed.iter().filter(|(split, _)| day >= *split);
        let before: f64 = later.map(|(_, ratio)| f64::from(*ratio)).product();
        let after: f64 = earlier.map(|(_, ratio)| f64::from(*ratio)).product();
        after / before
    }
}

/// Days since 1970-01-01.
fn day_number(day: Date) -> u64 {
    let since = day - date(1970, 1, 1);
    u64::try_from(since.get_days()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(now: &str, symbol: &str, count: usize) -> Vec<Bar> {
        latest(1, symbol, now.parse().unwrap(), &[], count)
    }

    #[test]
    fn a_history_is_the_same_whenever_it_is_asked_for() {
        let early = until("2026-05-14T18:00:00", "TSLA", 100);
        let late = until("2026-05-15T18:00:00", "TSLA", 101);
        assert_eq!(late[1..], early);
        assert_ne!(until("2026-05-14T18:00:00", "AAPL", 100), early);
        assert_ne!(latest(2, "TSLA", "2026-05-14T18:00:00".parse().unwrap(), &[], 100), early);
        let all = until("2026-05-14T18:00:00", "TSLA", usize::MAX);
        assert_eq!(all.last().unwrap().date, date(2010, 6, 29));
        assert_eq!(all[..100], early);
    }

    #[test]
    fn every_bar_is_possible() {
        for symbol in ["TSLA", "AAPL", "MSFT", "GOOGL", "AMZN", "IBM", "ZZZ"] {
            let bars = until("2026-05-14T18:00:00", symbol, usize::MAX);
            assert!(bars.len() > 3_900, "{symbol}");
            for bar in &bars {
                let Bar { open, high, low, close, volume, .. } = *bar;
                assert!(0 < low && low <= open.min(close) && open.max(close) <= high, "{bar:?}");
                assert!(volume > 1_000 && is_trading_day(bar.date), "{bar:?}");
            }
            let calm = bars.windows(2).filter(|pair| {
                let change = pair[0].close as f64 / pair[1].close as f64 - 1.0;
                change.abs() < 0.15
            });
            let splits = KNOWN.iter().find(|it| it.0 == symbol).map_or(0, |it| it.4.len());
            assert_eq!(bars.len() - 1 - calm.count(), splits, "{symbol}");
        }
    }

    #[test]
    fn the_day_grows_through_the_session() {
        let at = |time: &str| until(&format!("2026-05-15T{time}"), "TSLA", 2);
        assert_eq!(at("09:35:00")[0].date, date(2026, 5, 14));
        let (noon, evening) = (at("12:00:00")[0], at("16:00:00")[0]);
        assert_eq!((noon.date, noon.open), (date(2026, 5, 15), evening.open));
        assert!(noon.high <= evening.high && noon.low >= evening.low);
        assert!(noon.volume < evening.volume);
        assert_ne!(noon.close, evening.close);
        assert_eq!(at("12:00:00")[1], at("16:00:00")[1]);
        assert_eq!(until("2026-05-16T12:00:00", "TSLA", 1)[0], evening);
    }

    #[test]
    fn a_decreed_split_changes_nothing_before_it() {
        let split = Split { symbol: "TSLA".into(), date: date(2026, 5, 13), ratio: 4 };
        let now = "2026-05-15T18:00:00".parse().unwrap();
        let (plain, split) =
            (latest(1, "TSLA", now, &[], 10), latest(1, "TSLA", now, &[split], 10));
        for (plain, split) in plain.iter().zip(&split) {
            if plain.date < date(2026, 5, 13) {
                assert_eq!(plain, split);
            } else {
                assert!((plain.close - 4 * split.close).abs() <= 400, "{plain:?} {split:?}");
                assert!(split.volume > 3 * plain.volume);
            }
        }
    }

    #[test]
    fn symbols_look_like_symbols() {
        for (symbol, listed) in
            [("TSLA", true), ("T", true), ("TSCO.LON", true), ("NOSUCH", false), ("", false)]
        {
            assert_eq!(is_listed(symbol), listed, "{symbol}");
        }
        assert!(!is_listed("T5") && !is_listed("BRK.") && !is_listed("tsla"));
    }
}
