//! The exchange's past: REST, within the request budget.
//!
//! Weights are those of the exchange's documentation (2026-07): ticker/24hr 2, aggTrades 4,
//! historicalTrades and trades 25, exchangeInfo 20.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fts_core::market::Symbol;
use fts_core::port::history::{History, HistoryError, Latest, PastTrade, PastTrades};
use fts_core::time::Clock;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::ConfigError;
use super::net::encode;
use super::portion::Portion;
use super::rest::{Answer, Refusal, Rest};

/// The most trades that the exchange gives at once.
const TRADES_MAX: usize = 1_000;

/// How long to believe that a host has no historicalTrades.
const RECENT_ONLY: Duration = Duration::from_secs(600);

/// Where the past is, and how much of it may be asked for.
#[derive(Clone)]
pub struct HistoryConfig {
    /// Base URL, such as `https://data-api.binance.vision`.
    pub rest_url: String,
    /// Request weight that may be used in a minute; the exchange allows an IP address 6,000.
    pub weight_per_minute: u32,
    /// What part of it is this process's.
    pub portion: Portion,
    /// How long to wait for an answer; the exchange itself gives up after 10 s.
    pub timeout: Duration,
    /// Tells the minutes apart.
    pub clock: Arc<dyn Clock>,
}

impl HistoryConfig {
    /// All of the exchange's budget, and time for its own timeout.
    pub fn new(rest_url: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        let timeout = Duration::from_secs(12);
        let (rest_url, portion) = (rest_url.into(), Portion::default());
        Self { rest_url, weight_per_minute: 6_000, portion, timeout, clock }
    }
}

impl std::fmt::Debug for HistoryConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("HistoryConfig").field("rest_url", &self.rest_url).finish_non_exhaustive()
    }
}

/// Asks the exchange about the past. One value serves the whole node, as all share the budget.
#[derive(Debug)]
pub struct BinanceHistory {
    rest: Rest,
    /// Until when this host counts as one without historicalTrades (the market-data-only ones have none).
    recent_only_until: Mutex<Option<Instant>>,
}

/// `ticker/24hr`, the part that tells where the market stands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ticker {
    close_time: i64,
    last_id: i64,
    count: i64,
}

#[derive(Debug, Deserialize)]
struct AggTrade {
    #[serde(rename = "f")]
    first_id: i64,
}

#[derive(Debug, Deserialize)]
struct TradeId {
    id: i64,
}

#[derive(Debug, Deserialize)]
struct ExchangeInfo {
    symbols: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    symbol: String,
}

impl BinanceHistory {
    /// Checks the configuration; connects to nothing.
    pub fn new(config: HistoryConfig) -> Result<Self, ConfigError> {
        let rest = Rest::new(config)?;
        Ok(Self { rest, recent_only_until: Mutex::default() })
    }

    async fn ask(
        &self,
        endpoint: &'static str,
        query: &str,
        weight: u32,
    ) -> Result<Bytes, HistoryError> {
        match self.rest.get(endpoint, query, weight).await? {
            Answer::Body(body) => Ok(body),
            Answer::Refused(refusal) => Err(HistoryError::Refused(refusal.message)),
        }
    }

    async fn recent(&self, symbol: &Symbol, from: i64) -> Result<PastTrades, HistoryError> {
        let query = format!("symbol={}&limit={TRADES_MAX}", encode(symbol.as_str(), b""));
        Ok(newest(split("trades", &self.ask("trades", &query, 25).await?)?, from))
    }

