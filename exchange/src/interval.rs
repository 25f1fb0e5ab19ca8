//! The lengths of candles, as the exchange names them.

/// The length of a candle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interval {
    name: &'static str,
    length: Length,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Length {
    /// Opens at the multiples of so many ms since 1970, UTC.
    Millis(i64),
    /// Opens on Mondays.
    Week,
    /// Opens on the first of a month.
    Month,
}

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;
/// The first Monday after 1970 began on a Thursday.
const FIRST_MONDAY: i64 = 4 * DAY;

impl Interval {
    /// Every interval of the exchange, shortest first.
    pub const ALL: [Self; 16] = [
        Self::of("1s", SECOND),
        Self::of("1m", MINUTE),
        Self::of("3m", 3 * MINUTE),
        Self::of("5m", 5 * MINUTE),
        Self::of("15m", 15 * MINUTE),
        Self::of("30m", 30 * MINUTE),
        Self::of("1h", HOUR),
        Self::of("2h", 2 * HOUR),
        Self::of("4h", 4 * HOUR),
        Self::of("6h", 6 * HOUR),
        Self::of("8h", 8 * HOUR),
        Self::of("12h", 12 * HOUR),
        Self::of("1d", DAY),
        Self::of("3d", 3 * DAY),
        Self { name: "1w", length: Length::Week },
        Self { name: "1M", length: Length::Month },
    ];

    const fn of(name: &'static str, millis: i64) -> Self {
        Self { name, length: Length::Millis(millis) }
    }

    /// The interval of this name (case matters: `1m` is a minute, `1M` a month).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|interval| interval.name == name)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The open time (ms UTC) of the candle that `time` (ms UTC) falls into; the first time there is
    /// where it opens before that.
    pub const fn open_of(self, time: i64) -> i64 {
        match self.length {
            Length::Millis(length) => time.div_euclid(length).saturating_mul(length),
            Length::Week => {
                let weeks = time.saturating_sub(FIRST_MONDAY).div_euclid(WEEK);
                weeks.saturating_mul(WEEK).saturating_add(FIRST_MONDAY)
            }
            Length::Month => {
                let (year, month) = month_of(time.div_euclid(DAY));
                first_day(year, month).saturating_mul(DAY)
            }
        }
    }

    /// The open time of the candle after the one that opens at `open` (both ms UTC); the last time
    /// there is where it would open after that.
    pub const fn end_of(self, open: i64) -> i64 {
        match self.length {
            Length::Millis(length) => open.saturating_add(length),
            Length::Week => open.saturating_add(WEEK),
            Length::Month => {
                let (year, month) = month_of(open.div_euclid(DAY));
                let (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                first_day(year, month).saturating_mul(DAY)
            }
        }
    }

    /// The open time of the candle that lies `count` before the one that opens at `open`.
    pub(crate) fn back(self, open: i64, count: usize) -> i64 {
        let steps = i64::try_from(count).unwrap_or(i64::MAX);
        match self.length {
            Length::Millis(length) => open.saturating_sub(length.saturating_mul(steps)),
            Length::Week => open.saturating_sub(WEEK.saturating_mul(steps)),
            Length::Month => (0..count).fold(open, |open, _| self.open_of(open.saturating_sub(1))),
        }
    }
}

/// The year and the month (1–12) of a day, counted from 1970-01-01: years of the era of 400 years
/// that begin in March have their leap day at the end.
const fn month_of(day: i64) -> (i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let year = year + era * 400;
    if month < 10 { (year, month + 3) } else { (year + 1, month - 9) }
}

/// The first day of a month, counted from 1970-01-01.
const fn first_day(year: i64, month: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * month + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, time: i64, open: i64, end: i64) {
        let interval = Interval::parse(name).unwrap();
        assert_eq!((interval.open_of(time), interval.end_of(open)), (open, end), "{name}");
        assert_eq!(interval.open_of(open), open, "{name}");
        assert_eq!(interval.open_of(end - 1), open, "{name}");
        assert_eq!(interval.back(end, 1), open, "{name}");
    }

    #[test]
    fn no_time_is_too_far() {
        for interval in Interval::ALL {
            for time in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
                let open = interval.open_of(time);
                let end = interval.end_of(open);
                assert!(open <= end, "{}: {open} to {end}", interval.name());
                assert!(time.abs_diff(open) <= 31 * DAY.unsigned_abs(), "{}", interval.name());
                assert!(interval.end_of(time) >= time, "{}", interval.name());
                assert!(interval.back(open, 2) <= open, "{}", interval.name());
            }
        }
    }

    #[test]
    fn names_are_exact_and_opens_are_aligned() {
        assert_eq!(Interval::parse("7m"), None);
        assert_eq!(Interval::parse("1D"), None);
        // Friday 2024-08-09 00:00:55 UTC.
        let time = 1_723_161_655_342;
        check("1m", time, 1_723_161_600_000, 1_723_161_660_000);
        check("1d", time, 1_723_161_600_000, 1_723_248_000_000);
        check("1w", time, 1_722_816_000_000, 1_723_420_800_000);
        check("1M", time, 1_722_470_400_000, 1_725_148_800_000);
        // The leap day of 2024, and the turn of a year.
        check("1M", 1_709_164_800_000, 1_706_745_600_000, 1_709_251_200_000);
        check("1M", 1_704_067_199_999, 1_701_388_800_000, 1_704_067_200_000);
    }
}
