//! The node's state in one JSON document: for the page, `fts-node status` and whoever asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use fts_actors::view::{Picture, SymbolView};
use fts_core::market::Symbol;
use fts_core::time::UnixNanos;
use serde::Serialize;
use serde_json::Value;

use super::App;
use super::forward::FORWARDED;

/// `GET /api/status`
pub(super) async fn status(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    // Another node asks for what is this one's own.
    let others = match &app.web.nodes {
        Some(nodes) if !headers.contains_key(FORWARDED) => nodes.others().await,
        _ => Arc::default(),
    };
    Json(Status::of(&app, &app.web.view.picture(), &others)).into_response()
}

/// The node's state. Times are epoch milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Status<'a> {
    node: &'a str,
    version: &'static str,
    started_at: i64,
    now: i64,
    ready: bool,
    problems: &'a BTreeMap<String, String>,
    warnings: &'a BTreeMap<String, String>,
    stores: Vec<Store<'a>>,
    feeds: Vec<Feed<'a>>,
    partitions: Vec<Partition>,
    symbols: Vec<Row<'a>>,
}

/// A symbol that is folded here, or by another node.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Row<'a> {
    Own(Box<SymbolStatus<'a>>),
    Other(&'a Value),
}

#[derive(Debug, Serialize)]
struct Feed<'a> {
    name: &'a str,
    symbols: usize,
    connected: bool,
    connects: u64,
    last_error: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Store<'a> {
    name: &'a str,
    /// Records in the log that are not folded for it yet.
    backlog: u64,
    problem: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Partition {
    partition: u32,
    backlog: u64,
    checkpoint_at: Option<i64>,
}

#[derive(Debug, Serialize)]
struct SymbolStatus<'a> {
    symbol: &'a str,
    /// Messages a second.
    rate: f64,
    /// From the newest trade's time, by the exchange's clock, to its arrival, by this node's.
    lag_ms: Option<i64>,
    /// Since anything was received.
    stale_ms: Option<i64>,
    last_price: Option<String>,
    /// Over 24 h.
    change_percent: Option<String>,
    messages: u64,
    trades: u64,
    backfilled: u64,
    duplicates: u64,
    dead_letters: u64,
    missing: i64,
    lost: i64,
    first_trade_id: Option<i64>,
    contiguous_trade_id: Option<i64>,
    last_trade_id: Option<i64>,
    /// `None` as long as there is no trade.
    complete: Option<bool>,
}

impl<'a> Status<'a> {
    pub(super) fn of(app: &'a App, picture: &'a Picture, others: &'a [Value]) -> Self {
        let now = app.web.clock.now();
        let feeds = picture.feeds.iter().map(|(name, feed)| Feed {
            name,
            symbols: feed.symbols,
            connected: feed.connected,
            connects: feed.connects,
            last_error: feed.last_error.as_deref(),
        });
        let stores = picture.stores.iter().map(|(name, it)| Store {
            name,
            backlog: it.backlog.values().sum(),
            problem: it.problem.as_deref(),
        });
        let partitions = picture.partitions.iter().map(|(partition, it)| Partition {
            partition: *partition,
            backlog: it.backlog,
            checkpoint_at: it.checkpoint_at.map(UnixNanos::millis),
        });
        let nodes = app.web.nodes.as_deref();
        let own = picture
            .symbols
            .iter()
            .filter(move |(symbol, _)| nodes.is_none_or(|it| it.owns(symbol)))
            .map(move |(symbol, it)| Row::Own(Box::new(of_symbol(symbol, it, now))));
        Self {
            node: &app.web.node,
            version: env!("CARGO_PKG_VERSION"),
            started_at: app.web.started_at.millis(),
            now: now.millis(),
            ready: picture.problems.is_empty(),
            problems: &picture.problems,
            warnings: &picture.warnings,
            stores: stores.collect(),
            feeds: feeds.collect(),
            partitions: partitions.collect(),
            symbols: own.chain(others.iter().map(Row::Other)).collect(),
        }
    }
}

fn of_symbol<'a>(symbol: &'a Symbol, it: &SymbolView, now: UnixNanos) -> SymbolStatus<'a> {
    let received = it.last_received_at.map(UnixNanos::millis);
    let traded = it.candles.iter().flatten().max_by_key(|row| row.candle.last_trade_id);
    let last_price = traded
        .map(|row| row.candle.close)
        .or_else(|| it.ticker.as_ref().map(|ticker| ticker.last_price));
    SymbolStatus {
        symbol: symbol.as_str(),
        rate: (it.rate * 10.0).round() / 10.0,
        lag_ms: it.last_trade_time.zip(received).map(|(trade, received)| received - trade),
        stale_ms: received.map(|received| now.millis() - received),
        last_price: last_price.map(|price| price.to_string()),
        change_percent: it.ticker.as_ref().map(|ticker| ticker.price_change_percent.to_string()),
        messages: it.messages,
        trades: it.trades,
        backfilled: it.backfilled,
        duplicates: it.duplicates,
        dead_letters: it.dead_letters,
        missing: it.missing,
        lost: it.lost,
        first_trade_id: it.first_trade_id,
        contiguous_trade_id: it.contiguous_trade_id,
        last_trade_id: it.last_trade_id,
        complete: it
            .last_trade_id
            .map(|last| it.missing == 0 && it.contiguous_trade_id == Some(last)),
    }
}
