//! What was put is read back: in full, in order, and of the one symbol that was asked for.

use super::samples::{
    BEYOND_DOUBLE, MIDNIGHT, alert, book, candle, daily, daily_change, dead_letter, decimal,
    extreme_candle, gap, second, symbol, ticker, trade, transaction,
};
use super::{ALL, Place, candles, ids, newest_first, one_of_each, put, seconds, trades};
use crate::interval::Interval;
use crate::market::Symbol;
use crate::port::store::{End, Span};
use crate::row::{GapRow, Rows, TransactionRow};
use crate::stock::Transaction;

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
        dailies: vec![daily(&btc, 0, MIDNIGHT), daily(&btc, 1, MIDNIGHT)],
        daily_changes: vec![daily_change(&btc, 0, MIDNIGHT)],
        transactions: vec![
            transaction(&btc, 1, MIDNIGHT),
            TransactionRow {
                transaction: Transaction {
                    state: "FALLIDO".to_owned(),
                    error: Some("TIMEOUT".to_owned()),
                    ..transaction(&btc, 2, MIDNIGHT).transaction
                },
                ..transaction(&btc, 2, MIDNIGHT)
            },
        ],
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
    assert_eq!(store.dailies(&btc, ALL).await, Ok(rows.dailies));
    assert_eq!(store.transactions(&btc, ALL).await, Ok(rows.transactions));
    assert_eq!(store.transactions(&symbol("TSLA"), ALL).await, Ok(Vec::new()));
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
    let mut rich = daily(&odd, 0, MIDNIGHT);
    rich.daily.high = decimal("1000000000000000");
    rich.daily.low = decimal("0.00000001");
    rich.daily.volume = BEYOND_DOUBLE;
    let mut dear = transaction(&odd, 1, MIDNIGHT);
    dear.transaction.quantity = BEYOND_DOUBLE;
    dear.transaction.total = decimal("999999999999999.99999999");
    let rows = Rows {
        trades: vec![trade(&odd, BEYOND_DOUBLE, MIDNIGHT), last],
        candles: vec![extreme_candle(&odd)],
        book_tickers: vec![book(&odd, i64::MAX, MIDNIGHT)],
        book_seconds: vec![busy],
        tickers: vec![falling],
        gaps: vec![gap(&odd, BEYOND_DOUBLE, 10, MIDNIGHT)],
        alerts: vec![plunge],
        dead_letters: vec![dead_letter(1 << 54 | 1, MIDNIGHT)],
        dailies: vec![rich],
        daily_changes: Vec::new(),
        transactions: vec![dear],
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
    assert_eq!(store.dailies(&odd, ALL).await, Ok(rows.dailies));
    assert_eq!(store.transactions(&odd, ALL).await, Ok(rows.transactions));
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
