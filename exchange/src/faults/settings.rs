//! Which faults there are, which settings make sense, and how they are written on one line.

use super::RestFate;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::str::FromStr;
use std::time::Duration;

/// Longest delay of a message.
const DELAY_MS_MAX: u64 = 600_000;
const REORDER_WINDOW_MAX: u32 = 1_000;

/// What goes wrong on purpose, and how often. All zero: nothing.
///
/// A message meets at most one of `drop`, `duplicate`, `reorder` and `malformed`; a request at most
/// one of the `rest_…` failures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// What all chance comes from.
    pub seed: u64,
    /// Share of messages that are never sent.
    pub drop: f64,
    /// Share of messages that are sent twice.
    pub duplicate: f64,
    /// Share of messages that are sent after later ones.
    pub reorder: f64,
    /// How many messages such a one falls behind at most.
    pub reorder_window: u32,
    /// Share of messages that arrive broken: cut in half, of another shape, or no JSON at all.
    pub malformed: f64,
    /// Every message is sent this much later, ms.
    pub delay_ms: u64,
    /// And up to this much more, ms; the order is kept.
    pub delay_jitter_ms: u64,
    /// A connection is cut off after this time in the mean, ms; 0: never.
    pub disconnect_every_ms: u64,
    /// A connection falls silent after this time in the mean, ms; 0: never.
    pub stall_every_ms: u64,
    /// It stays silent for this long, ms; 0: until the client gives up.
    pub stall_ms: u64,
    /// Share of requests answered with a 5xx.
    pub rest_error: f64,
    /// Share of requests answered only after `rest_timeout_ms`.
    pub rest_timeout: f64,
    /// How long those take, ms; the real exchange gives up after 10 s.
    pub rest_timeout_ms: u64,
    /// Share of requests answered with 429.
    pub rest_429: f64,
    /// Share of requests answered with 418.
    pub rest_418: f64,
    /// What `Retry-After` says on those, seconds.
    pub rest_retry_after_s: u32,
    /// Every answer comes this much later, ms.
    pub rest_delay_ms: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            seed: 1,
            drop: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_window: 5,
            malformed: 0.0,
            delay_ms: 0,
            delay_jitter_ms: 0,
            disconnect_every_ms: 0,
            stall_every_ms: 0,
            stall_ms: 0,
            rest_error: 0.0,
            rest_timeout: 0.0,
            rest_timeout_ms: 10_000,
            rest_429: 0.0,
            rest_418: 0.0,
            rest_retry_after_s: 1,
            rest_delay_ms: 0,
        }
    }
}

/// Settings that make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// Not a JSON object, an unknown key, or a value of the wrong type.
    #[error("these faults can't be read: {0}")]
    Malformed(String),
    /// Not a share.
    #[error("the fault {key} is {value}: give a share between 0 and 1, such as 0.01")]
    Share {
        /// Which setting.
        key: &'static str,
        /// As given.
        value: String,
    },
    /// More than all.
    #[error("{keys} add up to {sum}: each happens to a share of all, so give at most 1 together")]
    Sum {
        /// Which settings.
        keys: &'static str,
        /// Their sum.
        sum: String,
    },
    /// No setting.
    #[error("{part:?} is no fault: write them as disconnect=30s,drop=0.001")]
    Part {
        /// As given.
        part: String,
    },
    /// No length of time.
    #[error("the fault {key} is {value:?}: give a time such as 250ms, 30s or 5m")]
    Time {
        /// Which setting.
        key: String,
        /// As given.
        value: String,
    },
    /// A number out of range.
    #[error("the fault {key} is {value}: {advice}")]
    Range {
        /// Which setting.
        key: &'static str,
        /// As given.
        value: u64,
        /// What to give.
        advice: &'static str,
    },
}

impl Faults {
    /// These settings with the given ones in their place; the others stay.
    ///
    /// # Errors
    /// Unknown keys and values that make no sense are refused.
    pub fn with(&self, changes: Map<String, Value>) -> Result<Self, FaultError> {
        let malformed = |error: serde_json::Error| FaultError::Malformed(error.to_string());
        let mut all = serde_json::to_value(self).map_err(malformed)?;
        if let Value::Object(all) = &mut all {
            all.extend(changes);
        }
        let faults: Self = serde_json::from_value(all).map_err(malformed)?;
        faults.check()?;
        Ok(faults)
    }

