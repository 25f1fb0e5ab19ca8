//! What the page shows of stocks: the daily batch and its prices, and the transactions.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use fts_actors::view::BatchView;
use fts_core::market::Symbol;
use fts_core::port::store::{End, Span};
use fts_core::row::{DailyRow, TransactionRow};
use serde_json::{Value, json};

use super::params::{Bound, Params};
use super::refusal::Refusal;
use super::{App, forward};

const DAYS_MAX: usize = 1_000;
const TRANSACTIONS_MAX: usize = 1_000;
/// Stocks of which a summary is made: a bound on what one request reads.
const STOCKS_MAX: usize = 50;

type Answer = Result<Response, Refusal>;

/// `GET /api/batch`: the state of the daily batch; `null` where no node runs it.
pub(super) async fn batch(State(app): State<Arc<App>>, params: Params) -> Answer {
    params.finish()?;
    Ok(Json(app.web.view.picture().batch.as_ref().map(of_batch)).into_response())
}

/// A number of days or a reason by symbol; `null` while it waits for its turn.
fn of_batch(batch: &BatchView) -> Value {
    let symbols = batch.symbols.iter().map(|(symbol, outcome)| {
        let outcome = match outcome {
            None => Value::Null,
            Some(Ok(days)) => json!({ "days": days }),
            Some(Err(reason)) => json!({ "error": reason }),
        };
        (symbol.clone(), outcome)
    });
    json!({
        "running": batch.is_running,
        "started_at": batch.started_at,
        "next_at": batch.next_at,
        "requests_used": batch.requests_used,
        "requests_max": batch.requests_max,
        "symbols": symbols.collect::<serde_json::Map<_, _>>(),
    })
}

/// `POST /api/batch/run`, with or without `symbol`: runs at once, on whatever node it is. 202 where that
/// was taken note of.
pub(super) async fn run_batch(
    State(app): State<Arc<App>>,
    mut params: Params,
    headers: HeaderMap,
    uri: Uri,
) -> Answer {
    let symbols = match params.optional("symbol")? {
        Some(text) => vec![Symbol::new(&text).map_err(|_| Refusal::symbol())?],
        None => Vec::new(),
    };
    params.finish()?;
    let Some(ask) = &app.web.batch else {
        return Err(Refusal::unavailable("the batch is off: set batch.enabled"));
    };
    if let Some(answer) = forward::to_runner(&app, &headers, &uri).await {
        return Ok(answer);
    }
    match ask.try_send(symbols) {
        Ok(()) => Ok(StatusCode::ACCEPTED.into_response()),
        Err(_) => Err(Refusal::unavailable("another run is waiting for its turn: ask again later")),
    }
}

/// `GET /api/finanzas_batch`: the newest daily prices of `symbol`, oldest first, under the names of
/// the table.
pub(super) async fn dailies(State(app): State<Arc<App>>, mut params: Params) -> Answer {
    let symbol = params.symbol()?;
    let span = span(&mut params, 30, DAYS_MAX)?;
    params.finish()?;
    let rows = app.web.store.dailies(&symbol, span).await?;
    Ok(Json(rows.iter().map(daily).collect::<Vec<_>>()).into_response())
}

fn daily(row: &DailyRow) -> Value {
    let it = &row.daily;
    json!({
        "symbol": row.symbol.as_str(),
        "fecha": it.date.to_string(),
        "apertura": it.open.to_string(),
        "maximo": it.high.to_string(),
        "minimo": it.low.to_string(),
        "cierre": it.close.to_string(),
        "volumen": it.volume,
        "fetched_at": it.fetched_at,
    })
}

/// `GET /api/transacciones`: the newest transactions of `symbol`, oldest first, under the names of
/// the table.
pub(super) async fn transactions(State(app): State<Arc<App>>, mut params: Params) -> Answer {
    let stock = params.symbol()?;
    let span = span(&mut params, 100, TRANSACTIONS_MAX)?;
    params.finish()?;
    let rows = app.web.store.transactions(&stock, span).await?;
    Ok(Json(rows.iter().map(transaction).collect::<Vec<_>>()).into_response())
}

fn transaction(row: &TransactionRow) -> Value {
    let it = &row.transaction;
    json!({
        "time": it.time,
        "timestamp": it.timestamp,
        "accion": it.stock.as_str(),
        "tipo_transaccion": it.kind,
        "cantidad": it.quantity,
        "precio_unitario": it.unit_price.to_string(),
        "total": it.total.to_string(),
        "estado": it.state,
        "error": it.error,
    })
}

/// `GET /api/transacciones/resumen`: of each stock the newest price, and how many of its newest
/// transactions were of which kind and state.
pub(super) async fn summary(State(app): State<Arc<App>>, mut params: Params) -> Answer {
    let newest = span(&mut params, 200, TRANSACTIONS_MAX)?;
    params.finish()?;
    let stocks: Vec<Symbol> = app.web.view.picture().stocks.into_iter().take(STOCKS_MAX).collect();
    let mut lines = Vec::new();
    for stock in &stocks {
        let rows = app.web.store.transactions(stock, newest).await?;
        lines.extend(line(stock, &rows));
    }
    Ok(Json(lines).into_response())
}

fn line(stock: &Symbol, rows: &[TransactionRow]) -> Option<Value> {
    let newest = &rows.last()?.transaction;
    let mut counts: BTreeMap<&str, BTreeMap<&str, u32>> = BTreeMap::new();
    for row in rows {
        let it = &row.transaction;
        *counts.entry(&it.kind).or_default().entry(&it.state).or_default() += 1;
    }
    Some(json!({
        "accion": stock.as_str(),
        "precio_unitario": newest.unit_price.to_string(),
        "time": newest.time,
        "since": rows.first().map(|row| row.transaction.time),
        "counts": counts,
    }))
}

fn span(params: &mut Params, default: usize, most: usize) -> Result<Span, Refusal> {
    let from = params.time("from", Bound::From)?;
    Ok(Span {
        from: from.unwrap_or(i64::MIN),
        to: params.time("to", Bound::To)?.unwrap_or(i64::MAX),
        limit: params.limit(default, most)?,
        end: if from.is_some() { End::Oldest } else { End::Newest },
    })
}
