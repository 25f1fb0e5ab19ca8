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
use crate::row::{BookSecond, CandleRow, GapRow, Rows, Table, TradeRow};
use samples::{
    BEYOND_DOUBLE, MIDNIGHT, alert, book, candle, dead_letter, decimal, extreme_candle, gap,
    second, symbol, ticker, trade,
};

mod samples;

/// Where a store under test keeps its rows.
#[async_trait]
pub trait Place: Send + Sync {
    /// Opens a store on this place's rows. Others may still be open on it.
    async fn open(&self) -> Arc<dyn Store>;

    /// Waits until what was put is visible to reads, for stores that take their time.
    async fn settle(&self) {}
}

/// Makes a test of each case of the suite. `make` is a function without arguments that gives a
/// fresh, empty [`Place`](crate::port::store::conformance::Place).
#[macro_export]
macro_rules! store_conformance {
    ($make:expr) => {
        $crate::store_conformance!(@cases $make;
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
            two_writers_of_the_same_keys_agree,
            many_puts_at_once_are_all_kept,
        );
    };
    (@cases $make:expr; $($case:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $case() {
            $crate::port::store::conformance::$case(&$make()).await;
        }
    )*};
}

/// Everything, from the beginning of time to its end.
const ALL: Span = Span { from: i64::MIN, to: i64::MAX, limit: usize::MAX, end: End::Oldest };

/// Reading gives each kind of row in full.
pub async fn rows_read_back_as_they_were_put(place: &impl Place) {
    let store = place.open().await;
    let btc = symbol("BTCUSDT");
    let rows = Rows {
        trades: vec![trade(&btc, 6, MIDNIGHT), trade(&btc, 7, MIDNIGHT + 1)],
        candles: Interval::ALL.map(|interval| candle(&btc, interval, MIDNIGHT, 3)).into(),
        book_tickers: vec![book(&btc, 80_000_000_001, MIDNIGHT)],
        book_seconds: vec![second(&btc, MIDNIGHT, 3)],
        tickers: vec![ticker(&btc, MIDNIGHT + 123)],
        gaps: vec![
            gap(&btc, 100, 10, MIDNIGHT),
            GapRow { after_time: None, ..gap(&btc, 200, 1, MIDNIGHT + 1) },
        ],
        alerts: vec![alert(&btc, MIDNIGHT, true), alert(&btc, MIDNIGHT + 1_000, false)],
        dead_letters: vec![dead_letter(0, MIDNIGHT)],
    };
    put(place, &store, rows.clone()).await;

    assert_eq!(trades(&store, &btc).await, rows.trades);
    for expected in &rows.candles {
        let found = store.candles(&btc, expected.interval, ALL).await;
        assert_eq!(found.as_deref(), Ok(std::slice::from_ref(expected)));
    }
    assert_eq!(store.latest_book(&btc).await, Ok(rows.book_tickers.first().map(|row| row.book)));
    assert_eq!(seconds(&store, &btc).await, [second(&btc, MIDNIGHT, 3).second]);
    assert_eq!(store.tickers(&btc, ALL).await, Ok(vec![*ticker(&btc, MIDNIGHT + 123).ticker]));
    assert_eq!(store.gaps(9).await, Ok(newest_first(rows.gaps)));
    assert_eq!(store.alerts(9).await, Ok(newest_first(rows.alerts)));
}

