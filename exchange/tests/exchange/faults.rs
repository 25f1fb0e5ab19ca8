//! Faults on purpose, as a client meets them: over real sockets, by configuration and by the switches.

use crate::support::{Client, PATIENCE, get, request, seeded, tape, trade_line, write_tape};
use fts_exchange::{Exchange, Faults, Speed, Start};
use std::path::Path;

const COUNT: u64 = 2_000;

/// The ids that a client receives of a tape with [`COUNT`] trades, played with these faults.
async fn received(folder: &Path, faults: &str) -> Vec<String> {
    let lines: Vec<String> = (0..COUNT).map(|id| trade_line(id, 0)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let file = write_tape(folder, "a.gz", &lines);
    let mut config = tape(vec![file], Speed::Max, Start::First);
    config.faults = faults.parse().unwrap();
    let exchange = Exchange::start(config).await.unwrap();
    let mut client = Client::connect(&exchange, "/ws/aaausdt@trade").await;
    exchange.tape_ended().await;
    // What is held back comes before the answer to a question that is asked after it.
    let mut found = Vec::new();
    let tally = exchange.faults().tally();
    let expected = COUNT - tally.dropped + tally.duplicated;
    for _ in 0..expected {
        let text = client.text().await;
        let id = serde_json::from_str::<serde_json::Value>(&text)
            .ok()
            .and_then(|json| json["t"].as_u64())
            .map_or_else(|| "broken".to_owned(), |id| id.to_string());
        found.push(id);
    }
    let nothing = r#"{"method":"GET_PROPERTY","params":["combined"],"id":1}"#;
    assert_eq!(client.ask(nothing).await, r#"{"result":false,"id":1}"#);
    exchange.stop().await;
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_lost_doubled_reordered_and_broken_the_same_way_for_the_same_seed() {
    let folder = tempfile::tempdir().unwrap();
    let faults = "drop=0.05,duplicate=0.05,reorder=0.05,malformed=0.05,seed=9";
    let once = received(folder.path(), faults).await;
    assert_eq!(once, received(folder.path(), faults).await);
    let numbers: Vec<u64> = once.iter().filter_map(|id| id.parse().ok()).collect();
    assert!(!numbers.is_sorted(), "nothing was reordered");
    let distinct: std::collections::BTreeSet<u64> = numbers.iter().copied().collect();
    assert!(distinct.len() < numbers.len(), "nothing was doubled");
    assert!(once.iter().any(|id| id == "broken"));
    assert!((1_600..1_950).contains(&distinct.len()), "{} came", distinct.len());
    assert_ne!(once, received(folder.path(), &faults.replace("seed=9", "seed=10")).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_keeps_all_and_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let found = received(folder.path(), "delay=50ms,jitter=100ms").await;
    assert_eq!(found, (0..COUNT).map(|id| id.to_string()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_cut_off_every_so_often_without_a_goodbye() {
    let mut config = seeded(1, &["BTCUSDT"], 100.0);
    config.faults = "disconnect=50ms".parse().unwrap();
    let exchange = Exchange::start(config).await.unwrap();
    for _ in 0..3 {
        let mut client = Client::connect(&exchange, "/ws/btcusdt@trade").await;
        assert!(!client.ended().await);
    }
    assert_eq!(exchange.faults().tally().disconnected, 3);
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_switched_while_it_runs() {
    let exchange = Exchange::start(seeded(1, &["BTCUSDT"], 2000.0)).await.unwrap();
    let mut client = Client::connect(&exchange, "/ws/btcusdt@bookTicker").await;
    client.text().await;
    let answer = request(&exchange, "POST", "/control/faults", "malformed=1").await;
    assert_eq!((answer.status, &answer.json()["faults"]["malformed"]), (200, &1.0.into()));
    let broken = async { while !client.text().await.starts_with("<html>") {} };
    tokio::time::timeout(PATIENCE, broken).await.expect("nothing is broken");
    let answer = request(&exchange, "POST", "/control/faults", r#"{"drop":0.5}"#).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.body.contains("add up to 1.5"), "{answer:?}");
    let answer = request(&exchange, "POST", "/control/faults", "dorp=0.5").await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let answer = request(&exchange, "DELETE", "/control/faults", "").await;
    assert_eq!(answer.json()["faults"]["malformed"], 0.0);
    assert_eq!(exchange.faults().settings(), Faults::default());
    let answer = get(&exchange, "/control/faults").await;
    assert!(answer.json()["tally"]["malformed"].as_u64().unwrap() > 0, "{answer:?}");
    let answer = request(&exchange, "POST", "/control/disconnect", "").await;
    assert_eq!(answer.status, 200);
    assert!(!client.ended().await);
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_connection_stays_open_and_says_nothing() {
    let exchange = Exchange::start(seeded(1, &["BTCUSDT"], 2000.0)).await.unwrap();
    let mut client = Client::connect(&exchange, "/ws").await;
    let ask = r#"{"method":"LIST_SUBSCRIPTIONS","id":1}"#;
    assert_eq!(client.ask(ask).await, r#"{"result":[],"id":1}"#);
    assert_eq!(request(&exchange, "POST", "/control/stall", "").await.status, 200);
    let stalled = async {
        while exchange.faults().tally().stalled == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, stalled).await.expect("nothing stalled");
    client.send(ask).await;
    let silence = tokio::time::timeout(std::time::Duration::from_millis(300), client.message());
    assert!(silence.await.is_err(), "something came");
    // A connection of after it is not concerned.
    let mut other = Client::connect(&exchange, "/ws").await;
    assert_eq!(other.ask(ask).await, r#"{"result":[],"id":1}"#);
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_stall_the_stream_goes_on_with_a_hole() {
    let exchange = Exchange::start(seeded(1, &["BTCUSDT"], 2000.0)).await.unwrap();
    let mut client = Client::connect(&exchange, "/ws/btcusdt@trade").await;
    let mut last = client.json().await["t"].as_u64().unwrap();
    request(&exchange, "POST", "/control/stall?for=500ms", "").await;
    let hole = async {
        loop {
            let id = client.json().await["t"].as_u64().unwrap();
            if id != last + 1 {
                break (last, id);
            }
            last = id;
        }
    };
    let (before, after) = tokio::time::timeout(PATIENCE, hole).await.expect("there is no hole");
    assert!(after > before + 1, "{before} and then {after}");
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_is_announced() {
    let exchange = Exchange::start(seeded(1, &["BTCUSDT"], 10.0)).await.unwrap();
    let mut raw = Client::connect(&exchange, "/ws").await;
    let mut combined = Client::connect(&exchange, "/stream").await;
    request(&exchange, "POST", "/control/shutdown?for=100ms", "").await;
    assert_eq!(raw.json().await["e"], "serverShutdown");
    let wrapped = combined.json().await;
    assert_eq!(wrapped["stream"], "!serverShutdown");
    assert!(wrapped["data"]["E"].is_i64());
    assert_eq!(raw.closed().await.0, 1001);
    assert_eq!(combined.closed().await.0, 1001);
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_refused_for_a_while() {
    let exchange = Exchange::start(seeded(1, &["BTCUSDT"], 10.0)).await.unwrap();
    request(&exchange, "POST", "/control/refuse?for=1h", "").await;
    let answer = get(&exchange, "/ws").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("3600")));
    request(&exchange, "POST", "/control/refuse?for=0s", "").await;
    Client::connect(&exchange, "/ws").await;
    assert_eq!(request(&exchange, "POST", "/control/refuse?for=soon", "").await.status, 400);
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_fail_as_they_do_in_the_world() {
    let exchange = Exchange::start(seeded(1, &["BTCUSDT"], 10.0)).await.unwrap();
    let check = async |faults: &str, status: std::ops::RangeInclusive<u16>, code: Option<i64>| {
        request(&exchange, "DELETE", "/control/faults", "").await;
        request(&exchange, "POST", "/control/faults", faults).await;
        let answer = get(&exchange, "/api/v3/ping").await;
        assert!(status.contains(&answer.status), "{faults}: {answer:?}");
        if let Some(code) = code {
            assert_eq!(answer.json()["code"], code, "{faults}");
        }
        answer
    };
    check("rest_error=1", 500..=504, None).await;
    check("rest_timeout=1,rest_timeout_after=10ms", 504..=504, Some(-1007)).await;
    let answer = check("rest_429=1,rest_retry_after_s=7", 429..=429, Some(-1003)).await;
    assert_eq!(answer.header("retry-after"), Some("7"));
    let answer = check("rest_418=1,rest_retry_after_s=9", 418..=418, Some(-1003)).await;
    assert!(answer.body.contains("IP banned until 1"), "{answer:?}");
    check("rest_delay=10ms", 200..=200, None).await;
    assert_eq!(exchange.faults().tally().rest_failed, 4);
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_that_make_no_sense_do_not_start() {
    let mut config = seeded(1, &["BTCUSDT"], 10.0);
    config.faults.drop = 2.0;
    let error = Exchange::start(config).await.unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("between 0 and 1"), "{error}");
}
