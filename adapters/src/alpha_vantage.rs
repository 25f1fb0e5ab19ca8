//! Alpha Vantage: daily prices of stocks.
//!
//! Its errors come with HTTP 200 and a JSON body, whatever was asked for; which is which can be
//! told only by their texts. <https://www.alphavantage.co/documentation/#daily>

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fts_core::market::Symbol;
use fts_core::port::daily::{DailyError, DailyPrices};
use fts_core::stock::Daily;
use fts_core::time::Clock;
use reqwest::{Client, Url};

mod answer;

/// The largest answer taken: twenty years of a stock are some 1 MiB.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Where to ask, and as whom.
#[derive(Clone)]
pub struct AlphaVantageConfig {
    /// The address without `/query`.
    pub url: String,
    /// The key. Never printed.
    pub key: String,
    /// How long a request may take.
    pub timeout: Duration,
    /// When things were said.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for AlphaVantageConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("AlphaVantageConfig").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Why a configuration can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("batch.url is `{url}`: {reason}; write it as https://host or https://host:port")]
pub struct ConfigError {
    url: String,
    reason: String,
}

/// Asks Alpha Vantage.
pub struct AlphaVantage {
    client: Client,
    query: Url,
    key: String,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for AlphaVantage {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("AlphaVantage")
            .field("query", &self.query.as_str())
            .finish_non_exhaustive()
    }
}

impl AlphaVantage {
    /// Checks the address. Asks nothing.
    pub fn new(config: AlphaVantageConfig) -> Result<Self, ConfigError> {
        let AlphaVantageConfig { url, key, timeout, clock } = config;
        let wrong = |reason: String| ConfigError { url: url.clone(), reason };
        let base = Url::parse(url.trim()).map_err(|error| wrong(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.query().is_some() {
            return Err(wrong("it is no address of a server".to_owned()));
        }
        let mut query = base;
        let path = format!("{}/query", query.path().trim_end_matches('/'));
        query.set_path(&path);
        let client = Client::builder()
            .timeout(timeout)
            .user_agent(concat!("fts-node/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self { client, query, key, clock })
    }

    async fn ask(&self, symbol: &Symbol) -> Result<Vec<u8>, String> {
        let request = self.client.get(self.query.clone()).query(&[
            ("function", "TIME_SERIES_DAILY"),
            ("symbol", symbol.as_str()),
            ("outputsize", "compact"),
            ("datatype", "json"),
            ("apikey", &self.key),
        ]);
        // The error would show the address, and with it the key.
        let mut response = request.send().await.map_err(|error| said(error.without_url()))?;
        if !response.status().is_success() {
            return Err(format!("it answered with {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| said(error.without_url()))? {
            if body.len() + part.len() > BODY_BYTES_MAX {
                return Err(format!("its answer is longer than {BODY_BYTES_MAX} bytes"));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }
}

/// The error and what is behind it: "error sending request" alone helps nobody.
fn said(error: reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(behind) = cause {
        text = format!("{text}: {behind}");
        cause = behind.source();
    }
    text
}

#[async_trait]
impl DailyPrices for AlphaVantage {
    async fn daily(&self, symbol: &Symbol) -> Result<Vec<Daily>, DailyError> {
        let body = self.ask(symbol).await.map_err(DailyError::Unavailable)?;
        answer::read(symbol, &body, self.clock.now().millis())
            .map_err(|error| error.without(&self.key))
    }
}

/// Takes the key out of what the provider says: it likes to repeat it.
trait Without {
    fn without(self, key: &str) -> Self;
}

impl Without for DailyError {
    fn without(self, key: &str) -> Self {
        let clean = |text: String| {
            if key.is_empty() { text } else { text.replace(key, "(key)") }
        };
        match self {
            Self::Burst(text) => Self::Burst(clean(text)),
            Self::DayIsOver(text) => Self::DayIsOver(clean(text)),
            Self::Key(text) => Self::Key(clean(text)),
            Self::Refused(text) => Self::Refused(clean(text)),
            Self::Unavailable(text) => Self::Unavailable(clean(text)),
        }
    }
}
