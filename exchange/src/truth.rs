//! What really happened on the market: for tests to compare with what others made of it.
//!
//! The candles here are computed the plain way, one map entry a candle, apart from the code that
//! answers REST and apart from the node's.

pub(crate) mod http;
mod pages;

use crate::interval::Interval;
use crate::market::{Market, Trade};
use fts_core::decimal::{Decimal, Notional};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A candle of the truth. Only intervals with trades have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candle {
    /// First millisecond, UTC.
    pub open_time: i64,
    /// First price.
    pub open: Decimal,
    /// Highest price.
    pub high: Decimal,
    /// Lowest price.
    pub low: Decimal,
    /// Last price.
    pub close: Decimal,
    /// Base volume.
    pub volume: Decimal,
    /// Quote volume.
    pub quote_volume: Notional,
    /// Base volume that takers bought.
    pub taker_buy_volume: Decimal,
    /// Quote volume that takers bought.
    pub taker_buy_quote_volume: Notional,
    /// Number of trades.
    pub trade_count: u64,
    /// Id of the first trade.
    pub first_trade_id: u64,
    /// Id of the last trade.
    pub last_trade_id: u64,
}

/// The market as it was played or generated so far.
#[derive(Clone)]
pub struct Truth {
    pub(crate) market: Arc<dyn Market>,
    /// When a seeded market began, ms UTC.
    pub(crate) epoch_ms: Option<i64>,
}

impl std::fmt::Debug for Truth {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Truth").field("symbols", &self.symbols()).finish_non_exhaustive()
    }
}

impl Truth {
    /// The symbols, upper case.
    pub fn symbols(&self) -> Vec<String> {
        self.market.symbols().iter().map(|symbol| symbol.name.clone()).collect()
    }

    /// The market's time, ms UTC.
    pub fn now_ms(&self) -> i64 {
        self.market.now()
    }

    /// Every trade of the symbol so far, by id. On a seeded market this generates its whole past.
    pub fn trades(&self, symbol: &str) -> Vec<Trade> {
        let index = self.market.symbols().iter().position(|known| known.name == symbol);
        index.map(|index| self.market.all_trades(index)).unwrap_or_default()
    }

    /// The candles of the trades so far, oldest first; the last one may be under way.
    pub fn candles(&self, symbol: &str, interval: Interval) -> Vec<Candle> {
        fold(&self.trades(symbol), interval)
    }
}

fn fold(trades: &[Trade], interval: Interval) -> Vec<Candle> {
    let mut candles: BTreeMap<i64, Candle> = BTreeMap::new();
    for trade in trades {
        fold_into(&mut candles, trade, interval);
    }
    candles.into_values().collect()
}

/// Adds a trade, which is later than all before it, to its candle.
fn fold_into(candles: &mut BTreeMap<i64, Candle>, trade: &Trade, interval: Interval) {
    let Trade { id, price, quantity, time, .. } = *trade;
    let open_time = interval.open_of(time);
    let candle = candles.entry(open_time).or_insert(Candle {
        open_time,
        open: price,
        high: price,
        low: price,
        close: price,
        volume: Decimal::ZERO,
        quote_volume: Notional::ZERO,
        taker_buy_volume: Decimal::ZERO,
        taker_buy_quote_volume: Notional::ZERO,
        trade_count: 0,
        first_trade_id: id,
        last_trade_id: id,
    });
    let amount = Notional(price.0 * quantity.0);
    candle.high = candle.high.max(price);
    candle.low = candle.low.min(price);
    candle.close = price;
    candle.last_trade_id = id;
    candle.trade_count += 1;
    candle.volume = Decimal(candle.volume.0 + quantity.0);
    candle.quote_volume = Notional(candle.quote_volume.0 + amount.0);
    if !trade.buyer_is_maker {
        candle.taker_buy_volume = Decimal(candle.taker_buy_volume.0 + quantity.0);
        candle.taker_buy_quote_volume = Notional(candle.taker_buy_quote_volume.0 + amount.0);
    }
}