    fn recent_only_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.recent_only_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl History for BinanceHistory {
    async fn latest(&self, symbol: &Symbol) -> Result<Option<Latest>, HistoryError> {
        let query = format!("symbol={}", encode(symbol.as_str(), b""));
        let body = self.ask("ticker/24hr", &query, 2).await?;
        let ticker: Ticker = parse("ticker/24hr", &body)?;
        // A symbol that did not trade in 24 h has the id −1.
        let traded = ticker.count > 0 && ticker.last_id >= 0;
        Ok(traded.then_some(Latest { id: ticker.last_id, time: ticker.close_time }))
    }

    async fn first_id_at(&self, symbol: &Symbol, time: i64) -> Result<Option<i64>, HistoryError> {
        let symbol = encode(symbol.as_str(), b"");
        let query = format!("symbol={symbol}&startTime={time}&limit=1");
        let body = self.ask("aggTrades", &query, 4).await?;
        let trades: Vec<AggTrade> = parse("aggTrades", &body)?;
        Ok(trades.first().map(|trade| trade.first_id))
    }

    async fn trades(&self, symbol: &Symbol, from_id: i64) -> Result<PastTrades, HistoryError> {
        if self.recent_only_until().is_some_and(|until| Instant::now() < until) {
            return self.recent(symbol, from_id).await;
        }
        let name = encode(symbol.as_str(), b"");
        let query = format!("symbol={name}&fromId={from_id}&limit={TRADES_MAX}");
        match self.rest.get("historicalTrades", &query, 25).await? {
            Answer::Body(body) => {
                *self.recent_only_until() = None;
                let trades = split("historicalTrades", &body)?;
                Ok(PastTrades { whole_from: from_id, trades })
            }
            Answer::Refused(Refusal { status, message })
                if [401, 403, 404].contains(&status.as_u16()) =>
            {
                // A passing refusal looks the same, so it is asked again after a while.
                let until = Instant::now() + RECENT_ONLY;
                if self.recent_only_until().replace(until).is_none() {
                    tracing::warn!(
                        message,
                        "binance.rest_url has no older trades: holes beyond the last 1,000 trades \
                         of a symbol can't be filled from there"
                    );
                }
                self.recent(symbol, from_id).await
            }
            Answer::Refused(refusal) => Err(HistoryError::Refused(refusal.message)),
        }
    }

    async fn unlisted(&self, symbols: &[Symbol]) -> Result<Vec<Symbol>, HistoryError> {
        let body = self.ask("exchangeInfo", "", 20).await?;
        let info: ExchangeInfo = parse("exchangeInfo", &body)?;
        let listed: HashSet<String> = info.symbols.into_iter().map(|it| it.symbol).collect();
        let is_unlisted = |symbol: &&Symbol| !listed.contains(symbol.as_str());
        Ok(symbols.iter().filter(is_unlisted).cloned().collect())
    }
}

/// Of a symbol's newest trades those from `from` on. Full, they say nothing of what came before them.
fn newest(mut trades: Vec<PastTrade>, from: i64) -> PastTrades {
    let begins = trades.first().filter(|_| trades.len() >= TRADES_MAX).map_or(from, |it| it.id);
    trades.retain(|trade| trade.id >= from);
    PastTrades { whole_from: begins.max(from), trades }
}

/// An answer that is not what it should be is the exchange's failure, and may pass.
fn parse<'a, T: Deserialize<'a>>(endpoint: &str, body: &'a [u8]) -> Result<T, HistoryError> {
    serde_json::from_slice(body).map_err(|error| HistoryError::Unavailable {
        reason: format!("the answer to {endpoint} is not what it should be: {error}"),
        retry_after: Duration::from_secs(5),
    })
}

/// A list of trades, each with the exchange's own bytes, ascending by id.
fn split(endpoint: &str, body: &Bytes) -> Result<Vec<PastTrade>, HistoryError> {
    let items: Vec<&RawValue> = parse(endpoint, body)?;
    let mut trades = Vec::with_capacity(items.len());
    for item in items {
        let TradeId { id } = parse(endpoint, item.get().as_bytes())?;
        trades.push(PastTrade { id, value: body.slice_ref(item.get().as_bytes()) });
    }
    trades.sort_by_key(|trade| trade.id);
    trades.dedup_by_key(|trade| trade.id);
    Ok(trades)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trades_keep_their_own_bytes_and_are_in_order() {
        let body = br#"[{"id":7,"price":"1.0"}, {"id":5 ,"x":[1]},{"id":7,"price":"1.0"}]"#;
        let trades = split("trades", &Bytes::from_static(body)).unwrap();
        assert_eq!(trades.iter().map(|it| it.id).collect::<Vec<_>>(), [5, 7]);
        assert_eq!(trades[0].value, &br#"{"id":5 ,"x":[1]}"#[..]);
    }

    #[test]
    fn the_newest_trades_prove_nothing_of_what_came_before_them() {
        #[track_caller]
        fn check(ids: std::ops::Range<i64>, from: i64, whole_from: i64, first: Option<i64>) {
            let trade = |id| PastTrade { id, value: Bytes::new() };
            let found = newest(ids.map(trade).collect(), from);
            assert_eq!(
                (found.whole_from, found.trades.first().map(|it| it.id)),
                (whole_from, first)
            );
        }
        check(5_000..6_000, 1_000, 5_000, Some(5_000));
        check(5_000..6_000, 5_000, 5_000, Some(5_000));
        check(5_000..6_000, 5_500, 5_500, Some(5_500));
        check(5_000..6_000, 6_000, 6_000, None);
        // All that were ever traded.
        check(3..100, 0, 0, Some(3));
        check(0..0, 7, 7, None);
    }

    #[test]
    fn an_answer_that_is_no_list_of_trades_may_pass() {
        for wrong in ["", "{}", "[1]", r#"[{"price":"1"}]"#] {
            let body = Bytes::copy_from_slice(wrong.as_bytes());
            let error = split("trades", &body).unwrap_err();
            assert!(matches!(error, HistoryError::Unavailable { .. }), "{wrong}");
        }
    }
}
