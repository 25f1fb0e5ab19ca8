//! From an HTTP request to a WebSocket: `/stream?streams=a/b`, `/ws/a/b`, `/ws`, `/stream`.

use super::connection::{Service, serve};
use crate::rest::params::decode;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Answers a request for a stream.
pub(crate) async fn upgrade(
    State(service): State<Service>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
) -> Response {
    if let Some(limits) = service.connections
        && let Err(retry_after) =
            service.attempts.attempt(peer.ip(), limits.attempts_in_5_min, service.clock.now())
    {
        service.board.limited();
        return refuse(StatusCode::TOO_MANY_REQUESTS, retry_after);
    }
    if let Some(retry_after) = service.board.refuses() {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, retry_after);
    }
    let Some(accept) = accept_key(request.headers()) else {
        return (StatusCode::BAD_REQUEST, "this address speaks WebSocket\n").into_response();
    };
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return (StatusCode::BAD_REQUEST, "this connection cannot be upgraded\n").into_response();
    };
    let (combined, streams) = subscription(request.uri().path(), request.uri().query());
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => serve(service, TokioIo::new(upgraded), combined, streams).await,
            Err(error) => tracing::debug!(%error, "an upgrade did not come about"),
        }
    });
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .body(Body::empty());
    response.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

fn refuse(status: StatusCode, retry_after_s: i64) -> Response {
    let mut response = status.into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s));
    response
}

fn accept_key(headers: &HeaderMap) -> Option<String> {
    let names = |header, word: &str| {
        headers
            .get_all(header)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    };
    let asks = names(header::CONNECTION, "upgrade")
        && names(header::UPGRADE, "websocket")
        && names(header::SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asks)?;
    Some(derive_accept_key(key.as_bytes()))
}

/// Whether frames come wrapped, and the streams that the address names.
fn subscription(path: &str, query: Option<&str>) -> (bool, Vec<String>) {
    let split = |text: &str| -> Vec<String> {
        decode(text).split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    if path.trim_end_matches('/') == "/stream" {
        let parameters = query.unwrap_or("").split('&').filter_map(|pair| pair.split_once('='));
        let streams = parameters.filter(|(name, _)| *name == "streams");
        (true, streams.flat_map(|(_, value)| split(value)).collect())
    } else {
        (false, split(path.strip_prefix("/ws").unwrap_or("")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, combined: bool, streams: &[&str]) {
        let (path, query) = address.split_once('?').map_or((address, None), |(p, q)| (p, Some(q)));
        let streams: Vec<String> = streams.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(subscription(path, query), (combined, streams), "{address}");
    }

    #[test]
    fn addresses_name_streams() {
        check(
            "/stream?streams=btcusdt@trade/ethusdt@bookTicker",
            true,
            &["btcusdt@trade", "ethusdt@bookTicker"],
        );
        check(
            "/stream?streams=btcusdt%40trade%2Fx%40y&timeUnit=MILLISECOND",
            true,
            &["btcusdt@trade", "x@y"],
        );
        check("/stream", true, &[]);
        check("/ws", false, &[]);
        check("/ws/btcusdt@trade/x@y", false, &["btcusdt@trade", "x@y"]);
        check("/ws/btcusdt%40kline_1m", false, &["btcusdt@kline_1m"]);
    }
}
