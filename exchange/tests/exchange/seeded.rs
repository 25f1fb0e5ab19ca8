//! The streams of a seeded market agree with each other and with REST.

use crate::support::{Client, api, seeded};
use fts_core::decimal::{Decimal, Notional};
use fts_exchange::{Exchange, Source};
use serde_json::Value;
use std::collections::BTreeMap;

/// Frames of one symbol by kind, as they came, until `enough` says so.
async fn collect(
    client: &mut Client,
    mut enough: impl FnMut(&[(String, Value)]) -> bool,
) -> Vec<(String, Value)> {
    let mut frames = Vec::new();
    while !enough(&frames) {
        let mut frame = client.json().await;
        let stream = frame["stream"].as_str().unwrap().to_owned();
        frames.push((stream.split_once('@').unwrap().1.to_owned(), frame["data"].take()));
    }
    frames
}

fn decimal(value: &Value) -> Decimal {
    value.as_str().unwrap().parse().unwrap()
}

fn of<'a>(frames: &'a [(String, Value)], kind: &str) -> Vec<&'a Value> {
    frames.iter().filter(|(known, _)| known == kind).map(|(_, data)| data).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_streams_tell_of_one_market() {
    let exchange = Exchange::start(seeded(11, &["BTCUSDT"], 800.0)).await.unwrap();
    let kinds = ["trade", "aggTrade", "bookTicker", "ticker", "kline_1s", "kline_1m"];
    let streams = kinds.map(|kind| format!("btcusdt@{kind}")).join("/");
    let mut client = Client::connect(&exchange, &format!("/stream?streams={streams}")).await;
    let frames = collect(&mut client, |frames| {
        of(frames, "kline_1s").len() >= 5 && of(frames, "kline_1m").len() >= 2
    })
    .await;
    check_trades(&frames);
    check_aggs(&frames);
    check_klines(&exchange, &frames).await;
    check_rest(&exchange, &frames).await;
    for ticker in of(&frames, "ticker") {
        let id = |name: &str| ticker[name].as_u64().unwrap();
        assert_eq!(id("n"), id("L") - id("F") + 1);
        assert_eq!(id("C") - id("O"), 86_400_000);
        assert_eq!(decimal(&ticker["p"]), decimal(&ticker["c"]).minus(decimal(&ticker["o"])));
        let last = exchange.truth().trades("BTCUSDT");
        let last = last.iter().rfind(|trade| trade.time <= ticker["C"].as_i64().unwrap()).unwrap();
        assert_eq!((id("L"), decimal(&ticker["c"])), (last.id, last.price));
    }
    assert!(of(&frames, "ticker").len() > 2);
    exchange.stop().await;
}

/// Ids have no hole, event times follow trade times, and each trade is at the best bid or ask that
/// was sent before it.
fn check_trades(frames: &[(String, Value)]) {
    let (mut last_id, mut book) = (None, None);
    for (kind, data) in frames {
        match kind.as_str() {
            "bookTicker" => {
                assert!(book.is_none_or(|known: &Value| known["u"].as_u64() < data["u"].as_u64()));
                book = Some(data);
            }
            "trade" => {
                let id = data["t"].as_u64().unwrap();
                assert!(last_id.is_none_or(|last: u64| id == last + 1), "{last_id:?} {id}");
                last_id = Some(id);
                let lag = data["E"].as_i64().unwrap() - data["T"].as_i64().unwrap();
                assert!((1..20).contains(&lag));
                if let Some(book) = book {
                    let side = if data["m"] == true { "b" } else { "a" };
                    assert_eq!(data["p"], book[side], "{data} {book}");
                }
            }
            _ => {}
        }
    }
}

fn check_aggs(frames: &[(String, Value)]) {
    let trades: BTreeMap<u64, &Value> = of(frames, "trade")
        .into_iter()
        .map(|trade| (trade["t"].as_u64().unwrap(), trade))
        .collect();
    let mut several = 0;
    let aggs = of(frames, "aggTrade");
    for pair in aggs.windows(2) {
        assert_eq!(pair[1]["a"].as_u64().unwrap(), pair[0]["a"].as_u64().unwrap() + 1);
        assert_eq!(pair[1]["f"].as_u64().unwrap(), pair[0]["l"].as_u64().unwrap() + 1);
    }
    for agg in aggs {
        let (first, last) = (agg["f"].as_u64().unwrap(), agg["l"].as_u64().unwrap());
        let mut sum = Decimal::ZERO;
        for id in first..=last {
            let trade = trades[&id];
            for (ours, theirs) in [("p", "p"), ("T", "T"), ("m", "m"), ("E", "E")] {
                assert_eq!(agg[ours], trade[theirs]);
            }
            sum = sum.plus(decimal(&trade["q"]));
        }
        assert_eq!(sum, decimal(&agg["q"]));
        several += u64::from(last > first);
    }
    assert!(several > 0);
}

