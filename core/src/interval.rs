//! The lengths of candles.

use std::fmt;
use std::str::FromStr;

/// The length of a candle. Windows start at multiples of it since the epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Interval {
    /// `1s`
    Second,
    /// `1m`
    Minute,
    /// `5m`
    Minutes5,
    /// `15m`
    Minutes15,
    /// `1h`
    Hour,
    /// `1d`
    Day,
}

impl Interval {
    /// Every interval that is aggregated, shortest first.
    pub const ALL: [Self; 6] =
        [Self::Second, Self::Minute, Self::Minutes5, Self::Minutes15, Self::Hour, Self::Day];

    /// Length in milliseconds.
    pub const fn millis(self) -> i64 {
        match self {
            Self::Second => 1_000,
            Self::Minute => 60_000,
            Self::Minutes5 => 300_000,
            Self::Minutes15 => 900_000,
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }

    /// The start of the window that `time` (epoch milliseconds) falls into.
    pub const fn floor(self, time: i64) -> i64 {
        time - time.rem_euclid(self.millis())
    }

    /// The exchange's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Second => "1s",
            Self::Minute => "1m",
            Self::Minutes5 => "5m",
            Self::Minutes15 => "15m",
            Self::Hour => "1h",
            Self::Day => "1d",
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Interval {
    type Err = NotAnInterval;

    fn from_str(text: &str) -> Result<Self, NotAnInterval> {
        Self::ALL
            .into_iter()
            .find(|interval| interval.name() == text)
            .ok_or_else(|| NotAnInterval(text.to_owned()))
    }
}

/// Not one of the intervals that are aggregated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no interval: use 1s, 1m, 5m, 15m, 1h or 1d")]
pub struct NotAnInterval(pub String);
