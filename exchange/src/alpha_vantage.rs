//! A simulated Alpha Vantage: `/query` with daily prices for any symbol, its limits, its nine errors
//! that come with HTTP 200, and what else can go wrong with it, on demand.
//!
//! ```text
//! calendar   the days on which New York trades
//! history    the prices of a stock: a pure function of seed, symbol and day
//! answer     bodies as they were recorded
//! control    the switches, as values and over HTTP
//! ```

mod answer;
mod calendar;
pub(crate) mod control;
mod history;

pub use self::answer::Answer;
pub use self::control::{AlphaVantageControl, Forced, Restatement, SettingError, parse_today};
pub use self::history::Split;

use self::control::{State, Usage};
use self::history::{Bar, is_listed, latest};
use crate::market::seeded::noise::{hash, unit};
use crate::rest::params::Params;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{self, RawQuery};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fts_core::time::Clock;
use futures_util::StreamExt as _;
use jiff::civil::DateTime;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What a request is answered with when it is to hang: the client has given up by then.
const HANG: Duration = Duration::from_secs(600);
/// How long the first half of a body has before the connection breaks.
const CUT_AFTER: Duration = Duration::from_millis(200);
/// Rows of `outputsize=compact`.
const COMPACT: usize = 100;
/// So much of the least time between two requests is enough: a client that keeps to it exactly is not
/// refused because of the way that its requests take.
const INTERVAL_SHARE: f64 = 0.95;
/// Keys whose requests are counted; beyond, those of earlier days are forgotten.
const KEYS_KEPT: usize = 10_000;
const PAGE: &str = "<!DOCTYPE html><html><body><h1>Service unavailable</h1></body></html>\n";

/// How the simulated Alpha Vantage is started. The default is the real one's free tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlphaVantageConfig {
    /// What all prices grow from.
    pub seed: u64,
    /// The time of New York at which its clock stands still; `None`: it goes as the exchange's does.
    pub today: Option<DateTime>,
    /// Requests of a key in a day of New York.
    pub requests_per_day: u32,
    /// Least time between two requests of a key.
    pub request_interval: Duration,
    /// Whether everybody has paid: `outputsize=full` is answered.
    pub premium: bool,
}

impl Default for AlphaVantageConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            today: None,
            requests_per_day: 25,
            request_interval: Duration::from_secs(1),
            premium: false,
        }
    }
}

/// The simulated Alpha Vantage.
#[derive(Clone)]
pub(crate) struct Service {
    config: AlphaVantageConfig,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Service").field("config", &self.config).finish_non_exhaustive()
    }
}

pub(crate) fn routes(service: Service) -> Router {
    Router::new().route("/query", get(query)).with_state(service)
}

async fn query(
    extract::State(service): extract::State<Service>,
    RawQuery(query): RawQuery,
) -> Response {
    let params = Params::parse(query.as_deref().unwrap_or(""));
    // Twenty years of a stock take some milliseconds: not on the threads of the streams.
    let answer = tokio::task::spawn_blocking(move || service.answer(&params)).await;
    let Reply { forced, body, csv } = match answer {
        Ok(reply) => reply,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };
    let half = |body: String| {
        let middle = (0..=body.len() / 2).rev().find(|at| body.is_char_boundary(*at)).unwrap_or(0);
        body.get(..middle).unwrap_or("").to_owned()
    };
    match forced {
        Some(Answer::Hang) => {
            tokio::time::sleep(HANG).await;
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        Some(Answer::Http500) => (StatusCode::INTERNAL_SERVER_ERROR, html()).into_response(),
        Some(Answer::Http503) => (StatusCode::SERVICE_UNAVAILABLE, html()).into_response(),
        Some(Answer::Html) => html().into_response(),
        Some(Answer::Truncated) => respond(Body::from(half(body)), csv),
        Some(Answer::Cut) => cut(&body, half(body.clone()), csv),
        _ => respond(Body::from(body), csv),
    }
}

fn html() -> Response {
    ([(header::CONTENT_TYPE, "text/html")], PAGE).into_response()
}

fn respond(body: Body, csv: bool) -> Response {
    let kind = if csv { "application/x-download" } else { "application/json" };
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

/// Promises the whole body, sends half of it and breaks the connection.
fn cut(body: &str, half: String, csv: bool) -> Response {
    let first = futures_util::stream::once(async { Ok(Bytes::from(half)) });
    let broken = futures_util::stream::once(async {
        // What is not written by then is lost with the connection.
        tokio::time::sleep(CUT_AFTER).await;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted))
    });
    let mut response = respond(Body::from_stream(first.chain(broken)), csv);
    let length = HeaderValue::from(body.len());
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    response
}

/// What a request is answered with.
struct Reply {
    forced: Option<Answer>,
    body: String,
    /// Whether the body is CSV: an error is not, whatever was asked for.
    csv: bool,
}

