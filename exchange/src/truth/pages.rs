//! What a page of the truth holds: straight folds over the trades, in this file's own arithmetic.

use super::{Candle, fold_into};
use crate::interval::Interval;
use crate::market::{Market, Trade};
use fts_core::decimal::Decimal;
use std::collections::BTreeMap;

/// Trades taken from the market at once.
const CHUNK: usize = 10_000;
const SECOND_MS: i64 = 1_000;

/// Some rows, and what the next page begins with.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) rows: Vec<T>,
    pub(super) next: Option<u64>,
}

/// A candle, and whether the ids are contiguous from a trade before it to one after it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CandleRow {
    pub(super) candle: Candle,
    pub(super) complete: bool,
}

/// What counts as abrupt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// Percent.
    pub(super) threshold: Decimal,
    /// Whole seconds.
    pub(super) window_ms: i64,
}

/// An abrupt change of the price.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Alert {
    /// Start of the second in which the threshold was reached.
    pub(super) time: i64,
    pub(super) reference_price: Decimal,
    pub(super) price: Decimal,
    pub(super) change_percent: Decimal,
}

/// Trades with an id of `from` or more.
pub(super) fn trades(market: &dyn Market, symbol: usize, from: u64, limit: usize) -> Page<Trade> {
    let mut rows = market.trades_from(symbol, from, limit + 1);
    let next = rows.get(limit).map(|trade| trade.id);
    rows.truncate(limit);
    Page { rows, next }
}

/// Candles that open at `from` (ms UTC) or later, of the trades with an id of `since` or more.
pub(super) fn candles(
    market: &dyn Market,
    symbol: usize,
    interval: Interval,
    from: i64,
    since: u64,
    limit: usize,
) -> Page<CandleRow> {
    let aligned = interval.open_of(from);
    let from = if aligned < from { interval.end_of(aligned) } else { from };
    let before = market.trade_before(symbol, from).filter(|trade| trade.id >= since);
    let first = before.map_or(since, |trade| trade.id + 1);
    let mut folded: BTreeMap<i64, Candle> = BTreeMap::new();
    each_trade(market, symbol, first, |trade| {
        if trade.time >= from {
            fold_into(&mut folded, trade, interval);
        }
        // One more proves that the one before it is over.
        folded.len() <= limit
    });
    let next = folded.keys().nth(limit).and_then(|open| u64::try_from(*open).ok());
    let mut last_before = before.map(|trade| trade.id);
    let mut candles = folded.into_values().peekable();
    let mut rows = Vec::new();
    while let Some(candle) = candles.next().filter(|_| rows.len() < limit) {
        let (first, last) = (candle.first_trade_id, candle.last_trade_id);
        let complete = last_before.is_some_and(|before| before + 1 == first)
            && candle.trade_count == last - first + 1
            && candles.peek().is_some_and(|after| after.first_trade_id == last + 1);
        last_before = Some(last);
        rows.push(CandleRow { candle, complete });
    }
    Page { rows, next }
}

/// The last trade of a second.
#[derive(Debug)]
struct Close {
    second: i64,
    price: Decimal,
    last_id: u64,
    /// The time since which no id is missing.
    unbroken_since: i64,
    /// Whether the trade that proves that the second is over is the next one.
    followed: bool,
}

/// The alerts at `from` (ms UTC) or later, of the trades with an id of `since` or more: seconds in
/// which the last price is further from the one a window before than the threshold, and in the second
/// before it was not (in the same direction). Only where the ids are contiguous from a trade before
/// all that the decision looks at to one after the second.
pub(super) fn alerts(
    market: &dyn Market,
    symbol: usize,
    rule: Rule,
    from: i64,
    since: u64,
    limit: usize,
) -> Page<Alert> {
    let closes = closes(market, symbol, since);
    let price_at = |second: i64| {
        let after = closes.partition_point(|close| close.second <= second);
        after.checked_sub(1).and_then(|at| closes.get(at)).map(|close| close.price)
    };
    let change_at = |second: i64| {
        let (reference, price) = (price_at(second - rule.window_ms)?, price_at(second)?);
        Some((reference, price, percent(reference, price)?))
    };
    let mut rows = Vec::new();
    for Close { second, unbroken_since, followed, .. } in &closes {
        let looks_back_to = second - SECOND_MS - rule.window_ms;
        if *second < from || *unbroken_since >= looks_back_to || !followed {
            continue;
        }
        let Some((reference_price, price, change)) = change_at(*second) else { continue };
        let before = change_at(second - SECOND_MS).map_or(0, |(.., before)| before);
        let threshold = rule.threshold.0;
        let (rises, falls) =
            (change >= threshold && change > 0, change <= -threshold && change < 0);
        if (rises && before < threshold) || (falls && before > -threshold) {
            let change_percent = Decimal(change);
            rows.push(Alert { time: *second, reference_price, price, change_percent });
        }
    }
    let next = rows.get(limit).and_then(|alert| u64::try_from(alert.time).ok());
    rows.truncate(limit);
    Page { rows, next }
}

/// The seconds that have trades.
fn closes(market: &dyn Market, symbol: usize, since: u64) -> Vec<Close> {
    let mut closes: Vec<Close> = Vec::new();
    each_trade(market, symbol, since, |trade| {
        let (id, time, price) = (trade.id, trade.time, trade.price);
        let second = time - time.rem_euclid(SECOND_MS);
        let last = closes.last_mut();
        let is_next = last.as_ref().is_some_and(|last| last.last_id + 1 == id);
        match last {
            Some(last) if last.second == second => {
                (last.price, last.last_id) = (price, id);
                if !is_next {
                    last.unbroken_since = time;
                }
            }
            last => {
                let mut unbroken_since = time;
                if let Some(last) = last {
                    last.followed = is_next;
                    unbroken_since = if is_next { last.unbroken_since } else { time };
                }
                closes.push(Close { second, price, last_id: id, unbroken_since, followed: false });
            }
        }
        true
    });
    closes
}

/// The change in percent in units of 10⁻⁸, rounded half away from zero.
fn percent(reference: Decimal, price: Decimal) -> Option<i128> {
    let change = (price.0 - reference.0).checked_mul(100 * 100_000_000)?;
    if reference.0 <= 0 {
        return None;
    }
    let half = reference.0 / 2 + reference.0 % 2;
    let magnitude = change.abs();
    let (quotient, remainder) = (magnitude / reference.0, magnitude % reference.0);
    let rounded = if remainder >= half { quotient + 1 } else { quotient };
    Some(if change < 0 { -rounded } else { rounded })
}

/// Visits the trades from `first` on, until `visit` has had enough.
fn each_trade(
    market: &dyn Market,
    symbol: usize,
    first: u64,
    mut visit: impl FnMut(&Trade) -> bool,
) {
    let mut from = first;
    loop {
        let chunk = market.trades_from(symbol, from, CHUNK);
        for trade in &chunk {
            if !visit(trade) {
                return;
            }
        }
        match chunk.last() {
            Some(last) if chunk.len() == CHUNK => from = last.id + 1,
            _ => return,
        }
    }
}
