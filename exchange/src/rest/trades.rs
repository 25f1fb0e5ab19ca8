//! `/trades`, `/historicalTrades`, `/aggTrades`.

use super::error::ApiError;
use super::params::Params;
use crate::json::{Writer, push_array};
use crate::market::{AggTrade, Market, Trade};

pub(super) fn recent(market: &dyn Market, params: &Params) -> Result<Vec<u8>, ApiError> {
    params.accept(&["symbol", "limit"])?;
    let symbol = params.symbol(market)?;
    Ok(render(&market.trades_last(symbol, params.limit()?)))
}

pub(super) fn historical(market: &dyn Market, params: &Params) -> Result<Vec<u8>, ApiError> {
    params.accept(&["symbol", "limit", "fromId"])?;
    let symbol = params.symbol(market)?;
    let limit = params.limit()?;
    Ok(render(&match params.number("fromId")? {
        Some(from) => market.trades_from(symbol, from, limit),
        None => market.trades_last(symbol, limit),
    }))
}

pub(super) fn aggregate(market: &dyn Market, params: &Params) -> Result<Vec<u8>, ApiError> {
    params.accept(&["symbol", "fromId", "startTime", "endTime", "limit"])?;
    let symbol = params.symbol(market)?;
    let limit = params.limit()?;
    let (from, start, end) =
        (params.number("fromId")?, params.time("startTime")?, params.time("endTime")?);
    let last = |before: u64| market.aggs_from(symbol, before.saturating_sub(limit as u64), limit);
    let mut aggs = match (from, start, end) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => return Err(ApiError::combination()),
        (Some(from), None, None) => market.aggs_from(symbol, from, limit),
        (None, Some(start), _) => market.aggs_from(symbol, market.agg_at(symbol, start), limit),
        (None, None, Some(end)) => last(market.agg_at(symbol, end.saturating_add(1))),
        (None, None, None) => last(market.agg_at(symbol, i64::MAX)),
    };
    aggs.retain(|agg| end.is_none_or(|end| agg.time <= end));
    Ok(render_aggs(&aggs))
}

fn render(trades: &[Trade]) -> Vec<u8> {
    let mut out = Vec::with_capacity(trades.len() * 160 + 2);
    push_array(&mut out, trades, |out, trade| {
        Writer::object(out)
            .uint("id", trade.id)
            .decimal("price", trade.price)
            .decimal("qty", trade.quantity)
            .notional("quoteQty", trade.price.times(trade.quantity))
            .int("time", trade.time)
            .flag("isBuyerMaker", trade.buyer_is_maker)
            .flag("isBestMatch", true)
            .end();
    });
    out
}

fn render_aggs(aggs: &[AggTrade]) -> Vec<u8> {
    let mut out = Vec::with_capacity(aggs.len() * 140 + 2);
    push_array(&mut out, aggs, |out, agg| {
        Writer::object(out)
            .uint("a", agg.id)
            .decimal("p", agg.price)
            .decimal("q", agg.quantity)
            .uint("f", agg.first_id)
            .uint("l", agg.last_id)
            .int("T", agg.time)
            .flag("m", agg.buyer_is_maker)
            .flag("M", true)
            .end();
    });
    out
}
