//! A tape is played byte for byte, and REST knows what was played and nothing else.

use crate::support::{Client, api, fixtures, recordings, tape, trade_line, write_tape};
use flate2::read::MultiGzDecoder;
use fts_core::decimal::Decimal;
use fts_exchange::{Exchange, Interval, Speed, Start};
use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The JSON of all frames of a symbol as recorded, with the stream's name, in order.
fn recorded(files: &[PathBuf], symbol: &str) -> Vec<(String, String)> {
    let mut frames = Vec::new();
    for path in files.iter().filter(|path| path.to_string_lossy().contains(symbol)) {
        let mut text = String::new();
        MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        for line in text.lines() {
            let (_, json) = line.split_once(' ').unwrap();
            if let Some(rest) = json.strip_prefix("{\"stream\":\"") {
                frames.push((rest.split_once('"').unwrap().0.to_owned(), json.to_owned()));
            }
        }
    }
    frames
}

/// Streams of a recorded symbol.
fn streams(symbol: &str) -> String {
    format!("{symbol}@trade/{symbol}@bookTicker/{symbol}@depth@100ms")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_frame_comes_byte_for_byte_and_in_order() {
    let Some(folder) = fixtures() else { return };
    let files = recordings(&folder);
    let config = tape(files.clone(), Speed::Max, Start::First);
    let exchange = Exchange::start(config).await.unwrap();
    let mut readers = tokio::task::JoinSet::new();
    for symbol in ["btcusdt", "ethusdt"] {
        let expected = recorded(&files, symbol);
        let path = format!("/stream?streams={}", streams(symbol));
        let mut combined = Client::connect(&exchange, &path).await;
        let mut raw = Client::connect(&exchange, &format!("/ws/{symbol}@trade")).await;
        let trades: Vec<String> = expected
            .iter()
            .filter(|(stream, _)| *stream == format!("{symbol}@trade"))
            .map(|(stream, json)| {
                let head = format!("{{\"stream\":\"{stream}\",\"data\":").len();
                json[head..json.len() - 1].to_owned()
            })
            .collect();
        readers.spawn(async move {
            for (n, (_, json)) in expected.iter().enumerate() {
                assert_eq!(combined.text().await, *json, "frame {n} of {symbol}");
            }
            expected.len()
        });
        readers.spawn(async move {
            for (n, data) in trades.iter().enumerate() {
                assert_eq!(raw.text().await, *data, "trade {n} of {symbol}");
            }
            0
        });
    }
    let frames: usize = readers.join_all().await.into_iter().sum();
    assert_eq!(frames as u64, exchange.tape_ended().await);
    assert_eq!(frames, 179_316);
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_tape_rest_has_the_exchanges_own_candles_and_every_trade() {
    let Some(folder) = fixtures() else { return };
    let config = tape(recordings(&folder), Speed::Max, Start::Now);
    let exchange = Exchange::start(config).await.unwrap();
    exchange.tape_ended().await;
    let mut complete = 0;
    for symbol in ["BTCUSDT", "ETHUSDT"] {
        for interval in ["1m", "5m"] {
            complete += check_klines(&exchange, &folder, symbol, interval).await;
        }
    }
    assert_eq!(complete, 24);
    for (symbol, first, last) in
        [("BTCUSDT", 3_735_683_259, 3_735_703_162), ("ETHUSDT", 1_520_538_925, 1_520_553_439)]
    {
        let mut next = first;
        while next <= last {
            let path = format!("historicalTrades?symbol={symbol}&fromId={next}&limit=1000");
            for trade in api(&exchange, &path).await.as_array().unwrap() {
                assert_eq!(trade["id"], next);
                next += 1;
            }
        }
        assert_eq!(next, last + 1);
        assert_eq!(exchange.truth().trades(symbol).len() as u64, last - first + 1);
        check_aggs(&exchange, symbol, first, last).await;
    }
    exchange.stop().await;
}

/// Compares `/klines` and the truth with what is known of the recorded minutes; returns how many
/// bars are complete, and as the exchange had them.
async fn check_klines(exchange: &Exchange, folder: &Path, symbol: &str, interval: &str) -> usize {
    let read = |name: String| std::fs::read_to_string(folder.join(name)).unwrap();
    let derived = read(format!("derived_from_tape_{symbol}-{interval}.csv"));
    let name = format!("spot_{symbol}-{interval}_2024-08-08T2300_2024-08-09T0100.csv");
    let official: HashMap<i64, Vec<String>> = read(name)
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>())
        .map(|row| (row[0].parse().unwrap(), row))
        .collect();
    let rows = api(exchange, &format!("klines?symbol={symbol}&interval={interval}")).await;
    let rows = rows.as_array().unwrap();
    let truth = exchange.truth().candles(symbol, Interval::parse(interval).unwrap());
    assert_eq!((derived.lines().count() - 1, truth.len()), (rows.len(), rows.len()));
    let number = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_owned();
    let mut complete = 0;
    for ((line, row), candle) in derived.lines().skip(1).zip(rows).zip(truth) {
        let expected: Vec<&str> = line.split(',').collect();
        let of = |n: usize| row[n].as_str().map_or_else(|| row[n].to_string(), number);
        // Both have the same twelve columns, but the last, and in the same order.
        for (n, expected) in expected.iter().enumerate().take(11) {
            let plain = if expected.contains('.') { number(expected) } else { (*expected).into() };
            assert_eq!(of(n), plain, "{symbol} {interval} column {n} of {line}");
        }
        let ids = (candle.first_trade_id.to_string(), candle.last_trade_id.to_string());
        assert_eq!((ids.0.as_str(), ids.1.as_str()), (expected[11], expected[12]));
        assert_eq!(candle.volume.to_string(), expected[5]);
        if expected[13] == "1" {
            let open: i64 = expected[0].parse().unwrap();
            let theirs = &official[&open];
            for column in 1..6 {
                let value: Decimal = theirs[column].parse().unwrap();
                assert_eq!(row[column].as_str().unwrap(), value.to_string());
            }
            complete += 1;
        }
    }
    complete
}

async fn check_aggs(exchange: &Exchange, symbol: &str, first: u64, last: u64) {
    let (mut next, mut id) = (first, None);
    while next <= last {
        let path = match id {
            None => format!("aggTrades?symbol={symbol}&startTime=0&limit=1000"),
            Some(id) => format!("aggTrades?symbol={symbol}&fromId={id}&limit=1000"),
        };
        for agg in api(exchange, &path).await.as_array().unwrap() {
            assert_eq!(agg["f"], next, "{agg}");
            assert!(id.is_none_or(|id: u64| agg["a"] == id));
            next = agg["l"].as_u64().unwrap() + 1;
            id = Some(agg["a"].as_u64().unwrap() + 1);
        }
    }
    // The first trade of a minute, as a client looks for it.
    let minute = 1_723_161_360_000_i64;
    let path = format!("aggTrades?symbol={symbol}&startTime={minute}&limit=1");
    let found = api(exchange, &path).await[0]["f"].as_u64().unwrap();
    let trades = exchange.truth().trades(symbol);
    assert_eq!(found, trades.iter().find(|trade| trade.time >= minute).unwrap().id);
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_does_not_know_what_has_not_been_played() {
    let folder = tempfile::tempdir().unwrap();
    // The last one is due a century later: at this speed, in a quarter of an hour.
    let hours = [0, 1, 2, 3, 4, 1_000_000];
    let lines: Vec<String> =
        (10..).zip(hours).map(|(id, hour)| trade_line(id, hour * 3600)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let file = write_tape(folder.path(), "a.gz", &lines);
    let config = tape(vec![file], Speed::Times(3.6e6), Start::First);
    let exchange = Exchange::start(config).await.unwrap();
    assert_eq!(api(&exchange, "trades?symbol=AAAUSDT").await, serde_json::json!([]));
    assert_eq!(api(&exchange, "klines?symbol=AAAUSDT&interval=1m").await, serde_json::json!([]));
    let mut client = Client::connect(&exchange, "/ws/aaausdt@trade").await;
    for n in 0..5_usize {
        let trade = client.json().await;
        assert_eq!(trade["t"], 10 + n);
        let known = api(&exchange, "trades?symbol=AAAUSDT").await;
        assert!(known.as_array().unwrap().len() > n, "sent before REST knew it");
        let time = api(&exchange, "time").await["serverTime"].as_i64().unwrap();
        assert!(time >= trade["E"].as_i64().unwrap());
    }
    let known = api(&exchange, "historicalTrades?symbol=AAAUSDT&fromId=0").await;
    assert_eq!(known.as_array().unwrap().len(), 5, "REST knows what was not played");
    let time = api(&exchange, "time").await["serverTime"].as_i64().unwrap();
    assert_eq!(time, 1_700_000_000_002 + 4 * 3_600_000);
    // From hour to hour nothing was traded: flat candles in between.
    let rows = api(&exchange, "klines?symbol=AAAUSDT&interval=15m").await;
    let counts: Vec<u64> =
        rows.as_array().unwrap().iter().map(|row| row[8].as_u64().unwrap()).collect();
    assert_eq!(counts, [1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]);
    assert_eq!(rows[1].to_string(), flat(rows[1][0].as_i64().unwrap()));
    exchange.stop().await;
}

fn flat(open: i64) -> String {
    let price = "\"2.50000000\"";
    let zero = "\"0.00000000\"";
    let close = open + 899_999;
    format!("[{open},{price},{price},{price},{price},{zero},{close},{zero},0,{zero},{zero},\"0\"]")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untimely_end_of_the_payload_is_played_and_a_malformed_line_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (trade_line(1, 0), trade_line(2, 3));
    let broken =
        format!("{}{}", 1_700_000_001, "000000000 {\"stream\":\"aaausdt@trade\",\"data\":{\"t\"}");
    let lines = [first.as_str(), "rubbish", broken.as_str(), "17 {\"lastUpdateId\":1}", &second];
    let one = write_tape(folder.path(), "one.gz", &lines);
    // A second file of the same market, in between by its receive times.
    let other = "1700000002000000000 {\"stream\":\"aaausdt@other\",\"data\":{\"x\":1}}";
    let two = write_tape(folder.path(), "two.gz", &[other]);
    let config = tape(vec![one, two], Speed::Max, Start::First);
    let exchange = Exchange::start(config).await.unwrap();
    let streams = "/stream?streams=aaausdt@trade/aaausdt@other";
    let mut client = Client::connect(&exchange, streams).await;
    for line in [first.as_str(), &broken, other, &second] {
        assert_eq!(client.text().await, line.split_once(' ').unwrap().1);
    }
    assert_eq!(exchange.tape_ended().await, 4);
    let known: Vec<u64> = exchange.truth().trades("AAAUSDT").iter().map(|trade| trade.id).collect();
    assert_eq!(known, [1, 2]);
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_the_tape_does_not_have_does_not_start_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_tape(folder.path(), "a.gz", &[&trade_line(1, 0)]);
    let exchange = Exchange::start(tape(vec![file], Speed::Max, Start::First)).await.unwrap();
    let mut idle = Client::connect(&exchange, "/ws/aaausdt@ticker").await;
    assert_eq!(
        idle.ask(r#"{"method":"LIST_SUBSCRIPTIONS","id":1}"#).await,
        r#"{"result":["aaausdt@ticker"],"id":1}"#
    );
    // Longer than it settles after the first subscriber.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(exchange.truth().trades("AAAUSDT").is_empty());
    let subscribe = r#"{"method":"SUBSCRIBE","params":["aaausdt@trade"],"id":2}"#;
    assert_eq!(idle.ask(subscribe).await, r#"{"result":null,"id":2}"#);
    assert_eq!(idle.json().await["t"], 1);
    exchange.stop().await;
}
