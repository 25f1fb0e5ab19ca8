//! Batches of every kind, there and back.

use fts_core::decimal::{Decimal, Notional};
use fts_core::interval::Interval;
use fts_core::market::{self, Source, Symbol, Topic};
use fts_core::row::{
    self, AlertRow, BookSecondRow, BookTickerRow, CandleRow, DeadLetterRow, GapRow, TickerRow,
    TradeRow,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn symbols() -> impl Strategy<Value = Symbol> {
    prop_oneof![Just("BTCUSDT"), Just("这是测试币456"), Just("BTC-USD"), Just("A_B.C")]
        .prop_map(|text| Symbol::new(text).unwrap())
}

fn decimals() -> impl Strategy<Value = Decimal> {
    prop_oneof![any::<i128>(), (-1_000..1_000_i128), Just(i128::MIN), Just(i128::MAX)]
        .prop_map(Decimal)
}

fn notionals() -> impl Strategy<Value = Notional> {
    decimals().prop_map(|it| Notional(it.0))
}

/// Far from where sums of times and counts would overflow.
fn numbers() -> impl Strategy<Value = i64> {
    -(1_i64 << 61)..1_i64 << 61
}

fn trades() -> impl Strategy<Value = TradeRow> {
    let sources = prop_oneof![Just(Source::Stream), Just(Source::Backfill), Just(Source::Control)];
    let trade = (any::<i64>(), any::<i64>(), decimals(), decimals(), any::<bool>());
    (symbols(), trade, any::<i64>(), sources).prop_map(|(symbol, trade, received_at, source)| {
        let (id, time, price, quantity, buyer_is_maker) = trade;
        let trade = market::Trade { id, time, price, quantity, buyer_is_maker };
        TradeRow { symbol, trade, received_at, source }
    })
}

fn candles() -> impl Strategy<Value = CandleRow> {
    let prices = prop::array::uniform6(decimals());
    let sums = prop::array::uniform2(notionals());
    let ids = prop::array::uniform4(numbers());
    let interval = prop::sample::select(Interval::ALL.to_vec());
    (symbols(), interval, prices, sums, ids, any::<bool>()).prop_map(
        |(symbol, interval, prices, sums, ids, complete)| {
            let [open, high, low, close, volume, taker_buy_volume] = prices;
            let [quote_volume, taker_buy_quote_volume] = sums;
            let [open_time, trade_count, first_trade_id, last_trade_id] = ids;
            let candle = row::Candle {
                open_time,
                open,
                high,
                low,
                close,
                volume,
                quote_volume,
                trade_count,
                taker_buy_volume,
                taker_buy_quote_volume,
                first_trade_id,
                last_trade_id,
            };
            CandleRow { symbol, interval, candle, complete }
        },
    )
}

fn book_tickers() -> impl Strategy<Value = BookTickerRow> {
    (symbols(), any::<i64>(), prop::array::uniform4(decimals()), any::<i64>()).prop_map(
        |(symbol, update_id, values, received_at)| {
            let [bid_price, bid_quantity, ask_price, ask_quantity] = values;
            let book =
                market::BookTicker { update_id, bid_price, bid_quantity, ask_price, ask_quantity };
            BookTickerRow { symbol, book, received_at }
        },
    )
}

fn extents() -> impl Strategy<Value = row::Extent> {
    prop::array::uniform4(decimals()).prop_map(|[open, high, low, close]| row::Extent {
        open,
        high,
        low,
        close,
    })
}

fn book_seconds() -> impl Strategy<Value = BookSecondRow> {
    (symbols(), prop::array::uniform4(numbers()), extents(), extents(), decimals()).prop_map(
        |(symbol, ids, bid, ask, spread_sum)| {
            let [open_time, update_count, first_update_id, last_update_id] = ids;
            let second = row::BookSecond {
                open_time,
                bid,
                ask,
                // Rounding a mean doubles the remainder.
                spread_sum: Decimal(spread_sum.0 / 2),
                update_count,
                first_update_id,
                last_update_id,
            };
            BookSecondRow { symbol, second }
        },
    )
}

fn tickers() -> impl Strategy<Value = TickerRow> {
    (symbols(), prop::array::uniform15(decimals()), prop::array::uniform7(any::<i64>())).prop_map(
        |(symbol, values, [event_time, open_time, close_time, first, last, count, received_at])| {
            let ticker = Box::new(market::Ticker {
                event_time,
                price_change: values[0],
                price_change_percent: values[1],
                weighted_avg_price: values[2],
                first_trade_price: values[3],
                last_price: values[4],
                last_quantity: values[5],
                best_bid_price: values[6],
                best_bid_quantity: values[7],
                best_ask_price: values[8],
                best_ask_quantity: values[9],
                open_price: values[10],
                high_price: values[11],
                low_price: values[12],
                base_volume: values[13],
                quote_volume: values[14],
                open_time,
                close_time,
                first_trade_id: first,
                last_trade_id: last,
                trade_count: count,
            });
            TickerRow { symbol, ticker, received_at }
        },
    )
}

fn gaps() -> impl Strategy<Value = GapRow> {
    (symbols(), prop::array::uniform3(0..1_i64 << 40), any::<Option<i64>>(), any::<i64>(), ".*")
        .prop_map(|(symbol, [first, last, missing], after_time, before_time, reason)| GapRow {
            symbol,
            first_trade_id: first,
            last_trade_id: last,
            missing,
            after_time,
            before_time,
            reason,
        })
}

fn alerts() -> impl Strategy<Value = AlertRow> {
    let values = prop::array::uniform4(decimals());
    (symbols(), any::<i64>(), any::<bool>(), any::<i64>(), values).prop_map(
        |(symbol, time, up, window_ms, values)| {
            let [threshold_percent, reference_price, price, change_percent] = values;
            AlertRow {
                symbol,
                time,
                up,
                window_ms,
                threshold_percent,
                reference_price,
                price,
                change_percent,
            }
        },
    )
}

fn dead_letters() -> impl Strategy<Value = DeadLetterRow> {
    let topic = prop::sample::select(Topic::ALL.to_vec());
    let place = (topic, any::<u32>(), any::<u64>());
    (place, symbols(), any::<i64>(), ".*", any::<String>()).prop_map(
        |((topic, partition, offset), symbol, received_at, reason, payload)| DeadLetterRow {
            topic,
            partition,
            offset,
            symbol,
            received_at,
            reason,
            payload,
        },
    )
}

fn batches() -> impl Strategy<Value = Rows> {
    use prop::collection::vec;
    let first = (
        vec(trades(), 0..3),
        vec(candles(), 0..3),
        vec(book_tickers(), 0..3),
        vec(book_seconds(), 0..3),
    );
    let rest =
        (vec(tickers(), 0..3), vec(gaps(), 0..3), vec(alerts(), 0..3), vec(dead_letters(), 0..3));
    (first, rest).prop_map(
        |((trades, candles, book_tickers, book_seconds), (tickers, gaps, alerts, dead_letters))| {
            Rows {
                trades,
                candles,
                book_tickers,
                book_seconds,
                tickers,
                gaps,
                alerts,
                dead_letters,
                ..Rows::default()
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(rows in batches()) {
        prop_assert_eq!(decode(&encode(&rows)).unwrap(), rows);
    }

    #[test]
    fn each_row_is_the_one_in_the_batch(rows in batches()) {
        let each: Vec<_> = each(&rows).collect();
        prop_assert_eq!(each.len(), rows.len());
        let batch: Value = serde_json::from_slice(&encode(&rows)).unwrap();
        for table in Table::ALL {
            let alone: Vec<Value> = each
                .iter()
                .filter(|it| it.0 == table)
                .map(|it| serde_json::from_slice(&it.2).unwrap())
                .collect();
            let listed = batch.get(table.name()).cloned().unwrap_or_else(|| json!([]));
            prop_assert_eq!(listed, Value::Array(alone));
        }
    }

    #[test]
    fn damaged_bytes_never_panic(rows in batches(), at in any::<prop::sample::Index>(), with: u8) {
        let mut bytes = encode(&rows).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = with;
        drop(decode(&bytes));
        drop(decode(&bytes[..at]));
    }
}

#[track_caller]
fn check(rows: Rows, key: &str, expected: Value) {
    let [(_, found, bytes)] = <[_; 1]>::try_from(each(&rows).collect::<Vec<_>>()).unwrap();
    assert_eq!(found, key);
    assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), expected);
}

#[test]
fn decimals_are_texts_and_the_rest_is_what_it_is() {
    let symbol = Symbol::new("BTCUSDT").unwrap();
    let trade = market::Trade {
        id: (1 << 53) + 1,
        time: 1_723_161_255_000,
        price: "61837.63".parse().unwrap(),
        quantity: "0.00012345".parse().unwrap(),
        buyer_is_maker: true,
    };
    let row = TradeRow {
        symbol: symbol.clone(),
        trade,
        received_at: 1_723_161_255_017,
        source: Source::Backfill,
    };
    check(
        Rows { trades: vec![row], ..Rows::default() },
        "BTCUSDT-9007199254740993",
        json!({
            "symbol": "BTCUSDT", "trade_id": 9_007_199_254_740_993_i64, "time": 1_723_161_255_000_i64,
            "price": "61837.63000000", "quantity": "0.00012345", "buyer_is_maker": true,
            "received_at": 1_723_161_255_017_i64, "source": "backfill", "version": 0,
        }),
    );
    let book = market::BookTicker {
        update_id: 7,
        bid_price: Decimal(1),
        bid_quantity: Decimal(2),
        ask_price: Decimal(3),
        ask_quantity: Decimal(4),
    };
    let row = BookTickerRow { symbol, book, received_at: 5 };
    check(
        Rows { book_tickers: vec![row], ..Rows::default() },
        "BTCUSDT-7",
        json!({
            "id": "BTCUSDT-7", "stream": "btcusdt@bookTicker", "update_id": 7, "symbol": "BTCUSDT",
            "best_bid_price": "0.00000001", "best_bid_quantity": "0.00000002",
            "best_ask_price": "0.00000003", "best_ask_quantity": "0.00000004",
            "received_at": 5, "version": 0,
        }),
    );
}

#[test]
fn an_unknown_column_is_passed_over_and_an_unknown_table_is_not() {
    let gap = r#"{"symbol":"A","first_trade_id":1,"last_trade_id":2,"missing":2,"after_time":null,
        "before_time":3,"reason":"","colour":"red"}"#;
    assert_eq!(decode(format!(r#"{{"gaps":[{gap}]}}"#).as_bytes()).unwrap().gaps.len(), 1);
    let error = decode(br#"{"moods":[]}"#).unwrap_err().to_string();
    assert!(error.contains("moods"), "{error}");
}

#[test]
fn what_is_wrong_is_named() {
    let error = decode(br#"{"gaps":[{"symbol":"a b"}]}"#).unwrap_err().to_string();
    assert!(error.contains("`a b` is no symbol at line 1 column"), "{error}");
    let error = decode(br#"{"alerts":[{"threshold_percent":"1e5"}]}"#).unwrap_err().to_string();
    assert!(error.contains("`1e5` is no decimal"), "{error}");
}
