//! What is kept: the greater version, all of a put, through restarts, until it is too old.

use std::sync::Arc;

use super::samples::{
    MIDNIGHT, alert, book, candle, daily_change, dead_letter, gap, second, symbol, ticker, trade,
    transaction,
};
use super::{
    ALL, Place, both, candles, check_greatest, everything, one_of_each, put, seconds, trades,
    versions,
};
use crate::interval::Interval;
use crate::port::store::{Store, StoreError};
use crate::row::{Rows, Table};
use crate::time::{Clock as _, SystemClock};

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
        rows.daily_changes.push(daily_change(&btc, number, at(number)));
        rows.transactions.push(transaction(&btc, number, at(number)));
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
    let small = [
        Table::Gaps,
        Table::Alerts,
        Table::Tickers,
        Table::BookTickers,
        Table::DeadLetters,
        Table::DailyChanges,
        Table::Transactions,
    ];
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

/// Anybody may write a transaction, with any year.
pub async fn a_row_of_the_future_takes_no_other_along(place: &impl Place) {
    const DAYS: i64 = 60 * 86_400_000;
    let store = place.open().await;
    let btc = symbol("BTCUSDT");
    // In the year 2100.
    let mut rows = Rows::default();
    rows.transactions.push(transaction(&btc, 1, MIDNIGHT));
    rows.transactions.push(transaction(&btc, 2, 4_102_444_800_000));
    put(place, &store, rows).await;
    let age = SystemClock.now().millis() - MIDNIGHT;
    assert_eq!(store.expire(Table::Transactions, age + DAYS).await, Ok(0));
    assert_eq!(store.expire(Table::Transactions, age - DAYS).await, Ok(1));
    assert_eq!(
        store.expire(Table::Transactions, 1).await,
        Ok(0),
        "it stays until its time has come"
    );
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

/// It is named with the reason, for a dead letter; whoever puts the others again without it has them
/// all stored.
pub async fn a_row_that_cannot_be_held_is_rejected_by_name_and_the_others_are_kept(
    place: &impl Place,
) {
    let store = place.open().await;
    let key = symbol("BTCUSDT");
    let good = Arc::new(one_of_each(&key, MIDNIGHT));
    // No store counts records so far.
    let letters = vec![dead_letter(7, MIDNIGHT), dead_letter(u64::MAX, MIDNIGHT)];
    let wrong = Arc::new(Rows { dead_letters: letters, ..Rows::default() });
    let outcome = store.put(&[Arc::clone(&good), wrong]).await;
    let Err(StoreError::Rejected { table, reason }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(table, Table::DeadLetters.name());
    assert!(reason.contains("18446744073709551615"), "which row it is: {reason}");
    assert_ne!(reason.trim(), "18446744073709551615", "and why");

    let rest = Rows { dead_letters: vec![dead_letter(7, MIDNIGHT)], ..Rows::default() };
    assert_eq!(store.put(&[good, Arc::new(rest)]).await, Ok(()));
    place.settle().await;
    assert_eq!(trades(&store, &key).await.len(), 1);
    assert_eq!(candles(&store, &key).await.len(), 1);
    assert_eq!(seconds(&store, &key).await.len(), 1);
    assert_eq!(store.transactions(&key, ALL).await.map(|rows| rows.len()), Ok(1));
    assert_eq!(store.alerts(9).await.map(|rows| rows.len()), Ok(1));
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
