//! What the page draws from the store: candles with their completeness, best bid and ask per
//! second, the number of trades over time, alerts and gaps.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fts_core::market::Symbol;
use fts_core::port::store::{End, Span, StoreError};
use fts_core::row::{AlertRow, CandleRow, GapRow};
use serde_json::{Value, json};

use super::App;
use super::candles::{self, Wanted};
use super::exchange::{self, TimeUnit};
use super::params::{Bound, Params};
use super::reach::Reach;
use super::refusal::Refusal;

const CANDLES_MAX: usize = 1_500;
const SECONDS_MAX: usize = 3_600;
const POINTS_MAX: usize = 240;
/// Of each bucket of time, so many of the newest statistics are looked at.
const TICKERS_A_BUCKET_MAX: usize = 120;
const LIST_MAX: usize = 500;

type Answer = Result<Response, Refusal>;

/// `GET /api/candles`: klines as the exchange writes them, with first and last trade id and whether
/// they are complete behind.
pub(super) async fn candles(State(app): State<Arc<App>>, mut params: Params) -> Answer {
    let symbol = params.symbol()?;
    let interval = params.interval()?;
    let wanted = Wanted {
        from: params.time("from", Bound::From)?,
        to: params.time("to", Bound::To)?,
        limit: params.limit(500, CANDLES_MAX)?,
    };
    params.finish()?;
    let rows = candles::read(&app, &symbol, interval, wanted).await?.unwrap_or_default();
    Ok(Json(rows.iter().map(candle).collect::<Vec<_>>()).into_response())
}

/// A kline with first and last trade id and whether it is complete behind.
pub(super) fn candle(row: &CandleRow) -> Value {
    let mut fields = json!(exchange::kline(row, TimeUnit::Milliseconds));
    if let Value::Array(fields) = &mut fields {
        let (first, last) = (row.candle.first_trade_id, row.candle.last_trade_id);
        fields.extend([json!(first), json!(last), json!(row.complete)]);
    }
    fields
}

/// `GET /api/book`: `[open time, bid, ask, mean spread]` per second.
pub(super) async fn book(State(app): State<Arc<App>>, mut params: Params) -> Answer {
    let symbol = params.symbol()?;
    let from = params.time("from", Bound::From)?;
    let to = params.time("to", Bound::To)?;
    let limit = params.limit(600, SECONDS_MAX)?;
    params.finish()?;
    let Some(reach) = Reach::of(&app, &symbol).await? else {
        return Ok(Json(json!([])).into_response());
    };
    let span = Span {
        from: from.unwrap_or(reach.from),
        to: to.unwrap_or(reach.to),
        limit,
        end: if from.is_some() { End::Oldest } else { End::Newest },
    };
    let seconds = app.web.store.book_seconds(&symbol, span).await?;
    let rows: Vec<(i64, String, String, String)> = seconds
        .iter()
        .map(|it| {
            let (bid, ask) = (it.bid.close, it.ask.close);
            (it.open_time, bid.to_string(), ask.to_string(), it.mean_spread().to_string())
        })
        .collect();
    Ok(Json(rows).into_response())
}

/// `GET /api/trade-counts`: `[event time, total number of trades]` of the 24 h statistics, the
/// greatest of each bucket of time, for at most `limit` buckets. Without `from`, of the last `span`
/// milliseconds before the newest.
pub(super) async fn trade_counts(State(app): State<Arc<App>>, mut params: Params) -> Answer {
    let symbol = params.symbol()?;
    let from = params.time("from", Bound::From)?;
    let to = params.time("to", Bound::To)?;
    let length = params.integer("span")?.unwrap_or(3_600_000);
    let points = params.limit(60, POINTS_MAX)?;
    params.finish()?;

    let nothing = || Ok(Json(json!([])).into_response());
    let Some(reach) = Reach::of(&app, &symbol).await? else { return nothing() };
    let (least, most) = (from.unwrap_or(reach.from), to.unwrap_or(reach.to));
    let Some(to) = event_time(&app, &symbol, least, most, End::Newest).await? else {
        return nothing();
    };
    let from = from.unwrap_or(to.saturating_sub(length));
    let from = event_time(&app, &symbol, from, to, End::Oldest).await?.unwrap_or(to);
    let width = bucket_width(from, to, points);
    let mut counts = Vec::new();
    let mut start = from - from.rem_euclid(width);
    while start <= to {
        let last = (start + width - 1).min(to);
        let span =
            Span { from: start.max(from), to: last, limit: TICKERS_A_BUCKET_MAX, end: End::Newest };
        let tickers = app.web.store.tickers(&symbol, span).await?;
        if let Some(most) = tickers.iter().map(|ticker| ticker.trade_count).max() {
            counts.push((start, most));
        }
        start += width;
    }
    Ok(Json(counts).into_response())
}

