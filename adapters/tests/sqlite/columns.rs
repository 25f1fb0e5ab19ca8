//! The columns of tables and views, and what stands in them.

use std::sync::Arc;

use fts_core::port::store::Store as _;
use fts_core::row::Table;
use rusqlite::Connection;

use crate::rows::one_of_each;
use crate::{file, open, reader};

#[test]
fn tables_have_the_columns_that_dashboards_are_written_against() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let check = |table: &str, expected: &str| {
        let found = columns(&reader(&file(folder.path())), table);
        let expected: Vec<_> = expected.split_whitespace().collect();
        assert_eq!(found, expected, "{table}");
    };
    check(
        "trades",
        "symbol trade_id time price quantity buyer_is_maker received_at source version",
    );
    check(
        "candles",
        "symbol interval open_time close_time open high low close volume quote_volume trade_count
         taker_buy_volume taker_buy_quote_volume first_trade_id last_trade_id complete version",
    );
    check(
        "binance_book_ticker_data",
        "id stream update_id symbol best_bid_price best_bid_quantity best_ask_price
         best_ask_quantity received_at version",
    );
    check(
        "book_ticker_1s",
        "symbol open_time close_time bid_open bid_high bid_low bid_close ask_open ask_high ask_low
         ask_close spread_sum mean_spread update_count first_update_id last_update_id version",
    );
    check(
        "binance_ticker_data",
        "id stream event_type event_time symbol price_change price_change_percent
         weighted_avg_price first_trade_price last_price last_quantity best_bid_price
         best_bid_quantity best_ask_price best_ask_quantity open_price high_price low_price
         total_traded_base_asset_volume total_traded_quote_asset_volume statistics_open_time
         statistics_close_time first_trade_id last_trade_id total_number_of_trades received_at
         version",
    );
    check(
        "gaps",
        "symbol first_trade_id last_trade_id missing after_time before_time reason version",
    );
    check(
        "alerts",
        "symbol time direction window_ms threshold_percent reference_price price change_percent
         version",
    );
    check("dead_letters", "topic partition offset symbol received_at reason payload version");
    check(
        "finanzas_batch",
        "symbol time fecha apertura maximo minimo cierre volumen fetched_at version",
    );
    check("finanzas_batch_changes", "symbol time fecha campo antes despues fetched_at version");
    check(
        "transacciones_nrt",
        "id time timestamp accion tipo_transaccion cantidad precio_unitario total estado error
         extra received_at version",
    );
}

#[tokio::test]
async fn views_have_a_real_beside_every_decimal() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.put(&[Arc::new(one_of_each(7))]).await.unwrap();
    let connection = reader(&file(folder.path()));
    for table in Table::ALL.map(Table::name) {
        let view = columns(&connection, &format!("v_{table}"));
        let (real, same): (Vec<_>, Vec<_>) = view.into_iter().partition(|it| it.ends_with("_real"));
        let expected = columns(&connection, table);
        assert_eq!(same, expected, "{table}");
        // A decimal is a number with a point.
        let is_decimal = |text: String| text.contains('.') && text.parse::<f64>().is_ok();
        let decimals: Vec<_> = expected
            .into_iter()
            .filter(|column| is_decimal(text(&connection, table, column)))
            .map(|column| format!("{column}_real"))
            .collect();
        assert_eq!(real, decimals, "{table}");
        for column in real {
            let sql = format!("SELECT typeof({column}) FROM v_{table}");
            let kind: String = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
            assert_eq!(kind, "real", "{table}.{column}");
        }
    }
    let high = "SELECT max(price_real) FROM v_trades";
    let high: f64 = connection.query_row(high, [], |row| row.get(0)).unwrap();
    assert!((high - 61_837.63).abs() < 1e-9, "{high}");
}

#[tokio::test]
async fn values_are_stored_as_the_columns_promise() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.put(&[Arc::new(one_of_each(7))]).await.unwrap();
    let connection = reader(&file(folder.path()));
    let check = |table: &str, column: &str, expected: &str| {
        assert_eq!(text(&connection, table, column), expected, "{table}.{column}");
    };
    check("trades", "price", "61837.63000000");
    check("trades", "buyer_is_maker", "1");
    check("trades", "source", "backfill");
    check("candles", "interval", "1m");
    check("candles", "close_time", "1723161659999");
    check("candles", "quote_volume", "123.4567890123456789");
    check("candles", "complete", "1");
    check("candles", "version", "7");
    check("binance_book_ticker_data", "id", "BTCUSDT-80000000007");
    check("binance_book_ticker_data", "stream", "btcusdt@bookTicker");
    check("book_ticker_1s", "close_time", "1723161600999");
    check("book_ticker_1s", "mean_spread", "0.33333333");
    check("book_ticker_1s", "version", "3");
    check("binance_ticker_data", "id", "BTCUSDT-1723161600007");
    check("binance_ticker_data", "stream", "btcusdt@ticker");
    check("binance_ticker_data", "event_type", "24hrTicker");
    check("binance_ticker_data", "price_change", "-15.50000000");
    check("gaps", "version", "6");
    check("alerts", "direction", "down");
    check("dead_letters", "topic", "binanceDeadLetter");
    check("finanzas_batch", "fecha", "2024-08-09");
    check("finanzas_batch", "cierre", "61837.63000000");
    check("finanzas_batch", "version", "1723161600007");
    check("finanzas_batch_changes", "despues", "2");
    check("transacciones_nrt", "error", "TIMEOUT");
}

fn columns(connection: &Connection, table: &str) -> Vec<String> {
    let mut statement =
        connection.prepare("SELECT name FROM pragma_table_xinfo(?1)").expect("valid");
    let names = statement.query_map([table], |row| row.get(0)).expect("valid");
    names.collect::<Result<_, _>>().expect("names are texts")
}

fn text(connection: &Connection, table: &str, column: &str) -> String {
    let sql = format!("SELECT CAST({column} AS TEXT) FROM {table}");
    connection.query_row(&sql, [], |row| row.get(0)).expect("one row that is not null")
}
