//! The REST side: one door that charges the weight, finds the endpoint and answers.

pub(crate) mod error;
mod info;
mod klines;
pub(crate) mod params;
mod tickers;
mod trades;

use self::error::ApiError;
use self::params::Params;
use crate::faults::{Board, RestFate};
use crate::limits::{Limits, Verdict};
use crate::market::Market;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fts_core::time::Clock;
use std::net::SocketAddr;
use std::sync::Arc;

/// What every request needs.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) market: Arc<dyn Market>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) board: Arc<Board>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Service").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Ping,
    Time,
    ExchangeInfo,
    Trades,
    HistoricalTrades,
    AggTrades,
    Klines,
    Ticker24hr,
    BookTicker,
}

impl Endpoint {
    fn of(path: &str) -> Option<Self> {
        Some(match path.strip_prefix("/api/v3/")? {
            "ping" => Self::Ping,
            "time" => Self::Time,
            "exchangeInfo" => Self::ExchangeInfo,
            "trades" => Self::Trades,
            "historicalTrades" => Self::HistoricalTrades,
            "aggTrades" => Self::AggTrades,
            "klines" | "uiKlines" => Self::Klines,
            "ticker/24hr" => Self::Ticker24hr,
            "ticker/bookTicker" => Self::BookTicker,
            _ => return None,
        })
    }

    fn weight(self, params: &Params) -> u32 {
        match self {
            Self::Ping | Self::Time => 1,
            Self::ExchangeInfo => 20,
            Self::Trades | Self::HistoricalTrades => 25,
            Self::AggTrades => 4,
            Self::Klines => 2,
            Self::Ticker24hr if params.get("symbol").is_some() => 2,
            Self::Ticker24hr => match params.get("symbols").map(tickers::count_symbols) {
                Some(0..=20) => 2,
                Some(21..=100) => 40,
                _ => 80,
            },
            Self::BookTicker if params.get("symbol").is_some() => 2,
            Self::BookTicker => 4,
        }
    }

    fn answer(self, service: &Service, params: &Params) -> Result<Vec<u8>, ApiError> {
        let market = service.market.as_ref();
        match self {
            Self::Ping => params.accept(&[]).map(|()| b"{}".to_vec()),
            Self::Time => {
                params.accept(&[])?;
                Ok(format!("{{\"serverTime\":{}}}", market.now()).into_bytes())
            }
            Self::ExchangeInfo => {
                info::exchange_info(market, params, service.limits.weight_per_minute())
            }
            Self::Trades => trades::recent(market, params),
            Self::HistoricalTrades => trades::historical(market, params),
            Self::AggTrades => trades::aggregate(market, params),
            Self::Klines => klines::klines(market, params),
            Self::Ticker24hr => tickers::day(market, params),
            Self::BookTicker => tickers::book(market, params),
        }
    }
}

/// Answers any request that is not a stream.
pub(crate) async fn handle(
    State(service): State<Service>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let Some(endpoint) = Endpoint::of(request.uri().path()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let params = Params::parse(request.uri().query().unwrap_or(""));
    let weight = endpoint.weight(&params);
    let verdict = service.limits.charge(peer.ip(), weight, service.clock.now().millis());
    let (status, used, retry_after, body) = match verdict {
        Verdict::Served { used } => {
            if let Some((error, retry_after)) = meet(service.board.rest_fate()).await {
                return respond(error.status, used, retry_after, error.body());
            }
            let serving = service.clone();
            // A long way back costs CPU: the streams must not wait for it.
            let answer = tokio::task::spawn_blocking(move || endpoint.answer(&serving, &params));
            let answer = answer.await.unwrap_or_else(|_| Err(ApiError::unknown()));
            let (status, body) = match answer {
                Ok(body) => (StatusCode::OK, body),
                Err(error) => (error.status, error.body()),
            };
            (status, used, None, body)
        }
        Verdict::TooMuch { used, retry_after } => {
            let error = ApiError::too_much_weight(service.limits.weight_per_minute());
            (error.status, used, Some(retry_after), error.body())
        }
        Verdict::Banned { used, retry_after, until } => {
            let error = ApiError::banned(until);
            (error.status, used, Some(retry_after), error.body())
        }
    };
    respond(status, used, retry_after, body)
}

/// What goes wrong on purpose with a request: `None` if nothing does.
async fn meet(fate: RestFate) -> Option<(ApiError, Option<i64>)> {
    match fate {
        RestFate::Served { delay } => {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            None
        }
        RestFate::Error(status) => Some((ApiError::failure(status), None)),
        RestFate::Timeout(lasts) => {
            tokio::time::sleep(lasts).await;
            Some((ApiError::failure(504), None))
        }
        RestFate::Limited { banned, retry_after, until } => {
            let error = match banned {
                true => ApiError::banned(until),
                false => ApiError::too_much_weight(crate::WEIGHT_LIMIT),
            };
            Some((error, Some(i64::from(retry_after))))
        }
    }
}

fn respond(status: StatusCode, used: u32, retry_after: Option<i64>, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json;charset=UTF-8");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert("x-mbx-used-weight", HeaderValue::from(used));
    headers.insert("x-mbx-used-weight-1m", HeaderValue::from(used));
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