/// No digit is lost: neither by a double nor by a bound.
pub async fn numbers_at_the_edge_read_back_exactly(place: &impl Place) {
    let store = place.open().await;
    let odd = symbol("这是测试币456");
    let mut last = trade(&odd, i64::MAX, MIDNIGHT + 1);
    last.trade.price = decimal("1000000000000000");
    last.trade.quantity = decimal("0.00000001");
    let mut falling = ticker(&odd, MIDNIGHT);
    falling.ticker.price_change = decimal("-1000000000000000");
    falling.ticker.price_change_percent = decimal("-0.00000001");
    falling.ticker.base_volume = decimal("1764000000000.5");
    falling.ticker.last_trade_id = BEYOND_DOUBLE;
    let mut plunge = alert(&odd, MIDNIGHT, false);
    plunge.change_percent = decimal("-99.99999999");
    let mut busy = second(&odd, MIDNIGHT, BEYOND_DOUBLE);
    busy.second.spread_sum = decimal("1000000000000000").plus(decimal("0.00000001"));
    let rows = Rows {
        trades: vec![trade(&odd, BEYOND_DOUBLE, MIDNIGHT), last],
        candles: vec![extreme_candle(&odd)],
        book_tickers: vec![book(&odd, i64::MAX, MIDNIGHT)],
        book_seconds: vec![busy],
        tickers: vec![falling],
        gaps: vec![gap(&odd, BEYOND_DOUBLE, 10, MIDNIGHT)],
        alerts: vec![plunge],
        dead_letters: vec![dead_letter(1 << 54 | 1, MIDNIGHT)],
    };
    put(place, &store, rows.clone()).await;

    assert_eq!(trades(&store, &odd).await, rows.trades);
    assert_eq!(store.candles(&odd, Interval::Day, ALL).await, Ok(rows.candles));
    assert_eq!(store.latest_book(&odd).await, Ok(rows.book_tickers.first().map(|row| row.book)));
    let expected: Vec<_> = rows.book_seconds.iter().map(|row| row.second).collect();
    assert_eq!(seconds(&store, &odd).await, expected);
    let expected: Vec<_> = rows.tickers.into_iter().map(|row| *row.ticker).collect();
    assert_eq!(store.tickers(&odd, ALL).await, Ok(expected));
    assert_eq!(store.gaps(9).await, Ok(rows.gaps));
    assert_eq!(store.alerts(9).await, Ok(rows.alerts));
}

/// A caller that was not told `Ok` writes again: nothing is there twice.
pub async fn putting_again_changes_nothing(place: &impl Place) {
    let store = place.open().await;
    let rows = one_of_each(&symbol("BTCUSDT"), MIDNIGHT);
    put(place, &store, rows.clone()).await;
    let once = everything(&store).await;
    put(place, &store, rows.clone()).await;
    let (first, again) = (Arc::new(rows.clone()), Arc::new(rows));
    assert_eq!(store.put(&[first, again]).await, Ok(()));
    place.settle().await;
    assert_eq!(everything(&store).await, once);
}

/// A row that knows less never replaces one that knows more.
pub async fn the_greater_version_stays_in_any_order(place: &impl Place) {
    let store = place.open().await;
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for (number, order) in (0..).zip(orders) {
        let key = symbol(&format!("ORDER{number}"));
        let versions = versions(&key, MIDNIGHT);
        for position in order {
            let rows = versions.get(position).cloned().unwrap_or_default();
            put(place, &store, rows).await;
        }
        check_greatest(&store, &key, MIDNIGHT).await;
    }
}

/// The order within a batch, and over the batches of one call, matters as little.
pub async fn the_greater_version_stays_within_one_put(place: &impl Place) {
    let store = place.open().await;
    let (over, within) = (symbol("OVER"), symbol("WITHIN"));
    let [less, more, most] = versions(&over, MIDNIGHT).map(Arc::new);
    assert_eq!(store.put(&[more, most, less]).await, Ok(()));
    let [less, more, most] = versions(&within, MIDNIGHT);
    let mut rows = most;
    for other in [more, less] {
        rows.candles.extend(other.candles);
        rows.book_seconds.extend(other.book_seconds);
        rows.gaps.extend(other.gaps);
    }
    put(place, &store, rows).await;
    check_greatest(&store, &over, MIDNIGHT).await;
    check_greatest(&store, &within, MIDNIGHT).await;
}

/// One version is one content.
pub async fn an_equal_version_leaves_the_same_row(place: &impl Place) {
    let store = place.open().await;
    let key = symbol("BTCUSDT");
    let [_, _, most] = versions(&key, MIDNIGHT);
    for _ in 0..3 {
        put(place, &store, most.clone()).await;
        check_greatest(&store, &key, MIDNIGHT).await;
    }
}

/// `Ok` means all of it.
pub async fn one_put_writes_all_batches_to_all_tables(place: &impl Place) {
    let store = place.open().await;
    let names = ["BTCUSDT", "ETHUSDT", "BNBUSDT"].map(symbol);
    let batches: Vec<_> = (0..)
        .zip(&names)
        .map(|(number, name)| Arc::new(one_of_each(name, MIDNIGHT + number * 1_000)))
        .collect();
    assert_eq!(store.put(&batches).await, Ok(()));
    place.settle().await;
    for name in &names {
        assert_eq!(trades(&store, name).await.len(), 1, "{name}");
        assert_eq!(candles(&store, name).await.len(), 1, "{name}");
        assert_eq!(seconds(&store, name).await.len(), 1, "{name}");
        assert_eq!(store.tickers(name, ALL).await.map(|rows| rows.len()), Ok(1), "{name}");
        assert!(matches!(store.latest_book(name).await, Ok(Some(_))), "{name}");
    }
    assert_eq!(store.gaps(9).await.map(|rows| rows.len()), Ok(3));
    assert_eq!(store.alerts(9).await.map(|rows| rows.len()), Ok(3));
}

