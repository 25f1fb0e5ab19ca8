//! What a market knows, whichever way it came to be: the view that REST and the streams share.

pub(crate) mod seeded;
pub(crate) mod tape;

use fts_core::decimal::{Decimal, Notional};

/// One trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trade {
    /// The exchange's number of the trade, contiguous for a symbol.
    pub id: u64,
    /// Quote currency for one unit of the base.
    pub price: Decimal,
    /// Amount of the base.
    pub quantity: Decimal,
    /// Trade time, ms UTC.
    pub time: i64,
    /// Whether the buyer's order lay in the book: the seller took.
    pub buyer_is_maker: bool,
}

/// Consecutive trades of one taker at one price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AggTrade {
    pub(crate) id: u64,
    pub(crate) price: Decimal,
    pub(crate) quantity: Decimal,
    pub(crate) first_id: u64,
    pub(crate) last_id: u64,
    pub(crate) time: i64,
    pub(crate) buyer_is_maker: bool,
}

/// The best bid and ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quote {
    pub(crate) update_id: u64,
    pub(crate) bid: Decimal,
    pub(crate) bid_quantity: Decimal,
    pub(crate) ask: Decimal,
    pub(crate) ask_quantity: Decimal,
}

/// The fold of consecutive trades.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bar {
    pub(crate) first_id: u64,
    pub(crate) last_id: u64,
    pub(crate) open: Decimal,
    pub(crate) high: Decimal,
    pub(crate) low: Decimal,
    pub(crate) close: Decimal,
    pub(crate) last_quantity: Decimal,
    pub(crate) volume: Decimal,
    pub(crate) quote_volume: Notional,
    pub(crate) taker_volume: Decimal,
    pub(crate) taker_quote_volume: Notional,
    pub(crate) trades: u64,
}

impl Bar {
    pub(crate) fn of(trade: &Trade) -> Self {
        let amount = trade.price.times(trade.quantity);
        let taken = !trade.buyer_is_maker;
        Self {
            first_id: trade.id,
            last_id: trade.id,
            open: trade.price,
            high: trade.price,
            low: trade.price,
            close: trade.price,
            last_quantity: trade.quantity,
            volume: trade.quantity,
            quote_volume: amount,
            taker_volume: if taken { trade.quantity } else { Decimal::ZERO },
            taker_quote_volume: if taken { amount } else { Notional::ZERO },
            trades: 1,
        }
    }

    /// This bar and the one that follows it, as one.
    pub(crate) fn then(&self, next: &Self) -> Self {
        Self {
            first_id: self.first_id,
            last_id: next.last_id,
            open: self.open,
            high: self.high.max(next.high),
            low: self.low.min(next.low),
            close: next.close,
            last_quantity: next.last_quantity,
            volume: self.volume.plus(next.volume),
            quote_volume: self.quote_volume.plus(next.quote_volume),
            taker_volume: self.taker_volume.plus(next.taker_volume),
            taker_quote_volume: self.taker_quote_volume.plus(next.taker_quote_volume),
            trades: self.trades + next.trades,
        }
    }

    /// Appends `next` to a fold that may be empty.
    pub(crate) fn join(so_far: &mut Option<Self>, next: &Self) {
        *so_far = Some(so_far.as_ref().map_or(*next, |bar| bar.then(next)));
    }
}

/// What can be traded, and in which units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    /// Upper case, as in payloads.
    pub name: String,
    /// The currency that is traded.
    pub base: String,
    /// The currency that is paid.
    pub quote: String,
    /// Prices are multiples of this.
    pub tick: Decimal,
    /// Quantities are multiples of this.
    pub step: Decimal,
}

/// A market at its own present moment. `symbol` is an index into [`Market::symbols`]; an index out
/// of range knows nothing. Times are ms UTC of the market.
pub(crate) trait Market: Send + Sync + 'static {
    /// All symbols; they do not change.
    fn symbols(&self) -> &[Symbol];

    /// The market's time.
    fn now(&self) -> i64;

    /// The time at which the symbol's candles begin; `None` before its first trade.
    fn begin(&self, symbol: usize) -> Option<i64>;

    /// Up to `limit` trades with an id of `id` or more, oldest first.
    fn trades_from(&self, symbol: usize, id: u64, limit: usize) -> Vec<Trade>;

    /// The most recent trades, oldest first.
    fn trades_last(&self, symbol: usize, limit: usize) -> Vec<Trade>;

    /// The last trade before `time`.
    fn trade_before(&self, symbol: usize, time: i64) -> Option<Trade>;

    /// Up to `limit` aggregate trades with an id of `id` or more, oldest first.
    fn aggs_from(&self, symbol: usize, id: u64, limit: usize) -> Vec<AggTrade>;

    /// The id of the first aggregate trade at `time` or later: one past the last if there is none.
    fn agg_at(&self, symbol: usize, time: i64) -> u64;

    /// The trades from `from` until before `to`, folded.
    fn fold(&self, symbol: usize, from: i64, to: i64) -> Option<Bar>;

    /// The best bid and ask.
    fn quote(&self, symbol: usize) -> Option<Quote>;

    /// Every trade so far, oldest first: for the truth.
    fn all_trades(&self, symbol: usize) -> Vec<Trade>;
}
