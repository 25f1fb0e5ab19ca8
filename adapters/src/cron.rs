//! Schedules written as cron expressions, on the clock of a time zone.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use fts_core::port::schedule::Schedule;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A cron expression and whose clock it is on.
#[derive(Debug, Clone)]
pub struct CronSchedule {
    cron: Cron,
    zone: TimeZone,
}

/// Why a schedule can't be used. Says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(String);

impl CronSchedule {
    /// `expression` has five fields (minute, hour, day, month, weekday), `zone` is a name of the
    /// IANA database.
    pub fn new(expression: &str, zone: &str) -> Result<Self, CronError> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed);
        let cron = parser.build().parse(expression).map_err(|error| {
            CronError(format!(
                "the schedule is `{expression}` ({error}): write a cron expression of five fields, \
                 such as `30 17 * * MON-FRI`"
            ))
        })?;
        // Without a year it comes again for ever, or never.
        let begin = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        if cron.find_next_occurrence(&begin, true).is_err() {
            return Err(CronError(format!(
                "the schedule is `{expression}`, which is never due: write a day that its month has, \
                 such as `30 17 28 2 *`"
            )));
        }
        let zone = TimeZone::get(zone).map_err(|_| {
            CronError(format!("the time zone is `{zone}`: write it as America/New_York"))
        })?;
        Ok(Self { cron, zone })
    }
}

impl Schedule for CronSchedule {
    fn next(&self, after: i64) -> Option<i64> {
        let after = Timestamp::from_millisecond(after).ok()?.to_zoned(self.zone.clone());
        let next = self.cron.find_next_occurrence(&after, false).ok()?;
        Some(next.timestamp().as_millisecond())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expression: &str, after: &str, expected: &[&str]) {
        let schedule = CronSchedule::new(expression, "America/New_York").unwrap();
        let mut at = after.parse::<Timestamp>().unwrap().as_millisecond();
        for expected in expected {
            at = schedule.next(at).unwrap();
            assert_eq!(Timestamp::from_millisecond(at).unwrap().to_string(), *expected);
        }
    }

    #[test]
    fn it_is_due_by_the_clock_of_the_zone() {
        let close = "30 17 * * MON-FRI";
        check(close, "2024-08-09T12:00:00Z", &["2024-08-09T21:30:00Z", "2024-08-12T21:30:00Z"]);
        // The day that summer time begins, and the day that it ends.
        check(close, "2024-03-08T12:00:00Z", &["2024-03-08T22:30:00Z", "2024-03-11T21:30:00Z"]);
        check(close, "2024-11-01T12:00:00Z", &["2024-11-01T21:30:00Z", "2024-11-04T22:30:00Z"]);
        check(close, "2024-12-31T23:00:00Z", &["2025-01-01T22:30:00Z"]);
    }

    #[test]
    fn an_hour_that_the_clock_skips_or_repeats_is_due_once() {
        check(
            "30 2 * * *",
            "2024-03-09T12:00:00Z",
            &["2024-03-10T07:00:00Z", "2024-03-11T06:30:00Z"],
        );
        check(
            "30 1 * * *",
            "2024-11-02T12:00:00Z",
            &["2024-11-03T05:30:00Z", "2024-11-04T06:30:00Z"],
        );
    }

    #[test]
    fn a_day_that_comes_seldom_is_a_schedule() {
        check(
            "0 0 29 2 *",
            "2024-08-09T12:00:00Z",
            &["2028-02-29T05:00:00Z", "2032-02-29T05:00:00Z"],
        );
        check("0 0 29 2 +MON", "2024-08-09T12:00:00Z", &["2044-02-29T05:00:00Z"]);
        check("@daily", "2024-08-09T12:00:00Z", &["2024-08-10T04:00:00Z"]);
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        let refused =
            |expression: &str, zone: &str| CronSchedule::new(expression, zone).unwrap_err();
        assert!(refused("24h", "UTC").to_string().contains("write a cron expression"));
        assert!(refused("61 * * * *", "UTC").to_string().contains("write a cron expression"));
        assert!(refused("* * * * *", "New York").to_string().contains("America/New_York"));
        // Seconds would be first, a year last: neither is a field of a schedule.
        for expression in ["0 30 17 * * MON-FRI", "*/5 * * * * *", "0 30 17 * * MON-FRI 2030"] {
            let error = refused(expression, "UTC").to_string();
            assert!(error.contains("five fields"), "{expression}: {error}");
        }
        for expression in ["30 17 31 2 *", "0 0 30 FEB *", "0 0 31 4,6,9,11 *"] {
            let error = refused(expression, "UTC").to_string();
            assert!(error.contains("never due"), "{expression}: {error}");
        }
    }
}
