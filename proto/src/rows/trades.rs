//! Trades, what is folded from them, and what is missing of them, as JSON objects. Each conversion
//! destructures, so that a column that core gains is not forgotten here.

use fts_core::decimal::{Decimal, Notional};
use fts_core::interval::Interval;
use fts_core::market::{self, Source, Symbol};
use fts_core::row::{self, CandleRow, GapRow, TradeRow};
use serde::{Deserialize, Serialize};

use super::{IMMUTABLE, Keyed, exact, words};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Trade {
    #[serde(with = "words::symbol")]
    symbol: Symbol,
    trade_id: i64,
    time: i64,
    #[serde(with = "exact::decimal")]
    price: Decimal,
    #[serde(with = "exact::decimal")]
    quantity: Decimal,
    buyer_is_maker: bool,
    received_at: i64,
    #[serde(with = "words::source")]
    source: Source,
    #[serde(skip_deserializing)]
    version: i64,
}

impl From<&TradeRow> for Trade {
    fn from(row: &TradeRow) -> Self {
        let TradeRow { symbol, trade, received_at, source } = row;
        let market::Trade { id, time, price, quantity, buyer_is_maker } = *trade;
        Self {
            symbol: symbol.clone(),
            trade_id: id,
            time,
            price,
            quantity,
            buyer_is_maker,
            received_at: *received_at,
            source: *source,
            version: IMMUTABLE,
        }
    }
}

impl From<Trade> for TradeRow {
    fn from(wire: Trade) -> Self {
        Self {
            symbol: wire.symbol,
            trade: market::Trade {
                id: wire.trade_id,
                time: wire.time,
                price: wire.price,
                quantity: wire.quantity,
                buyer_is_maker: wire.buyer_is_maker,
            },
            received_at: wire.received_at,
            source: wire.source,
        }
    }
}

impl Keyed for Trade {
    fn key(&self) -> String {
        format!("{}-{}", self.symbol, self.trade_id)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Candle {
    #[serde(with = "words::symbol")]
    symbol: Symbol,
    #[serde(with = "words::interval")]
    interval: Interval,
    open_time: i64,
    #[serde(skip_deserializing)]
    close_time: i64,
    #[serde(with = "exact::decimal")]
    open: Decimal,
    #[serde(with = "exact::decimal")]
    high: Decimal,
    #[serde(with = "exact::decimal")]
    low: Decimal,
    #[serde(with = "exact::decimal")]
    close: Decimal,
    #[serde(with = "exact::decimal")]
    volume: Decimal,
    #[serde(with = "exact::notional")]
    quote_volume: Notional,
    trade_count: i64,
    #[serde(with = "exact::decimal")]
    taker_buy_volume: Decimal,
    #[serde(with = "exact::notional")]
    taker_buy_quote_volume: Notional,
    first_trade_id: i64,
    last_trade_id: i64,
    complete: bool,
    #[serde(skip_deserializing)]
    version: i64,
}

impl From<&CandleRow> for Candle {
    fn from(row: &CandleRow) -> Self {
        let CandleRow { symbol, interval, candle, complete } = row;
        let row::Candle {
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
        } = *candle;
        Self {
            symbol: symbol.clone(),
            interval: *interval,
            open_time,
            close_time: row.close_time(),
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
            complete: *complete,
            version: row.version(),
        }
    }
}

impl From<Candle> for CandleRow {
    fn from(wire: Candle) -> Self {
        Self {
            symbol: wire.symbol,
            interval: wire.interval,
            candle: row::Candle {
                open_time: wire.open_time,
                open: wire.open,
                high: wire.high,
                low: wire.low,
                close: wire.close,
                volume: wire.volume,
                quote_volume: wire.quote_volume,
                trade_count: wire.trade_count,
                taker_buy_volume: wire.taker_buy_volume,
                taker_buy_quote_volume: wire.taker_buy_quote_volume,
                first_trade_id: wire.first_trade_id,
                last_trade_id: wire.last_trade_id,
            },
            complete: wire.complete,
        }
    }
}

impl Keyed for Candle {
    fn key(&self) -> String {
        format!("{}-{}-{}", self.symbol, self.interval, self.open_time)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Gap {
    #[serde(with = "words::symbol")]
    symbol: Symbol,
    first_trade_id: i64,
    last_trade_id: i64,
    missing: i64,
    after_time: Option<i64>,
    before_time: i64,
    reason: String,
    #[serde(skip_deserializing)]
    version: i64,
}

impl From<&GapRow> for Gap {
    fn from(row: &GapRow) -> Self {
        let GapRow {
            symbol,
            first_trade_id,
            last_trade_id,
            missing,
            after_time,
            before_time,
            reason,
        } = row;
        Self {
            symbol: symbol.clone(),
            first_trade_id: *first_trade_id,
            last_trade_id: *last_trade_id,
            missing: *missing,
            after_time: *after_time,
            before_time: *before_time,
            reason: reason.clone(),
            version: row.version(),
        }
    }
}

impl From<Gap> for GapRow {
    fn from(wire: Gap) -> Self {
        Self {
            symbol: wire.symbol,
            first_trade_id: wire.first_trade_id,
            last_trade_id: wire.last_trade_id,
            missing: wire.missing,
            after_time: wire.after_time,
            before_time: wire.before_time,
            reason: wire.reason,
        }
    }
}

impl Keyed for Gap {
    fn key(&self) -> String {
        format!("{}-{}", self.symbol, self.first_trade_id)
    }
}
