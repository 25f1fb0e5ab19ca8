//! What an answer says: a history, or one of the errors that come in its place.

use std::collections::BTreeMap;

use fts_core::decimal::Decimal;
use fts_core::market::Symbol;
use fts_core::port::daily::DailyError;
use fts_core::stock::Daily;
use jiff::civil::Date;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(rename = "Meta Data")]
    meta: Option<Meta>,
    #[serde(rename = "Time Series (Daily)")]
    days: Option<BTreeMap<String, Values>>,
    #[serde(rename = "Error Message")]
    error: Option<String>,
    #[serde(rename = "Information")]
    information: Option<String>,
    #[serde(rename = "Note")]
    note: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Meta {
    #[serde(rename = "2. Symbol")]
    symbol: String,
}

#[derive(Debug, Deserialize)]
struct Values {
    #[serde(rename = "1. open")]
    open: String,
    #[serde(rename = "2. high")]
    high: String,
    #[serde(rename = "3. low")]
    low: String,
    #[serde(rename = "4. close")]
    close: String,
    #[serde(rename = "5. volume")]
    volume: String,
}

/// The days that `body` tells of `symbol`, oldest first.
pub(super) fn read(
    symbol: &Symbol,
    body: &[u8],
    fetched_at: i64,
) -> Result<Vec<Daily>, DailyError> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| {
        let start = String::from_utf8_lossy(body.get(..80.min(body.len())).unwrap_or_default());
        DailyError::Unavailable(format!("not the JSON that was asked for ({error}): {start}"))
    })?;
    if let Some(text) = answer.error {
        return Err(refusal(text));
    }
    if let Some(text) = answer.information.or(answer.note) {
        return Err(information(text));
    }
    let (Some(meta), Some(days)) = (answer.meta, answer.days) else {
        return Err(DailyError::Refused(format!("nothing is known of {symbol}")));
    };
    if !meta.symbol.eq_ignore_ascii_case(symbol.as_str()) {
        return Err(DailyError::Unavailable(format!("it speaks of {}, not {symbol}", meta.symbol)));
    }
    if days.is_empty() {
        return Err(DailyError::Refused(format!("it has no day of {symbol}")));
    }
    days.iter().map(|(date, values)| day(date, values, fetched_at)).collect()
}

fn day(date: &str, values: &Values, fetched_at: i64) -> Result<Daily, DailyError> {
    let wrong = |name: &str, text: &str, error: String| {
        DailyError::Unavailable(format!("{name} of {date} is `{text}`: {error}"))
    };
    let price = |name: &str, text: &str| {
        Decimal::parse(text.as_bytes()).map_err(|error| wrong(name, text, error.to_string()))
    };
    let parsed: Date =
        date.parse().map_err(|error: jiff::Error| wrong("the date", date, error.to_string()))?;
    Ok(Daily {
        date: parsed,
        open: price("open", &values.open)?,
        high: price("high", &values.high)?,
        low: price("low", &values.low)?,
        close: price("close", &values.close)?,
        volume: values
            .volume
            .parse()
            .map_err(|error| wrong("volume", &values.volume, format!("{error}")))?,
        fetched_at,
    })
}

/// `Error Message`: the key, or the symbol.
fn refusal(text: String) -> DailyError {
    if text.contains("apikey") { DailyError::Key(text) } else { DailyError::Refused(text) }
}