/// The candles of whole seconds are the trades that came, and what REST says of them.
async fn check_klines(exchange: &Exchange, frames: &[(String, Value)]) {
    let trades = of(frames, "trade");
    let seconds = of(frames, "kline_1s");
    for pair in seconds.windows(2) {
        let opens = |n: usize| pair[n]["k"]["t"].as_i64().unwrap();
        assert_eq!(opens(1), opens(0) + 1000, "a second is missing");
    }
    // The first one may have begun before the subscription.
    for kline in seconds.iter().skip(2).map(|frame| &frame["k"]) {
        let (open, close) = (kline["t"].as_i64().unwrap(), kline["T"].as_i64().unwrap());
        let own: Vec<&&Value> = trades
            .iter()
            .filter(|trade| (open..=close).contains(&trade["T"].as_i64().unwrap()))
            .collect();
        assert_eq!((kline["x"].as_bool(), close - open), (Some(true), 999));
        assert_eq!(kline["n"].as_u64().unwrap(), own.len() as u64, "{kline}");
        if let (Some(first), Some(last)) = (own.first(), own.last()) {
            assert_eq!((&kline["f"], &kline["L"]), (&first["t"], &last["t"]));
            assert_eq!((&kline["o"], &kline["c"]), (&first["p"], &last["p"]));
        }
        let taken = own.iter().filter(|trade| trade["m"] == false);
        let taken = taken.fold(Decimal::ZERO, |sum, trade| sum.plus(decimal(&trade["q"])));
        assert_eq!(decimal(&kline["V"]), taken);
        let amount = own.iter().fold(Notional::ZERO, |sum, trade| {
            sum.plus(decimal(&trade["p"]).times(decimal(&trade["q"])))
        });
        assert_eq!(kline["q"].as_str().unwrap(), amount.to_string());
        let path = format!("klines?symbol=BTCUSDT&interval=1s&startTime={open}&limit=1");
        let row = &api(exchange, &path).await[0];
        let columns = ["t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B"];
        for (column, name) in columns.iter().enumerate() {
            assert_eq!(row[column], kline[name], "{name}");
        }
    }
}

async fn check_rest(exchange: &Exchange, frames: &[(String, Value)]) {
    let trades = of(frames, "trade");
    let from = &trades[0]["t"];
    let path = format!("historicalTrades?symbol=BTCUSDT&fromId={from}&limit=1000");
    let known = api(exchange, &path).await;
    for (trade, known) in trades.iter().zip(known.as_array().unwrap()) {
        for (ours, theirs) in [("t", "id"), ("p", "price"), ("q", "qty"), ("T", "time")] {
            assert_eq!(trade[ours], known[theirs]);
        }
        assert_eq!(trade["m"], known["isBuyerMaker"]);
    }
    let aggs = of(frames, "aggTrade");
    let path = format!("aggTrades?symbol=BTCUSDT&fromId={}&limit=1000", aggs[0]["a"]);
    let known = api(exchange, &path).await;
    for (agg, known) in aggs.iter().zip(known.as_array().unwrap()) {
        for name in ["a", "p", "q", "f", "l", "T", "m", "M"] {
            assert_eq!(agg[name], known[name]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_is_started_again_goes_on_with_the_same_ids() {
    let config = seeded(12, &["ETHUSDT"], 300.0);
    let first = Exchange::start(config.clone()).await.unwrap();
    let mut client = Client::connect(&first, "/ws/ethusdt@trade").await;
    let before = client.json().await;
    let Source::Seeded(mut again) = config.source.clone() else { panic!("not seeded") };
    again.epoch_ms = first.epoch_ms();
    let known = first.truth().trades("ETHUSDT");
    first.stop().await;
    let second =
        Exchange::start(fts_exchange::Config { source: Source::Seeded(again), ..config }).await;
    let second = second.unwrap();
    let mut client = Client::connect(&second, "/ws/ethusdt@trade").await;
    let after = client.json().await;
    assert!(after["t"].as_u64() > before["t"].as_u64());
    let all = second.truth().trades("ETHUSDT");
    assert_eq!(all[..known.len()], known);
    let at = all.iter().find(|trade| Some(trade.id) == after["t"].as_u64()).unwrap();
    assert_eq!(decimal(&after["p"]), at.price);
    second.stop().await;
}