/// Emptiness is no error.
pub async fn nothing_put_is_fine_and_nothing_there_is_empty(place: &impl Place) {
    let store = place.open().await;
    assert_eq!(store.put(&[]).await, Ok(()));
    put(place, &store, Rows::default()).await;
    for _ in 0..2 {
        let nobody = symbol("NOBODY");
        assert_eq!(trades(&store, &nobody).await, []);
        assert_eq!(candles(&store, &nobody).await, []);
        assert_eq!(seconds(&store, &nobody).await, []);
        assert_eq!(store.tickers(&nobody, ALL).await, Ok(vec![]));
        assert_eq!(store.latest_book(&nobody).await, Ok(None));
        // The same among rows of others.
        put(place, &store, one_of_each(&symbol("SOMEBODY"), MIDNIGHT)).await;
    }
    let expired = place.open().await.expire(Table::Candles, 0).await;
    assert_eq!(expired, Ok(0), "one row is never older than itself");
}

/// Both ends are inclusive; the limit cuts at the other end; rows come oldest first either way.
pub async fn a_span_gives_its_oldest_or_newest_rows(place: &impl Place) {
    const MINUTE: i64 = 60_000;
    let store = place.open().await;
    let btc = symbol("BTCUSDT");
    let at = |number: i64| MIDNIGHT + number * MINUTE;
    let rows = Rows {
        // Put newest first: order is the store's business.
        candles: (0..10).rev().map(|it| candle(&btc, Interval::Minute, at(it), 1 + it)).collect(),
        book_seconds: (0..10).rev().map(|it| second(&btc, at(it), 1 + it)).collect(),
        tickers: (0..10).rev().map(|it| ticker(&btc, at(it))).collect(),
        ..Rows::default()
    };
    put(place, &store, rows).await;

    let cases: [(i64, i64, usize, End, std::ops::Range<i64>); 15] = [
        (i64::MIN, i64::MAX, usize::MAX, End::Oldest, 0..10),
        (i64::MIN, i64::MAX, usize::MAX, End::Newest, 0..10),
        (i64::MIN, i64::MAX, 3, End::Oldest, 0..3),
        (i64::MIN, i64::MAX, 3, End::Newest, 7..10),
        (at(2), at(5), 100, End::Oldest, 2..6),
        (at(2), at(5), 100, End::Newest, 2..6),
        (at(2) + 1, at(5) - 1, 100, End::Oldest, 3..5),
        (at(2) + 1, at(5) - 1, 100, End::Newest, 3..5),
        (at(2), at(5), 2, End::Oldest, 2..4),
        (at(2), at(5), 2, End::Newest, 4..6),
        (at(4), at(4), 1, End::Newest, 4..5),
        (at(4) + 1, at(5) - 1, 1, End::Newest, 0..0),
        (at(5), at(4), 1, End::Oldest, 0..0),
        (at(10), i64::MAX, 9, End::Newest, 0..0),
        (i64::MIN, at(9), 0, End::Newest, 0..0),
    ];
    for (from, to, limit, end, expected) in cases {
        let span = Span { from, to, limit, end };
        let expected: Vec<i64> = expected.map(at).collect();
        let found = store.candles(&btc, Interval::Minute, span).await;
        let found = found.map(|rows| rows.iter().map(|row| row.candle.open_time).collect());
        assert_eq!(found, Ok(expected.clone()), "candles {span:?}");
        let found = store.book_seconds(&btc, span).await;
        let found = found.map(|rows| rows.iter().map(|row| row.open_time).collect());
        assert_eq!(found, Ok(expected.clone()), "seconds {span:?}");
        let found = store.tickers(&btc, span).await;
        let found = found.map(|rows| rows.iter().map(|row| row.event_time).collect());
        assert_eq!(found, Ok(expected), "tickers {span:?}");
    }
}

