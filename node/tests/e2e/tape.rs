//! Recorded minutes of the real exchange go in; the exchange's own klines come out.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::check::{await_trades, every_candle_is_right, every_trade_is_stored_once};
use crate::support::node::{Exchange, NodeCommand};
use crate::support::store::{Row, Store, assert_same, decimal, integer, text};
use crate::support::truth::{Truth, csv, exact};
use crate::support::{PATIENCE, fixtures, until};

/// The symbols and intervals of the fixtures' bars.
const BARS: [(&str, &str); 4] =
    [("BTCUSDT", "1m"), ("BTCUSDT", "5m"), ("ETHUSDT", "1m"), ("ETHUSDT", "5m")];

/// The tables that a replay of the tapes fills or must leave empty.
const TABLES: [&str; 8] = [
    "trades",
    "candles",
    "binance_book_ticker_data",
    "book_ticker_1s",
    "binance_ticker_data",
    "gaps",
    "alerts",
    "dead_letters",
];

#[test]
fn the_judge_agrees_with_the_derived_bars() {
    let Some(fixtures) = fixtures() else { return };
    let candles = Truth::read(&fixtures).candles();
    for (symbol, interval) in BARS {
        let bars = csv(&fixtures.join(format!("derived_from_tape_{symbol}-{interval}.csv")));
        let count = candles.keys().filter(|(s, i, _)| s == symbol && *i == interval).count();
        assert_eq!(count, bars.len());
        for bar in bars {
            let key = (symbol.to_owned(), interval, bar["open_time"].parse().unwrap());
            let candle = &candles[&key];
            assert_eq!(candle.open, exact(&bar["open"]), "{key:?}");
            assert_eq!(candle.volume, exact(&bar["volume"]), "{key:?}");
            assert_eq!(candle.quote_volume, exact(&bar["quote_volume"]), "{key:?}");
            let taker = exact(&bar["taker_buy_quote_volume"]);
            assert_eq!(candle.taker_buy_quote_volume, taker, "{key:?}");
            assert_eq!(candle.last_trade_id.to_string(), bar["last_trade_id"], "{key:?}");
            assert_eq!(u8::from(candle.complete.unwrap()).to_string(), bar["complete"], "{key:?}");
        }
    }
}

#[test]
fn the_tape_comes_out_as_the_exchanges_own_klines() {
    let Some(fixtures) = fixtures() else { return };
    let truth = Truth::read(&fixtures);
    assert_eq!(truth.trades.len(), 34_419, "the tape is not the one that this test knows");

    let folder = tempfile::tempdir().unwrap();
    let exchange = Exchange::play(&fixtures, folder.path());
    let command = NodeCommand::new(folder.path(), &exchange);
    let mut node = command.start();
    let store = Store::new(command.database());
    await_trades(&mut node, &store, &truth);
    let books = i64::try_from(truth.books.len()).unwrap();
    until("every book update of the tape in the store", PATIENCE, || {
        node.check_alive();
        (store.count("binance_book_ticker_data") >= books).then_some(())
    });
    node.terminate();

    every_trade_is_stored_once(&store, &truth);
    every_candle_is_right(&store, &truth);
    the_derived_bars_agree(&store, &fixtures);
    the_exchanges_own_bars_agree(&store, &fixtures, &truth);
    every_book_update_is_stored_once(&store, &truth);
    the_seconds_of_the_book_follow_from_its_updates(&store);
    for table in ["gaps", "dead_letters"] {
        assert_same(table, &store.dump(table, &[]), &[]);
    }

    // A second start finds nothing to do.
    let before = TABLES.map(|table| store.dump(table, &[]));
    let mut node = command.start();
    command.await_ready(&mut node);
    node.terminate();
    for (table, before) in TABLES.iter().zip(&before) {
        assert_same(table, before, &store.dump(table, &[]));
    }
}

fn candle(store: &Store, symbol: &str, interval: &str, open_time: i64) -> Row {
    let mut rows = store.rows(&format!(
        "SELECT * FROM candles WHERE symbol = '{symbol}' AND interval = '{interval}' \
         AND open_time = {open_time}"
    ));
    assert_eq!(rows.len(), 1, "{symbol} {interval} {open_time}");
    rows.remove(0)
}

/// The project's own aggregation of the tape, in every column that it has.
pub(crate) fn the_derived_bars_agree(store: &Store, fixtures: &Path) {
    let mut complete = 0;
    for (symbol, interval) in BARS {
        let bars = csv(&fixtures.join(format!("derived_from_tape_{symbol}-{interval}.csv")));
        let count = bars.len();
        for (at, bar) in bars.iter().enumerate() {
            let row = candle(store, symbol, interval, bar["open_time"].parse().unwrap());
            let partial = at == 0 || at + 1 == count;
            assert_eq!(bar["complete"] == "0", partial, "the fixture's partial bars are its ends");
            for (column, value) in bar {
                let what = format!("{column} of {symbol} {interval} {}", bar["open_time"]);
                match column.as_str() {
                    "ohlcv_equals_exchange" => {}
                    "count" => {
                        assert_eq!(integer(&row, "trade_count").to_string(), *value, "{what}")
                    }
                    "open_time" | "close_time" | "first_trade_id" | "last_trade_id"
                    | "complete" => {
                        assert_eq!(integer(&row, column).to_string(), *value, "{what}");
                    }
                    _ => assert_eq!(decimal(&row, column), exact(value), "{what}"),
                }
            }
            complete += usize::from(!partial);
        }
    }
    assert_eq!(complete, 24, "complete bars compared");
}

