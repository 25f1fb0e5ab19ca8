//! What an exchange tells us, in our own units.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::decimal::Decimal;
use crate::stock::{Daily, Transaction};

/// A traded instrument, upper case (`BTCUSDT`). Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(Arc<str>);

/// Why a text names no symbol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no symbol: write it as the exchange does, such as BTCUSDT")]
pub struct NotASymbol(pub String);

impl Symbol {
    /// Normalises case. Symbols are letters and digits of any script: the test network of the
    /// exchange lists `这是测试币456`.
    pub fn new(raw: &str) -> Result<Self, NotASymbol> {
        let text = raw.to_uppercase();
        let fits = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '.';
        if text.is_empty() || text.len() > 64 || !text.chars().all(fits) {
            return Err(NotASymbol(raw.to_owned()));
        }
        Ok(Self(text.into()))
    }

    /// The symbol's text, upper case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The partition that keeps this symbol's records in order, of `partitions`.
    ///
    /// FNV-1a: stable over versions of Rust and of this program, as positions on disk depend on it.
    pub fn partition(&self, partitions: u32) -> u32 {
        let hash = self.0.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        // The low bits of FNV are weak in short, alike texts.
        let mixed = hash ^ (hash >> 32);
        u32::try_from(mixed % u64::from(partitions.max(1))).unwrap_or(0)
    }
}

impl Borrow<str> for Symbol {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A log topic: one a channel of the exchange.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Topic {
    /// Single trades.
    Trade,
    /// Trades of one taker order at one price, aggregated by the exchange.
    AggTrade,
    /// Every change of the best bid or ask.
    BookTicker,
    /// The rolling 24 h statistics.
    Ticker,
    /// The exchange's own candles.
    Kline,
    /// Frames that name no stream we know.
    DeadLetter,
    /// Daily prices of stocks, a record a day and stock.
    Daily,
    /// Purchases and sales of stocks, from whoever writes them.
    Transactions,
}

impl Topic {
    /// Every topic there is.
    pub const ALL: [Self; 8] = [
        Self::Trade,
        Self::AggTrade,
        Self::BookTicker,
        Self::Ticker,
        Self::Kline,
        Self::DeadLetter,
        Self::Daily,
        Self::Transactions,
    ];

    /// The topic's public name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trade => "binanceTrade",
            Self::AggTrade => "binanceAggTrade",
            Self::BookTicker => "binanceBookTicker",
            Self::Ticker => "binanceTicker",
            Self::Kline => "binanceKline",
            Self::DeadLetter => "binanceDeadLetter",
            Self::Daily => "finanzas_batch",
            Self::Transactions => "transacciones_financieras",
        }
    }

    /// The topic of that public name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }
}

/// How a record reached us.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Source {
    /// Over the exchange's stream.
    Stream,
    /// By REST, because no stream delivered it.
    Backfill,
    /// Not from the exchange: a fact about the record's own completeness (`fts_proto::control`).
    Control,
}

impl Source {
    /// The name in stores and headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Backfill => "backfill",
            Self::Control => "control",
        }
    }

    /// The source of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Stream, Self::Backfill, Self::Control].into_iter().find(|it| it.name() == name)
    }
}

/// One trade. Ids of a symbol are contiguous: the proof of completeness rests on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trade {
    /// The exchange's id, unique and contiguous per symbol.
    pub id: i64,
    /// When, by the exchange's clock, in epoch milliseconds (`T`, not `E`).
    pub time: i64,
    /// At what price.
    pub price: Decimal,
    /// How much of the base asset.
    pub quantity: Decimal,
    /// True where the taker sold.
    pub buyer_is_maker: bool,
}

/// The best bid and ask after one change of the book. The exchange sends no time with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BookTicker {
    /// The exchange's book update id; it rises, with holes.
    pub update_id: i64,
    /// Highest price bid.
    pub bid_price: Decimal,
    /// Quantity bid at that price.
    pub bid_quantity: Decimal,
    /// Lowest price asked.
    pub ask_price: Decimal,
    /// Quantity asked at that price.
    pub ask_quantity: Decimal,
}

/// The exchange's rolling statistics over 24 h, as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticker {
    /// `E`, epoch milliseconds.
    pub event_time: i64,
    /// `p`
    pub price_change: Decimal,
    /// `P`, percent.
    pub price_change_percent: Decimal,
    /// `w`
    pub weighted_avg_price: Decimal,
    /// `x`: the price of the last trade before the window.
    pub first_trade_price: Decimal,
    /// `c`
    pub last_price: Decimal,
    /// `Q`
    pub last_quantity: Decimal,
    /// `b`
    pub best_bid_price: Decimal,
    /// `B`
    pub best_bid_quantity: Decimal,
    /// `a`
    pub best_ask_price: Decimal,
    /// `A`
    pub best_ask_quantity: Decimal,
    /// `o`
    pub open_price: Decimal,
    /// `h`
    pub high_price: Decimal,
    /// `l`
    pub low_price: Decimal,
    /// `v`, base asset.
    pub base_volume: Decimal,
    /// `q`, quote asset.
    pub quote_volume: Decimal,
    /// `O`, epoch milliseconds.
    pub open_time: i64,
    /// `C`, epoch milliseconds.
    pub close_time: i64,
    /// `F`
    pub first_trade_id: i64,
    /// `L`
    pub last_trade_id: i64,
    /// `n`
    pub trade_count: i64,
}

/// What a record of the log says, once decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A trade.
    Trade(Trade),
    /// A change of the best bid or ask.
    Book(BookTicker),
    /// The 24 h statistics.
    Ticker(Box<Ticker>),
    /// This symbol's record begins with this trade id: nothing earlier is wanted.
    Floor(i64),
    /// The exchange does not have these trade ids (both ends inclusive), for this reason.
    Gap(i64, i64, String),
    /// A connection delivers this symbol from here on: what came just before may be missing.
    Connected,
    /// The prices of a stock on one day.
    Daily(Box<Daily>),
    /// A purchase or sale of a stock.
    Transaction(Box<Transaction>),
    /// Kept in the log for whoever wants it; no table is made from it.
    Raw,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_keeps_its_partition_over_versions() {
        let partitions = ["BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT"]
            .map(|text| Symbol::new(text).unwrap().partition(4));
        assert_eq!(partitions, [3, 1, 0, 3, 0, 3], "positions on disk depend on these");
    }

    #[test]
    fn symbols_are_upper_case_words() {
        assert_eq!(Symbol::new("btcusdt").unwrap().as_str(), "BTCUSDT");
        assert_eq!(Symbol::new("这是测试币456").unwrap().as_str(), "这是测试币456");
        for wrong in ["", "btc/usdt", "btcusdt@trade", "a b", "a\"b"] {
            assert!(Symbol::new(wrong).is_err(), "{wrong}");
        }
    }
}
