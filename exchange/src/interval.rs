//! The lengths of candles, as the exchange names them.

/// The length of a candle. All but weeks and months: those are not simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interval {
    name: &'static str,
    millis: i64,
}

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

impl Interval {
    /// Every interval that is simulated, shortest first.
    pub const ALL: [Self; 13] = [
        Self { name: "1s", millis: SECOND },
        Self { name: "1m", millis: MINUTE },
        Self { name: "3m", millis: 3 * MINUTE },
        Self { name: "5m", millis: 5 * MINUTE },
        Self { name: "15m", millis: 15 * MINUTE },
        Self { name: "30m", millis: 30 * MINUTE },
        Self { name: "1h", millis: HOUR },
        Self { name: "2h", millis: 2 * HOUR },
        Self { name: "4h", millis: 4 * HOUR },
        Self { name: "6h", millis: 6 * HOUR },
        Self { name: "8h", millis: 8 * HOUR },
        Self { name: "12h", millis: 12 * HOUR },
        Self { name: "1d", millis: 24 * HOUR },
    ];

    /// The interval of this name (case matters: `1m` is a minute).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|interval| interval.name == name)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Its length in milliseconds.
    pub const fn millis(self) -> i64 {
        self.millis
    }

    /// The open time (ms UTC) of the candle that `time` (ms UTC) falls into.
    pub const fn open_of(self, time: i64) -> i64 {
        time.div_euclid(self.millis) * self.millis
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact_and_opens_are_aligned() {
        assert_eq!(Interval::parse("1m").unwrap().millis(), 60_000);
        assert_eq!(Interval::parse("1M"), None);
        assert_eq!(Interval::parse("7m"), None);
        let day = Interval::parse("1d").unwrap();
        assert_eq!(day.open_of(1_723_161_255_342), 1_723_075_200_000);
        assert_eq!(day.open_of(1_723_075_200_000), 1_723_075_200_000);
    }
}