/// The exchange's own klines, in every column that they have, wherever the tape covers them whole.
pub(crate) fn the_exchanges_own_bars_agree(store: &Store, fixtures: &Path, truth: &Truth) {
    let mut compared = 0;
    for ((symbol, interval, open_time), expected) in truth.candles() {
        if !(interval == "1m" || interval == "5m") || expected.complete != Some(true) {
            continue;
        }
        let name = format!("spot_{symbol}-{interval}_2024-08-08T2300_2024-08-09T0100.csv");
        let bars = csv(&fixtures.join(name));
        let bar = bars.iter().find(|bar| bar["open_time_ms"] == open_time.to_string()).unwrap();
        let row = candle(store, &symbol, interval, open_time);
        for column in ["open", "high", "low", "close", "volume"] {
            let what = format!("{column} of {symbol} {interval} {open_time}");
            assert_eq!(decimal(&row, column), exact(&bar[column]), "{what}");
        }
        assert_eq!(integer(&row, "close_time").to_string(), bar["close_time_ms"]);
        compared += 1;
    }
    assert_eq!(compared, 24, "bars compared with the exchange's own");
}

fn every_book_update_is_stored_once(store: &Store, truth: &Truth) {
    let rows = store.rows("SELECT * FROM binance_book_ticker_data");
    assert_eq!(rows.len(), truth.books.len(), "rows in `binance_book_ticker_data`");
    for row in &rows {
        let key = (text(row, "symbol").to_owned(), integer(row, "update_id"));
        let Some(book) = truth.books.get(&key) else { panic!("{key:?} was never traded") };
        let columns =
            ["best_bid_price", "best_bid_quantity", "best_ask_price", "best_ask_quantity"];
        assert_eq!(columns.map(|column| decimal(row, column)), *book, "{key:?}");
    }
}

/// Each second of the book, folded again from the single updates by their receive time.
fn the_seconds_of_the_book_follow_from_its_updates(store: &Store) {
    let updates = store.rows("SELECT * FROM binance_book_ticker_data ORDER BY symbol, update_id");
    let mut seconds: BTreeMap<(String, i64), Vec<&Row>> = BTreeMap::new();
    for row in &updates {
        let time = integer(row, "received_at");
        let second = (text(row, "symbol").to_owned(), time - time.rem_euclid(1_000));
        seconds.entry(second).or_default().push(row);
    }
    let rows = store.rows("SELECT * FROM book_ticker_1s");
    assert_eq!(rows.len(), seconds.len(), "rows in `book_ticker_1s`");
    for row in &rows {
        let key = (text(row, "symbol").to_owned(), integer(row, "open_time"));
        let Some(updates) = seconds.get(&key) else { panic!("no update in {key:?}") };
        for side in ["bid", "ask"] {
            let prices: Vec<_> =
                updates.iter().map(|row| decimal(row, &format!("best_{side}_price"))).collect();
            let column = |extent: &str| decimal(row, &format!("{side}_{extent}"));
            assert_eq!(column("open"), prices[0], "{side} of {key:?}");
            assert_eq!(column("high"), *prices.iter().max().unwrap(), "{side} of {key:?}");
            assert_eq!(column("low"), *prices.iter().min().unwrap(), "{side} of {key:?}");
            assert_eq!(column("close"), prices[prices.len() - 1], "{side} of {key:?}");
        }
        let count = i64::try_from(updates.len()).unwrap();
        assert_eq!(integer(row, "update_count"), count, "{key:?}");
        assert_eq!(integer(row, "close_time"), key.1 + 999, "{key:?}");
        let ids = [updates[0], updates[updates.len() - 1]].map(|row| integer(row, "update_id"));
        let ends = ["first_update_id", "last_update_id"].map(|column| integer(row, column));
        assert_eq!(ends, ids, "{key:?}");
        let spread = |row: &&Row| decimal(row, "best_ask_price") - decimal(row, "best_bid_price");
        let sum: i128 = updates.iter().map(spread).sum();
        assert_eq!(decimal(row, "spread_sum"), sum, "{key:?}");
        // The mean, rounded half away from zero to 10⁻⁸.
        let (unit, count) = (100_000_000, i128::from(count));
        let mean = (2 * (sum / unit) + count) / (2 * count) * unit;
        assert_eq!(decimal(row, "mean_spread"), mean, "{key:?}");
    }
}
