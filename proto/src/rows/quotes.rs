//! Best bid and ask, and the 24 h statistics, as JSON objects. Each conversion destructures, so that
//! a column that core gains is not forgotten here.

use fts_core::decimal::Decimal;
use fts_core::interval::Interval;
use fts_core::market::{self, Symbol};
use fts_core::row::{self, BookSecondRow, BookTickerRow, TickerRow};
use serde::{Deserialize, Serialize};

use super::{IMMUTABLE, Keyed, exact, words};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BookTicker {
    #[serde(skip_deserializing)]
    id: String,
    #[serde(skip_deserializing)]
    stream: String,
    update_id: i64,
    #[serde(with = "words::symbol")]
    symbol: Symbol,
    #[serde(with = "exact::decimal")]
    best_bid_price: Decimal,
    #[serde(with = "exact::decimal")]
    best_bid_quantity: Decimal,
    #[serde(with = "exact::decimal")]
    best_ask_price: Decimal,
    #[serde(with = "exact::decimal")]
    best_ask_quantity: Decimal,
    received_at: i64,
    #[serde(skip_deserializing)]
    version: i64,
}

impl From<&BookTickerRow> for BookTicker {
    fn from(row: &BookTickerRow) -> Self {
        let BookTickerRow { symbol, book, received_at } = row;
        let market::BookTicker { update_id, bid_price, bid_quantity, ask_price, ask_quantity } =
            *book;
        Self {
            id: format!("{symbol}-{update_id}"),
            stream: stream(symbol, "bookTicker"),
            update_id,
            symbol: symbol.clone(),
            best_bid_price: bid_price,
            best_bid_quantity: bid_quantity,
            best_ask_price: ask_price,
            best_ask_quantity: ask_quantity,
            received_at: *received_at,
            version: IMMUTABLE,
        }
    }
}

impl From<BookTicker> for BookTickerRow {
    fn from(wire: BookTicker) -> Self {
        Self {
            symbol: wire.symbol,
            book: market::BookTicker {
                update_id: wire.update_id,
                bid_price: wire.best_bid_price,
                bid_quantity: wire.best_bid_quantity,
                ask_price: wire.best_ask_price,
                ask_quantity: wire.best_ask_quantity,
            },
            received_at: wire.received_at,
        }
    }
}