    /// As [`Faults::with`], with the changes on one line as [`Faults::from_str`] reads it.
    ///
    /// # Errors
    /// Unknown keys and values that make no sense are refused.
    pub fn with_line(&self, line: &str) -> Result<Self, FaultError> {
        let mut changes = Map::new();
        for part in line.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (key, value) =
                part.split_once('=').ok_or_else(|| FaultError::Part { part: part.to_owned() })?;
            let (key, value) = (key.trim(), value.trim());
            let long = TIMES.iter().find(|(short, long)| [*short, *long].contains(&key));
            let (key, value) = match long {
                Some((_, long)) => ((*long).to_owned(), Value::from(milliseconds(key, value)?)),
                None => {
                    let number = serde_json::from_str(value);
                    (key.to_owned(), number.unwrap_or_else(|_| Value::from(value)))
                }
            };
            changes.insert(key, value);
        }
        self.with(changes)
    }

    /// Whether they make sense.
    ///
    /// # Errors
    /// The first that does not, with advice.
    pub fn check(&self) -> Result<(), FaultError> {
        let messages = [
            ("drop", self.drop),
            ("duplicate", self.duplicate),
            ("reorder", self.reorder),
            ("malformed", self.malformed),
        ];
        let requests = [
            ("rest_error", self.rest_error),
            ("rest_timeout", self.rest_timeout),
            ("rest_429", self.rest_429),
            ("rest_418", self.rest_418),
        ];
        check_shares(&messages, "drop, duplicate, reorder and malformed")?;
        check_shares(&requests, "rest_error, rest_timeout, rest_429 and rest_418")?;
        let ms = "give at most 600000, which is ten minutes";
        for (key, value, most, advice) in [
            ("delay_ms", self.delay_ms, DELAY_MS_MAX, ms),
            ("delay_jitter_ms", self.delay_jitter_ms, DELAY_MS_MAX, ms),
            ("rest_timeout_ms", self.rest_timeout_ms, DELAY_MS_MAX, ms),
            ("rest_delay_ms", self.rest_delay_ms, DELAY_MS_MAX, ms),
        ] {
            if value > most {
                return Err(FaultError::Range { key, value, advice });
            }
        }
        if !(1..=REORDER_WINDOW_MAX).contains(&self.reorder_window) {
            let value = u64::from(self.reorder_window);
            let advice = "give between 1 and 1000 messages";
            return Err(FaultError::Range { key: "reorder_window", value, advice });
        }
        Ok(())
    }

    /// Whether any message may not be sent as it is, when it is.
    pub(crate) fn touches_messages(&self) -> bool {
        self.drop > 0.0
            || self.duplicate > 0.0
            || self.reorder > 0.0
            || self.malformed > 0.0
            || self.delay_ms > 0
            || self.delay_jitter_ms > 0
    }

    /// `at` in 0..1 decides; `chance` picks among what remains; `now` is in ms UTC.
    pub(super) fn rest_fate(&self, at: f64, chance: u64, now: i64) -> RestFate {
        let mut bound = self.rest_error;
        if at < bound {
            let code = match (chance >> 3) % 4 {
                0 => 500,
                1 => 502,
                2 => 503,
                _ => 504,
            };
            return RestFate::Error(code);
        }
        bound += self.rest_timeout;
        if at < bound {
            return RestFate::Timeout(Duration::from_millis(self.rest_timeout_ms));
        }
        for (share, banned) in [(self.rest_429, false), (self.rest_418, true)] {
            bound += share;
            if at < bound {
                let retry_after = self.rest_retry_after_s;
                let until = now + i64::from(retry_after) * 1000;
                return RestFate::Limited { banned, retry_after, until };
            }
        }
        RestFate::Served { delay: Duration::from_millis(self.rest_delay_ms) }
    }
}

impl FromStr for Faults {
    type Err = FaultError;

    /// Reads `disconnect=30s,drop=0.001`: the names of the fields, those of times without `_ms` and
    /// in short (`disconnect`, `stall`, `stall_for`, `delay`, `jitter`, `rest_delay`,
    /// `rest_timeout_after`).
    fn from_str(line: &str) -> Result<Self, FaultError> {
        Self::default().with_line(line)
    }
}

/// What is a time: its name on the line, and its field.
const TIMES: [(&str, &str); 7] = [
    ("disconnect", "disconnect_every_ms"),
    ("stall", "stall_every_ms"),
    ("stall_for", "stall_ms"),
    ("delay", "delay_ms"),
    ("jitter", "delay_jitter_ms"),
    ("rest_delay", "rest_delay_ms"),
    ("rest_timeout_after", "rest_timeout_ms"),
];

fn milliseconds(key: &str, value: &str) -> Result<u64, FaultError> {
    let bad = || FaultError::Time { key: key.to_owned(), value: value.to_owned() };
    if value == "0" {
        return Ok(0);
    }
    if let Some(number) = value.parse::<u64>().ok().filter(|_| key.ends_with("_ms")) {
        return Ok(number);
    }
    parse_time(value).ok_or_else(bad)
}

/// `250ms`, `30s`, `1.5s`, `5m` or `1h` in milliseconds.
pub(crate) fn parse_time(text: &str) -> Option<u64> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_at);
    let length = match unit {
        "ms" => 1.0,
        "s" => 1_000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        _ => return None,
    };
    let ms = number.parse::<f64>().ok().filter(|number| *number >= 0.0)? * length;
    (ms <= u64::from(u32::MAX) as f64).then_some(ms.round() as u64)
}