/// `Information` and `Note`: mostly limits. The text about bursts mentions the day's limit too.
fn information(text: String) -> DailyError {
    let says = |part: &str| text.contains(part);
    if says("more sparingly") || says("per second") || says("per minute") {
        DailyError::Burst(text)
    } else if says("requests per day") {
        DailyError::DayIsOver(text)
    } else if says("**demo**") || says("apikey is invalid") {
        DailyError::Key(text)
    } else {
        DailyError::Refused(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXTURES: &str =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/fixtures/alphavantage");

    fn read_it(symbol: &str, body: &str) -> Result<Vec<Daily>, DailyError> {
        read(&Symbol::new(symbol).unwrap(), body.as_bytes(), 7)
    }

    #[track_caller]
    fn check(body: &str, expected: &str) {
        let found = match read_it("TSLA", body) {
            Ok(days) => format!("{} days", days.len()),
            Err(DailyError::Burst(_)) => "burst".to_owned(),
            Err(DailyError::DayIsOver(_)) => "day".to_owned(),
            Err(DailyError::Key(_)) => "key".to_owned(),
            Err(DailyError::Refused(_)) => "refused".to_owned(),
            Err(DailyError::Unavailable(_)) => "unavailable".to_owned(),
        };
        assert_eq!(found, expected, "{body}");
    }

    fn fixture(name: &str) -> Option<String> {
        let text = std::fs::read_to_string(format!("{FIXTURES}/{name}")).ok();
        if text.is_none() {
            eprintln!("NOT CHECKED: ../shared/fixtures/alphavantage/{name} is not here");
        }
        text
    }

    #[test]
    fn every_recorded_error_is_told_from_the_others() {
        let Some(lines) = fixture("error_payloads.jsonl") else { return };
        let mut seen = 0;
        for line in lines.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let expected = match line["kind"].as_str().unwrap() {
                "rate_limit_daily" | "rate_limit_daily_older" => "day",
                "burst_1_per_second" | "rate_limit_legacy_note" => "burst",
                "premium_endpoint" | "premium_outputsize_full" | "invalid_call_or_symbol" => {
                    "refused"
                }
                "demo_key_misuse" | "invalid_apikey" => "key",
                other => panic!("{other} is not in this table"),
            };
            check(&line["body"].to_string(), expected);
            seen += 1;
        }
        assert_eq!(seen, 9);
    }

    #[test]
    fn an_answer_that_is_none_is_told() {
        check("", "unavailable");
        check("{}", "refused");
        check(r#"{"Meta Data":{"2. Symbol":"TSLA"},"Time Series (Daily)":{"#, "unavailable");
        check("timestamp,open,high,low,close,volume\r\n2026-05-15,1,1,1,1,1\r\n", "unavailable");
        let other = r#"{"Meta Data":{"2. Symbol":"IBM"},"Time Series (Daily)":{}}"#;
        check(other, "unavailable");
        let mine = other.replace("IBM", "TSLA");
        check(&mine, "refused");
        check("<!DOCTYPE html><html><body>Service unavailable</body></html>", "unavailable");
        check("[]", "unavailable");
        check("null", "unavailable");
        check("\u{feff}{}", "unavailable");
        check(r#"{"Meta Data":null,"Time Series (Daily)":null}"#, "refused");
        check(r#"{"Information":"Please subscribe to any of our premium plans"}"#, "refused");
        let day = |date: &str, open: &str| {
            mine.replace(
                "{}}",
                &format!(
                    r#"{{"{date}":{{"1. open":"{open}","2. high":"1","3. low":"1","4. close":"1","5. volume":"1"}}}}}}"#
                ),
            )
        };
        check(&day("2024-02-29", "1.0000"), "1 days");
        check(&day("2023-02-29", "1.0000"), "unavailable");
        check(&day("2024-02-29", "NaN"), "unavailable");
        let note = "Thank you for using Alpha Vantage! Our standard API";
        check(&format!(r#"{{"Note":"{note} rate limit is 25 requests per day."}}"#), "day");
        check(&format!(r#"{{"Note":"{note} call frequency is 5 calls per minute."}}"#), "burst");
    }

    #[test]
    fn a_history_in_no_order_is_put_in_order_and_of_a_day_told_twice_the_last_counts() {
        let day = |date: &str, open: &str| {
            format!(
                r#""{date}":{{"1. open":"{open}","2. high":"1","3. low":"1","4. close":"1","5. volume":"1"}}"#
            )
        };
        let days = [day("2024-02-28", "1"), day("2024-03-01", "2"), day("2024-02-29", "3")];
        let body = format!(
            r#"{{"Time Series (Daily)":{{{},{}}},"Meta Data":{{"2. Symbol":"tsla"}}}}"#,
            days.join(","),
            day("2024-02-28", "4")
        );
        let found = read_it("TSLA", &body).unwrap();
        let found: Vec<_> = found.iter().map(|it| format!("{} {}", it.date, it.open)).collect();
        assert_eq!(
            found,
            ["2024-02-28 4.00000000", "2024-02-29 3.00000000", "2024-03-01 2.00000000"]
        );
    }

    #[test]
    fn a_recorded_history_is_read_exactly() {
        let Some(body) = fixture("responses/IBM_daily.json") else { return };
        let days = read_it("IBM", &body).unwrap();
        let last = days.last().unwrap();
        assert_eq!(
            format!(
                "{} {} {} {} {} {}",
                last.date, last.open, last.high, last.low, last.close, last.volume
            ),
            "2020-05-08 122.67000000 122.80000000 121.06000000 121.79000000 2538547"
        );
        assert!(days.is_sorted_by_key(|it| it.date));
        assert_eq!(last.fetched_at, 7);
    }
}
