//! What Alpha Vantage answers, byte for byte as its recorded bodies are laid out.

use super::history::Bar;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// An answer that is given instead of the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The key's requests of the day are spent: come back tomorrow.
    RateLimitDaily,
    /// The same in the words of 2024, without the key.
    RateLimitDailyOlder,
    /// More than a request a second: it names the daily limit too, and passes in a second.
    #[serde(rename = "burst_1_per_second")]
    Burst,
    /// A limit in the words of 2018 to 2023, as a `Note`.
    RateLimitLegacyNote,
    /// The function is for those who pay.
    PremiumEndpoint,
    /// The whole history is for those who pay.
    PremiumOutputsizeFull,
    /// The key `demo` is for the documented examples only.
    DemoKeyMisuse,
    /// There is no such symbol, or the call makes no sense.
    InvalidCallOrSymbol,
    /// There is no such key.
    InvalidApikey,
    /// `{}`.
    EmptyObject,
    /// The right body, cut in half, as if that were all.
    Truncated,
    /// The right body, and the connection breaks in the middle.
    Cut,
    /// CSV, whatever was asked for.
    Csv,
    /// A page of HTML with 200.
    Html,
    /// 500 with a page of HTML.
    #[serde(rename = "http_500")]
    Http500,
    /// 503 with a page of HTML.
    #[serde(rename = "http_503")]
    Http503,
    /// Nothing for ten minutes.
    Hang,
}

impl Answer {
    /// The nine that come as JSON with HTTP 200, by the names of the recorded bodies.
    pub const ERRORS: [Self; 9] = [
        Self::RateLimitDaily,
        Self::RateLimitDailyOlder,
        Self::Burst,
        Self::RateLimitLegacyNote,
        Self::PremiumEndpoint,
        Self::PremiumOutputsizeFull,
        Self::DemoKeyMisuse,
        Self::InvalidCallOrSymbol,
        Self::InvalidApikey,
    ];
}

const PREMIUM: &str = "https://www.alphavantage.co/premium/";
const SUPPORT: &str = "(https://www.alphavantage.co/support/#api-key)";

/// The body of one of [`Answer::ERRORS`].
pub(super) fn error(answer: Answer, key: &str, function: &str) -> Option<String> {
    let (field, text) = match answer {
        Answer::RateLimitDaily => (
            "Information",
            format!(
                "We have detected your API key as {key} and our standard API rate limit is 25 \
                 requests per day. Please subscribe to any of the premium plans at {PREMIUM} to \
                 instantly remove all daily rate limits."
            ),
        ),
        Answer::RateLimitDailyOlder => (
            "Information",
            format!(
                "Thank you for using Alpha Vantage! Our standard API rate limit is 25 requests per \
                 day. Please subscribe to any of the premium plans at {PREMIUM} to instantly remove \
                 all daily rate limits."
            ),
        ),
        Answer::Burst => (
            "Information",
            format!(
                "Thank you for using Alpha Vantage! Please consider spreading out your free API \
                 requests more sparingly (1 request per second). You may subscribe to any of the \
                 premium plans at {PREMIUM} to lift the free key rate limit (25 requests per day), \
                 raise the per-second burst limit, and instantly unlock all premium endpoints."
            ),
        ),
        Answer::RateLimitLegacyNote => (
            "Note",
            format!(
                "Thank you for using Alpha Vantage! Our standard API call frequency is 5 calls per \
                 minute and 500 calls per day. Please visit {PREMIUM} if you would like to target a \
                 higher API call frequency."
            ),
        ),
        Answer::PremiumEndpoint => (
            "Information",
            format!(
                "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe to \
                 any of the premium plans at {PREMIUM} to instantly unlock all premium endpoints"
            ),
        ),
        Answer::PremiumOutputsizeFull => (
            "Information",
            format!(
                "Thank you for using Alpha Vantage! The outputsize=full parameter value is a premium \
                 feature for the {function} endpoint. You may subscribe to any of the premium plans \
                 at {PREMIUM} to instantly unlock all premium features"
            ),
        ),
        Answer::DemoKeyMisuse => (
            "Information",
            format!(
                "The **demo** API key is for demo purposes only. Please claim your free API key at \
                 {SUPPORT} to explore our full API offerings. It takes fewer than 20 seconds."
            ),
        ),
        Answer::InvalidCallOrSymbol => (
            "Error Message",
            format!(
                "Invalid API call. Please retry or visit the documentation \
                 (https://www.alphavantage.co/documentation/) for {function}."
            ),
        ),
        Answer::InvalidApikey => (
            "Error Message",
            format!(
                "the parameter apikey is invalid or missing. Please claim your free API key on \
                 {SUPPORT}. It should take less than 20 seconds."
            ),
        ),
        _ => return None,
    };
    let text = serde_json::Value::from(text);
    Some(format!("{{\n    \"{field}\": {text}\n}}"))
}