fn check_shares(shares: &[(&'static str, f64)], keys: &'static str) -> Result<(), FaultError> {
    for (key, value) in shares {
        if !(0.0..=1.0).contains(value) {
            return Err(FaultError::Share { key, value: value.to_string() });
        }
    }
    let sum: f64 = shares.iter().map(|(_, value)| value).sum();
    if sum > 1.0 + 1e-9 {
        return Err(FaultError::Sum { keys, sum: sum.to_string() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(changes: &str, expected: Result<Faults, &str>) {
        let Value::Object(changes) = serde_json::from_str(changes).unwrap() else {
            panic!("no object: {changes}")
        };
        let found = Faults::default().with(changes);
        match expected {
            Ok(expected) => assert_eq!(found, Ok(expected)),
            Err(part) => {
                let error = found.unwrap_err().to_string();
                assert!(error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn settings_are_replaced_one_by_one_and_nonsense_is_refused() {
        check("{}", Ok(Faults::default()));
        check(r#"{"drop":0.25}"#, Ok(Faults { drop: 0.25, ..Faults::default() }));
        check(r#"{"drop":1.5}"#, Err("the fault drop is 1.5: give a share between 0 and 1"));
        check(r#"{"drop":-0.5}"#, Err("between 0 and 1"));
        check(r#"{"drop":0.6,"malformed":0.6}"#, Err("add up to 1.2"));
        check(r#"{"rest_429":0.6,"rest_418":0.6}"#, Err("add up to 1.2"));
        check(r#"{"dorp":0.5}"#, Err("unknown field `dorp`"));
        check(r#"{"drop":"x"}"#, Err("invalid type"));
        check(r#"{"delay_ms":600001}"#, Err("ten minutes"));
        check(r#"{"reorder_window":0}"#, Err("between 1 and 1000"));
        check(r#"{"seed":-1}"#, Err("invalid value"));
    }

    #[track_caller]
    fn check_line(line: &str, expected: Result<Faults, &str>) {
        match (line.parse::<Faults>(), expected) {
            (found, Ok(expected)) => assert_eq!(found, Ok(expected), "{line}"),
            (found, Err(part)) => {
                let error = found.expect_err(line).to_string();
                assert!(error.contains(part), "{line}: {error}");
            }
        }
    }

    #[test]
    fn all_of_it_fits_on_a_line() {
        let none = Faults::default;
        check_line("", Ok(none()));
        check_line(
            "disconnect=30s, drop=0.001,duplicate=1e-3,reorder=0.25,reorder_window=9,seed=7",
            Ok(Faults {
                disconnect_every_ms: 30_000,
                drop: 0.001,
                duplicate: 0.001,
                reorder: 0.25,
                reorder_window: 9,
                seed: 7,
                ..none()
            }),
        );
        check_line(
            "stall=1m,stall_for=1.5s,delay=20ms,jitter=5ms,rest_delay=0,rest_timeout_after=2s",
            Ok(Faults {
                stall_every_ms: 60_000,
                stall_ms: 1_500,
                delay_ms: 20,
                delay_jitter_ms: 5,
                rest_timeout_ms: 2_000,
                ..none()
            }),
        );
        check_line("delay_ms=7", Ok(Faults { delay_ms: 7, ..none() }));
        check_line("drop", Err("\"drop\" is no fault"));
        check_line("disconnect=30", Err("give a time such as 250ms"));
        check_line("disconnect=-3s", Err("give a time such as 250ms"));
        check_line("disconect=30s", Err("unknown field `disconect`"));
        check_line("drop=half", Err("invalid type"));
        check_line("drop=2", Err("between 0 and 1"));
    }

    #[test]
    fn requests_fail_as_often_as_asked_for() {
        let faults = Faults {
            rest_error: 0.1,
            rest_timeout: 0.2,
            rest_429: 0.3,
            rest_418: 0.05,
            ..Faults::default()
        };
        let mut counts = [0_u32; 5];
        for request in 0..10_000_u64 {
            let chance = crate::market::seeded::noise::hash(7, request);
            let at = crate::market::seeded::noise::unit(chance);
            counts[match faults.rest_fate(at, chance, 0) {
                RestFate::Error(code) => {
                    assert!((500..=504).contains(&code));
                    0
                }
                RestFate::Timeout(_) => 1,
                RestFate::Limited { banned: false, .. } => 2,
                RestFate::Limited { banned: true, .. } => 3,
                RestFate::Served { .. } => 4,
            }] += 1;
        }
        for (count, expected) in counts.iter().zip([1_000_u32, 2_000, 3_000, 500, 3_500]) {
            assert!(count.abs_diff(expected) < 150, "{counts:?}");
        }
    }
}
