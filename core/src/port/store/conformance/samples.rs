//! Rows to put: plain ones that differ by their arguments, and ones at the edge of what there is.

use jiff::Span;
use jiff::civil::Date;

use crate::decimal::{Decimal, Notional};
use crate::interval::Interval;
use crate::market::{BookTicker, Source, Symbol, Ticker, Topic, Trade};
use crate::row::{
    AlertRow, BookSecond, BookSecondRow, BookTickerRow, Candle, CandleRow, DailyChangeRow,
    DailyRow, DeadLetterRow, Extent, GapRow, TickerRow, TradeRow, TransactionRow,
};
use crate::stock::{Daily, DailyChange, Transaction};

/// 2024-08-09 00:00 UTC: the start of a window of every interval.
pub(super) const MIDNIGHT: i64 = 1_723_161_600_000;
/// The first id that an IEEE double can't tell from its neighbour.
pub(super) const BEYOND_DOUBLE: i64 = (1 << 53) + 1;

pub(super) fn symbol(text: &str) -> Symbol {
    Symbol::new(text).expect("the suite's symbols are symbols")
}

pub(super) fn decimal(text: &str) -> Decimal {
    text.parse().expect("the suite's decimals are decimals")
}

pub(super) fn trade(symbol: &Symbol, id: i64, time: i64) -> TradeRow {
    TradeRow {
        symbol: symbol.clone(),
        trade: Trade {
            id,
            time,
            price: decimal("61837.63"),
            quantity: decimal("0.00012345"),
            buyer_is_maker: id % 2 == 0,
        },
        received_at: time + 17,
        source: if id % 3 == 0 { Source::Backfill } else { Source::Stream },
    }
}

pub(super) fn candle(
    symbol: &Symbol,
    interval: Interval,
    open_time: i64,
    trades: i64,
) -> CandleRow {
    let price = Decimal::from_units(60_000 + trades);
    CandleRow {
        symbol: symbol.clone(),
        interval,
        candle: Candle {
            open_time,
            open: decimal("60000.1"),
            high: price,
            low: decimal("59999.99"),
            close: price,
            volume: Decimal::from_units(trades),
            quote_volume: price.times(Decimal(trades.into())),
            trade_count: trades,
            taker_buy_volume: Decimal(trades.into()),
            taker_buy_quote_volume: Notional(trades.into()),
            first_trade_id: 1_000,
            last_trade_id: 1_000 + trades,
        },
        complete: false,
    }
}

pub(super) fn book(symbol: &Symbol, update_id: i64, received_at: i64) -> BookTickerRow {
    BookTickerRow {
        symbol: symbol.clone(),
        book: BookTicker {
            update_id,
            bid_price: decimal("61837.62"),
            bid_quantity: Decimal(update_id.into()),
            ask_price: decimal("61837.63"),
            ask_quantity: decimal("0.5"),
        },
        received_at,
    }
}

pub(super) fn second(symbol: &Symbol, open_time: i64, updates: i64) -> BookSecondRow {
    let extent = |units: i64| Extent {
        open: Decimal::from_units(units),
        high: Decimal::from_units(units + updates),
        low: Decimal::from_units(units - 1),
        close: Decimal::from_units(units + updates),
    };
    BookSecondRow {
        symbol: symbol.clone(),
        second: BookSecond {
            open_time,
            bid: extent(100),
            ask: extent(200),
            // A third of a unit: its mean does not give the sum back.
            spread_sum: Decimal(33_333_333 + i128::from(updates)),
            update_count: updates,
            first_update_id: 5,
            last_update_id: 5 + updates,
        },
    }
}

pub(super) fn ticker(symbol: &Symbol, event_time: i64) -> TickerRow {
    TickerRow {
        symbol: symbol.clone(),
        ticker: Box::new(Ticker {
            event_time,
            price_change: decimal("-15.5"),
            price_change_percent: decimal("-0.025"),
            weighted_avg_price: decimal("61000.00000001"),
            first_trade_price: decimal("61853.13"),
            last_price: decimal("61837.63"),
            last_quantity: decimal("0.001"),
            best_bid_price: decimal("61837.62"),
            best_bid_quantity: decimal("3"),
            best_ask_price: decimal("61837.63"),
            best_ask_quantity: decimal("4"),
            open_price: decimal("61853.13"),
            high_price: decimal("62000"),
            low_price: decimal("60000"),
            base_volume: decimal("12345.67891"),
            quote_volume: decimal("753086413.51"),
            open_time: event_time - 86_400_000,
            close_time: event_time - 1,
            first_trade_id: 3_000_000,
            last_trade_id: 3_000_000 + event_time % 1_000,
            trade_count: 1 + event_time % 1_000,
        }),
        received_at: event_time + 3,
    }
}

