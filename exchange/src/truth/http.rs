//! The truth over HTTP: pages of rows with the names of the columns that stores have, so that a
//! test compares row by row. A page says in `next` what to ask for next; `null`: that is all so far.

use super::pages::{self, Alert, CandleRow, Page};
use super::{Candle, Truth};
use crate::control::refused;
use crate::faults::parse_time;
use crate::interval::Interval;
use crate::json::{Writer, push_array, push_text, push_u64};
use crate::market::{Market, Trade};
use crate::rest::params::Params;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fts_core::decimal::Decimal;

/// Rows of a page at most.
const ROWS_MAX: usize = 10_000;

pub(crate) fn routes(truth: Truth) -> Router {
    Router::new()
        .route("/truth/status", get(status))
        .route("/truth/trades", get(trades))
        .route("/truth/candles", get(candles))
        .route("/truth/alerts", get(alerts))
        .with_state(truth)
}

/// What is wrong with the question.
type Refusal = String;

async fn status(State(truth): State<Truth>) -> Response {
    respond(truth, None, |truth, _| Ok(render_status(truth))).await
}

async fn trades(State(truth): State<Truth>, RawQuery(query): RawQuery) -> Response {
    respond(truth, query, |truth, query| {
        let (symbol, name) = query.symbol(truth)?;
        let from = query.number("from_id")?.unwrap_or(0);
        let page = pages::trades(truth.market.as_ref(), symbol, from, query.limit()?);
        Ok(render(&page, "next_from_id", |out, trade| render_trade(out, &name, trade)))
    })
    .await
}

async fn candles(State(truth): State<Truth>, RawQuery(query): RawQuery) -> Response {
    respond(truth, query, |truth, query| {
        let (symbol, name) = query.symbol(truth)?;
        let interval = query.0.get("interval").ok_or("name an interval: interval=1m")?;
        let interval = Interval::parse(interval).ok_or("this is no interval: give 1s … 1M")?;
        let from = query.time("from_time")?;
        let since = query.number("since_id")?.unwrap_or(0);
        let market = truth.market.as_ref();
        let page = pages::candles(market, symbol, interval, from, since, query.limit()?);
        Ok(render(&page, "next_from_time", |out, row| render_candle(out, &name, interval, row)))
    })
    .await
}

async fn alerts(State(truth): State<Truth>, RawQuery(query): RawQuery) -> Response {
    respond(truth, query, |truth, query| {
        let (symbol, name) = query.symbol(truth)?;
        let threshold =
            query.0.get("threshold").ok_or("name a threshold in percent: threshold=1")?;
        let threshold = Decimal::parse(threshold.as_bytes()).map_err(|error| error.to_string())?;
        let window = query.0.get("window").ok_or("name a window: window=60s")?;
        let window = parse_time(window).and_then(|ms| i64::try_from(ms).ok());
        let window = window.filter(|ms| *ms > 0 && ms % 1000 == 0);
        let window = window.ok_or("give whole seconds: window=60s")?;
        let from = query.time("from_time")?;
        let since = query.number("since_id")?.unwrap_or(0);
        let rule = pages::Rule { threshold, window_ms: window };
        let market = truth.market.as_ref();
        let page = pages::alerts(market, symbol, rule, from, since, query.limit()?);
        Ok(render(&page, "next_from_time", |out, row| render_alert(out, &name, rule, row)))
    })
    .await
}

