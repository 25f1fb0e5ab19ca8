//! A row has the same columns wherever it is read: in SQLite's tables and in the JSON of the result
//! topics.

use std::collections::BTreeSet;

use fts_core::row::{Rows, Table};

/// A row for each table. Values don't matter here.
const ROWS: &str = r#"{
    "trades": [{"symbol": "A", "trade_id": 1, "time": 1, "price": "1", "quantity": "1",
        "buyer_is_maker": true, "received_at": 1, "source": "stream"}],
    "candles": [{"symbol": "A", "interval": "1m", "open_time": 1, "open": "1", "high": "1",
        "low": "1", "close": "1", "volume": "1", "quote_volume": "1", "trade_count": 1,
        "taker_buy_volume": "1", "taker_buy_quote_volume": "1", "first_trade_id": 1,
        "last_trade_id": 1, "complete": true}],
    "binance_book_ticker_data": [{"update_id": 1, "symbol": "A", "best_bid_price": "1",
        "best_bid_quantity": "1", "best_ask_price": "1", "best_ask_quantity": "1",
        "received_at": 1}],
    "book_ticker_1s": [{"symbol": "A", "open_time": 1, "bid_open": "1", "bid_high": "1",
        "bid_low": "1", "bid_close": "1", "ask_open": "1", "ask_high": "1", "ask_low": "1",
        "ask_close": "1", "spread_sum": "1", "update_count": 1, "first_update_id": 1,
        "last_update_id": 1}],
    "binance_ticker_data": [{"event_time": 1, "symbol": "A", "price_change": "1",
        "price_change_percent": "1", "weighted_avg_price": "1", "first_trade_price": "1",
        "last_price": "1", "last_quantity": "1", "best_bid_price": "1", "best_bid_quantity": "1",
        "best_ask_price": "1", "best_ask_quantity": "1", "open_price": "1", "high_price": "1",
        "low_price": "1", "total_traded_base_asset_volume": "1",
        "total_traded_quote_asset_volume": "1", "statistics_open_time": 1,
        "statistics_close_time": 1, "first_trade_id": 1, "last_trade_id": 1,
        "total_number_of_trades": 1, "received_at": 1}],
    "gaps": [{"symbol": "A", "first_trade_id": 1, "last_trade_id": 1, "missing": 1,
        "after_time": null, "before_time": 1, "reason": ""}],
    "alerts": [{"symbol": "A", "time": 1, "direction": "up", "window_ms": 1,
        "threshold_percent": "1", "reference_price": "1", "price": "1", "change_percent": "1"}],
    "dead_letters": [{"topic": "binanceTrade", "partition": 1, "offset": 1, "symbol": "A",
        "received_at": 1, "reason": "", "payload": ""}],
    "finanzas_batch": [{"symbol": "A", "fecha": "2024-08-09", "apertura": "1", "maximo": "1",
        "minimo": "1", "cierre": "1", "volumen": 1, "fetched_at": 1}],
    "finanzas_batch_changes": [{"symbol": "A", "fecha": "2024-08-09", "campo": "cierre",
        "antes": "1", "despues": "2", "fetched_at": 1}],
    "transacciones_nrt": [{"id": "1", "time": 1, "timestamp": "", "accion": "A",
        "tipo_transaccion": "COMPRA", "cantidad": 1, "precio_unitario": "1", "total": "1",
        "estado": "EXITOSO", "error": null, "extra": "{}", "received_at": 1}]
}"#;

#[test]
fn json_has_the_columns_of_the_tables() {
    let rows: Rows = fts_proto::rows::decode(ROWS.as_bytes()).unwrap();
    let tables = rusqlite::Connection::open_in_memory().unwrap();
    for schema in
        [include_str!("../src/sqlite/schema/1.sql"), include_str!("../src/sqlite/schema/2.sql")]
    {
        tables.execute_batch(schema).unwrap();
    }
    let mut seen = BTreeSet::new();
    for (table, _, json) in fts_proto::rows::each(&rows) {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&json).unwrap();
        let found: BTreeSet<String> = object.into_iter().map(|it| it.0).collect();
        // xinfo: generated columns too.
        let mut statement = tables.prepare("SELECT name FROM pragma_table_xinfo(?1)").unwrap();
        let expected: BTreeSet<String> =
            statement.query_map([table.name()], |row| row.get(0)).unwrap().flatten().collect();
        assert_eq!(found, expected, "{}", table.name());
        seen.insert(table);
    }
    assert_eq!(seen, BTreeSet::from(Table::ALL));
}
