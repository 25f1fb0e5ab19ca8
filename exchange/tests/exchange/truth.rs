//! The truth over HTTP, against what the exchange itself says over REST.

use crate::support::{api, get, seeded, tape, trade_line, write_tape};
use fts_exchange::{Exchange, Speed, Start};
use serde_json::{Value, json};

/// All rows of a question, page by page.
async fn rows(exchange: &Exchange, question: &str, from: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut next) = (Vec::new(), Value::from(0));
    while !next.is_null() {
        let path = format!("/truth/{question}&{from}={next}&limit={limit}");
        let mut page = get(exchange, &path).await.json();
        next = page[format!("next_{from}")].take();
        let rows = page["rows"].as_array().unwrap();
        assert!(rows.len() == limit || (rows.len() < limit && next.is_null()), "{path}");
        all.extend(rows.iter().cloned());
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seeded_market_tells_the_truth_page_by_page() {
    let exchange = Exchange::start(seeded(3, &["BTCUSDT", "ETHUSDT"], 20.0)).await.unwrap();
    let trades = rows(&exchange, "trades?symbol=BTCUSDT", "from_id", 700).await;
    assert!(trades.len() > 1_400, "{}", trades.len());
    let ids = trades.iter().map(|trade| trade["trade_id"].as_u64().unwrap());
    assert!(ids.clone().zip(ids.clone().skip(1)).all(|(a, b)| a + 1 == b));
    let status = get(&exchange, "/truth/status").await.json();
    assert_eq!(status["symbols"][0]["symbol"], "BTCUSDT");
    assert_eq!(status["symbols"][0]["first_trade_id"], trades[0]["trade_id"]);
    assert!(status["symbols"][0]["last_trade_id"].as_u64() >= ids.max());
    assert_eq!(status["epoch_ms"], exchange.epoch_ms().unwrap());
    for interval in ["1s", "1m", "5m", "1h", "1d", "1w", "1M"] {
        let question = format!("candles?symbol=BTCUSDT&interval={interval}");
        let candles = rows(&exchange, &question, "from_time", 7).await;
        let klines =
            api(&exchange, &format!("klines?symbol=BTCUSDT&interval={interval}&limit=1000")).await;
        check_candles(&candles, klines.as_array().unwrap(), interval);
        let late = format!("/truth/{question}&from_time={}", i64::MAX);
        let page = get(&exchange, &late).await.json();
        assert_eq!(page, json!({ "rows": [], "next_from_time": null }), "{interval}");
    }
    exchange.stop().await;
}

/// Every complete candle is the exchange's own kline.
#[track_caller]
fn check_candles(candles: &[Value], klines: &[Value], interval: &str) {
    let (last, rest) = candles.split_last().unwrap();
    assert_eq!(last["complete"], false, "{interval}");
    let mut compared = 0;
    for (position, candle) in rest.iter().enumerate() {
        assert_eq!(candle["complete"], position > 0, "{interval}");
        let Some(kline) = klines.iter().find(|kline| kline[0] == candle["open_time"]) else {
            continue;
        };
        let columns = [
            "open_time",
            "open",
            "high",
            "low",
            "close",
            "volume",
            "close_time",
            "quote_volume",
            "trade_count",
            "taker_buy_volume",
            "taker_buy_quote_volume",
        ];
        for (column, value) in columns.iter().zip(kline.as_array().unwrap()) {
            assert_eq!(&candle[column], value, "{interval} {column}");
        }
        compared += 1;
    }
    assert!(compared > 0 || rest.is_empty(), "{interval}");
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_the_seconds_in_which_the_threshold_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let priced = |id: u64, second: i64, price: &str| {
        trade_line(id, second).replace("\"p\":\"2.50000000\"", &format!("\"p\":\"{price}\""))
    };
    let lines: Vec<String> = [
        (0, "100.00000000"),
        (1, "100.00000000"),
        (2, "100.00000000"),
        (3, "100.00000000"),
        (4, "110.00000000"),
        (5, "111.00000000"),
        (9, "90.00000000"),
        (10, "90.00000000"),
    ]
    .iter()
    .zip(7..)
    .map(|((second, price), id)| priced(id, *second, price))
    .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let file = write_tape(folder.path(), "a.gz", &lines);
    let exchange = Exchange::start(tape(vec![file], Speed::Max, Start::Now)).await.unwrap();
    exchange.tape_ended().await;
    let question = "alerts?symbol=AAAUSDT&threshold=10&window=2s";
    let alert = |second: i64, direction: &str, reference: &str, price: &str, change: &str| {
        json!({
            "symbol": "AAAUSDT", "time": 1_700_000_000_000_i64 + second * 1000,
            "direction": direction, "window_ms": 2000, "threshold_percent": "10.00000000",
            "reference_price": reference, "price": price, "change_percent": change,
        })
    };
    let up = alert(4, "up", "100.00000000", "110.00000000", "10.00000000");
    let down = alert(9, "down", "111.00000000", "90.00000000", "-18.91891892");
    assert_eq!(rows(&exchange, question, "from_time", 1).await, [up, down.clone()]);
    // For who came after the second trade, the first rise has no past; for who came later, nor has
    // the fall.
    assert_eq!(rows(&exchange, &format!("{question}&since_id=9"), "from_time", 9).await, [down]);
    let late = rows(&exchange, &format!("{question}&since_id=14"), "from_time", 9).await;
    assert_eq!(late, Vec::<Value>::new());
    let none = rows(&exchange, &question.replace("=10&", "=19&"), "from_time", 9).await;
    assert_eq!(none, Vec::<Value>::new());
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_an_id_is_missing_nothing_is_complete_and_no_alert_is_sure() {
    let folder = tempfile::tempdir().unwrap();
    let told = async |ids: &[u64]| {
        // One trade a second; the price jumps with the tenth second.
        let lines: Vec<String> = ids
            .iter()
            .zip(0..)
            .map(|(id, second)| {
                let price = if second < 10 { "2.50000000" } else { "3.00000000" };
                let line = trade_line(*id, second);
                line.replace("\"p\":\"2.50000000\"", &format!("\"p\":\"{price}\""))
            })
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let file = write_tape(folder.path(), "a.gz", &lines);
        let exchange = Exchange::start(tape(vec![file], Speed::Max, Start::Now)).await.unwrap();
        exchange.tape_ended().await;
        let candles = rows(&exchange, "candles?symbol=AAAUSDT&interval=1s", "from_time", 5).await;
        let incomplete: Vec<i64> = candles
            .iter()
            .filter(|candle| candle["complete"] == false)
            .map(|candle| (candle["open_time"].as_i64().unwrap() - 1_700_000_000_000) / 1000)
            .collect();
        let question = "alerts?symbol=AAAUSDT&threshold=10&window=2s";
        let alerts = rows(&exchange, question, "from_time", 5).await.len();
        exchange.stop().await;
        (incomplete, alerts)
    };
    let all: Vec<u64> = (100..115).collect();
    assert_eq!(told(&all).await, (vec![0, 14], 1));
    // Missing before the fifth second, the ninth, the eleventh.
    let without = |at: usize| -> Vec<u64> {
        all.iter().enumerate().map(|(n, id)| if n >= at { id + 1 } else { *id }).collect()
    };
    assert_eq!(told(&without(5)).await, (vec![0, 4, 5, 14], 1));
    assert_eq!(told(&without(9)).await, (vec![0, 8, 9, 14], 0));
    assert_eq!(told(&without(11)).await, (vec![0, 10, 11, 14], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_questions_are_refused_with_advice() {
    let exchange = Exchange::start(seeded(3, &["BTCUSDT"], 20.0)).await.unwrap();
    for (path, advice) in [
        ("trades", "name a symbol"),
        ("trades?symbol=NOUSDT", "no such symbol"),
        ("trades?symbol=BTCUSDT&from_id=x", "give a whole number"),
        ("candles?symbol=BTCUSDT", "name an interval"),
        ("candles?symbol=BTCUSDT&interval=2m", "give 1s"),
        ("alerts?symbol=BTCUSDT&window=60s", "name a threshold"),
        ("alerts?symbol=BTCUSDT&threshold=1&window=1500ms", "give whole seconds"),
    ] {
        let answer = get(&exchange, &format!("/truth/{path}")).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.body.contains(advice), "{path}: {answer:?}");
    }
    exchange.stop().await;
}
