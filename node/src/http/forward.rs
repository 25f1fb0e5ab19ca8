//! Passes a question about one symbol on to the node that folds it: only that one has what is live. And
//! what is about the daily batch to the node that runs it.
//!
//! Nodes ask each other over plain HTTP, where each says that its page is. If the other does not
//! answer, this node answers with what it has.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::body::{Body, to_bytes};
use axum::extract::{Query, Request, State};
use axum::http::header::HOST;
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use fts_core::market::Symbol;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::App;
use super::exchange::TIME_UNIT;
use super::refusal::Refusal;

/// Says that a request was passed on: it is not passed on again.
pub(super) const FORWARDED: &str = "x-fts-forwarded";
/// How long another node may take to begin its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// A longer answer of another node is not read.
const ANSWER_MAX: usize = 16 << 20;
/// What only the node that folds the symbol has in full.
const PATHS: [&str; 4] =
    ["/api/live", "/api/v3/klines", "/api/v3/ticker/24hr", "/api/v3/ticker/bookTicker"];
/// What only the node that runs the batch knows.
const BATCH: &str = "/api/batch";

/// Passes the request on, where another node knows more.
pub(super) async fn to_owner(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(owner) = owner(&app, &request) else { return next.run(request).await };
    match ask(owner, &Method::GET, request.uri(), request.headers()).await {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(%owner, %error, "it does not answer; answering here");
            next.run(request).await
        }
    }
}

/// Passes a command for the daily batch on to the node that runs it; `None` where that is this one.
pub(super) async fn to_runner(app: &App, headers: &HeaderMap, uri: &Uri) -> Option<Response> {
    let runner = app.web.nodes.as_ref()?.batch_runner()?;
    if headers.contains_key(FORWARDED) {
        return None;
    }
    let answer = ask(runner, &Method::POST, uri, headers).await;
    Some(answer.unwrap_or_else(|error| {
        let text = format!("the node that runs the batch does not answer ({error}): ask again");
        Refusal::unavailable(text).into_response()
    }))
}

/// Another node's answer, as JSON.
pub(super) async fn get_json(node: SocketAddr, path: &str) -> anyhow::Result<Value> {
    let response = ask(node, &Method::GET, &path.parse()?, &HeaderMap::new()).await?;
    ensure!(response.status().is_success(), "it answered {}", response.status());
    let body = tokio::time::timeout(PATIENCE, to_bytes(response.into_body(), ANSWER_MAX)).await??;
    Ok(serde_json::from_slice(&body)?)
}

fn owner(app: &App, request: &Request) -> Option<SocketAddr> {
    let nodes = app.web.nodes.as_ref()?;
    let is_ours = request.method() != Method::GET
        || request.headers().contains_key(FORWARDED)
        || !PATHS.contains(&request.uri().path()) && request.uri().path() != BATCH;
    if is_ours {
        return None;
    }
    if request.uri().path() == BATCH {
        return nodes.batch_runner();
    }
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(request.uri()).ok()?;
    let (_, symbol) = pairs.into_iter().find(|(name, _)| name == "symbol")?;
    nodes.owner(&Symbol::new(&symbol).ok()?)
}

async fn ask(
    node: SocketAddr,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> anyhow::Result<Response> {
    let asked = async {
        let stream = TcpStream::connect(node).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer's body, or with whoever asked.
        tokio::spawn(async move { drop(connection.await) });
        let request = passed_on(node, method, uri, headers)?;
        Ok(sender.send_request(request).await?.map(Body::new))
    };
    tokio::time::timeout(PATIENCE, asked).await.context("no answer")?
}

/// The request as another node gets it: of its headers, what its answer depends on.
fn passed_on(
    node: SocketAddr,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> anyhow::Result<Request> {
    let path = uri.path_and_query().context("a request without a path")?.as_str();
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, node.to_string())
        .header(FORWARDED, "1")
        .body(Body::empty())?;
    if let Some(unit) = headers.get(TIME_UNIT) {
        request.headers_mut().insert(TIME_UNIT, unit.clone());
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_times_that_was_asked_for_is_passed_on() {
        let node = "127.0.0.1:8080".parse().unwrap();
        let uri = Uri::from_static("/api/v3/klines?symbol=BTCUSDT&interval=1m");
        let mut headers = HeaderMap::new();
        let passed = passed_on(node, &Method::GET, &uri, &headers).unwrap();
        assert_eq!(passed.uri(), &uri);
        assert_eq!(passed.headers().get(HOST).unwrap(), "127.0.0.1:8080");
        assert_eq!((passed.headers().get(TIME_UNIT), passed.headers().len()), (None, 2));
        headers.insert(TIME_UNIT, "MICROSECOND".parse().unwrap());
        headers.insert("cookie", "a=b".parse().unwrap());
        let passed = passed_on(node, &Method::GET, &uri, &headers).unwrap();
        assert_eq!(passed.headers().get(TIME_UNIT).unwrap(), "MICROSECOND");
        assert_eq!(passed.headers().len(), 3, "nothing else of it: {:?}", passed.headers());
    }
}
