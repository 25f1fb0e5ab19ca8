//! What others see of the tables, through a client that is not the store's.

use std::collections::BTreeMap;
use std::sync::Arc;

use fts_adapters::scylla::ScyllaStore;
use fts_core::decimal::Decimal;
use fts_core::interval::Interval;
use fts_core::port::store::Store as _;
use fts_core::port::store::conformance::Place as _;
use fts_core::row::{GapRow, Rows, Table};
use futures_util::future::join_all;

use crate::keyspace::{Keyspace, keyspace};
use crate::rows::{ALL, MIDNIGHT, batch, candle, symbol, trade};

/// The rows of a query, as text.
async fn ask<R>(keyspace: &Keyspace, cql: &str) -> Vec<R>
where
    R: for<'f, 'm> scylla::deserialize::row::DeserializeRow<'f, 'm>,
{
    let cql = cql.replace("{ks}", &format!("\"{}\"", keyspace.name));
    let result = keyspace.session().await.query_unpaged(cql, ()).await.unwrap();
    let rows = result.into_rows_result().unwrap();
    rows.rows::<R>().unwrap().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_at_once_make_the_tables_once() {
    let Some(keyspace) = keyspace().await else { return };
    let stores: Vec<_> = (0..4).map(|_| ScyllaStore::new(keyspace.config()).unwrap()).collect();
    let opened = join_all(stores.iter().map(ScyllaStore::connect)).await;
    assert_eq!(opened, vec![Ok(()); 4]);
    for (store, number) in stores.iter().zip(0..) {
        store.put(&[batch(number)]).await.unwrap();
    }
    for store in &stores {
        assert_eq!(store.trades(&symbol("BTCUSDT"), 0, 99).await.unwrap().len(), 40);
    }
    let versions: Vec<(String, i32)> =
        ask(&keyspace, "SELECT component, version FROM {ks}.schema_versions").await;
    assert_eq!(versions, [("fts-node".to_owned(), 1)]);
    keyspace.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_later_program_are_left_alone() {
    let Some(keyspace) = keyspace().await else { return };
    ScyllaStore::new(keyspace.config()).unwrap().connect().await.unwrap();
    let later = format!(
        "INSERT INTO \"{}\".schema_versions (component, version) VALUES ('fts-node', 99)",
        keyspace.name
    );
    keyspace.session().await.query_unpaged(later, ()).await.unwrap();
    let store = ScyllaStore::new(keyspace.config()).unwrap();
    let error = store.put(&[batch(0)]).await.unwrap_err().to_string();
    assert!(error.contains("version 99") && error.contains("newer fts-node"), "{error}");
    keyspace.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_written_with_its_own_time_plus_its_version_and_expires() {
    let Some(keyspace) = keyspace().await else { return };
    let mut config = keyspace.config();
    config.retention = BTreeMap::from([(Table::Candles, 86_400_000)]);
    let store = ScyllaStore::new(config).unwrap();
    let rows = Rows { candles: vec![candle(0, 21)], trades: vec![trade(3)], ..Rows::default() };
    store.put(&[Arc::new(rows)]).await.unwrap();
    let found: Vec<(i64, i64, i64, i32)> = ask(
        &keyspace,
        "SELECT WRITETIME(open), WRITETIME(close_text), version, TTL(close) FROM {ks}.candles",
    )
    .await;
    let at = MIDNIGHT * 1_000 + 42;
    let [(open, close, 42, ttl)] = found[..] else { panic!("{found:?}") };
    assert_eq!((open, close), (at, at), "all cells together");
    assert!((86_400..=3 * 86_400).contains(&ttl), "a day and the slack: {ttl}");
    let found: Vec<(i64, Option<i32>)> =
        ask(&keyspace, "SELECT WRITETIME(price), TTL(price) FROM {ks}.trades").await;
    assert_eq!(found, [((MIDNIGHT + 300) * 1_000, None)], "kept for ever");
    keyspace.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_grows_is_compacted_by_time_and_no_partition_grows_for_ever() {
    let Some(keyspace) = keyspace().await else { return };
    ScyllaStore::new(keyspace.config()).unwrap().connect().await.unwrap();
    let own = format!("keyspace_name = '{}'", keyspace.name);
    let cql = format!(
        "SELECT table_name, compaction['class'] \
         FROM system_schema.tables WHERE {own}"
    );
    let found: Vec<(String, String)> = ask(&keyspace, &cql).await;
    let by_time: Vec<&str> = found
        .iter()
        .filter(|(_, class)| class.ends_with("TimeWindowCompactionStrategy"))
        .map(|(name, _)| name.as_str())
        .collect();
    // Daily prices are few, and the other tables are the store's own.
    let mut expected = Table::ALL.map(Table::name).to_vec();
    expected.retain(|name| !name.starts_with("finanzas_batch"));
    expected.sort_unstable();
    assert_eq!(by_time, expected);
    let cql = format!(
        "SELECT table_name, column_name FROM system_schema.columns \
         WHERE {own} AND kind = 'partition_key' ALLOW FILTERING"
    );
    let keys: Vec<(String, String)> = ask(&keyspace, &cql).await;
    for table in Table::ALL.map(Table::name) {
        assert!(keys.contains(&(table.to_owned(), "bucket".to_owned())), "{table}: {keys:?}");
    }
    keyspace.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_symbol_over_time_and_its_latest_are_found_by_key_and_exact() {
    let Some(keyspace) = keyspace().await else { return };
    let store = ScyllaStore::new(keyspace.config()).unwrap();
    let mut odd = trade(1);
    odd.trade.price = Decimal(6_183_763_000_001);
    let rows = Rows { trades: vec![trade(0), odd, trade(40_000)], ..Rows::default() };
    store.put(&[Arc::new(rows)]).await.unwrap();

    let series: Vec<(String,)> =
        ask(&keyspace, "SELECT series FROM {ks}.series WHERE table_name = 'trades'").await;
    assert_eq!(series, [("BTCUSDT".to_owned(),)]);
    // Newest first. Trade 40,000 is more than an hour later.
    let buckets: Vec<(String,)> = ask(
        &keyspace,
        "SELECT CAST(bucket AS text) FROM {ks}.buckets \
         WHERE table_name = 'trades' AND series = 'BTCUSDT'",
    )
    .await;
    let expected = ["2024-08-09T01:00:00.000Z", "2024-08-09T00:00:00.000Z"];
    assert_eq!(buckets, expected.map(|it| (it.to_owned(),)));
    let found: Vec<(i64, String, String)> = ask(
        &keyspace,
        "SELECT trade_id, price_text, CAST(price AS text) FROM {ks}.trades \
         WHERE symbol = 'BTCUSDT' AND bucket = '2024-08-09 00:00Z' \
         AND time >= '2024-08-09 00:00:00.050Z'",
    )
    .await;
    let exact = "61837.63000001".to_owned();
    assert_eq!(found, [(1, exact.clone(), exact)]);
    let latest: Vec<(i64,)> = ask(
        &keyspace,
        "SELECT trade_id FROM {ks}.trades \
         WHERE symbol = 'BTCUSDT' AND bucket = '2024-08-09 01:00Z' LIMIT 1",
    )
    .await;
    assert_eq!(latest, [(40_000,)]);
    keyspace.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_row_lacks_is_no_deletion() {
    let Some(keyspace) = keyspace().await else { return };
    let store = ScyllaStore::new(keyspace.config()).unwrap();
    let gap = |missing, after_time| GapRow {
        symbol: symbol("BTCUSDT"),
        first_trade_id: 1,
        last_trade_id: 10,
        missing,
        after_time,
        before_time: MIDNIGHT,
        reason: "unknown".to_owned(),
    };
    for row in [gap(10, Some(MIDNIGHT - 5)), gap(9, None)] {
        store.put(&[Arc::new(Rows { gaps: vec![row], ..Rows::default() })]).await.unwrap();
    }
    assert_eq!(store.gaps(9).await, Ok(vec![gap(9, Some(MIDNIGHT - 5))]));
    keyspace.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_deletes_hides_nothing_that_knows_more() {
    let Some(keyspace) = keyspace().await else { return };
    let store = ScyllaStore::new(keyspace.config()).unwrap();
    let rows = |trades| Arc::new(Rows { candles: vec![candle(0, trades)], ..Rows::default() });
    let late = Rows { candles: vec![candle(100_000, 1)], ..Rows::default() };
    store.put(&[rows(5), Arc::new(late)]).await.unwrap();
    assert_eq!(store.expire(Table::Candles, 60_000).await, Ok(1));
    let found = async || {
        let found = store.candles(&symbol("BTCUSDT"), Interval::Minute, ALL).await.unwrap();
        found.iter().map(|it| it.candle.trade_count).collect::<Vec<_>>()
    };
    assert_eq!(found().await, [1]);
    // Another process, which does not remember that the partition is announced.
    let other = ScyllaStore::new(keyspace.config()).unwrap();
    other.put(&[rows(5)]).await.unwrap();
    assert_eq!(found().await, [1], "deleted rows stay deleted");
    other.put(&[rows(6)]).await.unwrap();
    assert_eq!(found().await, [6, 1]);
    keyspace.remove().await;
}