/// A gap of ten ids.
pub(super) fn gap(symbol: &Symbol, first: i64, missing: i64, before_time: i64) -> GapRow {
    GapRow {
        symbol: symbol.clone(),
        first_trade_id: first,
        last_trade_id: first + 9,
        missing,
        after_time: Some(before_time - 500),
        before_time,
        reason: "the exchange has no trade 7; it says \"unknown id\"".to_owned(),
    }
}

pub(super) fn alert(symbol: &Symbol, time: i64, up: bool) -> AlertRow {
    AlertRow {
        symbol: symbol.clone(),
        time,
        up,
        window_ms: 60_000,
        threshold_percent: decimal("1.5"),
        reference_price: decimal("100"),
        price: if up { decimal("101.6") } else { decimal("98.4") },
        change_percent: if up { decimal("1.6") } else { decimal("-1.6") },
    }
}

pub(super) fn dead_letter(offset: u64, received_at: i64) -> DeadLetterRow {
    DeadLetterRow {
        topic: Topic::DeadLetter,
        partition: 3,
        offset,
        symbol: symbol("BTCUSDT"),
        received_at,
        reason: "expected a number".to_owned(),
        payload: "{\"stream\":\"?\",\"data\":'\u{fffd}\u{0}é'}".to_owned(),
    }
}

/// A candle whose every value is at the edge of what a market can show.
pub(super) fn extreme_candle(symbol: &Symbol) -> CandleRow {
    CandleRow {
        symbol: symbol.clone(),
        interval: Interval::Day,
        candle: Candle {
            open_time: MIDNIGHT,
            open: decimal("0.00000001"),
            high: decimal("1000000000000000"),
            low: decimal("0.00000001"),
            close: decimal("999999999999999.99999999"),
            // A sum may be larger than anything that is parsed.
            volume: decimal("1000000000000000").plus(decimal("1000000000000000")),
            quote_volume: Notional(12_345_678_901_234_567_890_123_456_789_012_345),
            trade_count: BEYOND_DOUBLE,
            taker_buy_volume: Decimal::ZERO,
            taker_buy_quote_volume: Notional(1),
            first_trade_id: BEYOND_DOUBLE,
            last_trade_id: i64::MAX,
        },
        complete: true,
    }
}

/// The prices of the `number`th day after the first, said at `fetched_at`.
pub(super) fn daily(symbol: &Symbol, number: i64, fetched_at: i64) -> DailyRow {
    DailyRow {
        symbol: symbol.clone(),
        daily: Daily {
            date: day(number),
            open: decimal("220.91"),
            high: decimal("223.55"),
            low: decimal("214.33"),
            close: decimal("216.27"),
            volume: 59_927_300,
            fetched_at,
        },
    }
}

pub(super) fn daily_change(symbol: &Symbol, number: i64, fetched_at: i64) -> DailyChangeRow {
    let (before, after) = ("252.18000000".to_owned(), "252.17900000".to_owned());
    let change = DailyChange { date: day(number), column: "maximo", before, after, fetched_at };
    DailyChangeRow { symbol: symbol.clone(), change }
}

fn day(number: i64) -> Date {
    Date::constant(2017, 2, 3).saturating_add(Span::new().days(number % 1_000))
}

pub(super) fn transaction(stock: &Symbol, number: i64, time: i64) -> TransactionRow {
    TransactionRow {
        id: format!("{stock}-{number}"),
        transaction: Transaction {
            id: None,
            time,
            timestamp: "2024-08-09 00:00:00".to_owned(),
            stock: stock.clone(),
            kind: "COMPRA".to_owned(),
            quantity: 7,
            unit_price: decimal("216.27"),
            total: decimal("1513.89"),
            state: "EXITOSO".to_owned(),
            error: None,
            extra: "{\"mesa\":\"ñ\"}".to_owned(),
        },
        received_at: time + 3,
    }
}
