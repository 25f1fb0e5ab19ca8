//! Partitions: which one a row belongs to, and how long the stretch of time is that one holds.

use std::fmt;

use fts_core::interval::Interval;
use fts_core::market::{Symbol, Topic};
use fts_core::row::Table;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The greatest time that is stored, epoch milliseconds: the year 33,658. In microseconds, with any
/// version added, it is far from the end of an `i64`.
const TIME_MAX_MS: i64 = 1_000_000_000_000_000;

/// What a partition's rows have in common besides their stretch of time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Series {
    /// The rows of a symbol.
    Symbol(Symbol),
    /// The candles of a symbol and an interval.
    Candles(Symbol, Interval),
    /// The rows of all symbols.
    All,
    /// The rows that come from a partition of the log.
    Log(Topic, u32),
}

/// A partition of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Partition {
    pub(super) table: Table,
    pub(super) series: Series,
    /// Start of its stretch of time, epoch milliseconds.
    pub(super) bucket: i64,
}

impl Partition {
    /// The partition of a row of that time.
    pub(super) fn of(table: Table, series: Series, time: i64) -> Self {
        let bucket = series.bucket(table, time);
        Self { table, series, bucket }
    }
}

impl Series {
    /// How long the stretch of time is that a partition holds, milliseconds: as long as keeps it
    /// below 100 MB and a million rows at the rate of the busiest symbol. The rates are in the
    /// schema, beside the keys.
    pub(super) const fn bucket_ms(&self, table: Table) -> i64 {
        match (table, self) {
            (Table::BookTickers | Table::DeadLetters | Table::Transactions, _) => 10 * MINUTE_MS,
            (Table::Trades, _) => HOUR_MS,
            (Table::Candles, Self::Candles(_, interval)) => match interval {
                Interval::Second => DAY_MS,
                Interval::Minute | Interval::Minutes5 | Interval::Minutes15 => 30 * DAY_MS,
                Interval::Hour | Interval::Day => 360 * DAY_MS,
            },
            (Table::Dailies, _) => 3_600 * DAY_MS,
            (Table::DailyChanges, _) => 360 * DAY_MS,
            _ => DAY_MS,
        }
    }

    /// Start of the bucket that `time` falls into.
    pub(super) const fn bucket(&self, table: Table, time: i64) -> i64 {
        let time = clamp(time);
        time - time.rem_euclid(self.bucket_ms(table))
    }

    /// The series of that name, as `Display` writes it.
    pub(super) fn parse(table: Table, text: &str) -> Option<Self> {
        Some(match table {
            Table::Candles => {
                let (symbol, interval) = text.split_once(' ')?;
                Self::Candles(Symbol::new(symbol).ok()?, interval.parse().ok()?)
            }
            Table::DeadLetters => {
                let (topic, partition) = text.split_once(' ')?;
                Self::Log(Topic::from_name(topic)?, partition.parse().ok()?)
            }
            Table::Gaps | Table::Alerts => Self::All,
            _ => Self::Symbol(Symbol::new(text).ok()?),
        })
    }
}

impl fmt::Display for Series {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbol(symbol) => write!(out, "{symbol}"),
            Self::Candles(symbol, interval) => write!(out, "{symbol} {interval}"),
            Self::All => out.write_str("all"),
            Self::Log(topic, partition) => write!(out, "{} {partition}", topic.name()),
        }
    }
}

/// `time` within what is stored.
pub(super) const fn clamp(time: i64) -> i64 {
    if time > TIME_MAX_MS {
        TIME_MAX_MS
    } else if time < -TIME_MAX_MS {
        -TIME_MAX_MS
    } else {
        time
    }
}

/// Whether a row of that time can be stored.
pub(super) const fn storable(time: i64) -> bool {
    clamp(time) == time
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol() -> Symbol {
        Symbol::new("这是测试币-4.5").unwrap()
    }

    #[test]
    fn a_series_is_read_back_from_its_name() {
        let all = [
            (Table::Trades, Series::Symbol(symbol())),
            (Table::Alerts, Series::All),
            (Table::DeadLetters, Series::Log(Topic::DeadLetter, 3)),
            (Table::Transactions, Series::Symbol(symbol())),
        ];
        let candles = Interval::ALL.map(|it| (Table::Candles, Series::Candles(symbol(), it)));
        for (table, series) in all.into_iter().chain(candles) {
            assert_eq!(Series::parse(table, &series.to_string()), Some(series));
        }
        assert_eq!(Series::parse(Table::Candles, "BTCUSDT"), None);
    }

    #[track_caller]
    fn check(table: Table, series: &Series, rows_a_second: i64, row_bytes: i64) {
        let rows = series.bucket_ms(table) / 1_000 * rows_a_second;
        assert!(rows <= 1_000_000, "{table:?}: {rows} rows");
        assert!(rows * row_bytes <= 100_000_000, "{table:?}: {} bytes", rows * row_bytes);
    }

    #[test]
    fn a_partition_stays_small_at_the_rate_of_the_busiest_symbol() {
        let one = Series::Symbol(symbol());
        check(Table::Trades, &one, 200, 130);
        check(Table::BookTickers, &one, 500, 250);
        check(Table::BookSeconds, &one, 1, 600);
        check(Table::Tickers, &one, 1, 900);
        check(Table::Transactions, &one, 600, 250);
        check(Table::Candles, &Series::Candles(symbol(), Interval::Second), 1, 450);
        for interval in Interval::ALL {
            let series = Series::Candles(symbol(), interval);
            let rows = series.bucket_ms(Table::Candles) / interval.millis();
            assert!(rows <= 86_400, "{interval}: {rows}");
        }
    }

    #[test]
    fn a_bucket_begins_at_or_before_its_rows() {
        let one = Series::Symbol(symbol());
        for (time, bucket) in [
            (0, 0),
            (HOUR_MS - 1, 0),
            (HOUR_MS, HOUR_MS),
            (-1, -HOUR_MS),
            (i64::MAX, TIME_MAX_MS - TIME_MAX_MS % HOUR_MS),
            (i64::MIN, -TIME_MAX_MS - (HOUR_MS - TIME_MAX_MS % HOUR_MS)),
        ] {
            assert_eq!(one.bucket(Table::Trades, time), bucket, "{time}");
        }
        assert!(storable(TIME_MAX_MS) && !storable(TIME_MAX_MS + 1) && !storable(i64::MIN));
    }
}
