//! What is saved is what is loaded, for any state.

use proptest::prelude::*;

use super::*;

fn decimal() -> impl Strategy<Value = Decimal> {
    any::<i128>().prop_map(Decimal)
}

fn candle() -> impl Strategy<Value = Candle> {
    (any::<i64>(), decimal(), decimal(), any::<i128>(), any::<i64>()).prop_map(
        |(open_time, one, other, sum, id)| Candle {
            open_time,
            open: one,
            high: other,
            low: one,
            close: other,
            volume: one,
            quote_volume: Notional(sum),
            trade_count: id,
            taker_buy_volume: other,
            taker_buy_quote_volume: Notional(!sum),
            first_trade_id: id,
            last_trade_id: !id,
        },
    )
}

fn second() -> impl Strategy<Value = BookSecond> {
    (any::<i64>(), decimal(), decimal(), any::<i64>()).prop_map(|(open_time, one, other, id)| {
        let extent = Extent { open: one, high: other, low: one, close: other };
        BookSecond {
            open_time,
            bid: extent,
            ask: Extent { open: other, ..extent },
            spread_sum: other,
            update_count: id,
            first_update_id: id,
            last_update_id: !id,
        }
    })
}

fn symbol() -> impl Strategy<Value = SymbolCheckpoint> {
    let ids = || prop::collection::vec(any::<i64>(), 0..5);
    let gap = (any::<i64>(), any::<Option<i64>>(), ".{0,9}", ids()).prop_map(
        |(first, after_time, reason, recovered)| Gap {
            first,
            last: !first,
            after_time,
            before_time: first,
            reason,
            recovered,
        },
    );
    let window = (0..Interval::ALL.len(), candle())
        .prop_map(|(index, candle)| (Interval::ALL[index], candle));
    let range = any::<[i64; 4]>().prop_map(|[first, last, first_time, last_time]| Range {
        first,
        last,
        first_time,
        last_time,
    });
    (
        prop::collection::vec(range, 0..3),
        any::<Option<i64>>(),
        prop::collection::vec(gap, 0..3),
        prop::collection::vec(window, 0..4),
        (ids(), ids(), ids()),
        prop::collection::vec(second(), 0..3),
        prop::collection::vec((any::<i64>(), any::<i64>(), decimal()), 0..3),
    )
        .prop_map(|(ranges, floor, gaps, windows, ids, book_seconds, closes)| {
            SymbolCheckpoint {
                symbol: Symbol::new("这是测试币456").unwrap(),
                ranges,
                floor,
                gaps,
                windows,
                updates_seen: ids.0,
                book_seconds,
                tickers_seen: ids.1,
                alerts: AlertParts { closes, pending: ids.2, given_up: floor },
            }
        })
}

fn stock() -> impl Strategy<Value = StockCheckpoint> {
    let daily = (-100_000..100_000_i32, decimal(), decimal(), any::<[i64; 2]>()).prop_map(
        |(day, one, other, [volume, fetched_at])| Daily {
            date: jiff::civil::date(2000, 1, 1).saturating_add(jiff::Span::new().days(day)),
            open: one,
            high: other,
            low: other,
            close: one,
            volume,
            fetched_at,
        },
    );
    (
        prop::collection::vec(daily, 0..3),
        any::<Option<(i64, i64, i64)>>(),
        prop::collection::vec((any::<i64>(), any::<i64>(), decimal()), 0..3),
        prop::collection::vec(any::<i64>(), 0..3),
    )
        .prop_map(|(days, transactions, closes, pending)| StockCheckpoint {
            symbol: Symbol::new("TSLA").unwrap(),
            days,
            transactions,
            alerts: AlertParts { closes, pending, given_up: transactions.map(|it| it.0) },
        })
}

proptest! {
    #[test]
    fn what_is_saved_is_loaded(
        symbols in prop::collection::vec(symbol(), 0..3),
        stocks in prop::collection::vec(stock(), 0..3),
        next: u64,
    ) {
        let positions = vec![(Topic::Trade, next), (Topic::DeadLetter, 0)];
        let checkpoint = Checkpoint { positions, symbols, stocks };
        prop_assert_eq!(decode(&encode(&checkpoint)).unwrap(), checkpoint);
    }
}

#[test]
fn other_bytes_are_refused() {
    assert!(decode(b"not a checkpoint").is_err());
    assert_eq!(decode(b"").unwrap(), Checkpoint::default());
}
