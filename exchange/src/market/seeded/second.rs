//! One second of one symbol: its book updates and its trades, from nothing but seed and position.

use super::names::Listing;
use super::noise::{Path, Rng, hash, unit};
use super::plan::{Activity, Counts, Minute, SECONDS_PER_MINUTE};
use crate::market::{AggTrade, Quote, Trade};
use fts_core::decimal::Decimal;

/// Ids begin above what fits into 32 bits, as they do on the real exchange.
const TRADE_ID_BASE: u64 = 3_700_000_000;
const AGG_ID_BASE: u64 = 3_100_000_000;
const UPDATE_ID_BASE: u64 = 50_000_000_000;
/// Book updates that are never published lie between those that are.
const UPDATE_ID_STEP: u64 = 3;

/// A symbol of a seeded market.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) listing: Listing,
    pub(crate) activity: Activity,
    path: Path,
    seed: u64,
    /// First ids of the symbol.
    trade_base: u64,
    agg_base: u64,
    update_base: u64,
    /// The market's first millisecond.
    epoch: i64,
}

/// One taker: an aggregate trade, and the trades that it is made of.
#[derive(Debug, Clone)]
pub(crate) struct Take {
    pub(crate) agg: AggTrade,
    pub(crate) trades: Vec<Trade>,
    /// Milliseconds from the trade to its event time.
    pub(crate) lag: i64,
}

impl Line {
    pub(crate) fn new(seed: u64, listing: Listing, rate: f64, steady: bool, epoch: i64) -> Self {
        let path = Path::new(hash(seed, 1), f64::from(listing.volatility) / 10.0);
        Self {
            activity: Activity::new(hash(seed, 2), path, rate, steady),
            path,
            seed: hash(seed, 3),
            trade_base: TRADE_ID_BASE + hash(seed, 4) % 100_000_000,
            agg_base: AGG_ID_BASE + hash(seed, 5) % 100_000_000,
            update_base: UPDATE_ID_BASE + hash(seed, 6) % 10_000_000_000,
            listing,
            epoch,
        }
    }

    /// The id of the first trade after so many.
    pub(crate) fn trade_id(&self, index: u64) -> u64 {
        self.trade_base + index
    }

    /// How many trades come before the one with this id.
    pub(crate) fn trade_index(&self, id: u64) -> u64 {
        id.saturating_sub(self.trade_base)
    }

    /// The id of the first aggregate trade after so many.
    pub(crate) fn agg_id(&self, index: u64) -> u64 {
        self.agg_base + index
    }

    /// How many aggregate trades come before the one with this id.
    pub(crate) fn agg_index(&self, id: u64) -> u64 {
        id.saturating_sub(self.agg_base)
    }

    /// The second (0–59) of the minute, ready to be generated.
    pub(crate) fn second(&self, minute: &Minute, second: u64) -> Second<'_> {
        let (before, after) = minute.second(second);
        let index = minute.minute * SECONDS_PER_MINUTE + second;
        let price = self.listing.price as f64 / self.listing.symbol.tick.0 as f64;
        Second {
            line: self,
            seed: hash(self.seed, index),
            start: self.epoch + i64::try_from(index).unwrap_or(0) * 1000,
            before,
            updates: after.updates - before.updates,
            aggs: after.aggs - before.aggs,
            trades: after.trades - before.trades,
            from: self.path.at(index) * price,
            to: self.path.at(index + 1) * price,
        }
    }

    fn price(&self, ticks: i64) -> Decimal {
        Decimal(i128::from(ticks) * self.listing.symbol.tick.0)
    }

    fn quantity(&self, steps: u64) -> Decimal {
        Decimal(i128::from(steps) * self.listing.symbol.step.0)
    }

    /// So many dollars in steps of quantity, at least one.
    fn steps(&self, dollars: f64) -> u64 {
        (dollars * self.listing.steps_per_dollar) as u64 + 1
    }
}

/// One second, not yet generated.
#[derive(Debug)]
pub(crate) struct Second<'a> {
    line: &'a Line,
    seed: u64,
    /// Its first millisecond.
    start: i64,
    before: Counts,
    pub(crate) updates: u64,
    aggs: u64,
    pub(crate) trades: u64,
    /// The mid price in ticks at its beginning and at its end.
    from: f64,
    to: f64,
}