/// Rows far apart are still the symbol's first and last ones.
pub async fn a_sparse_symbol_is_found_among_busy_ones(place: &impl Place) {
    let store = place.open().await;
    let (busy, sparse) = (symbol("BUSY"), symbol("SPARSE"));
    let mut rows = Rows::default();
    for second_of_hour in 0..3_600 {
        let time = MIDNIGHT + second_of_hour * 1_000;
        for name in [Some(&busy), (second_of_hour % 1_700 == 5).then_some(&sparse)] {
            let Some(name) = name else { continue };
            rows.trades.push(trade(name, 10_000 + second_of_hour, time));
            rows.candles.push(candle(name, Interval::Second, time, 1));
            rows.book_seconds.push(second(name, time, 1));
            rows.tickers.push(ticker(name, time));
            rows.book_tickers.push(book(name, second_of_hour, time));
        }
    }
    put(place, &store, rows).await;

    let expected = [5, 1_705, 3_405].map(|it| MIDNIGHT + it * 1_000);
    for (limit, end, expected) in [
        (9, End::Newest, &expected[..]),
        (9, End::Oldest, &expected[..]),
        (1, End::Newest, &expected[2..]),
        (1, End::Oldest, &expected[..1]),
    ] {
        let span = Span { limit, end, ..ALL };
        let found = store.candles(&sparse, Interval::Second, span).await.unwrap_or_default();
        assert_eq!(found.iter().map(|it| it.candle.open_time).collect::<Vec<_>>(), expected);
        let found = store.book_seconds(&sparse, span).await.unwrap_or_default();
        assert_eq!(found.iter().map(|it| it.open_time).collect::<Vec<_>>(), expected);
        let found = store.tickers(&sparse, span).await.unwrap_or_default();
        assert_eq!(found.iter().map(|it| it.event_time).collect::<Vec<_>>(), expected);
    }
    let book = store.latest_book(&sparse).await;
    assert_eq!(book.map(|book| book.map(|book| book.update_id)), Ok(Some(3_405)));
    let found = ids(store.trades(&sparse, 10_006, 9).await.unwrap_or_default());
    assert_eq!(found, [11_705, 13_405]);
    let found = ids(store.trades(&busy, 13_000, 2).await.unwrap_or_default());
    assert_eq!(found, [13_000, 13_001]);
}

/// From an id on, whether the store has it or not.
pub async fn trades_are_read_by_id(place: &impl Place) {
    let store = place.open().await;
    let (btc, eth) = (symbol("BTCUSDT"), symbol("ETHUSDT"));
    // Several trades within one millisecond; a hole at 25; another symbol at the same times.
    let of = |name: &Symbol, id: i64| trade(name, id, MIDNIGHT + id / 4);
    let trades = (10..40).rev().filter(|id| *id != 25);
    let rows = Rows {
        trades: trades.flat_map(|id| [of(&btc, id), of(&eth, id + 1_000)]).collect(),
        ..Rows::default()
    };
    put(place, &store, rows).await;
    let cases: [(i64, usize, &[i64]); 9] = [
        (i64::MIN, 2, &[10, 11]),
        (0, 2, &[10, 11]),
        (17, 3, &[17, 18, 19]),
        (24, 3, &[24, 26, 27]),
        (25, 1, &[26]),
        (38, 9, &[38, 39]),
        (40, 9, &[]),
        (i64::MAX, 9, &[]),
        (10, 0, &[]),
    ];
    for (from_id, limit, expected) in cases {
        let found = store.trades(&btc, from_id, limit).await;
        assert_eq!(found.map(ids), Ok(expected.to_vec()), "{limit} from {from_id}");
    }
}

/// By receive time, and within one millisecond by update id.
pub async fn the_latest_book_is_the_one_received_last(place: &impl Place) {
    let store = place.open().await;
    let (btc, eth) = (symbol("BTCUSDT"), symbol("ETHUSDT"));
    let put_books = async |books| {
        put(place, &store, Rows { book_tickers: books, ..Rows::default() }).await;
        let latest = store.latest_book(&btc).await;
        latest.map(|book| book.map(|book| book.update_id))
    };
    let found = put_books(vec![book(&btc, 7, MIDNIGHT + 5), book(&btc, 6, MIDNIGHT + 4)]).await;
    assert_eq!(found, Ok(Some(7)));
    let found = put_books(vec![book(&eth, 900, MIDNIGHT + 9), book(&btc, 3, MIDNIGHT)]).await;
    assert_eq!(found, Ok(Some(7)), "late rows and other symbols don't matter");
    let found = put_books(vec![book(&btc, 9, MIDNIGHT + 6), book(&btc, 8, MIDNIGHT + 6)]).await;
    assert_eq!(found, Ok(Some(9)));
}

