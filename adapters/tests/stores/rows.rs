//! Rows to put into any store.

use std::sync::Arc;

use fts_core::decimal::Decimal;
use fts_core::interval::Interval;
use fts_core::market::{Source, Symbol, Trade};
use fts_core::port::store::{End, Span};
use fts_core::row::{Candle, CandleRow, Rows, TradeRow};

/// 2024-08-09 00:00 UTC.
pub(crate) const MIDNIGHT: i64 = 1_723_161_600_000;

/// From the beginning of time to its end.
pub(crate) const ALL: Span =
    Span { from: i64::MIN, to: i64::MAX, limit: usize::MAX, end: End::Oldest };

pub(crate) fn symbol(text: &str) -> Symbol {
    Symbol::new(text).expect("a symbol")
}

/// Trade `id`, a tenth of a second after the one before.
pub(crate) fn trade(id: i64) -> TradeRow {
    TradeRow {
        symbol: symbol("BTCUSDT"),
        trade: Trade {
            id,
            time: MIDNIGHT + id * 100,
            price: Decimal::from_units(60_000 + id % 100),
            quantity: Decimal(12_345),
            buyer_is_maker: id % 2 == 0,
        },
        received_at: MIDNIGHT + id * 100 + 17,
        source: Source::Stream,
    }
}

/// The minute's candle that knows of `trades`.
pub(crate) fn candle(minute: i64, trades: i64) -> CandleRow {
    let price = Decimal::from_units(60_000 + trades);
    CandleRow {
        symbol: symbol("BTCUSDT"),
        interval: Interval::Minute,
        candle: Candle {
            open_time: MIDNIGHT + minute * 60_000,
            open: Decimal::from_units(60_000),
            high: price,
            low: Decimal::from_units(60_000),
            close: price,
            volume: Decimal::from_units(trades),
            quote_volume: price.times(Decimal::from_units(trades)),
            trade_count: trades,
            taker_buy_volume: Decimal::ZERO,
            taker_buy_quote_volume: price.times(Decimal::ZERO),
            first_trade_id: minute * 1_000,
            last_trade_id: minute * 1_000 + trades - 1,
        },
        complete: false,
    }
}

/// What the aggregator would say after `trades` trades: the last ten of them, and the candle of
/// their minute.
pub(crate) fn batch(number: i64) -> Arc<Rows> {
    let last = (number + 1) * 10;
    Arc::new(Rows {
        trades: (number * 10..last).map(trade).collect(),
        candles: vec![candle(number / 60, 10 * (number % 60 + 1))],
        ..Rows::default()
    })
}
