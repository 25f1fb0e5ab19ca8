//! Batches of every kind, there and back.

use fts_core::decimal::{Decimal, Notional};
use fts_core::interval::Interval;
use fts_core::market::{self, Source, Symbol, Topic};
use fts_core::row::{
    self, AlertRow, BookSecondRow, BookTickerRow, CandleRow, DailyChangeRow, DailyRow,
    DeadLetterRow, GapRow, TickerRow, TradeRow, TransactionRow,
};
use fts_core::stock;
use jiff::civil::Date;
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

fn dates() -> impl Strategy<Value = Date> {
    (1970..2100_i16, 1..=12_i8, 1..=28_i8)
        .prop_map(|(year, month, day)| Date::constant(year, month, day))
}

fn dailies() -> impl Strategy<Value = DailyRow> {
    (symbols(), dates(), prop::array::uniform4(decimals()), any::<i64>(), any::<i64>()).prop_map(
        |(symbol, date, [open, high, low, close], volume, fetched_at)| DailyRow {
            symbol,
            daily: stock::Daily { date, open, high, low, close, volume, fetched_at },
        },
    )
}

fn daily_changes() -> impl Strategy<Value = DailyChangeRow> {
    let column = prop::sample::select(vec!["apertura", "maximo", "minimo", "cierre", "volumen"]);
    (symbols(), dates(), column, ".*", ".*", any::<i64>()).prop_map(
        |(symbol, date, column, before, after, fetched_at)| DailyChangeRow {
            symbol,
            change: stock::DailyChange { date, column, before, after, fetched_at },
        },
    )
}

fn transactions() -> impl Strategy<Value = TransactionRow> {
    let texts = prop::array::uniform5(".*");
    let numbers = prop::array::uniform3(any::<i64>());
    let error = prop::option::of(".*");
    (symbols(), texts, numbers, prop::array::uniform2(decimals()), error).prop_map(
        |(stock, texts, [time, quantity, received_at], [unit_price, total], error)| {
            let [id, timestamp, kind, state, extra] = texts;
            let transaction = stock::Transaction {
                id: None,
                time,
                timestamp,
                stock,
                kind,
                quantity,
                unit_price,
                total,
                state,
                error,
                extra,
            };
            TransactionRow { id, transaction, received_at }
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
    let stocks = (vec(dailies(), 0..3), vec(daily_changes(), 0..3), vec(transactions(), 0..3));
    (first, rest, stocks).prop_map(
        |(
            (trades, candles, book_tickers, book_seconds),
            (tickers, gaps, alerts, dead_letters),
            (dailies, daily_changes, transactions),
        )| {
            Rows {
                trades,
                candles,
                book_tickers,
                book_seconds,
                tickers,
                gaps,
                alerts,
                dead_letters,
                dailies,
                daily_changes,
                transactions,
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
fn stocks_keep_the_names_that_people_have_dashboards_on() {
    let symbol = Symbol::new("TSLA").unwrap();
    let date = Date::constant(2024, 12, 31);
    let daily = stock::Daily {
        date,
        open: "423.79".parse().unwrap(),
        high: "427.93".parse().unwrap(),
        low: "402.54".parse().unwrap(),
        close: "403.84".parse().unwrap(),
        volume: 76_825_121,
        fetched_at: 1_735_700_000_000,
    };
    check(
        Rows { dailies: vec![DailyRow { symbol: symbol.clone(), daily }], ..Rows::default() },
        "TSLA-2024-12-31",
        json!({
            "symbol": "TSLA", "time": 1_735_603_200_000_i64, "fecha": "2024-12-31",
            "apertura": "423.79000000", "maximo": "427.93000000", "minimo": "402.54000000",
            "cierre": "403.84000000", "volumen": 76_825_121, "fetched_at": 1_735_700_000_000_i64,
            "version": 1_735_700_000_000_i64,
        }),
    );
    let (before, after) = ("1.00000000".to_owned(), "2.00000000".to_owned());
    let change = stock::DailyChange { date, column: "cierre", before, after, fetched_at: 9 };
    check(
        Rows {
            daily_changes: vec![DailyChangeRow { symbol: symbol.clone(), change }],
            ..Rows::default()
        },
        "TSLA-2024-12-31-cierre-9",
        json!({
            "symbol": "TSLA", "time": 1_735_603_200_000_i64, "fecha": "2024-12-31",
            "campo": "cierre", "antes": "1.00000000", "despues": "2.00000000", "fetched_at": 9,
            "version": 0,
        }),
    );
    let transaction = stock::Transaction {
        id: Some("7-1".to_owned()),
        time: 1_735_603_201_000,
        timestamp: "2024-12-31 00:00:01".to_owned(),
        stock: symbol,
        kind: "COMPRA".to_owned(),
        quantity: 3,
        unit_price: "403.84".parse().unwrap(),
        total: "1211.52".parse().unwrap(),
        state: "FALLIDO".to_owned(),
        error: Some("TIMEOUT".to_owned()),
        extra: "{}".to_owned(),
    };
    let row = TransactionRow { id: "7-1".to_owned(), transaction, received_at: 5 };
    check(
        Rows { transactions: vec![row], ..Rows::default() },
        "7-1",
        json!({
            "id": "7-1", "time": 1_735_603_201_000_i64, "timestamp": "2024-12-31 00:00:01",
            "accion": "TSLA", "tipo_transaccion": "COMPRA", "cantidad": 3,
            "precio_unitario": "403.84000000", "total": "1211.52000000", "estado": "FALLIDO",
            "error": "TIMEOUT", "extra": "{}", "received_at": 5, "version": 0,
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
    let error = decode(br#"{"finanzas_batch":[{"fecha":"31.12.2024"}]}"#).unwrap_err().to_string();
    assert!(error.contains("`31.12.2024` is no date"), "{error}");
}