/// Answers away from the threads that serve the streams.
async fn respond(
    truth: Truth,
    query: Option<String>,
    answer: impl FnOnce(&Truth, &Query) -> Result<Vec<u8>, Refusal> + Send + 'static,
) -> Response {
    let query = Query(Params::parse(query.as_deref().unwrap_or("")));
    let answer = tokio::task::spawn_blocking(move || answer(&truth, &query)).await;
    match answer {
        Ok(Ok(body)) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Ok(Err(reason)) => refused(&reason),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

struct Query(Params);

impl Query {
    fn symbol(&self, truth: &Truth) -> Result<(usize, String), Refusal> {
        let name = self.0.get("symbol").ok_or("name a symbol: symbol=BTCUSDT")?.to_uppercase();
        let symbol = truth.market.symbols().iter().position(|known| known.name == name);
        symbol.map(|symbol| (symbol, name)).ok_or_else(|| "there is no such symbol".to_owned())
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| format!("{name} is {text:?}: give a whole number"))
    }

    /// Ms UTC; the beginning of time where nothing is said.
    fn time(&self, name: &str) -> Result<i64, Refusal> {
        let time = self.number(name)?.unwrap_or(0);
        i64::try_from(time).map_err(|_| format!("{name} is {time}: give ms UTC"))
    }

    fn limit(&self) -> Result<usize, Refusal> {
        let limit = self.number("limit")?.unwrap_or(ROWS_MAX as u64);
        Ok(usize::try_from(limit).unwrap_or(ROWS_MAX).clamp(1, ROWS_MAX))
    }
}

fn render<T>(page: &Page<T>, next: &str, mut row: impl FnMut(&mut Vec<u8>, &T)) -> Vec<u8> {
    let mut out = Vec::with_capacity(page.rows.len() * 200 + 64);
    let rows = |out: &mut Vec<u8>| push_array(out, &page.rows, |out, it| row(out, it));
    let writer = Writer::object(&mut out).field("rows", rows);
    writer
        .field(next, |out| match page.next {
            Some(next) => push_u64(out, next),
            None => out.extend_from_slice(b"null"),
        })
        .end();
    out
}

fn render_trade(out: &mut Vec<u8>, symbol: &str, trade: &Trade) {
    Writer::object(out)
        .text("symbol", symbol)
        .uint("trade_id", trade.id)
        .int("time", trade.time)
        .decimal("price", trade.price)
        .decimal("quantity", trade.quantity)
        .flag("buyer_is_maker", trade.buyer_is_maker)
        .end();
}

fn render_candle(out: &mut Vec<u8>, symbol: &str, interval: Interval, row: &CandleRow) {
    let Candle { open_time, .. } = row.candle;
    Writer::object(out)
        .text("symbol", symbol)
        .text("interval", interval.name())
        .int("open_time", open_time)
        .int("close_time", interval.end_of(open_time) - 1)
        .decimal("open", row.candle.open)
        .decimal("high", row.candle.high)
        .decimal("low", row.candle.low)
        .decimal("close", row.candle.close)
        .decimal("volume", row.candle.volume)
        .notional("quote_volume", row.candle.quote_volume)
        .uint("trade_count", row.candle.trade_count)
        .decimal("taker_buy_volume", row.candle.taker_buy_volume)
        .notional("taker_buy_quote_volume", row.candle.taker_buy_quote_volume)
        .uint("first_trade_id", row.candle.first_trade_id)
        .uint("last_trade_id", row.candle.last_trade_id)
        .flag("complete", row.complete)
        .end();
}

fn render_alert(out: &mut Vec<u8>, symbol: &str, rule: pages::Rule, alert: &Alert) {
    Writer::object(out)
        .text("symbol", symbol)
        .int("time", alert.time)
        .text("direction", if alert.change_percent > Decimal::ZERO { "up" } else { "down" })
        .int("window_ms", rule.window_ms)
        .decimal("threshold_percent", rule.threshold)
        .decimal("reference_price", alert.reference_price)
        .decimal("price", alert.price)
        .decimal("change_percent", alert.change_percent)
        .end();
}

fn render_status(truth: &Truth) -> Vec<u8> {
    let market: &dyn Market = truth.market.as_ref();
    let mut out = Vec::new();
    let epoch = |out: &mut Vec<u8>| match truth.epoch_ms {
        Some(epoch) => out.extend_from_slice(epoch.to_string().as_bytes()),
        None => out.extend_from_slice(b"null"),
    };
    let symbols = |out: &mut Vec<u8>| {
        push_array(out, market.symbols().iter().enumerate(), |out, (index, symbol)| {
            let first = market.trades_from(index, 0, 1).first().copied();
            let last = market.trades_last(index, 1).last().copied();
            let writer = Writer::object(out).field("symbol", |out| push_text(out, &symbol.name));
            match (first, last) {
                (Some(first), Some(last)) => writer
                    .uint("first_trade_id", first.id)
                    .uint("last_trade_id", last.id)
                    .int("first_time", first.time)
                    .int("last_time", last.time)
                    .end(),
                _ => writer.end(),
            }
        });
    };
    Writer::object(&mut out)
        .int("now_ms", truth.now_ms())
        .field("epoch_ms", epoch)
        .field("symbols", symbols)
        .end();
    out
}
