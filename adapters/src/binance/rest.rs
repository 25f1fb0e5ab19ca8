//! One REST request: sent in its turn, and its answer sorted into what the caller can do about it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fts_core::metrics::{BINANCE_REST_REQUESTS_TOTAL, BINANCE_USED_WEIGHT, BINANCE_WEIGHT_PART};
use fts_core::port::history::HistoryError;
use fts_core::time::Clock;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{HOST, RETRY_AFTER, USER_AGENT};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::time::timeout;

use super::ConfigError;
use super::history::HistoryConfig;
use super::limit::{Turnstile, Weight};
use super::net::{Target, status_advice};
use super::portion::Portion;

/// The largest answer taken: exchangeInfo of a whole exchange has some 20 MiB.
const BODY_BYTES_MAX: usize = 64 << 20;
/// How long to leave the exchange alone after a failure of its own, or of the network.
const PAUSE: Duration = Duration::from_secs(1);
/// How long after a 429 or 418 that names no time.
const LIMIT_PAUSE: Duration = Duration::from_secs(60);
const WEIGHT_HEADER: &str = "x-mbx-used-weight-1m";

/// Asks the exchange.
#[derive(Debug)]
pub(super) struct Rest {
    target: Target,
    timeout: Duration,
    weight: Turnstile<Weight>,
    weight_per_minute: u32,
    portion: Portion,
    clock: NoDebug,
}

struct NoDebug(Arc<dyn Clock>);

impl std::fmt::Debug for NoDebug {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("clock")
    }
}

/// What the exchange answered, if it did not fail.
#[derive(Debug)]
pub(super) enum Answer {
    /// What was asked for.
    Body(Bytes),
    /// It does not do that: an error of the caller's.
    Refused(Refusal),
}

/// Why the exchange does not do what was asked.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

/// `{"code":-1121,"msg":"Invalid symbol."}`
#[derive(Debug, Deserialize)]
struct ErrorBody {
    code: i64,
    msg: String,
}

impl Rest {
    pub(super) fn new(config: HistoryConfig) -> Result<Self, ConfigError> {
        let HistoryConfig { rest_url, weight_per_minute, portion, timeout, clock } = config;
        Ok(Self {
            target: Target::parse("binance.rest_url", &rest_url, ("http", "https"))?,
            timeout,
            weight: Turnstile::new("weight", Weight::new(weight_per_minute)),
            weight_per_minute,
            portion,
            clock: NoDebug(clock),
        })
    }

    /// `GET /api/v3/<endpoint>?<query>`, once its weight fits into the budget.
    pub(super) async fn get(
        &self,
        endpoint: &'static str,
        query: &str,
        weight: u32,
    ) -> Result<Answer, HistoryError> {
        let clock = &self.clock.0;
        let part = || self.portion.of(self.weight_per_minute);
        let turn = self.weight.pass(|rule| rule.take(clock.now(), weight, part())).await;
        turn.map_err(|wait| unavailable("the exchange asked to be left alone".into(), wait))?;
        let sent = clock.now();
        let answer = match timeout(self.timeout, self.exchange(endpoint, query)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer to {endpoint} within {:?}", self.timeout)),
        };
        let (status, headers, body) = match answer {
            Ok(answer) => answer,
            Err(reason) => {
                count(endpoint, "unavailable");
                return Err(unavailable(reason, PAUSE));
            }
        };
        let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u32>().ok();
        if let Some(used) = number(WEIGHT_HEADER) {
            self.weight.rule().observe(sent, clock.now(), used);
        }
        metrics::gauge!(BINANCE_USED_WEIGHT).set(f64::from(self.weight.rule().used()));
        metrics::gauge!(BINANCE_WEIGHT_PART).set(f64::from(part()));
        if status.is_success() {
            count(endpoint, "ok");
            return Ok(Answer::Body(body));
        }
        let said = serde_json::from_slice::<ErrorBody>(&body)
            .map_or_else(|_| String::new(), |it| format!(" ({} {})", it.code, it.msg));
        let advice =
            status_advice(status.as_u16()).map_or_else(String::new, |it| format!(": {it}"));
        let message = format!("{endpoint} was answered with {status}{said}{advice}");
        match status.as_u16() {
            418 | 429 => {
                let wait = number(RETRY_AFTER.as_str())
                    .map_or(LIMIT_PAUSE, |it| Duration::from_secs(u64::from(it)));
                self.weight.rule().close(clock.now(), wait);
                count(endpoint, "limited");
                Err(unavailable(message, wait))
            }
            500.. => {
                count(endpoint, "unavailable");
                Err(unavailable(message, PAUSE))
            }
            _ => {
                count(endpoint, "refused");
                Ok(Answer::Refused(Refusal { status, message }))
            }
        }
    }

    /// A connection for each request: there are few, and none of them waits for another.
    async fn exchange(
        &self,
        endpoint: &str,
        query: &str,
    ) -> Result<(StatusCode, HeaderMap, Bytes), String> {
        let socket = self.target.dial(self.timeout).await.map_err(|error| error.message)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
            .await
            .map_err(|error| error.to_string())?;
        // Ends with the sender, or with the answer.
        let connection = tokio::spawn(connection);
        let request = Request::get(format!("{}/api/v3/{endpoint}?{query}", self.target.path))
            .header(HOST, &self.target.authority)
            .header(USER_AGENT, concat!("fts-node/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
            let body = body.map_err(|error| format!("{endpoint}: {error}"))?;
            Ok((head.status, head.headers, body.to_bytes()))
        };
        let answer = answer.await;
        connection.abort();
        answer
    }
}

fn unavailable(reason: String, retry_after: Duration) -> HistoryError {
    HistoryError::Unavailable { reason, retry_after }
}

fn count(endpoint: &'static str, result: &'static str) {
    metrics::counter!(
        BINANCE_REST_REQUESTS_TOTAL, "endpoint" => endpoint, "result" => result
    )
    .increment(1);
}
