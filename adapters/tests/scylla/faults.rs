//! Servers that are not there, hang, die, or lose their tables.

use std::sync::Arc;
use std::time::Duration;

use fts_adapters::scylla::{ScyllaConfig, ScyllaStore};
use fts_core::port::store::conformance::Place as _;
use fts_core::port::store::{Store as _, StoreError};
use fts_core::row::Rows;

use crate::keyspace::{PATIENCE_MS, keyspace};
use crate::outage::{Mortal, killed_in_the_middle, put_until_done};
use crate::rows::{batch, symbol, trade};
use crate::server::Server;

fn config(server: &str) -> ScyllaConfig {
    ScyllaConfig {
        replication_factor: 1,
        connect_timeout_ms: PATIENCE_MS,
        request_timeout_ms: PATIENCE_MS,
        ..ScyllaConfig::new(vec![server.to_owned()])
    }
}

impl Mortal for Server {
    fn kill(&mut self) {
        Self::kill(self);
    }

    async fn run(&mut self) {
        Self::run(self).await;
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
    let Some(mut server) = Server::start().await else { return };
    let store = Arc::new(ScyllaStore::new(config(&server.address())).unwrap());
    store.connect().await.unwrap();
    killed_in_the_middle(store, &mut server).await;
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