/// Of all symbols together.
pub async fn alerts_and_gaps_come_newest_first(place: &impl Place) {
    let store = place.open().await;
    let names = ["BTCUSDT", "ETHUSDT", "AAVEUSDT"].map(symbol);
    let rows = Rows {
        alerts: (0..30)
            .zip(names.iter().cycle())
            .map(|(it, name)| alert(name, MIDNIGHT + it * 1_000, it % 2 == 0))
            .collect(),
        gaps: (0..30)
            .zip(names.iter().cycle())
            .map(|(it, name)| gap(name, 1 + it * 100, 10, MIDNIGHT + it * 1_000))
            .collect(),
        ..Rows::default()
    };
    put(place, &store, rows.clone()).await;
    let newest = |count: usize| (newest_first(rows.alerts.clone()), count);
    for (mut expected, limit) in [0, 1, 5, 30, 100].map(newest) {
        expected.truncate(limit);
        assert_eq!(store.alerts(limit).await, Ok(expected), "{limit}");
        let mut expected = newest_first(rows.gaps.clone());
        expected.truncate(limit);
        assert_eq!(store.gaps(limit).await, Ok(expected), "{limit}");
    }
}

/// Not even where one's name begins with the other's.
pub async fn symbols_are_kept_apart(place: &impl Place) {
    let store = place.open().await;
    let names = ["BTC", "BTCUSD", "BTCUSDT", "BTC-USDT", "BTC_USDT", "这是测试币456", "ÄÖ"];
    // Each has trades of its own times, so that a mix-up shows.
    let of = |number: i64, name: &str| one_of_each(&symbol(name), MIDNIGHT + number * 60_000);
    for (number, name) in (0..).zip(names) {
        put(place, &store, of(number, name)).await;
    }
    for (number, name) in (0..).zip(names) {
        let (name, expected) = (symbol(name), of(number, name));
        assert_eq!(trades(&store, &name).await, expected.trades);
        assert_eq!(candles(&store, &name).await, expected.candles);
        let expected: Vec<_> = expected.book_seconds.iter().map(|row| row.second).collect();
        assert_eq!(seconds(&store, &name).await, expected);
    }
}

/// What was acknowledged is there; versions are still compared.
pub async fn rows_survive_a_restart_and_go_on_from_there(place: &impl Place) {
    let key = symbol("BTCUSDT");
    let [less, more, most] = versions(&key, MIDNIGHT);
    let first = place.open().await;
    put(place, &first, more).await;
    put(place, &first, one_of_each(&symbol("ETHUSDT"), MIDNIGHT)).await;
    let before = everything(&first).await;
    drop(first);

    let second = place.open().await;
    assert_eq!(everything(&second).await, before);
    put(place, &second, less).await;
    assert_eq!(everything(&second).await, before, "less is known than before the restart");
    put(place, &second, most).await;
    drop(second);
    check_greatest(&place.open().await, &key, MIDNIGHT).await;
}

