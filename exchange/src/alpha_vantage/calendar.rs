//! The days on which New York trades, by the rules of its exchange.

use jiff::civil::{Date, DateTime, Weekday, date};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The session, in minutes after midnight of New York.
const OPENS_MIN: i64 = 9 * 60 + 30;
const CLOSES_MIN: i64 = 16 * 60;

/// Days without trading that no rule foretells, since 2001.
const CLOSED: [Date; 10] = [
    date(2001, 9, 11),
    date(2001, 9, 12),
    date(2001, 9, 13),
    date(2001, 9, 14),
    date(2004, 6, 11),
    date(2007, 1, 2),
    date(2012, 10, 29),
    date(2012, 10, 30),
    date(2018, 12, 5),
    date(2025, 1, 9),
];

/// Whether there is trading on that day.
pub(super) fn is_trading_day(day: Date) -> bool {
    !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday)
        && !CLOSED.contains(&day)
        && !is_holiday(day)
}

/// The day before which has trading.
pub(super) fn trading_day_before(day: Date) -> Option<Date> {
    let mut before = day;
    for _ in 0..14 {
        before = before.yesterday().ok()?;
        if is_trading_day(before) {
            return Some(before);
        }
    }
    None
}

/// How far the session is, in 0..=26 quarters of an hour.
pub(super) fn quarters_traded(now: DateTime) -> u64 {
    let minutes = i64::from(now.hour()) * 60 + i64::from(now.minute());
    let traded = (minutes.min(CLOSES_MIN) - OPENS_MIN).max(0) / 15;
    u64::try_from(traded).unwrap_or(0)
}

/// The wall clock of New York; `ms` is UTC.
pub(super) fn new_york(ms: i64) -> DateTime {
    // Its summer time since 2007.
    let zone = TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap_or(TimeZone::UTC);
    let timestamp = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    timestamp.to_zoned(zone).datetime()
}

fn is_holiday(day: Date) -> bool {
    let (year, month) = (day.year(), day.month());
    match month {
        1 => {
            // A New Year's Day on a Saturday is not made up for.
            is_observed(day, 1, 1) || (year >= 1998 && is_nth(day, Weekday::Monday, 3))
        }
        2 => is_nth(day, Weekday::Monday, 3),
        3 | 4 => easter(year).checked_sub(SignedDuration::from_hours(48)).is_ok_and(|it| it == day),
        5 => is_nth(day, Weekday::Monday, -1),
        6 => year >= 2022 && is_observed(day, 6, 19),
        7 => is_observed(day, 7, 4),
        9 => is_nth(day, Weekday::Monday, 1),
        11 => is_nth(day, Weekday::Thursday, 4),
        12 => is_observed(day, 12, 25),
        _ => false,
    }
}

/// Whether `day` is that date, or the Friday before it on a Saturday, or the Monday after it on a
/// Sunday. `month` is the month of `day`.
fn is_observed(day: Date, month: i8, of_month: i8) -> bool {
    let Ok(holiday) = Date::new(day.year(), month, of_month) else { return false };
    let observed = match holiday.weekday() {
        Weekday::Saturday => holiday.yesterday(),
        Weekday::Sunday => holiday.tomorrow(),
        _ => Ok(holiday),
    };
    observed.is_ok_and(|observed| observed == day)
}

fn is_nth(day: Date, weekday: Weekday, nth: i8) -> bool {
    day.nth_weekday_of_month(nth, weekday).is_ok_and(|found| found == day)
}

/// Easter Sunday, by the anonymous Gregorian algorithm.
fn easter(year: i16) -> Date {
    let year = i32::from(year);
    let (a, b, c) = (year % 19, year / 100, year % 100);
    let (d, e) = (b / 4, b % 4);
    let g = (8 * b + 13) / 25;
    let h = (19 * a + b - d - g + 15) % 30;
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k) % 7;
    let m = (a + 11 * h + 22 * l) / 451;
    let n = h + l - 7 * m + 114;
    let (month, of_month) = (n / 31, n % 31 + 1);
    let small = |value: i32| i8::try_from(value).unwrap_or(1);
    Date::new(i16::try_from(year).unwrap_or(1970), small(month), small(of_month))
        .unwrap_or(Date::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holidays_are_those_of_the_exchange() {
        let closed = [
            // 2024, as the exchange published them.
            (2024, 1, 1),
            (2024, 1, 15),
            (2024, 2, 19),
            (2024, 3, 29),
            (2024, 5, 27),
            (2024, 6, 19),
            (2024, 7, 4),
            (2024, 9, 2),
            (2024, 11, 28),
            (2024, 12, 25),
            // Observed on another day.
            (2021, 12, 24),
            (2020, 7, 3),
            (2022, 12, 26),
            (2022, 6, 20),
            (2023, 1, 2),
            // Good Fridays.
            (2019, 4, 19),
            (2026, 4, 3),
            // Mourning.
            (2025, 1, 9),
            (2018, 12, 5),
        ];
        for (year, month, day) in closed {
            assert!(!is_trading_day(date(year, month, day)), "{year}-{month}-{day}");
        }
        let open = [
            (2021, 12, 31),
            (2021, 6, 18),
            (2024, 3, 28),
            (2024, 4, 1),
            (2024, 11, 29),
            (2020, 8, 31),
            (2022, 8, 25),
        ];
        for (year, month, day) in open {
            assert!(is_trading_day(date(year, month, day)), "{year}-{month}-{day}");
        }
        let days = |year: i16| {
            let all = date(year, 1, 1).series(jiff::ToSpan::days(1));
            all.take_while(|day| day.year() == year).filter(|day| is_trading_day(*day)).count()
        };
        assert_eq!([2018, 2021, 2023, 2024, 2025].map(days), [251, 252, 250, 252, 250]);
        assert_eq!(trading_day_before(date(2024, 7, 8)), Some(date(2024, 7, 5)));
        assert_eq!(trading_day_before(date(2024, 7, 5)), Some(date(2024, 7, 3)));
    }

    #[test]
    fn new_york_has_summer_time() {
        // 2026-03-08 and 2026-11-01, an hour before and after the change.
        for (ms, expected) in [
            (1_772_951_400_000, "2026-03-08T01:30:00"),
            (1_772_955_000_000, "2026-03-08T03:30:00"),
            (1_793_511_000_000, "2026-11-01T01:30:00"),
            (1_793_518_200_000, "2026-11-01T02:30:00"),
        ] {
            assert_eq!(new_york(ms).to_string(), expected);
        }
        for (time, quarters) in [
            ("2026-05-15T09:29:59", 0),
            ("2026-05-15T09:45:00", 1),
            ("2026-05-15T15:59:00", 25),
            ("2026-05-15T16:00:00", 26),
            ("2026-05-15T23:00:00", 26),
        ] {
            assert_eq!(quarters_traded(time.parse().unwrap()), quarters, "{time}");
        }
    }
}
