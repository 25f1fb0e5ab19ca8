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

/// A candle, and whether a trade before it and one after it are known.
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
    let (count, mut has_before) = (folded.len(), before.is_some());
    let mut rows = Vec::with_capacity(count.min(limit));
    for (position, candle) in folded.into_values().take(limit).enumerate() {
        let complete = has_before && position + 1 < count;
        has_before = true;
        rows.push(CandleRow { candle, complete });
    }
    Page { rows, next }
}

/// The alerts at `from` (ms UTC) or later, of the trades with an id of `since` or more: seconds in
/// which the last price is further from the one a window before than the threshold, and in the second
/// before it was not (in the same direction). Only seconds that are over, and with a trade before
/// all that the decision looks at.
pub(super) fn alerts(
    market: &dyn Market,
    symbol: usize,
    rule: Rule,
    from: i64,
    since: u64,
    limit: usize,
) -> Page<Alert> {
    let mut first_time = None;
    let mut closes: Vec<(i64, Decimal)> = Vec::new();
    each_trade(market, symbol, since, |trade| {
        first_time.get_or_insert(trade.time);
        let second = trade.time - trade.time.rem_euclid(SECOND_MS);
        match closes.last_mut() {
            Some((known, price)) if *known == second => *price = trade.price,
            _ => closes.push((second, trade.price)),
        }
        true
    });
    // The last one is still going on.
    closes.pop();
    let first_time = first_time.unwrap_or(i64::MAX);
    let price_at = |second: i64| {
        let after = closes.partition_point(|(known, _)| *known <= second);
        after.checked_sub(1).and_then(|at| closes.get(at)).map(|(_, price)| *price)
    };
    let change_at = |second: i64| {
        let (reference, price) = (price_at(second - rule.window_ms)?, price_at(second)?);
        Some((reference, price, percent(reference, price)?))
    };
    let mut rows = Vec::new();
    for (second, _) in &closes {
        let looks_back_to = second - SECOND_MS - rule.window_ms;
        if *second < from || first_time >= looks_back_to {
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
