//! What every [`Store`] must do, whatever is behind it.
//!
//! `fts_core::store_conformance!(make)` makes a test of each case; `make()` gives a fresh [`Place`].

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;

use super::{End, Span, Store};
use crate::interval::Interval;
use crate::market::Symbol;
use crate::row::{BookSecond, CandleRow, Rows, TradeRow};
use samples::{
    MIDNIGHT, alert, book, candle, daily, daily_change, dead_letter, gap, second, symbol, ticker,
    trade, transaction,
};

mod reading;
mod samples;
mod writing;

pub use reading::*;
pub use writing::*;

/// Where a store under test keeps its rows.
#[async_trait]
pub trait Place: Send + Sync {
    /// Opens a store on this place's rows. Others may still be open on it.
    async fn open(&self) -> Arc<dyn Store>;

    /// Waits until what was put is visible to reads, for stores that take their time.
    async fn settle(&self) {}

    /// Removes the rows once a case is through, for places that don't vanish by themselves.
    async fn remove(&self) {}
}

/// Makes a test of each case of the suite. `make` is a function without arguments that gives a
/// fresh, empty [`Place`](crate::port::store::conformance::Place).
///
/// `store_conformance!(async make)` is for places on a server that may not be there: `make` is
/// asynchronous and gives `None` (having said so, loudly) where there is none.
#[macro_export]
macro_rules! store_conformance {
    (async $make:expr) => {
        $crate::store_conformance!(@cases $make().await; @all);
    };
    ($make:expr) => {
        $crate::store_conformance!(@cases Some($make()); @all);
    };
    (@cases $place:expr; @all) => {
        $crate::store_conformance!(@cases $place;
            rows_read_back_as_they_were_put,
            numbers_at_the_edge_read_back_exactly,
            putting_again_changes_nothing,
            the_greater_version_stays_in_any_order,
            the_greater_version_stays_within_one_put,
            an_equal_version_leaves_the_same_row,
            one_put_writes_all_batches_to_all_tables,
            nothing_put_is_fine_and_nothing_there_is_empty,
            a_span_gives_its_oldest_or_newest_rows,
            a_sparse_symbol_is_found_among_busy_ones,
            trades_are_read_by_id,
            the_latest_book_is_the_one_received_last,
            alerts_and_gaps_come_newest_first,
            symbols_are_kept_apart,
            rows_survive_a_restart_and_go_on_from_there,
            retention_is_measured_from_the_newest_row,
            retention_leaves_other_tables_alone,
            a_row_of_the_future_takes_no_other_along,
            two_writers_of_the_same_keys_agree,
            many_puts_at_once_are_all_kept,
            a_row_that_cannot_be_held_is_rejected_by_name_and_the_others_are_kept,
        );
    };
    (@cases $place:expr; $($case:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $case() {
            let Some(place) = $place else { return };
            $crate::port::store::conformance::$case(&place).await;
            $crate::port::store::conformance::Place::remove(&place).await;
        }
    )*};
}

/// Everything, from the beginning of time to its end.
const ALL: Span = Span { from: i64::MIN, to: i64::MAX, limit: usize::MAX, end: End::Oldest };

async fn put(place: &impl Place, store: &Arc<dyn Store>, rows: Rows) {
    assert_eq!(store.put(&[Arc::new(rows)]).await, Ok(()));
    place.settle().await;
}

async fn trades(store: &Arc<dyn Store>, symbol: &Symbol) -> Vec<TradeRow> {
    let found = store.trades(symbol, i64::MIN, usize::MAX).await;
    found.unwrap_or_else(|error| panic!("trades of {symbol}: {error}"))
}

async fn candles(store: &Arc<dyn Store>, symbol: &Symbol) -> Vec<CandleRow> {
    let found = store.candles(symbol, Interval::Minute, ALL).await;
    found.unwrap_or_else(|error| panic!("candles of {symbol}: {error}"))
}