/// The time of the first or last 24 h statistics within a span of time.
async fn event_time(
    app: &App,
    symbol: &Symbol,
    from: i64,
    to: i64,
    end: End,
) -> Result<Option<i64>, StoreError> {
    let span = Span { from, to, limit: 1, end };
    let found = app.web.store.tickers(symbol, span).await?;
    Ok(found.first().map(|ticker| ticker.event_time))
}

/// The shortest readable width with which at most `points` buckets cover the span of time.
fn bucket_width(from: i64, to: i64, points: usize) -> i64 {
    const WIDTHS: [i64; 16] = [
        1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000,
        1_800_000, 3_600_000, 14_400_000, 43_200_000, 86_400_000,
    ];
    let points = i64::try_from(points.max(1)).unwrap_or(i64::MAX);
    let fits = |width: i64| (to.div_euclid(width) - from.div_euclid(width)) < points;
    let beyond = || (to.saturating_sub(from) / points).saturating_add(1).max(86_400_000);
    WIDTHS.into_iter().find(|width| fits(*width)).unwrap_or_else(beyond)
}

/// `GET /api/alerts`: the newest first.
pub(super) async fn alerts(State(app): State<Arc<App>>, mut params: Params) -> Answer {
    let limit = params.limit(50, LIST_MAX)?;
    params.finish()?;
    let rows = app.web.store.alerts(limit).await?;
    Ok(Json(rows.iter().map(alert).collect::<Vec<_>>()).into_response())
}

fn alert(row: &AlertRow) -> Value {
    json!({
        "symbol": row.symbol.as_str(),
        "time": row.time,
        "up": row.up,
        "window_ms": row.window_ms,
        "threshold_percent": row.threshold_percent.to_string(),
        "reference_price": row.reference_price.to_string(),
        "price": row.price.to_string(),
        "change_percent": row.change_percent.to_string(),
    })
}

/// `GET /api/gaps`: the newest first.
pub(super) async fn gaps(State(app): State<Arc<App>>, mut params: Params) -> Answer {
    let limit = params.limit(50, LIST_MAX)?;
    params.finish()?;
    let rows = app.web.store.gaps(limit).await?;
    Ok(Json(rows.iter().map(gap).collect::<Vec<_>>()).into_response())
}

fn gap(row: &GapRow) -> Value {
    json!({
        "symbol": row.symbol.as_str(),
        "first_trade_id": row.first_trade_id,
        "last_trade_id": row.last_trade_id,
        "missing": row.missing,
        "after_time": row.after_time,
        "before_time": row.before_time,
        "reason": row.reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: i64, to: i64, points: usize, expected: i64) {
        assert_eq!(bucket_width(from, to, points), expected, "{from}..={to} by {points}");
    }

    #[test]
    fn buckets_are_as_short_as_their_number_allows() {
        check(0, 59_000, 60, 1_000);
        check(0, 60_000, 60, 2_000);
        check(0, 3_599_999, 60, 60_000);
        check(59_999, 3_600_000, 60, 120_000);
        check(0, 0, 1, 1_000);
        check(0, 86_400_000 * 100 - 1, 50, 172_800_000);
    }
}