/// Not from the wall clock: a replay of an old recording is kept.
pub async fn retention_is_measured_from_the_newest_row(place: &impl Place) {
    let store = place.open().await;
    let (btc, eth) = (symbol("BTCUSDT"), symbol("ETHUSDT"));
    // In 2001. More rows than a store may want to delete at once; ETHUSDT trades no more.
    let at = |second_of_day: i64| 1_000_000_000_000 + second_of_day * 1_000;
    let mut rows = Rows::default();
    for number in 0..6_000 {
        let name = if number < 3_000 && number % 2 == 1 { &eth } else { &btc };
        rows.trades.push(trade(name, 1 + number, at(number)));
        rows.candles.push(candle(name, Interval::Second, at(number), 1));
        rows.book_seconds.push(second(name, at(number), 1));
    }
    for number in 0..10 {
        rows.gaps.push(gap(&btc, 1 + number * 100, 10, at(number)));
        rows.alerts.push(alert(&btc, at(number), true));
        rows.tickers.push(ticker(&btc, at(number)));
        rows.book_tickers.push(book(&btc, number, at(number)));
        rows.dead_letters.push(dead_letter(u64::try_from(number).unwrap_or(0), at(number)));
    }
    put(place, &store, rows).await;

    for table in Table::ALL {
        assert_eq!(store.expire(table, 6_000_000).await, Ok(0), "{table:?}: all are young enough");
    }
    for (table, expected) in [
        (Table::Trades, 5_899),
        (Table::Candles, 5_899),
        (Table::BookSeconds, 5_899),
        (Table::Tickers, 0),
    ] {
        assert_eq!(store.expire(table, 100_000).await, Ok(expected), "{table:?}");
    }
    let small =
        [Table::Gaps, Table::Alerts, Table::Tickers, Table::BookTickers, Table::DeadLetters];
    for table in small {
        assert_eq!(store.expire(table, 4_000).await, Ok(5), "{table:?}");
        assert_eq!(store.expire(table, 4_000).await, Ok(0), "{table:?} again");
    }
    place.settle().await;
    let kept: Vec<i64> = (5_899..6_000).map(at).collect();
    let found = trades(&store, &btc).await;
    assert_eq!(found.iter().map(|row| row.trade.time).collect::<Vec<_>>(), kept);
    let found = store.candles(&btc, Interval::Second, ALL).await.unwrap_or_default();
    assert_eq!(found.iter().map(|row| row.candle.open_time).collect::<Vec<_>>(), kept);
    let found = seconds(&store, &btc).await;
    assert_eq!(found.iter().map(|row| row.open_time).collect::<Vec<_>>(), kept);
    assert_eq!(trades(&store, &eth).await, [], "the table's newest row counts, not the symbol's");
    let found = store.alerts(99).await.unwrap_or_default();
    assert_eq!(found.iter().map(|row| row.time).collect::<Vec<_>>(), [9, 8, 7, 6, 5].map(at));
    let found = store.gaps(99).await.unwrap_or_default();
    assert_eq!(
        found.iter().map(|row| row.before_time).collect::<Vec<_>>(),
        [9, 8, 7, 6, 5].map(at)
    );
}

/// A table at a time.
pub async fn retention_leaves_other_tables_alone(place: &impl Place) {
    let store = place.open().await;
    let btc = symbol("BTCUSDT");
    put(place, &store, one_of_each(&btc, MIDNIGHT)).await;
    put(place, &store, one_of_each(&btc, MIDNIGHT + 86_400_000)).await;
    assert_eq!(store.expire(Table::Trades, 1_000).await, Ok(1));
    place.settle().await;
    assert_eq!(trades(&store, &btc).await.len(), 1);
    assert_eq!(candles(&store, &btc).await.len(), 2);
    assert_eq!(seconds(&store, &btc).await.len(), 2);
    assert_eq!(store.tickers(&btc, ALL).await.map(|rows| rows.len()), Ok(2));
    assert_eq!(store.alerts(9).await.map(|rows| rows.len()), Ok(2));
    assert_eq!(store.gaps(9).await.map(|rows| rows.len()), Ok(2));
}

/// A late zombie and the new owner of its keys, at once.
pub async fn two_writers_of_the_same_keys_agree(place: &impl Place) {
    let (one, other) = (place.open().await, place.open().await);
    let key = symbol("BTCUSDT");
    let windows: Vec<i64> = (0..40).map(|number| MIDNIGHT + number * 60_000).collect();
    let write = |store: Arc<dyn Store>, order: [usize; 3]| {
        let (key, windows) = (&key, &windows);
        async move {
            for window in windows {
                let versions = versions(key, *window).map(Arc::new);
                for position in order {
                    let rows = versions.get(position).cloned().unwrap_or_default();
                    assert_eq!(store.put(&[rows]).await, Ok(()));
                }
            }
        }
    };
    both(write(Arc::clone(&one), [0, 1, 2]), write(Arc::clone(&other), [2, 0, 1])).await;
    place.settle().await;
    for store in [&one, &other] {
        for window in &windows {
            check_greatest(store, &key, *window).await;
        }
    }
}

/// One store serves several callers.
pub async fn many_puts_at_once_are_all_kept(place: &impl Place) {
    let store = place.open().await;
    let caller = |name: &'static str| {
        let store = Arc::clone(&store);
        async move {
            for number in 0..50 {
                let rows = one_of_each(&symbol(name), MIDNIGHT + number * 60_000);
                assert_eq!(store.put(&[Arc::new(rows)]).await, Ok(()));
            }
        }
    };
    both(both(caller("A"), caller("B")), both(caller("C"), caller("D"))).await;
    place.settle().await;
    for name in ["A", "B", "C", "D"].map(symbol) {
        assert_eq!(trades(&store, &name).await.len(), 50);
        assert_eq!(candles(&store, &name).await.len(), 50);
    }
}

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