/// `TIME_SERIES_DAILY` as JSON; `refreshed` is a date, with a time while the session goes on.
pub(super) fn daily_json(symbol: &str, refreshed: &str, full: bool, bars: &[Bar]) -> String {
    let size = if full { "Full size" } else { "Compact" };
    let mut out = format!(
        "{{\n    \"Meta Data\": {{\n        \
         \"1. Information\": \"Daily Prices (open, high, low, close) and Volumes\",\n        \
         \"2. Symbol\": \"{symbol}\",\n        \"3. Last Refreshed\": \"{refreshed}\",\n        \
         \"4. Output Size\": \"{size}\",\n        \"5. Time Zone\": \"US/Eastern\"\n    }},\n    \
         \"Time Series (Daily)\": {{"
    );
    for (position, bar) in bars.iter().enumerate() {
        let comma = if position > 0 { "," } else { "" };
        let [open, high, low, close] = [bar.open, bar.high, bar.low, bar.close].map(dollars);
        let (date, volume) = (bar.date, bar.volume);
        // Writing to a text does not fail.
        let _ = write!(
            out,
            "{comma}\n        \"{date}\": {{\n            \"1. open\": \"{open}\",\n            \
             \"2. high\": \"{high}\",\n            \"3. low\": \"{low}\",\n            \
             \"4. close\": \"{close}\",\n            \"5. volume\": \"{volume}\"\n        }}"
        );
    }
    out.push_str("\n    }\n}");
    out
}

/// `TIME_SERIES_DAILY` as CSV.
pub(super) fn daily_csv(bars: &[Bar]) -> String {
    let mut out = String::from("timestamp,open,high,low,close,volume\r\n");
    for bar in bars {
        let [open, high, low, close] = [bar.open, bar.high, bar.low, bar.close].map(dollars);
        let (date, volume) = (bar.date, bar.volume);
        let _ = write!(out, "{date},{open},{high},{low},{close},{volume}\r\n");
    }
    out
}

/// `GLOBAL_QUOTE` of the last two days; an unknown symbol has an empty one.
pub(super) fn quote(symbol: &str, bars: &[Bar], csv: bool) -> String {
    let (Some(bar), before) = (bars.first(), bars.get(1).or(bars.first())) else {
        return "{\n    \"Global Quote\": {}\n}".to_owned();
    };
    let before = before.map_or(bar.close, |bar| bar.close);
    let change = bar.close - before;
    let percent = dollars(change.saturating_mul(1_000_000) / before.max(1));
    let fields = [
        ("symbol", "symbol", symbol.to_owned()),
        ("open", "open", dollars(bar.open)),
        ("high", "high", dollars(bar.high)),
        ("low", "low", dollars(bar.low)),
        ("price", "price", dollars(bar.close)),
        ("volume", "volume", bar.volume.to_string()),
        ("latest trading day", "latestDay", bar.date.to_string()),
        ("previous close", "previousClose", dollars(before)),
        ("change", "change", dollars(change)),
        ("change percent", "changePercent", format!("{percent}%")),
    ];
    if csv {
        let column = |of: fn(&(&str, &str, String)) -> String| {
            fields.iter().map(of).collect::<Vec<_>>().join(",")
        };
        return format!("{}\r\n{}\r\n", column(|it| it.1.to_owned()), column(|it| it.2.clone()));
    }
    let rows: Vec<String> = (1..)
        .zip(&fields)
        .map(|(number, (name, _, value))| format!("        \"{number:02}. {name}\": \"{value}\""))
        .collect();
    format!("{{\n    \"Global Quote\": {{\n{}\n    }}\n}}", rows.join(",\n"))
}

