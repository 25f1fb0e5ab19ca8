//! Rows to put: one of each table.

use fts_core::decimal::{Decimal, Notional};
use fts_core::interval::Interval;
use fts_core::market::{BookTicker, Source, Symbol, Ticker, Topic, Trade};
use fts_core::row::{
    AlertRow, BookSecond, BookSecondRow, BookTickerRow, Candle, CandleRow, DailyChangeRow,
    DailyRow, DeadLetterRow, Extent, GapRow, Rows, TickerRow, TradeRow, TransactionRow,
};
use fts_core::stock::{Daily, DailyChange, Transaction};

/// 2024-08-09 00:00 UTC.
pub(crate) const MIDNIGHT: i64 = 1_723_161_600_000;

pub(crate) fn btc() -> Symbol {
    Symbol::new("BTCUSDT").expect("a symbol")
}

/// A row of each table whose keys follow from `number`.
pub(crate) fn one_of_each(number: i64) -> Rows {
    let decimal = |text: &str| text.parse::<Decimal>().expect("a decimal");
    let price = decimal("61837.63");
    let extent = Extent { open: price, high: price, low: price, close: price };
    let time = MIDNIGHT + number;
    Rows {
        trades: vec![TradeRow {
            symbol: btc(),
            trade: Trade {
                id: number,
                time,
                price,
                quantity: decimal("0.1"),
                buyer_is_maker: true,
            },
            received_at: time + 5,
            source: Source::Backfill,
        }],
        candles: vec![CandleRow {
            symbol: btc(),
            interval: Interval::Minute,
            candle: Candle {
                open_time: Interval::Minute.floor(time),
                open: price,
                high: price,
                low: price,
                close: price,
                volume: decimal("0.3"),
                quote_volume: Notional(1_234_567_890_123_456_789),
                trade_count: 3,
                taker_buy_volume: decimal("0.1"),
                taker_buy_quote_volume: Notional(17),
                first_trade_id: 1,
                last_trade_id: 3,
            },
            complete: true,
        }],
        book_tickers: vec![BookTickerRow {
            symbol: btc(),
            book: BookTicker {
                update_id: 80_000_000_000 + number,
                bid_price: price,
                bid_quantity: price,
                ask_price: price,
                ask_quantity: price,
            },
            received_at: time,
        }],
        book_seconds: vec![BookSecondRow {
            symbol: btc(),
            second: BookSecond {
                open_time: Interval::Second.floor(time),
                bid: extent,
                ask: extent,
                spread_sum: Decimal::from_units(1),
                update_count: 3,
                first_update_id: 1,
                last_update_id: 3,
            },
        }],
        tickers: vec![TickerRow {
            symbol: btc(),
            ticker: Box::new(Ticker {
                event_time: time,
                price_change: decimal("-15.5"),
                price_change_percent: decimal("-0.025"),
                weighted_avg_price: price,
                first_trade_price: price,
                last_price: price,
                last_quantity: price,
                best_bid_price: price,
                best_bid_quantity: price,
                best_ask_price: price,
                best_ask_quantity: price,
                open_price: price,
                high_price: price,
                low_price: price,
                base_volume: price,
                quote_volume: price,
                open_time: time - 86_400_000,
                close_time: time,
                first_trade_id: 1,
                last_trade_id: 9,
                trade_count: 9,
            }),
            received_at: time,
        }],
        gaps: vec![GapRow {
            symbol: btc(),
            first_trade_id: 1 + 10 * number,
            last_trade_id: 10 + 10 * number,
            missing: 4,
            after_time: Some(time),
            before_time: time + 1,
            reason: "not to be had".to_owned(),
        }],
        alerts: vec![AlertRow {
            symbol: btc(),
            time,
            up: false,
            window_ms: 60_000,
            threshold_percent: decimal("1"),
            reference_price: price,
            price,
            change_percent: decimal("-1.5"),
        }],
        dead_letters: vec![DeadLetterRow {
            topic: Topic::DeadLetter,
            partition: 3,
            offset: number.unsigned_abs(),
            symbol: btc(),
            received_at: time,
            reason: "not understood".to_owned(),
            payload: "{}".to_owned(),
        }],
        dailies: vec![DailyRow {
            symbol: btc(),
            daily: Daily {
                date: jiff::civil::date(2024, 8, 9),
                open: price,
                high: price,
                low: price,
                close: price,
                volume: number,
                fetched_at: time,
            },
        }],
        daily_changes: vec![DailyChangeRow {
            symbol: btc(),
            change: DailyChange {
                date: jiff::civil::date(2024, 8, 8),
                column: "cierre",
                before: "1".to_owned(),
                after: "2".to_owned(),
                fetched_at: time,
            },
        }],
        transactions: vec![TransactionRow {
            id: number.to_string(),
            transaction: Transaction {
                id: None,
                time,
                timestamp: "2024-08-09 00:00:00".to_owned(),
                stock: btc(),
                kind: "VENTA".to_owned(),
                quantity: 3,
                unit_price: price,
                total: price,
                state: "FALLIDO".to_owned(),
                error: Some("TIMEOUT".to_owned()),
                extra: "{}".to_owned(),
            },
            received_at: time,
        }],
    }
}
