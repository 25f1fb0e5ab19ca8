//! As many symbols as a cluster takes, within the limits.

use crate::support::{Client, get};
use fts_exchange::{Config, ConnectionLimits, Exchange, SeededConfig, Source, realistic_symbols};
use serde_json::json;

const SYMBOLS: usize = 2_000;
const FEEDS: usize = 2;
const STREAMS_PER_CONNECTION: usize = 1_000;
const NAMES_PER_REQUEST: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn two_feeds_of_two_thousand_symbols_come_up_within_the_limits() {
    let symbols = realistic_symbols(SYMBOLS);
    let source = Source::Steady(SeededConfig {
        seed: 1,
        symbols: symbols.clone(),
        rate: 4_000.0,
        epoch_ms: None,
    });
    let connections = Some(ConnectionLimits::default());
    let exchange = Exchange::start(Config { connections, ..Config::new(source) }).await.unwrap();
    let streams: Vec<String> = symbols
        .iter()
        .flat_map(|symbol| ["trade", "bookTicker", "ticker"].map(|kind| (symbol, kind)))
        .map(|(symbol, kind)| format!("{}@{kind}", symbol.to_lowercase()))
        .collect();
    let mut clients = Vec::new();
    for _ in 0..FEEDS {
        for streams in streams.chunks(STREAMS_PER_CONNECTION) {
            let mut client = Client::connect(&exchange, "/stream").await;
            for (id, names) in streams.chunks(NAMES_PER_REQUEST).enumerate() {
                let request = json!({ "method": "SUBSCRIBE", "params": names, "id": id });
                client.send(&request.to_string()).await;
            }
            clients.push(client);
        }
    }
    for client in &mut clients {
        let (mut answers, mut frames) = (0, 0);
        while answers < STREAMS_PER_CONNECTION / NAMES_PER_REQUEST || frames < 100 {
            match client.json().await.get("result") {
                Some(result) => {
                    assert!(result.is_null());
                    answers += 1;
                }
                None => frames += 1,
            }
        }
    }
    assert_eq!(exchange.faults().tally().limited, 0);
    assert_eq!(
        get(&exchange, "/truth/status").await.json()["symbols"][1_999]["symbol"],
        symbols[1_999]
    );
    exchange.stop().await;
}
