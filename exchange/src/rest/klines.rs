//! `/klines`: unbroken candles; an interval without a trade is a flat one at the close before it.

use super::error::ApiError;
use super::params::Params;
use crate::interval::Interval;
use crate::json::{push_array, push_i64, push_quoted, push_quoted_notional, push_text, push_u64};
use crate::market::{Bar, Market};
use fts_core::decimal::{Decimal, Notional};

pub(super) fn klines(market: &dyn Market, params: &Params) -> Result<Vec<u8>, ApiError> {
    params.accept(&["symbol", "interval", "startTime", "endTime", "timeZone", "limit"])?;
    let symbol = params.symbol(market)?;
    let interval = params.get("interval").ok_or_else(|| ApiError::mandatory("interval"))?;
    let interval = Interval::parse(interval).ok_or_else(ApiError::interval)?;
    // Only UTC is simulated.
    if !matches!(params.get("timeZone"), None | Some("0" | "00:00" | "0:00" | "+00:00")) {
        return Err(ApiError::invalid("timeZone"));
    }
    let limit = params.limit()?;
    let opens = opens(
        market,
        symbol,
        interval,
        (params.time("startTime")?, params.time("endTime")?),
        limit,
    );
    Ok(render(market, symbol, interval, &opens))
}

/// The open times of the candles asked for, oldest first.
fn opens(
    market: &dyn Market,
    symbol: usize,
    interval: Interval,
    (start, end): (Option<i64>, Option<i64>),
    limit: usize,
) -> Vec<i64> {
    let Some(begin) = market.begin(symbol) else { return Vec::new() };
    let first = interval.open_of(begin);
    let last = interval.open_of(market.now().min(end.unwrap_or(i64::MAX)));
    let from = match start {
        Some(start) => {
            let open = interval.open_of(start);
            let from = if open < start { interval.end_of(open) } else { open };
            from.max(first)
        }
        None => first.max(interval.back(last, limit.saturating_sub(1))),
    };
    std::iter::successors(Some(from), |open| Some(interval.end_of(*open)))
        .take_while(|open| *open <= last)
        .take(limit)
        .collect()
}

fn render(market: &dyn Market, symbol: usize, interval: Interval, opens: &[i64]) -> Vec<u8> {
    let mut out = Vec::with_capacity(opens.len() * 180 + 2);
    let before = opens.first().and_then(|open| market.trade_before(symbol, *open));
    let mut close = before.map_or(Decimal::ZERO, |trade| trade.price);
    push_array(&mut out, opens, |out, open| {
        let bar = market.fold(symbol, *open, interval.end_of(*open));
        kline(out, *open, interval, bar.as_ref(), close);
        close = bar.map_or(close, |bar| bar.close);
    });
    out
}

fn kline(out: &mut Vec<u8>, open: i64, interval: Interval, bar: Option<&Bar>, before: Decimal) {
    let price = |of: fn(&Bar) -> Decimal| bar.map_or(before, of);
    let quantity = |of: fn(&Bar) -> Decimal| bar.map_or(Decimal::ZERO, of);
    let amount = |of: fn(&Bar) -> Notional| bar.map_or(Notional::ZERO, of);
    out.push(b'[');
    push_i64(out, open);
    for value in [
        price(|bar| bar.open),
        price(|bar| bar.high),
        price(|bar| bar.low),
        price(|bar| bar.close),
        quantity(|bar| bar.volume),
    ] {
        out.push(b',');
        push_quoted(out, value);
    }
    out.push(b',');
    push_i64(out, interval.end_of(open) - 1);
    out.push(b',');
    push_quoted_notional(out, amount(|bar| bar.quote_volume));
    out.push(b',');
    push_u64(out, bar.map_or(0, |bar| bar.trades));
    out.push(b',');
    push_quoted(out, quantity(|bar| bar.taker_volume));
    out.push(b',');
    push_quoted_notional(out, amount(|bar| bar.taker_quote_volume));
    out.push(b',');
    push_text(out, "0");
    out.push(b']');
}