impl Second<'_> {
    /// When book update `n` of this second is published, ms UTC. One in each equal part of it.
    pub(crate) fn update_time(&self, n: u64) -> i64 {
        let offset = (n * 1000 + hash(self.seed, n * 4) % 1000) / self.updates.max(1);
        self.start + i64::try_from(offset).unwrap_or(0)
    }

    /// Best bid and ask in ticks from update `n` on.
    fn prices(&self, n: u64) -> (i64, i64) {
        let passed = (self.update_time(n) - self.start) as f64 / 1000.0;
        let chance = hash(self.seed, n * 4 + 1);
        let spread = if chance.is_multiple_of(8) { 1 + (chance >> 8) % 5 } else { 1 };
        let jitter = (unit(chance) - 0.5) * 1.5;
        let mid = self.from + (self.to - self.from) * passed + jitter;
        let bid = (mid - spread as f64 / 2.0).max(1.0) as i64;
        (bid, bid + i64::try_from(spread).unwrap_or(1))
    }

    /// Steps of quantity at the best bid and ask: many small ones, some very large.
    fn depths(&self, n: u64) -> (u64, u64) {
        let of = |chance: u64| self.line.steps(400.0 / (unit(chance) + 0.01));
        (of(hash(self.seed, n * 4 + 2)), of(hash(self.seed, n * 4 + 3)))
    }

    /// Book update `n` of this second.
    pub(crate) fn quote(&self, n: u64) -> Quote {
        let (bid, ask) = self.prices(n);
        let (bid_steps, ask_steps) = self.depths(n);
        let index = self.before.updates + n;
        Quote {
            update_id: self.line.update_base
                + index * UPDATE_ID_STEP
                + hash(self.seed, n) % UPDATE_ID_STEP,
            bid: self.line.price(bid),
            bid_quantity: self.line.quantity(bid_steps),
            ask: self.line.price(ask),
            ask_quantity: self.line.quantity(ask_steps),
        }
    }

    /// Hands out the takers of this second in the order of their ids. Each takes from the best bid
    /// or ask as the book update before it left it.
    pub(crate) fn takes(&self, mut visit: impl FnMut(&Take)) {
        let mut rng = Rng::new(hash(self.seed, u64::MAX));
        let mut update = 0;
        let (mut trade, mut extras) = (self.before.trades, self.trades - self.aggs);
        let mut previous: Option<(i64, bool)> = None;
        let nothing = Decimal::ZERO;
        let agg = AggTrade {
            id: 0,
            price: nothing,
            quantity: nothing,
            first_id: 0,
            last_id: 0,
            time: 0,
            buyer_is_maker: false,
        };
        let mut take = Take { agg, trades: Vec::new(), lag: 0 };
        for n in 0..self.aggs {
            let offset = (n * 1000 + rng.next() % 1000) / self.aggs;
            let time = (self.start + i64::try_from(offset).unwrap_or(0)).max(self.update_time(0));
            while update + 1 < self.updates && self.update_time(update + 1) <= time {
                update += 1;
            }
            let chance = rng.next();
            // Two takers of the same millisecond are told apart by their sides.
            let buyer_is_maker = match previous {
                Some((at, side)) if at == time => !side,
                _ => chance & 1 == 0,
            };
            previous = Some((time, buyer_is_maker));
            let (bid, ask) = self.prices(update);
            let (bid_steps, ask_steps) = self.depths(update);
            let (ticks, depth) = if buyer_is_maker { (bid, bid_steps) } else { (ask, ask_steps) };
            let more = match (n + 1 == self.aggs, chance >> 1 & 3) {
                (true, _) => extras,
                (false, 0) => extras.min((chance >> 8) % 6),
                (false, _) => 0,
            };
            extras -= more;
            let fills = 1 + more;
            let wanted = self.line.steps(25.0 / (rng.unit() + 0.0015));
            let total = wanted.min(depth).max(fills);
            take.lag = 1 + i64::try_from((chance >> 16) % 6).unwrap_or(0);
            take.agg = AggTrade {
                id: self.line.agg_id(self.before.aggs + n),
                price: self.line.price(ticks),
                quantity: self.line.quantity(total),
                first_id: self.line.trade_id(trade),
                last_id: self.line.trade_id(trade + fills - 1),
                time,
                buyer_is_maker,
            };
            fill(&mut take, self.line, total, fills, &mut rng);
            trade += fills;
            visit(&take);
        }
    }
}

/// Splits the quantity of an aggregate trade among its trades, each at least one step.
fn fill(take: &mut Take, line: &Line, total: u64, fills: u64, rng: &mut Rng) {
    take.trades.clear();
    let mut left = total;
    for n in 0..fills {
        let others = fills - n - 1;
        let steps = match others {
            0 => left,
            _ => 1 + rng.next() % (1 + 2 * (left - others - 1) / fills).min(left - others),
        };
        left -= steps;
        take.trades.push(Trade {
            id: take.agg.first_id + n,
            price: take.agg.price,
            quantity: line.quantity(steps),
            time: take.agg.time,
            buyer_is_maker: take.agg.buyer_is_maker,
        });
    }
}