/// 1/10000 of a dollar with its four digits.
fn dollars(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let value = value.unsigned_abs();
    format!("{sign}{}.{:04}", value / 10_000, value % 10_000)
}

/// The other way; `None` for what is no such number.
pub(super) fn parse_dollars(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 4 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: i64 = whole.parse().ok().filter(|whole| *whole >= 0)?;
    let fraction: i64 = format!("{fraction:0<4}").parse().ok()?;
    whole.checked_mul(10_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use std::path::Path;

    const BARS: [Bar; 2] = [
        Bar {
            date: date(2020, 5, 8),
            open: 1_226_700,
            high: 1_228_000,
            low: 1_210_600,
            close: 1_217_900,
            volume: 2_538_547,
        },
        Bar {
            date: date(2020, 5, 7),
            open: 1_229_800,
            high: 1_232_600,
            low: 1_208_500,
            close: 1_212_300,
            volume: 4_412_047,
        },
    ];

    fn fixture(name: &str) -> Option<String> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/fixtures/alphavantage");
        let text = std::fs::read_to_string(Path::new(folder).join(name)).ok();
        if text.is_none() {
            eprintln!("!!! NOT TESTED: the recorded fixtures are not at ../shared/fixtures");
        }
        text
    }

    #[test]
    fn json_is_the_recorded_body_byte_for_byte() {
        let Some(recorded) = fixture("responses/IBM_daily.json") else { return };
        assert_eq!(daily_json("IBM", "2020-05-08 14:07:03", true, &BARS), recorded.trim_end());
    }

    #[test]
    fn csv_is_laid_out_as_recorded() {
        let csv = daily_csv(&BARS);
        assert_eq!(
            csv,
            "timestamp,open,high,low,close,volume\r\n\
             2020-05-08,122.6700,122.8000,121.0600,121.7900,2538547\r\n\
             2020-05-07,122.9800,123.2600,120.8500,121.2300,4412047\r\n"
        );
        let Some(recorded) = fixture("responses/IBM_daily_compact.csv") else { return };
        assert_eq!(recorded.lines().next(), csv.lines().next());
        let Some(recorded) = fixture("responses/IBM_global_quote.csv") else { return };
        assert_eq!(recorded.lines().next(), quote("IBM", &BARS, true).lines().next());
        assert!(quote("IBM", &BARS, true).ends_with(",2020-05-08,121.2300,0.5600,0.4619%\r\n"));
    }

    #[test]
    fn errors_are_the_nine_recorded_bodies() {
        let Some(recorded) = fixture("error_payloads.jsonl") else { return };
        let mut compared = 0;
        for line in recorded.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let answer: Answer = serde_json::from_value(line["kind"].clone()).unwrap();
            assert!(Answer::ERRORS.contains(&answer), "{answer:?}");
            let body = error(answer, "XXXXXXXXXXXXXXXX", "TIME_SERIES_DAILY").unwrap();
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body, line["body"], "{answer:?}");
            compared += 1;
        }
        assert_eq!(compared, 9);
    }

    #[test]
    fn dollars_have_four_digits() {
        for (value, text) in [(0, "0.0000"), (2_521_790, "252.1790"), (-1, "-0.0001")] {
            assert_eq!(dollars(value), text);
        }
        for (text, value) in
            [("252.179", Some(2_521_790)), ("7", Some(70_000)), ("-1", None), ("1.23456", None)]
        {
            assert_eq!(parse_dollars(text), value, "{text}");
        }
    }
}
