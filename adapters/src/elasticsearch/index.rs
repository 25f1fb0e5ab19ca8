//! Which index a row lies in: a function of its table and its own time, which never changes.

use fts_core::row::Table;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// How much time one index of a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Period {
    /// A day: tables of every trade and every change.
    Day,
    /// A month: tables that grow by a row a second and symbol, or as fast as a stranger writes.
    Month,
    /// One index for ever: tables that stay small.
    Ever,
}

/// The period of the indices of `table`.
pub(super) const fn period(table: Table) -> Period {
    match table {
        Table::Trades | Table::BookTickers => Period::Day,
        Table::Candles
        | Table::BookSeconds
        | Table::Tickers
        | Table::DeadLetters
        | Table::Transactions => Period::Month,
        Table::Gaps | Table::Alerts | Table::Dailies | Table::DailyChanges => Period::Ever,
    }
}

/// First and last time that can be stored, epoch milliseconds: the years 1 to 9999, as dates in
/// documents have four digits for the year.
const TIME_MIN: i64 = -62_135_596_800_000;
const TIME_MAX: i64 = 253_402_207_199_999;

/// Whether a date can be stored.
pub(super) const fn storable(time: i64) -> bool {
    time >= TIME_MIN && time <= TIME_MAX
}

/// An index and the times whose rows it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    /// Its name.
    pub(super) name: String,
    /// The first of the times, epoch milliseconds.
    pub(super) from: i64,
    /// The first time that is not one of them.
    pub(super) until: i64,
}

impl Index {
    /// The index of the rows of `table` at `time`; `None` where that time cannot be stored.
    pub(super) fn of(prefix: &str, table: Table, time: i64) -> Option<Self> {
        if !storable(time) {
            return None;
        }
        let day = Timestamp::from_millisecond(time).ok()?.to_zoned(TimeZone::UTC).date();
        Self::at(prefix, table, day)
    }

    /// The index of `table` that is called `name`; `None` where no index of it is called so.
    pub(super) fn named(prefix: &str, table: Table, name: &str) -> Option<Self> {
        let rest = name.strip_prefix(prefix)?.strip_prefix(table.name())?.strip_prefix('-')?;
        let mut parts = rest.split('.').map(str::parse::<i16>);
        let (year, month) = (parts.next()?.ok()?, parts.next()?.ok()?);
        let day = parts.next().transpose().ok()?.unwrap_or(1);
        let date = Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
        Self::at(prefix, table, date).filter(|it| it.name == name)
    }

    fn at(prefix: &str, table: Table, day: Date) -> Option<Self> {
        let name = table.name();
        let (first, length, name) = match period(table) {
            Period::Ever => {
                let name = format!("{prefix}{name}");
                return Some(Self { name, from: i64::MIN, until: i64::MAX });
            }
            Period::Day => {
                (day, Span::new().days(1), format!("{prefix}{name}-{}", day.strftime("%Y.%m.%d")))
            }
            Period::Month => (
                day.first_of_month(),
                Span::new().months(1),
                format!("{prefix}{name}-{}", day.strftime("%Y.%m")),
            ),
        };
        let millis = |day: Date| {
            day.to_zoned(TimeZone::UTC).map(|it| Timestamp::from(it).as_millisecond()).ok()
        };
        let until = first.checked_add(length).ok().and_then(millis).unwrap_or(i64::MAX);
        Some(Self { name, from: millis(first)?, until })
    }

    /// Whether rows of that time lie in it.
    pub(super) const fn holds(&self, time: i64) -> bool {
        self.from <= time && time < self.until
    }
}

/// Under which name all rows of `table` are read.
pub(super) fn alias(prefix: &str, table: Table) -> String {
    format!("{prefix}{}", table.name())
}

/// The pattern that fits the indices of `table`, and no other's.
pub(super) fn pattern(prefix: &str, table: Table) -> String {
    match period(table) {
        Period::Ever => alias(prefix, table),
        Period::Day | Period::Month => format!("{prefix}{}-*", table.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(table: Table, time: &str, expected: &str, from: &str, until: &str) {
        let millis = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let found = Index::of("p-", table, millis(time)).unwrap();
        assert_eq!(found.name, expected);
        assert_eq!((found.from, found.until), (millis(from), millis(until)));
        assert!(found.holds(found.from) && found.holds(found.until - 1));
        assert!(!found.holds(found.from - 1) && !found.holds(found.until));
        assert_eq!(Index::named("p-", table, expected), Some(found));
    }

    #[test]
    fn a_row_lies_in_the_index_of_its_day_or_month() {
        use Table::{Trades, Transactions};
        let (day, next) = ("2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z");
        check(Trades, day, "p-trades-2026.11.30", day, next);
        check(Trades, "2026-11-30T23:59:59.999Z", "p-trades-2026.11.30", day, next);
        let (month, year) = ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z");
        let name = "p-transacciones_nrt-2026.12";
        check(Transactions, "2026-12-31T23:59:59.999Z", name, month, year);
        check(Transactions, month, name, month, year);
        let (leap, march) = ("1968-02-01T00:00:00Z", "1968-03-01T00:00:00Z");
        let name = "p-transacciones_nrt-1968.02";
        check(Transactions, "1968-02-29T12:00:00Z", name, leap, march);
    }

    #[test]
    fn a_small_table_has_one_index_with_its_own_name() {
        let found = Index::of("", Table::Dailies, 5).unwrap();
        assert_eq!(found.name, "finanzas_batch");
        assert!(found.holds(i64::MIN) && found.holds(TIME_MAX));
        assert_eq!(pattern("x_", Table::Dailies), "x_finanzas_batch");
        assert_eq!(pattern("x_", Table::Transactions), "x_transacciones_nrt-*");
    }

    #[test]
    fn a_foreign_name_is_no_index_of_the_table() {
        for name in [
            "trades",
            "trades-",
            "trades-2026.11",
            "trades-2026.13.01",
            "trades-2026.11.31",
            "trades-2026.1.01",
            "trades-2026.11.30.1",
            "trades-2026.11.30x",
            "p-trades-2026.11.30",
            "candles-2026.11.30",
        ] {
            assert_eq!(Index::named("", Table::Trades, name), None, "{name}");
        }
    }

    #[test]
    fn a_time_beyond_four_digits_of_a_year_has_no_index() {
        for time in [i64::MIN, TIME_MIN - 1, TIME_MAX + 1, i64::MAX] {
            assert_eq!(Index::of("", Table::Trades, time), None, "{time}");
        }
        for time in [TIME_MIN, 0, TIME_MAX] {
            assert!(Index::of("", Table::Trades, time).is_some_and(|it| it.holds(time)), "{time}");
        }
    }
}