impl Keyed for BookTicker {
    fn key(&self) -> String {
        self.id.clone()
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BookSecond {
    #[serde(with = "words::symbol")]
    symbol: Symbol,
    open_time: i64,
    #[serde(skip_deserializing)]
    close_time: i64,
    #[serde(with = "exact::decimal")]
    bid_open: Decimal,
    #[serde(with = "exact::decimal")]
    bid_high: Decimal,
    #[serde(with = "exact::decimal")]
    bid_low: Decimal,
    #[serde(with = "exact::decimal")]
    bid_close: Decimal,
    #[serde(with = "exact::decimal")]
    ask_open: Decimal,
    #[serde(with = "exact::decimal")]
    ask_high: Decimal,
    #[serde(with = "exact::decimal")]
    ask_low: Decimal,
    #[serde(with = "exact::decimal")]
    ask_close: Decimal,
    #[serde(with = "exact::decimal")]
    spread_sum: Decimal,
    #[serde(serialize_with = "exact::decimal::serialize", skip_deserializing)]
    mean_spread: Decimal,
    update_count: i64,
    first_update_id: i64,
    last_update_id: i64,
    #[serde(skip_deserializing)]
    version: i64,
}

impl From<&BookSecondRow> for BookSecond {
    fn from(row: &BookSecondRow) -> Self {
        let BookSecondRow { symbol, second } = row;
        let row::BookSecond {
            open_time,
            bid,
            ask,
            spread_sum,
            update_count,
            first_update_id,
            last_update_id,
        } = *second;
        Self {
            symbol: symbol.clone(),
            open_time,
            close_time: open_time + Interval::Second.millis() - 1,
            bid_open: bid.open,
            bid_high: bid.high,
            bid_low: bid.low,
            bid_close: bid.close,
            ask_open: ask.open,
            ask_high: ask.high,
            ask_low: ask.low,
            ask_close: ask.close,
            spread_sum,
            mean_spread: second.mean_spread(),
            update_count,
            first_update_id,
            last_update_id,
            version: update_count,
        }
    }
}

impl From<BookSecond> for BookSecondRow {
    fn from(wire: BookSecond) -> Self {
        Self {
            symbol: wire.symbol,
            second: row::BookSecond {
                open_time: wire.open_time,
                bid: row::Extent {
                    open: wire.bid_open,
                    high: wire.bid_high,
                    low: wire.bid_low,
                    close: wire.bid_close,
                },
                ask: row::Extent {
                    open: wire.ask_open,
                    high: wire.ask_high,
                    low: wire.ask_low,
                    close: wire.ask_close,
                },
                spread_sum: wire.spread_sum,
                update_count: wire.update_count,
                first_update_id: wire.first_update_id,
                last_update_id: wire.last_update_id,
            },
        }
    }
}

impl Keyed for BookSecond {
    fn key(&self) -> String {
        format!("{}-{}", self.symbol, self.open_time)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ticker {
    #[serde(skip_deserializing)]
    id: String,
    #[serde(skip_deserializing)]
    stream: String,
    #[serde(skip_deserializing)]
    event_type: &'static str,
    event_time: i64,
    #[serde(with = "words::symbol")]
    symbol: Symbol,
    #[serde(with = "exact::decimal")]
    price_change: Decimal,
    #[serde(with = "exact::decimal")]
    price_change_percent: Decimal,
    #[serde(with = "exact::decimal")]
    weighted_avg_price: Decimal,
    #[serde(with = "exact::decimal")]
    first_trade_price: Decimal,
    #[serde(with = "exact::decimal")]
    last_price: Decimal,
    #[serde(with = "exact::decimal")]
    last_quantity: Decimal,
    #[serde(with = "exact::decimal")]
    best_bid_price: Decimal,
    #[serde(with = "exact::decimal")]
    best_bid_quantity: Decimal,
    #[serde(with = "exact::decimal")]
    best_ask_price: Decimal,
    #[serde(with = "exact::decimal")]
    best_ask_quantity: Decimal,
    #[serde(with = "exact::decimal")]
    open_price: Decimal,
    #[serde(with = "exact::decimal")]
    high_price: Decimal,
    #[serde(with = "exact::decimal")]
    low_price: Decimal,
    #[serde(with = "exact::decimal")]
    total_traded_base_asset_volume: Decimal,
    #[serde(with = "exact::decimal")]
    total_traded_quote_asset_volume: Decimal,
    statistics_open_time: i64,
    statistics_close_time: i64,
    first_trade_id: i64,
    last_trade_id: i64,
    total_number_of_trades: i64,
    received_at: i64,
    #[serde(skip_deserializing)]
    version: i64,
}

impl From<&TickerRow> for Ticker {
    fn from(row: &TickerRow) -> Self {
        let TickerRow { symbol, ticker, received_at } = row;
        let market::Ticker {
            event_time,
            price_change,
            price_change_percent,
            weighted_avg_price,
            first_trade_price,
            last_price,
            last_quantity,
            best_bid_price,
            best_bid_quantity,
            best_ask_price,
            best_ask_quantity,
            open_price,
            high_price,
            low_price,
            base_volume,
            quote_volume,
            open_time,
            close_time,
            first_trade_id,
            last_trade_id,
            trade_count,
        } = **ticker;
        Self {
            id: format!("{symbol}-{event_time}"),
            stream: stream(symbol, "ticker"),
            event_type: "24hrTicker",
            event_time,
            symbol: symbol.clone(),
            price_change,
            price_change_percent,
            weighted_avg_price,
            first_trade_price,
            last_price,
            last_quantity,
            best_bid_price,
            best_bid_quantity,
            best_ask_price,
            best_ask_quantity,
            open_price,
            high_price,
            low_price,
            total_traded_base_asset_volume: base_volume,
            total_traded_quote_asset_volume: quote_volume,
            statistics_open_time: open_time,
            statistics_close_time: close_time,
            first_trade_id,
            last_trade_id,
            total_number_of_trades: trade_count,
            received_at: *received_at,
            version: IMMUTABLE,
        }
    }
}

impl From<Ticker> for TickerRow {
    fn from(wire: Ticker) -> Self {
        Self {
            symbol: wire.symbol,
            ticker: Box::new(market::Ticker {
                event_time: wire.event_time,
                price_change: wire.price_change,
                price_change_percent: wire.price_change_percent,
                weighted_avg_price: wire.weighted_avg_price,
                first_trade_price: wire.first_trade_price,
                last_price: wire.last_price,
                last_quantity: wire.last_quantity,
                best_bid_price: wire.best_bid_price,
                best_bid_quantity: wire.best_bid_quantity,
                best_ask_price: wire.best_ask_price,
                best_ask_quantity: wire.best_ask_quantity,
                open_price: wire.open_price,
                high_price: wire.high_price,
                low_price: wire.low_price,
                base_volume: wire.total_traded_base_asset_volume,
                quote_volume: wire.total_traded_quote_asset_volume,
                open_time: wire.statistics_open_time,
                close_time: wire.statistics_close_time,
                first_trade_id: wire.first_trade_id,
                last_trade_id: wire.last_trade_id,
                trade_count: wire.total_number_of_trades,
            }),
            received_at: wire.received_at,
        }
    }
}

impl Keyed for Ticker {
    fn key(&self) -> String {
        self.id.clone()
    }
}

/// The exchange's name of a stream.
fn stream(symbol: &Symbol, channel: &str) -> String {
    format!("{}@{channel}", symbol.as_str().to_lowercase())
}
