//! What of the tape has been played: the only thing that REST knows.

use super::line::Facts;
use super::merge::Contents;
use crate::market::{AggTrade, Bar, Market, Quote, Symbol, Trade};
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock};

/// Aggregate trades are numbered from here: recordings of trades don't tell the exchange's numbers.
const AGG_ID_BASE: u64 = 3_000_000_000;

/// The market of a tape, up to the moment played.
#[derive(Debug)]
pub(crate) struct Tape {
    symbols: Vec<Symbol>,
    index: HashMap<String, usize>,
    played: Vec<RwLock<Played>>,
    now: AtomicI64,
}

#[derive(Debug, Default)]
struct Played {
    /// Ordered by id, each id once.
    trades: Vec<Trade>,
    /// Derived from the first `agg_trades` trades.
    aggs: Vec<AggTrade>,
    agg_trades: usize,
    quote: Option<Quote>,
}

impl Tape {
    pub(crate) fn new(contents: &Contents) -> Self {
        let symbols = contents.symbols.clone();
        Self {
            index: symbols.iter().enumerate().map(|(i, s)| (s.name.clone(), i)).collect(),
            played: symbols.iter().map(|_| RwLock::default()).collect(),
            symbols,
            now: AtomicI64::new(contents.begin),
        }
    }

    /// The index of a symbol by its upper-case name.
    pub(crate) fn symbol(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// Takes note of a frame that is about to be sent.
    pub(crate) fn learn(&self, symbol: usize, facts: &Facts) {
        if let Some(time) = facts.time {
            self.now.fetch_max(time, Ordering::Relaxed);
        }
        if facts.trade.is_none() && facts.quote.is_none() {
            return;
        }
        let Some(played) = self.played.get(symbol) else { return };
        let mut played = played.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(trade) = facts.trade {
            played.add(trade);
        }
        if let Some(quote) = facts.quote {
            let newer = played.quote.is_none_or(|known| known.update_id < quote.update_id);
            if newer {
                played.quote = Some(quote);
            }
        }
    }

    fn read<T>(&self, symbol: usize, read: impl FnOnce(&Played) -> T) -> Option<T> {
        let played = self.played.get(symbol)?;
        Some(read(&played.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn read_aggs<T>(&self, symbol: usize, read: impl FnOnce(&[AggTrade]) -> T) -> Option<T> {
        let mut played = self.played.get(symbol)?.write().unwrap_or_else(PoisonError::into_inner);
        played.aggregate();
        Some(read(&played.aggs))
    }
}

impl Played {
    fn add(&mut self, trade: Trade) {
        if self.trades.last().is_none_or(|last| last.id < trade.id) {
            self.trades.push(trade);
            return;
        }
        let position = self.trades.partition_point(|known| known.id < trade.id);
        if self.trades.get(position).is_some_and(|known| known.id == trade.id) {
            return;
        }
        self.trades.insert(position, trade);
        if position < self.agg_trades {
            self.aggs.clear();
            self.agg_trades = 0;
        }
    }

    /// Brings the aggregate trades up to date: trades of one price, side and time whose ids follow
    /// each other.
    fn aggregate(&mut self) {
        for trade in self.trades.get(self.agg_trades..).unwrap_or_default() {
            match self.aggs.last_mut() {
                Some(agg)
                    if agg.last_id + 1 == trade.id
                        && agg.price == trade.price
                        && agg.time == trade.time
                        && agg.buyer_is_maker == trade.buyer_is_maker =>
                {
                    agg.last_id = trade.id;
                    agg.quantity = agg.quantity.plus(trade.quantity);
                }
                _ => self.aggs.push(AggTrade {
                    id: AGG_ID_BASE + self.aggs.len() as u64,
                    price: trade.price,
                    quantity: trade.quantity,
                    first_id: trade.id,
                    last_id: trade.id,
                    time: trade.time,
                    buyer_is_maker: trade.buyer_is_maker,
                }),
            }
        }
        self.agg_trades = self.trades.len();
    }

    fn between(&self, from: i64, to: i64) -> &[Trade] {
        let start = self.trades.partition_point(|trade| trade.time < from);
        let end = self.trades.partition_point(|trade| trade.time < to);
        self.trades.get(start..end).unwrap_or_default()
    }
}

impl Market for Tape {
    fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    fn now(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    fn begin(&self, symbol: usize) -> Option<i64> {
        self.read(symbol, |played| played.trades.first().map(|trade| trade.time))?
    }

    fn trades_from(&self, symbol: usize, id: u64, limit: usize) -> Vec<Trade> {
        let found = self.read(symbol, |played| {
            let start = played.trades.partition_point(|trade| trade.id < id);
            played.trades.iter().skip(start).take(limit).copied().collect()
        });
        found.unwrap_or_default()
    }

    fn trades_last(&self, symbol: usize, limit: usize) -> Vec<Trade> {
        let found = self.read(symbol, |played| {
            let start = played.trades.len().saturating_sub(limit);
            played.trades.get(start..).unwrap_or_default().to_vec()
        });
        found.unwrap_or_default()
    }

    fn trade_before(&self, symbol: usize, time: i64) -> Option<Trade> {
        self.read(symbol, |played| played.between(i64::MIN, time).last().copied())?
    }

    fn aggs_from(&self, symbol: usize, id: u64, limit: usize) -> Vec<AggTrade> {
        let found = self.read_aggs(symbol, |aggs| {
            let start = aggs.partition_point(|agg| agg.id < id);
            aggs.iter().skip(start).take(limit).copied().collect()
        });
        found.unwrap_or_default()
    }

    fn agg_at(&self, symbol: usize, time: i64) -> u64 {
        let position = self.read_aggs(symbol, |aggs| aggs.partition_point(|agg| agg.time < time));
        AGG_ID_BASE + position.unwrap_or(0) as u64
    }

    fn fold(&self, symbol: usize, from: i64, to: i64) -> Option<Bar> {
        let folded = self.read(symbol, |played| {
            let mut bar = None;
            for trade in played.between(from, to) {
                Bar::join(&mut bar, &Bar::of(trade));
            }
            bar
        });
        folded?
    }

    fn quote(&self, symbol: usize) -> Option<Quote> {
        self.read(symbol, |played| played.quote)?
    }

    fn all_trades(&self, symbol: usize) -> Vec<Trade> {
        self.read(symbol, |played| played.trades.clone()).unwrap_or_default()
    }
}