async fn seconds(store: &Arc<dyn Store>, symbol: &Symbol) -> Vec<BookSecond> {
    let found = store.book_seconds(symbol, ALL).await;
    found.unwrap_or_else(|error| panic!("seconds of {symbol}: {error}"))
}

/// What can be read of the suite's usual symbols, as text.
async fn everything(store: &Arc<dyn Store>) -> Vec<String> {
    let mut all = Vec::new();
    for symbol in ["BTCUSDT", "ETHUSDT"].map(symbol) {
        all.push(format!("{:?}", trades(store, &symbol).await));
        all.push(format!("{:?}", candles(store, &symbol).await));
        all.push(format!("{:?}", seconds(store, &symbol).await));
        all.push(format!("{:?}", store.tickers(&symbol, ALL).await));
        all.push(format!("{:?}", store.latest_book(&symbol).await));
        all.push(format!("{:?}", store.dailies(&symbol, ALL).await));
        all.push(format!("{:?}", store.transactions(&symbol, ALL).await));
    }
    all.push(format!("{:?}", store.gaps(usize::MAX).await));
    all.push(format!("{:?}", store.alerts(usize::MAX).await));
    all
}

fn one_of_each(name: &Symbol, time: i64) -> Rows {
    let number = (time - MIDNIGHT) / 1_000;
    Rows {
        trades: vec![trade(name, 1_000 + number, time)],
        candles: vec![candle(name, Interval::Minute, time - time % 60_000, 3)],
        book_tickers: vec![book(name, 1_000 + number, time)],
        book_seconds: vec![second(name, time, 2)],
        tickers: vec![ticker(name, time)],
        gaps: vec![gap(name, 1 + 100 * number, 3, time)],
        alerts: vec![alert(name, time, false)],
        dead_letters: vec![dead_letter(number.unsigned_abs(), time)],
        dailies: vec![daily(name, number, time)],
        daily_changes: vec![daily_change(name, number, time)],
        transactions: vec![transaction(name, number, time)],
    }
}

/// Three states of the same keys, each knowing more than the one before. The third differs from
/// the second in nothing but its being complete where a row can say so.
fn versions(name: &Symbol, time: i64) -> [Rows; 3] {
    let state = |trades: i64, complete: bool, updates: i64, missing: i64| Rows {
        candles: vec![CandleRow { complete, ..candle(name, Interval::Minute, time, trades) }],
        book_seconds: vec![second(name, time, updates)],
        gaps: vec![gap(name, time, missing, time)],
        ..Rows::default()
    };
    [state(3, false, 1, 10), state(10, false, 9, 7), state(10, true, 10, 0)]
}

#[track_caller]
fn check_greatest<'a>(
    store: &'a Arc<dyn Store>,
    name: &'a Symbol,
    time: i64,
) -> impl Future<Output = ()> + 'a {
    let place = std::panic::Location::caller();
    async move {
        let [_, _, most] = versions(name, time);
        let span = Span { from: time, to: time, limit: 9, end: End::Newest };
        let found = store.candles(name, Interval::Minute, span).await;
        assert_eq!(found, Ok(most.candles), "{place}");
        let found = store.book_seconds(name, span).await;
        let expected = most.book_seconds.iter().map(|row| row.second).collect();
        assert_eq!(found, Ok(expected), "{place}");
        let found = store.gaps(usize::MAX).await.map(|mut rows| {
            rows.retain(|row| row.symbol == *name && row.first_trade_id == time);
            rows
        });
        assert_eq!(found, Ok(most.gaps), "{place}");
    }
}

fn newest_first<T>(rows: Vec<T>) -> Vec<T> {
    rows.into_iter().rev().collect()
}

fn ids(rows: Vec<TradeRow>) -> Vec<i64> {
    rows.into_iter().map(|row| row.trade.id).collect()
}

/// Polls both until both are done: the domain has no runtime to ask.
async fn both(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut one_done, mut other_done) = (false, false);
    std::future::poll_fn(|context| {
        one_done = one_done || one.as_mut().poll(context).is_ready();
        other_done = other_done || other.as_mut().poll(context).is_ready();
        if one_done && other_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
