//! What others see of the indices, through a client that is not the store's.

use std::collections::BTreeMap;
use std::sync::Arc;

use fts_adapters::elasticsearch::{ElasticsearchConfig, ElasticsearchStore};
use fts_core::port::store::conformance::Place as _;
use fts_core::port::store::{Store as _, StoreError};
use fts_core::row::{Rows, Table};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::place::place;
use crate::rows::{ALL, MIDNIGHT, batch, candle, symbol, trade};
use crate::transactions::{transaction, transactions};

const DAY: i64 = 86_400_000;

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_at_once_make_the_templates_once() {
    let Some(place) = place().await else { return };
    let stores: Vec<_> = (0..4).map(|_| place.store()).collect();
    let opened = join_all(stores.iter().map(ElasticsearchStore::connect)).await;
    assert_eq!(opened, vec![Ok(()); 4]);
    for (store, number) in stores.iter().zip(0..) {
        store.put(&[batch(number)]).await.unwrap();
    }
    place.settle().await;
    for store in &stores {
        assert_eq!(store.trades(&symbol("BTCUSDT"), 0, 99).await.unwrap().len(), 40);
    }
    let (_, found) = place.ask("GET", "/_index_template/{p}fts-*", "").await;
    let templates = found["index_templates"].as_array().unwrap();
    assert_eq!(templates.len(), Table::ALL.len());
    place.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_a_document_with_numbers_dates_and_exact_texts() {
    let Some(place) = place().await else { return };
    let store = place.store();
    store.put(&[transactions(vec![transaction(1, MIDNIGHT + 5, r#"{"hora":10}"#)])]).await.unwrap();
    let found = place.documents(Table::Transactions).await;
    let [hit] = &found[..] else { panic!("{found:?}") };
    assert_eq!(hit["_index"], json!(format!("{}transacciones_nrt-2024.08", place.prefix)));
    assert_eq!(hit["_id"], json!(format!("t-1:{}", MIDNIGHT + 5)));
    assert_eq!(hit["_version"], json!(0));
    let document = json!({
        "id": "t-1",
        "time": "2024-08-09T00:00:00.005Z",
        "timestamp": "2024-08-09 00:00:00",
        "accion": "TSLA",
        "tipo_transaccion": "COMPRA",
        "cantidad": 7,
        "precio_unitario": 216.27,
        "precio_unitario_text": "216.27000000",
        "total": 1513.89,
        "total_text": "1513.89000000",
        "estado": "EXITOSO",
        "error": null,
        "extra": { "hora": 10 },
        "received_at": "2024-08-09T00:00:00.008Z",
    });
    assert_eq!(hit["_source"], document);

    let (_, found) = place.ask("GET", "/{p}transacciones_nrt/_mapping", "").await;
    let mappings = &found.as_object().unwrap().values().next().unwrap()["mappings"];
    let columns = &mappings["properties"];
    for (column, kind) in [
        ("time", "date"),
        ("accion", "keyword"),
        ("cantidad", "long"),
        ("precio_unitario", "double"),
        ("precio_unitario_text", "keyword"),
        ("@timestamp", "alias"),
    ] {
        assert_eq!(columns[column]["type"], kind, "{column}");
    }
    assert_eq!(columns["time"].get("format"), None, "Trino knows the default format only");
    assert_eq!(columns["extra"]["properties"]["hora"]["type"], "long");
    // As a dashboard asks: by time, with a sum.
    let query = r#"{"size":0,"query":{"range":{"@timestamp":{"gte":"2024-08-09","lt":"2024-08-10"}}},
        "aggs":{"sum":{"sum":{"field":"total"}},"by":{"terms":{"field":"accion"}}}}"#;
    let (_, found) = place.ask("POST", "/{p}transacciones_nrt/_search", query).await;
    assert_eq!(found["aggregations"]["sum"]["value"], json!(1513.89));
    assert_eq!(found["aggregations"]["by"]["buckets"][0]["key"], "TSLA");
    place.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_keeps_a_row_s_version_and_refuses_what_knows_less() {
    let Some(place) = place().await else { return };
    let store = place.store();
    let put = async |trades| {
        let rows = Rows { candles: vec![candle(0, trades)], ..Rows::default() };
        assert_eq!(store.put(&[Arc::new(rows)]).await, Ok(()));
    };
    for trades in [2, 9, 5, 9, 0] {
        put(trades).await;
    }
    let found = place.documents(Table::Candles).await;
    let [hit] = &found[..] else { panic!("{found:?}") };
    assert_eq!(hit["_version"], json!(18));
    assert_eq!(hit["_source"]["trade_count"], json!(9));
    place.remove().await;
}

/// What cannot be stored is named, everything else is stored: in one request or in several.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_row_is_named_with_its_reason_and_takes_no_other_with_it() {
    let Some(place) = place().await else { return };
    for bulk_bytes in [1_024, 5_242_880] {
        let config = ElasticsearchConfig { bulk_bytes, ..place.config() };
        let store = ElasticsearchStore::new(config).unwrap();
        // `hora` is a number from the first row on.
        let first = transaction(0, MIDNIGHT, r#"{"hora":10}"#);
        store.put(&[transactions(vec![first])]).await.unwrap();
        let extra = |number| if number == 7 { r#"{"hora":"diez"}"# } else { r#"{"hora":11}"# };
        let mut rows: Vec<_> =
            (1..30).map(|it| transaction(it, MIDNIGHT + it, extra(it))).collect();
        rows.push(transaction(98, i64::MAX, "{}"));
        rows.push(transaction(99, MIDNIGHT, "no object"));
        rows.push(transaction(100, MIDNIGHT, r#"{"hora":12}"#));
        rows[3].id = "x".repeat(600);
        let error = store.put(&[batch(0), transactions(rows), batch(1)]).await.unwrap_err();
        let StoreError::Rejected { table, reason } = &error else { panic!("{error:?}") };
        assert_eq!(*table, "transacciones_nrt");
        for word in ["years 1 to 9999", "longer than 512 bytes", "1 more"] {
            assert!(reason.contains(word), "`{word}` is not in: {reason}");
        }
        let found = store.transactions(&symbol("TSLA"), ALL).await.unwrap();
        let kept: Vec<_> = found.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(kept.len(), 1 + 29 - 2 + 1, "{kept:?}");
        assert!(!kept.contains(&"t-7") && kept.contains(&"t-29") && kept.contains(&"t-100"));
        assert_eq!(store.trades(&symbol("BTCUSDT"), 0, 99).await.unwrap().len(), 20);

        let wrong = vec![transaction(7, MIDNIGHT + 7, extra(7))];
        let error = store.put(&[transactions(wrong)]).await.unwrap_err();
        let StoreError::Rejected { reason, .. } = &error else { panic!("{error:?}") };
        for word in ["extra.hora", "long", "diez", "t-7"] {
            assert!(reason.contains(word), "`{word}` is not in: {reason}");
        }
        place.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_lie_in_an_index_a_month_and_old_ones_go_whole() {
    let Some(place) = place().await else { return };
    let store = place.store();
    // A day apart, from 9 August to 16 November.
    let rows = (0..100).map(|it| transaction(it, MIDNIGHT + it * DAY, "{}")).collect();
    store.put(&[transactions(rows)]).await.unwrap();
    let indices = async || {
        let path = "/{p}transacciones_nrt-*/_count?filter_path=_shards.total";
        place.ask("GET", path, "").await.1["_shards"]["total"].as_u64().unwrap()
    };
    assert_eq!(indices().await, 4);
    // The newest is of 16 November; what is older than 10 October 12:00 goes: two whole months, and
    // ten days.
    let keep = 37 * DAY - DAY / 2;
    assert_eq!(store.expire(Table::Transactions, keep).await, Ok(63));
    assert_eq!(indices().await, 2);
    let found = store.transactions(&symbol("TSLA"), ALL).await.unwrap();
    let ids: Vec<_> = found.iter().map(|it| it.id.clone()).collect();
    assert_eq!(ids, (63..100).map(|it| format!("t-{it}")).collect::<Vec<_>>());
    assert_eq!(store.expire(Table::Transactions, keep).await, Ok(0));
    // A row that comes too late is kept until the next time.
    store.put(&[transactions(vec![transaction(0, MIDNIGHT, "{}")])]).await.unwrap();
    assert_eq!(indices().await, 3);
    assert_eq!(store.expire(Table::Transactions, keep).await, Ok(1));
    place.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_in_the_way_is_named_and_left_alone() {
    let Some(place) = place().await else { return };
    for name in ["transacciones_nrt", "finanzas_batch"] {
        place.ask("PUT", &format!("/{{p}}{name}"), "{}").await;
        let store = place.store();
        for error in [store.connect().await, store.put(&[batch(0)]).await] {
            let error = error.unwrap_err();
            let StoreError::Refused(reason) = &error else { panic!("{error:?}") };
            assert!(reason.contains(name) && reason.contains("`index_prefix`"), "{reason}");
        }
        let mut config = place.config();
        config.tables.remove(&Table::from_name(name).unwrap());
        let other = ElasticsearchStore::new(config).unwrap();
        assert_eq!(other.put(&[batch(0)]).await, Ok(()), "who does not need it does not mind");
        place.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn indices_of_a_later_program_are_left_alone_and_of_an_earlier_one_brought_up_to_date() {
    let Some(place) = place().await else { return };
    place.store().put(&[batch(0)]).await.unwrap();
    let path = "/_index_template/{p}fts-trades";
    let (_, found) = place.ask("GET", path, "").await;
    let mut template = found["index_templates"][0]["index_template"].clone();
    template["version"] = json!(0);
    let with = |version: Value| {
        let mut template = template.clone();
        template["version"] = version;
        template.to_string()
    };
    place.ask("PUT", path, &with(json!(0))).await;
    let meta = |version: u64| json!({ "_meta": { "fts_node": version } }).to_string();
    place.ask("PUT", "/{p}trades-2024.08.09/_mapping", &meta(0)).await;
    assert_eq!(place.store().connect().await, Ok(()));
    let (_, found) = place.ask("GET", path, "").await;
    assert_eq!(found["index_templates"][0]["index_template"]["version"], json!(1));
    let (_, found) = place.ask("GET", "/{p}trades-2024.08.09/_mapping", "").await;
    let mapping = found.as_object().unwrap().values().next().unwrap();
    assert_eq!(mapping["mappings"]["_meta"]["fts_node"], json!(1));

    place.ask("PUT", "/{p}trades-2024.08.09/_mapping", &meta(99)).await;
    let error = place.store().connect().await.unwrap_err().to_string();
    assert!(error.contains("version 99") && error.contains("newer fts-node"), "{error}");
    place.ask("PUT", "/{p}trades-2024.08.09/_mapping", &meta(1)).await;
    place.ask("PUT", path, &with(json!(99))).await;
    let error = place.store().connect().await.unwrap_err().to_string();
    assert!(error.contains("version 99") && error.contains("newer fts-node"), "{error}");
    place.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_the_store_does_not_take_have_no_index() {
    let Some(place) = place().await else { return };
    let mut config = place.config();
    config.tables = ElasticsearchConfig::USUAL_TABLES.into();
    let store = ElasticsearchStore::new(config).unwrap();
    store.connect().await.unwrap();
    assert_eq!(store.trades(&symbol("BTCUSDT"), 0, 9).await, Ok(Vec::new()));
    assert_eq!(store.expire(Table::Trades, 1).await, Ok(0));
    let (_, found) = place.ask("GET", "/_index_template/{p}fts-*", "").await;
    assert_eq!(found["index_templates"].as_array().map(Vec::len), Some(5));
    place.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_table_s_documents_have_the_columns_that_the_server_was_told_of() {
    let Some(place) = place().await else { return };
    let store = place.store();
    store.put(&[batch(0)]).await.unwrap();
    for (table, row) in [
        (Table::Trades, BTreeMap::from([("trade_id", json!(3)), ("price", json!(60_003.0))])),
        (Table::Candles, BTreeMap::from([("interval", json!("1m")), ("complete", json!(false))])),
    ] {
        let found = place.documents(table).await;
        let source =
            |it: &Value| row.iter().all(|(column, value)| it["_source"][*column] == *value);
        assert_eq!(found.iter().filter(|it| source(it)).count(), 1, "{table:?}: {found:?}");
    }
    assert_eq!(store.trades(&symbol("BTCUSDT"), 3, 1).await, Ok(vec![trade(3)]));
    place.remove().await;
}
