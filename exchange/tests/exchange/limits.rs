//! The limits on connections, with the documented ends of those who go beyond.

use crate::support::{Client, get, seeded};
use fts_exchange::{Config, ConnectionLimits, Exchange};

fn limited() -> Config {
    let mut config = seeded(1, &["BTCUSDT"], 10.0);
    config.connections = Some(ConnectionLimits::default());
    config
}

fn names(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("a{number}usdt@trade")).collect()
}

fn subscribe(range: std::ops::Range<u32>) -> String {
    serde_json::json!({ "method": "SUBSCRIBE", "params": names(range), "id": 1 }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_1024_streams_at_most() {
    let exchange = Exchange::start(limited()).await.unwrap();
    let mut client = Client::connect(&exchange, "/ws").await;
    for range in [0..600, 600..1024, 0..1024] {
        assert_eq!(client.ask(&subscribe(range)).await, r#"{"result":null,"id":1}"#);
    }
    client.send(&subscribe(1024..1025)).await;
    assert_eq!(client.closed().await, (1008, "Too many streams".to_owned()));
    let url = format!("/stream?streams={}", names(0..1025).join("/"));
    let mut client = Client::connect(&exchange, &url).await;
    assert_eq!(client.closed().await, (1008, "Too many streams".to_owned()));
    assert_eq!(exchange.faults().tally().limited, 2);
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_talks_too_much_is_disconnected() {
    let exchange = Exchange::start(limited()).await.unwrap();
    let mut client = Client::connect(&exchange, "/ws").await;
    for _ in 0..6 {
        client.send(r#"{"method":"LIST_SUBSCRIPTIONS","id":1}"#).await;
    }
    assert_eq!(client.closed().await, (1008, "Too many requests".to_owned()));
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_connects_300_times_in_5_minutes() {
    let exchange = Exchange::start(limited()).await.unwrap();
    for attempt in 0..300 {
        // An attempt counts even if it is no WebSocket's.
        assert_eq!(get(&exchange, "/ws").await.status, 400, "{attempt}");
    }
    let answer = get(&exchange, "/ws").await;
    assert_eq!(answer.status, 429, "{answer:?}");
    let wait: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=300).contains(&wait), "{wait}");
    // Requests are another matter.
    assert_eq!(get(&exchange, "/api/v3/ping").await.status, 200);
    exchange.stop().await;
}
