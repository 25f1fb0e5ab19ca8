//! The simulated Alpha Vantage: bodies, limits, and what goes wrong on demand.

use crate::support::{Answer, get, request, seeded};
use fts_exchange::{Config, Exchange, parse_today};
use serde_json::{Value, json};
use std::time::Duration;

const DAILY: &str = "/query?function=TIME_SERIES_DAILY&apikey=K";

/// An evening of May 2026, and no wait between requests.
fn config() -> Config {
    let mut config = seeded(1, &["BTCUSDT"], 1.0);
    config.alpha_vantage.today = Some(parse_today("2026-05-15").unwrap());
    config.alpha_vantage.request_interval = Duration::ZERO;
    config
}

async fn daily(exchange: &Exchange, symbol: &str) -> Value {
    let answer = get(exchange, &format!("{DAILY}&symbol={symbol}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

async fn switch(exchange: &Exchange, changes: Value) -> Answer {
    request(exchange, "POST", "/control/alpha-vantage", &changes.to_string()).await
}

fn days(body: &Value) -> &serde_json::Map<String, Value> {
    body["Time Series (Daily)"].as_object().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn json_and_csv_tell_the_same_prices() {
    let exchange = Exchange::start(config()).await.unwrap();
    for symbol in ["TSLA", "AAPL", "MSFT", "GOOGL", "AMZN", "XYZ"] {
        let body = daily(&exchange, symbol).await;
        assert_eq!(body["Meta Data"]["2. Symbol"], symbol);
        assert_eq!(body["Meta Data"]["3. Last Refreshed"], "2026-05-15");
        assert_eq!(body["Meta Data"]["4. Output Size"], "Compact");
        assert_eq!(days(&body).len(), 100);
        let csv = get(&exchange, &format!("{DAILY}&symbol={symbol}&datatype=csv")).await;
        assert_eq!(csv.header("content-type"), Some("application/x-download"));
        let rows: Vec<&str> = csv.body.split_terminator("\r\n").collect();
        assert_eq!((rows.len(), rows[0]), (101, "timestamp,open,high,low,close,volume"));
        assert!(rows[1].starts_with("2026-05-15,"), "{}", rows[1]);
        assert!(rows[1..].is_sorted_by(|a, b| a > b), "newest first");
        for row in &rows[1..] {
            let fields: Vec<&str> = row.split(',').collect();
            let day = &days(&body)[fields[0]];
            let named = ["1. open", "2. high", "3. low", "4. close", "5. volume"];
            assert_eq!(named.map(|name| day[name].as_str().unwrap()), fields[1..], "{row}");
        }
    }
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_refused_as_the_real_one_refuses_them() {
    let exchange = Exchange::start(config()).await.unwrap();
    let check = async |path: &str, part: &str| {
        let answer = get(&exchange, &format!("/query?{path}")).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body.contains(part), "{path}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
        assert_eq!(answer.json().as_object().unwrap().len(), 1, "{path}");
    };
    let daily = "function=TIME_SERIES_DAILY";
    check(&format!("{daily}&symbol=TSLA"), "apikey is invalid or missing").await;
    check(&format!("{daily}&symbol=NOSUCHSYMBOL&apikey=K"), "Invalid API call").await;
    check(&format!("{daily}&symbol=TSLA&apikey=demo"), "The **demo** API key").await;
    check(&format!("{daily}&symbol=TSLA&apikey=K&outputsize=full"), "outputsize=full").await;
    check(&format!("{daily}&symbol=TSLA&apikey=K&outputsize=full&datatype=csv"), "premium").await;
    check("function=TIME_SERIES_DAILY_ADJUSTED&symbol=TSLA&apikey=K", "premium endpoint").await;
    check("function=NONSENSE&symbol=TSLA&apikey=K", "Invalid API call").await;
    check("function=GLOBAL_QUOTE&symbol=NOSUCHSYMBOL&apikey=K", "\"Global Quote\": {}").await;
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_paid_gets_the_whole_history_with_its_splits() {
    let mut config = config();
    config.alpha_vantage.premium = true;
    let exchange = Exchange::start(config).await.unwrap();
    let body = get(&exchange, &format!("{DAILY}&symbol=TSLA&outputsize=full")).await.json();
    let close =
        |day: &str| -> f64 { days(&body)[day]["4. close"].as_str().unwrap().parse().unwrap() };
    for (before, after, ratio) in
        [("2020-08-28", "2020-08-31", 5.0), ("2022-08-24", "2022-08-25", 3.0)]
    {
        let fell = close(before) / close(after) / ratio;
        assert!((0.85..1.15).contains(&fell), "{before}: {fell}");
    }
    assert_eq!(days(&body).keys().min().unwrap(), "2010-06-29");
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_a_second_and_25_a_day() {
    let mut patient = config();
    patient.alpha_vantage.request_interval = Duration::from_secs(3600);
    let exchange = Exchange::start(patient).await.unwrap();
    assert_eq!(days(&daily(&exchange, "TSLA").await).len(), 100);
    let burst = daily(&exchange, "TSLA").await;
    assert!(burst["Information"].as_str().unwrap().contains("1 request per second"), "{burst}");
    exchange.stop().await;

    let exchange = Exchange::start(config()).await.unwrap();
    for _ in 0..25 {
        assert_eq!(days(&daily(&exchange, "TSLA").await).len(), 100);
    }
    let spent = daily(&exchange, "AAPL").await;
    let text = spent["Information"].as_str().unwrap();
    assert!(text.starts_with("We have detected your API key as K and"), "{text}");
    assert_eq!(exchange.alpha_vantage().requests_today("K"), 25);
    // Another key has its own; and tomorrow is another day.
    let other = get(&exchange, &DAILY.replace("=K", "=L&symbol=TSLA")).await.json();
    assert_eq!(days(&other).len(), 100);
    assert_eq!(switch(&exchange, json!({ "today": "2026-05-18" })).await.status, 200);
    assert!(days(&daily(&exchange, "TSLA").await).contains_key("2026-05-18"));
    assert_eq!(exchange.alpha_vantage().requests_today("K"), 1);
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_answer_can_be_forced() {
    let exchange = Exchange::start(config()).await.unwrap();
    for answer in fts_exchange::Answer::ERRORS {
        let forced = switch(&exchange, json!({ "force": { "answer": answer } })).await;
        assert_eq!(forced.status, 200, "{forced:?}");
        let body = daily(&exchange, "TSLA").await;
        assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
        assert!(body.get("Meta Data").is_none(), "{body}");
        assert_eq!(days(&daily(&exchange, "TSLA").await).len(), 100, "{answer:?} only once");
    }
    exchange.alpha_vantage().reset();
    let twice = json!({ "force": { "answer": "truncated", "symbol": "tsla", "times": 2 } });
    switch(&exchange, twice).await;
    assert_eq!(days(&daily(&exchange, "AAPL").await).len(), 100);
    let whole = get(&exchange, &format!("{DAILY}&symbol=AAPL")).await.body;
    for _ in 0..2 {
        let half = get(&exchange, &format!("{DAILY}&symbol=TSLA")).await;
        assert_eq!((half.status, half.body.len()), (200, whole.len() / 2));
        assert!(serde_json::from_str::<Value>(&half.body).is_err());
    }
    assert_eq!(days(&daily(&exchange, "TSLA").await).len(), 100);
    let check = async |answer: &str, status: u16, part: &str| {
        switch(&exchange, json!({ "force": { "answer": answer } })).await;
        let found = get(&exchange, &format!("{DAILY}&symbol=TSLA")).await;
        assert_eq!(found.status, status, "{answer}");
        assert!(found.body.contains(part), "{answer}: {found:?}");
    };
    check("csv", 200, "timestamp,open,high,low,close,volume\r\n2026-05-15,").await;
    check("empty_object", 200, "{}").await;
    check("html", 200, "<html>").await;
    check("http_500", 500, "<html>").await;
    check("http_503", 503, "<html>").await;
    check("cut", 200, "Meta Data").await;
    switch(&exchange, json!({ "force": { "answer": "hang" } })).await;
    let path = format!("{DAILY}&symbol=TSLA");
    let hanging = tokio::time::timeout(Duration::from_millis(300), get(&exchange, &path));
    assert!(hanging.await.is_err(), "it answered");
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_restated_and_stocks_are_split() {
    let exchange = Exchange::start(config()).await.unwrap();
    let before = daily(&exchange, "TSLA").await;
    let restated = json!({ "symbol": "TSLA", "date": "2026-05-13", "high": "999.1790" });
    assert_eq!(switch(&exchange, json!({ "restate": restated })).await.status, 200);
    let after = daily(&exchange, "TSLA").await;
    assert_eq!(days(&after)["2026-05-13"]["2. high"], "999.1790");
    let differ = |a: &Value, b: &Value| {
        days(a).iter().filter(|(day, row)| days(b).get(*day) != Some(row)).count()
    };
    assert_eq!(differ(&before, &after), 1);
    switch(&exchange, json!({ "restate": { "symbol": "AAPL", "share": 0.2 } })).await;
    assert_eq!(differ(&after, &daily(&exchange, "TSLA").await), 0);
    exchange.alpha_vantage().reset();
    let plain = daily(&exchange, "AAPL").await;
    switch(&exchange, json!({ "restate": { "symbol": "AAPL", "share": 0.2 } })).await;
    let count = differ(&plain, &daily(&exchange, "AAPL").await);
    assert!((8..40).contains(&count), "{count} of 100");
    let split = json!({ "split": { "symbol": "TSLA", "date": "2026-05-14", "ratio": 3 } });
    switch(&exchange, split).await;
    assert_eq!(differ(&before, &daily(&exchange, "TSLA").await), 2);
    let answer = request(&exchange, "DELETE", "/control/alpha-vantage", "").await;
    assert_eq!(answer.json()["splits"], json!([]));
    assert_eq!(differ(&before, &daily(&exchange, "TSLA").await), 0);
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_day_under_way_changes_and_switches_that_make_no_sense_are_refused() {
    let exchange = Exchange::start(config()).await.unwrap();
    switch(&exchange, json!({ "today": "2026-05-15T11:31:07" })).await;
    let noon = daily(&exchange, "TSLA").await;
    assert_eq!(noon["Meta Data"]["3. Last Refreshed"], "2026-05-15 11:31:07");
    switch(&exchange, json!({ "today": "2026-05-15" })).await;
    let evening = daily(&exchange, "TSLA").await;
    assert_ne!(days(&noon)["2026-05-15"], days(&evening)["2026-05-15"]);
    assert_eq!(days(&noon)["2026-05-14"], days(&evening)["2026-05-14"]);
    for (changes, part) in [
        (json!({ "today": "tomorrow" }), "is no day"),
        (json!({ "force": { "answer": "nonsense" } }), "unknown variant"),
        (json!({ "restate": { "symbol": "TSLA" } }), "either a date, or a share"),
        (json!({ "restate": { "symbol": "TSLA", "date": "2026-05-13", "high": "x" } }), "no price"),
        (json!({ "split": { "symbol": "TSLA", "date": "2026-05-13", "ratio": 1 } }), "2 or more"),
        (json!({ "splt": {} }), "unknown field"),
    ] {
        let answer = switch(&exchange, changes.clone()).await;
        assert_eq!(answer.status, 400, "{changes}");
        assert!(answer.body.contains(part), "{changes}: {answer:?}");
    }
    exchange.stop().await;
}
