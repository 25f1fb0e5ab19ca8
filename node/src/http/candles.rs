//! Candles as they are read: the stored ones, the live one, and flat ones where nothing traded.

use std::iter;

use fts_core::decimal::{Decimal, Notional};
use fts_core::interval::Interval;
use fts_core::market::Symbol;
use fts_core::port::store::{End, Span, StoreError};
use fts_core::row::{Candle, CandleRow};

use super::App;
use super::reach::Reach;

/// Which candles are wanted, by open time in epoch milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// First open time, inclusive. With it the oldest candles are given, without it the newest.
    pub(super) from: Option<i64>,
    /// Last open time, inclusive.
    pub(super) to: Option<i64>,
    /// At most so many.
    pub(super) limit: usize,
}

/// Reads candles, oldest first; `None` of a symbol that nobody knows.
///
/// Between two candles whose trade ids join, nothing traded: those intervals are filled with flat
/// candles at the close before, as the exchange fills them. Where ids are missing in between, it is
/// not known what traded, and nothing is made up.
pub(super) async fn read(
    app: &App,
    symbol: &Symbol,
    interval: Interval,
    wanted: Wanted,
) -> Result<Option<Vec<CandleRow>>, StoreError> {
    let Some(reach) = Reach::of(app, symbol).await? else { return Ok(None) };
    let (from, to) = (wanted.from.unwrap_or(i64::MIN), wanted.to.unwrap_or(i64::MAX));
    let end = if wanted.from.is_some() { End::Oldest } else { End::Newest };
    let stored = async |from: i64, to: i64, limit: usize, end: End| {
        let (from, to) = (from.max(reach.from), to.min(reach.to));
        if from > to {
            return Ok(Vec::new());
        }
        app.web.store.candles(symbol, interval, Span { from, to, limit, end }).await
    };
    let mut rows = stored(from, to, wanted.limit, end).await?;
    let all = rows.len() < wanted.limit;
    // The neighbours outside tell whether the ends of the span are empty or unknown.
    if from > i64::MIN {
        rows.splice(0..0, stored(i64::MIN, from - 1, 1, End::Newest).await?);
    }
    if to < i64::MAX && (all || end == End::Newest) {
        rows.extend(stored(to + 1, i64::MAX, 1, End::Oldest).await?);
    }
    if all || end == End::Newest {
        overlay(&mut rows, live(app, symbol, interval));
    }
    Ok(Some(fill(&rows, from, to, wanted.limit, end)))
}

/// The newest candle of `interval`, maybe ahead of the store.
pub(super) fn live(app: &App, symbol: &Symbol, interval: Interval) -> Option<CandleRow> {
    let at = Interval::ALL.iter().position(|it| *it == interval)?;
    app.web.view.symbol(symbol)?.candles.into_iter().nth(at)?
}

/// Puts `live` in its place after (or over) `rows`, which reach up to what is stored.
fn overlay(rows: &mut Vec<CandleRow>, live: Option<CandleRow>) {
    let Some(live) = live else { return };
    match rows.last_mut() {
        Some(last) if last.candle.open_time > live.candle.open_time => {}
        Some(last) if last.candle.open_time == live.candle.open_time => {
            if live.version() >= last.version() {
                *last = live;
            }
        }
        _ => rows.push(live),
    }
}

/// The candles within the span of time, flat ones included: `limit` of them from that end.
fn fill(rows: &[CandleRow], from: i64, to: i64, limit: usize, end: End) -> Vec<CandleRow> {
    let pairs = rows.iter().zip(rows.iter().skip(1).map(Some).chain(iter::once(None)));
    match end {
        End::Oldest => {
            pairs.flat_map(|(row, next)| expand(row, next, from, to)).take(limit).collect()
        }
        End::Newest => {
            let pairs: Vec<_> = pairs.collect();
            let mut newest: Vec<_> = pairs
                .into_iter()
                .rev()
                .flat_map(|(row, next)| expand(row, next, from, to).rev())
                .take(limit)
                .collect();
            newest.reverse();
            newest
        }
    }
}

/// A candle and the flat ones up to the next, as far as they open within the span.
fn expand(
    row: &CandleRow,
    next: Option<&CandleRow>,
    from: i64,
    to: i64,
) -> impl DoubleEndedIterator<Item = CandleRow> {
    let (open_time, step) = (row.candle.open_time, row.interval.millis());
    let slots = next
        .filter(|next| next.candle.first_trade_id <= row.candle.last_trade_id + 1)
        .map_or(1, |next| (next.candle.open_time - open_time) / step);
    // Slot k opens at open_time + k × step; slot 0 is the candle itself.
    let before = from.saturating_sub(open_time);
    let first = if before > 0 { before / step + i64::from(before % step != 0) } else { 0 };
    let last = to.saturating_sub(open_time).div_euclid(step).min(slots - 1);
    let row = row.clone();
    (first..last.saturating_add(1)).map(move |slot| match slot {
        0 => row.clone(),
        _ => flat(&row, open_time + slot * step),
    })
}

/// The candle of an interval in which nothing traded, after `before`. Ids are −1, as in the
/// exchange's own stream.
fn flat(before: &CandleRow, open_time: i64) -> CandleRow {
    let close = before.candle.close;
    CandleRow {
        symbol: before.symbol.clone(),
        interval: before.interval,
        candle: Candle {
            open_time,
            open: close,
            high: close,
            low: close,
            close,
            volume: Decimal::ZERO,
            quote_volume: Notional::ZERO,
            trade_count: 0,
            taker_buy_volume: Decimal::ZERO,
            taker_buy_quote_volume: Notional::ZERO,
            first_trade_id: -1,
            last_trade_id: -1,
        },
        complete: true,
    }
}
