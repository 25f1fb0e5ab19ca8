//! Servers that are not there, hang, die, or lose their tables.

use std::sync::Arc;
use std::time::Duration;

use fts_adapters::scylla::{ScyllaConfig, ScyllaStore};
use fts_core::interval::Interval;
use fts_core::port::store::conformance::Place as _;
use fts_core::port::store::{Store as _, StoreError};
use fts_core::row::Rows;

use crate::keyspace::keyspace;
use crate::rows::{ALL, batch, candle, symbol, trade};
use crate::server::Server;

fn config(server: &str) -> ScyllaConfig {
    ScyllaConfig {
        replication_factor: 1,
        connect_timeout_ms: 2_000,
        request_timeout_ms: 30_000,
        ..ScyllaConfig::new(vec![server.to_owned()])
    }
}

/// Puts until it is told that it is done, as a writer does.
async fn put_until_done(store: &ScyllaStore, rows: &Arc<Rows>) -> u32 {
    let mut failures = 0;
    loop {
        match store.put(std::slice::from_ref(rows)).await {
            Ok(()) => return failures,
            Err(StoreError::Rejected { table, reason }) => panic!("{table}: {reason}"),
            Err(_) => failures += 1,
        }
        assert!(failures < 10_000, "the server does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_is_told_at_once_to_who_asks_again() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let store = ScyllaStore::new(config(&format!("127.0.0.1:{port}"))).unwrap();
    for _ in 0..2 {
        let error = store.put(&[batch(0)]).await.unwrap_err();
        let StoreError::Unavailable(reason) = &error else { panic!("{error:?}") };
        assert!(reason.contains("is the cluster up"), "{reason}");
    }
}

#[tokio::test]
async fn a_host_that_never_answers_is_unavailable_within_its_time() {
    // Accepts connections, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(&silent.local_addr().unwrap().to_string());
    (config.connect_timeout_ms, config.request_timeout_ms) = (300, 300);
    let store = ScyllaStore::new(config).unwrap();
    let put = tokio::time::timeout(Duration::from_secs(60), store.put(&[batch(0)])).await;
    assert!(matches!(put, Ok(Err(StoreError::Unavailable(_)))), "{put:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_and_started_again_it_has_all_that_was_acknowledged() {
    const BATCHES: i64 = 600;
    let Some(mut server) = Server::start().await else { return };
    let store = Arc::new(ScyllaStore::new(config(&server.address())).unwrap());
    store.connect().await.unwrap();
    let (progress, mut seen) = tokio::sync::watch::channel(0);
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            let mut failures = 0;
            for number in 0..BATCHES {
                failures += put_until_done(&store, &batch(number)).await;
                progress.send_replace(number);
            }
            failures
        }
    });
    // Twice, at points that the test does not choose to the byte.
    for point in [100, 300] {
        seen.wait_for(|done| *done >= point).await.unwrap();
        server.kill();
        server.run().await;
        // What was acknowledged before is there, whatever has come since.
        let acknowledged = usize::try_from(point * 10).unwrap();
        let found = loop {
            if let Ok(found) = store.trades(&symbol("BTCUSDT"), 0, acknowledged).await {
                break found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(found.iter().map(|it| it.trade.id).eq(0..point * 10), "after the kill at {point}");
    }
    let failures = writer.await.unwrap();
    assert!(failures > 0, "the kills were felt");

    // A late zombie that knows less.
    put_until_done(&store, &batch(0)).await;
    let trades = store.trades(&symbol("BTCUSDT"), i64::MIN, usize::MAX).await.unwrap();
    assert_eq!(trades, (0..BATCHES * 10).map(trade).collect::<Vec<_>>());
    let candles = store.candles(&symbol("BTCUSDT"), Interval::Minute, ALL).await.unwrap();
    assert_eq!(candles, (0..BATCHES / 60).map(|it| candle(it, 600)).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_fails_in_time_and_is_used_again_once_it_answers() {
    let Some(server) = Server::start().await else { return };
    let opened = ScyllaStore::new(config(&server.address())).unwrap();
    opened.connect().await.unwrap();
    let store =
        ScyllaStore::new(ScyllaConfig { request_timeout_ms: 2_000, ..config(&server.address()) })
            .unwrap();
    put_until_done(&store, &batch(0)).await;
    server.signal("STOP");
    let put = tokio::time::timeout(Duration::from_secs(60), store.put(&[batch(1)])).await;
    let reason = match put {
        Ok(Err(StoreError::Unavailable(reason))) => reason,
        other => panic!("{other:?}"),
    };
    assert!(reason.contains("no answer within 2000 ms"), "{reason}");
    server.signal("CONT");
    put_until_done(&store, &batch(1)).await;
    assert_eq!(store.trades(&symbol("BTCUSDT"), 0, 99).await.unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_somebody_dropped_are_named_and_made_again() {
    let Some(keyspace) = keyspace().await else { return };
    let store = ScyllaStore::new(keyspace.config()).unwrap();
    store.put(&[batch(0)]).await.unwrap();
    let other = keyspace.session().await;
    other.query_unpaged(format!("DROP TABLE \"{}\".trades", keyspace.name), ()).await.unwrap();
    let error = store.put(&[batch(1)]).await.unwrap_err().to_string();
    assert!(error.contains("dropped the tables"), "{error}");

    keyspace.remove().await;
    put_until_done(&store, &batch(2)).await;
    let found = store.trades(&symbol("BTCUSDT"), 0, 99).await.unwrap();
    assert!(found.iter().map(|it| it.trade.id).eq(20..30), "{found:?}");
    keyspace.remove().await;
}

#[tokio::test]
async fn a_row_that_no_table_can_hold_is_rejected_before_anything_is_sent() {
    let Some(keyspace) = keyspace().await else { return };
    let store = ScyllaStore::new(keyspace.config()).unwrap();
    let mut wrong = trade(7);
    wrong.trade.time = i64::MAX;
    let rows = Arc::new(Rows { trades: vec![wrong], ..Rows::default() });
    let error = store.put(&[batch(0), rows]).await.unwrap_err();
    let StoreError::Rejected { table, reason } = &error else { panic!("{error:?}") };
    assert_eq!(*table, "trades");
    assert!(reason.contains("BTCUSDT trade 7"), "{reason}");
    assert_eq!(store.trades(&symbol("BTCUSDT"), 0, 99).await, Ok(Vec::new()));
    keyspace.remove().await;
}
