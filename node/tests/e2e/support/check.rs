//! What holds of a store once the tape has been played, whatever happened on the way.

use std::collections::{BTreeMap, BTreeSet};

use super::node::SYMBOLS;
use super::process::Process;
use super::store::{Row, Store, decimal, integer, text};
use super::truth::{INTERVALS, Truth};
use super::{PATIENCE, until};

/// Waits until the store holds every trade of the tape, and every candle the last of its trades.
#[track_caller]
pub(crate) fn await_trades(node: &mut Process, store: &Store, truth: &Truth) {
    let trades = i64::try_from(truth.trades.len()).unwrap();
    let queries = SYMBOLS.map(|symbol| {
        let last = truth.last_trade_id(symbol);
        format!("SELECT count(*) FROM candles WHERE symbol = '{symbol}' AND last_trade_id = {last}")
    });
    let candles = i64::try_from(INTERVALS.len()).unwrap();
    until("every trade of the tape in the store", PATIENCE, || {
        node.check_alive();
        let all = store.count("trades") >= trades
            && queries.iter().all(|query| store.number(query) >= candles);
        all.then_some(())
    });
}

/// Every trade of the tape, once, and no other.
#[track_caller]
pub(crate) fn every_trade_is_stored_once(store: &Store, truth: &Truth) {
    let rows = store.rows("SELECT * FROM trades");
    assert_eq!(rows.len(), truth.trades.len(), "rows in `trades`");
    for row in &rows {
        let key = (text(row, "symbol").to_owned(), integer(row, "trade_id"));
        let Some(trade) = truth.trades.get(&key) else { panic!("{key:?} was never traded") };
        assert_eq!(integer(row, "time"), trade.time, "{key:?}");
        assert_eq!(decimal(row, "price"), trade.price, "{key:?}");
        assert_eq!(decimal(row, "quantity"), trade.quantity, "{key:?}");
        assert_eq!(integer(row, "buyer_is_maker") == 1, trade.buyer_is_maker, "{key:?}");
        assert!(["stream", "backfill"].contains(&text(row, "source")), "{row:?}");
        assert!(integer(row, "received_at") > 1_600_000_000_000, "epoch milliseconds: {row:?}");
    }
    let keys = rows.iter().map(|row| (text(row, "symbol"), integer(row, "trade_id")));
    let distinct: BTreeSet<_> = keys.collect();
    assert_eq!(distinct.len(), rows.len(), "a trade is stored twice");
}

/// Every candle of the tape, in every column, and no other.
#[track_caller]
pub(crate) fn every_candle_is_right(store: &Store, truth: &Truth) {
    let expected = truth.candles();
    let rows = store.rows("SELECT * FROM candles");
    let found: BTreeMap<_, _> = rows.iter().map(|row| (key(row), row)).collect();
    assert_eq!(found.len(), rows.len(), "a candle is stored twice");
    let names = |mut of: Vec<(String, String, i64)>, from: &dyn Fn(&_) -> bool| {
        of.retain(|key| !from(key));
        of.truncate(5);
        of
    };
    let wanted: BTreeMap<_, _> =
        expected.iter().map(|((s, i, t), c)| ((s.clone(), (*i).to_owned(), *t), c)).collect();
    let absent = names(wanted.keys().cloned().collect(), &|key| found.contains_key(key));
    let surplus = names(found.keys().cloned().collect(), &|key| wanted.contains_key(key));
    assert!(absent.is_empty() && surplus.is_empty(), "absent: {absent:?} surplus: {surplus:?}");
    for (key, candle) in wanted {
        let row = found[&key];
        let millis = INTERVALS.iter().find(|(name, _)| *name == key.1).unwrap().1;
        assert_eq!(integer(row, "close_time"), key.2 + millis - 1, "{key:?}");
        assert_eq!(decimal(row, "open"), candle.open, "open of {key:?}");
        assert_eq!(decimal(row, "high"), candle.high, "high of {key:?}");
        assert_eq!(decimal(row, "low"), candle.low, "low of {key:?}");
        assert_eq!(decimal(row, "close"), candle.close, "close of {key:?}");
        assert_eq!(decimal(row, "volume"), candle.volume, "volume of {key:?}");
        assert_eq!(decimal(row, "quote_volume"), candle.quote_volume, "quote of {key:?}");
        assert_eq!(integer(row, "trade_count"), candle.trade_count, "count of {key:?}");
        assert_eq!(decimal(row, "taker_buy_volume"), candle.taker_buy_volume, "{key:?}");
        let taker_quote = decimal(row, "taker_buy_quote_volume");
        assert_eq!(taker_quote, candle.taker_buy_quote_volume, "{key:?}");
        assert_eq!(integer(row, "first_trade_id"), candle.first_trade_id, "{key:?}");
        assert_eq!(integer(row, "last_trade_id"), candle.last_trade_id, "{key:?}");
        let complete = integer(row, "complete");
        if let Some(expected) = candle.complete {
            assert_eq!(complete, i64::from(expected), "complete of {key:?}");
        }
        let version = 2 * candle.trade_count + complete;
        assert_eq!(integer(row, "version"), version, "version of {key:?}");
    }
}

fn key(row: &Row) -> (String, String, i64) {
    let (symbol, interval) = (text(row, "symbol"), text(row, "interval"));
    (symbol.to_owned(), interval.to_owned(), integer(row, "open_time"))
}
