//! The channels of a symbol that can be asked for.

use std::fmt;
use std::str::FromStr;

use fts_core::market::{Symbol, Topic};

/// A channel: the part of a stream's name behind the `@`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel {
    name: &'static str,
    topic: Topic,
}

/// Why a text names no channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no channel: take trade, aggTrade, bookTicker, ticker or kline_<i> with i one of 1s, \
     1m, 3m, 5m, 15m, 30m, 1h, 2h, 4h, 6h, 8h, 12h, 1d, 3d, 1w, 1M"
)]
pub struct UnknownChannel(pub String);

impl Channel {
    /// Single trades.
    pub const TRADE: Self = Self::new("trade", Topic::Trade);
    /// Trades aggregated by the exchange.
    pub const AGG_TRADE: Self = Self::new("aggTrade", Topic::AggTrade);
    /// Every change of the best bid or ask.
    pub const BOOK_TICKER: Self = Self::new("bookTicker", Topic::BookTicker);
    /// The rolling 24 h statistics, every second.
    pub const TICKER: Self = Self::new("ticker", Topic::Ticker);

    /// Every channel there is.
    pub const ALL: [Self; 20] = [
        Self::TRADE,
        Self::AGG_TRADE,
        Self::BOOK_TICKER,
        Self::TICKER,
        Self::new("kline_1s", Topic::Kline),
        Self::new("kline_1m", Topic::Kline),
        Self::new("kline_3m", Topic::Kline),
        Self::new("kline_5m", Topic::Kline),
        Self::new("kline_15m", Topic::Kline),
        Self::new("kline_30m", Topic::Kline),
        Self::new("kline_1h", Topic::Kline),
        Self::new("kline_2h", Topic::Kline),
        Self::new("kline_4h", Topic::Kline),
        Self::new("kline_6h", Topic::Kline),
        Self::new("kline_8h", Topic::Kline),
        Self::new("kline_12h", Topic::Kline),
        Self::new("kline_1d", Topic::Kline),
        Self::new("kline_3d", Topic::Kline),
        Self::new("kline_1w", Topic::Kline),
        Self::new("kline_1M", Topic::Kline),
    ];

    const fn new(name: &'static str, topic: Topic) -> Self {
        Self { name, topic }
    }

    /// The channel's name, as the exchange writes it.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The log topic that its frames belong to.
    pub const fn topic(self) -> Topic {
        self.topic
    }

    /// The name of the stream of `symbol`.
    pub(super) fn stream(self, symbol: &Symbol) -> String {
        format!("{}@{}", symbol.as_str().to_lowercase(), self.name)
    }
}

impl FromStr for Channel {
    type Err = UnknownChannel;

    fn from_str(text: &str) -> Result<Self, UnknownChannel> {
        let found = Self::ALL.into_iter().find(|channel| channel.name == text);
        found.ok_or_else(|| UnknownChannel(text.to_owned()))
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_is_found_by_its_name_and_no_other() {
        for channel in Channel::ALL {
            assert_eq!(channel.name().parse(), Ok(channel));
        }
        for wrong in ["", "Trade", "kline_7m", "kline", "depth", "kline_1m@+08:00"] {
            assert!(wrong.parse::<Channel>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn streams_are_named_in_lower_case_but_for_the_channel() {
        let name = |symbol| Channel::AGG_TRADE.stream(&Symbol::new(symbol).unwrap());
        assert_eq!(name("BTCUSDT"), "btcusdt@aggTrade");
        assert_eq!(name("这是测试币456"), "这是测试币456@aggTrade");
    }
}