impl Service {
    pub(crate) fn new(config: AlphaVantageConfig, clock: Arc<dyn Clock>) -> Self {
        let state = State { today: config.today, ..State::default() };
        Self { config, clock, state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of New York.
    fn now(&self, state: &State) -> DateTime {
        state.today.unwrap_or_else(|| calendar::new_york(self.clock.now().millis()))
    }

    fn answer(&self, params: &Params) -> Reply {
        let function = params.get("function").unwrap_or("").to_uppercase();
        let symbol = params.get("symbol").unwrap_or("").to_uppercase();
        let key = params.get("apikey").unwrap_or("");
        let json = |forced, body| Reply { forced, body, csv: false };
        let forced = self.state().take_forced(&symbol);
        if let Some(error) = forced.and_then(|forced| answer::error(forced, key, &function)) {
            return json(forced, error);
        }
        match forced {
            Some(Answer::EmptyObject) => return json(forced, "{}".to_owned()),
            Some(_) => {}
            None => {
                if let Err(refusal) = self.admit(params, &function, &symbol, key) {
                    let body = answer::error(refusal, key, &function).unwrap_or_default();
                    return json(None, body);
                }
            }
        }
        let csv = params.get("datatype") == Some("csv") || forced == Some(Answer::Csv);
        if function == "GLOBAL_QUOTE" {
            let bars = if is_listed(&symbol) { self.bars(&symbol, 2) } else { Vec::new() };
            let csv = csv && !bars.is_empty();
            return Reply { forced, body: answer::quote(&symbol, &bars, csv), csv };
        }
        let full = params.get("outputsize") == Some("full");
        let bars = self.bars(&symbol, if full { usize::MAX } else { COMPACT });
        let body = if csv {
            answer::daily_csv(&bars)
        } else {
            answer::daily_json(&symbol, &self.refreshed(&bars), full, &bars)
        };
        Reply { forced, body, csv }
    }

    /// Whether a request is answered at all, and within the limits.
    fn admit(
        &self,
        params: &Params,
        function: &str,
        symbol: &str,
        key: &str,
    ) -> Result<(), Answer> {
        if key.is_empty() {
            return Err(Answer::InvalidApikey);
        }
        self.charge(key)?;
        let full = params.get("outputsize") == Some("full");
        match function {
            "TIME_SERIES_DAILY" | "GLOBAL_QUOTE" => {}
            "TIME_SERIES_DAILY_ADJUSTED" | "TIME_SERIES_INTRADAY" => {
                return Err(Answer::PremiumEndpoint);
            }
            _ => return Err(Answer::InvalidCallOrSymbol),
        }
        if key == "demo" && symbol != "IBM" {
            return Err(Answer::DemoKeyMisuse);
        }
        if function == "TIME_SERIES_DAILY" && !is_listed(symbol) {
            return Err(Answer::InvalidCallOrSymbol);
        }
        if full && !self.config.premium && key != "demo" {
            return Err(Answer::PremiumOutputsizeFull);
        }
        Ok(())
    }

    /// Counts a request; those that are refused here do not count.
    fn charge(&self, key: &str) -> Result<(), Answer> {
        let mut state = self.state();
        let (today, now) = (self.now(&state).date(), Instant::now());
        if state.usage.len() >= KEYS_KEPT && !state.usage.contains_key(key) {
            state.usage.retain(|_, usage| usage.day == today);
        }
        let usage = state.usage.entry(key.to_owned()).or_insert(Usage::on(today));
        if usage.day != today {
            *usage = Usage::on(today);
        }
        let interval = self.config.request_interval.mul_f64(INTERVAL_SHARE);
        if usage.last.is_some_and(|last| now < last + interval) {
            return Err(Answer::Burst);
        }
        if usage.requests >= self.config.requests_per_day {
            return Err(Answer::RateLimitDaily);
        }
        usage.requests += 1;
        usage.last = Some(now);
        Ok(())
    }

    /// The latest days of a symbol, restated where that was decreed.
    fn bars(&self, symbol: &str, count: usize) -> Vec<Bar> {
        let (now, splits, restated) = {
            let state = self.state();
            (self.now(&state), state.splits.clone(), state.restated.clone())
        };
        let mut bars = latest(self.config.seed, symbol, now, &splits, count);
        for restatement in restated.iter().filter(|it| it.symbol == symbol) {
            bars.iter_mut().for_each(|bar| restate(bar, restatement));
        }
        bars
    }

    fn refreshed(&self, bars: &[Bar]) -> String {
        let now = self.now(&self.state());
        match bars.first() {
            Some(bar) if bar.date == now.date() && calendar::quarters_traded(now) < 26 => {
                now.strftime("%Y-%m-%d %H:%M:%S").to_string()
            }
            Some(bar) => bar.date.to_string(),
            None => String::new(),
        }
    }
}

fn restate(bar: &mut Bar, restatement: &Restatement) {
    if let Some(date) = restatement.date {
        if bar.date == date {
            let price = |text: &Option<String>, value: &mut i64| {
                *value = text.as_deref().and_then(answer::parse_dollars).unwrap_or(*value);
            };
            price(&restatement.open, &mut bar.open);
            price(&restatement.high, &mut bar.high);
            price(&restatement.low, &mut bar.low);
            price(&restatement.close, &mut bar.close);
            bar.volume = restatement.volume.unwrap_or(bar.volume);
        }
        return;
    }
    let days = u64::try_from((bar.date - jiff::civil::date(1970, 1, 1)).get_days()).unwrap_or(0);
    let chance = hash(hash(0x7e57, days), 1);
    if unit(chance) < restatement.share.unwrap_or(0.0) {
        // As seen in the world: 252.1800 became 252.1790.
        let most = bar.open.max(bar.close);
        bar.high = if bar.high - 10 >= most { bar.high - 10 } else { bar.high + 10 };
    }
}
