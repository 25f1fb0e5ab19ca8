//! Opens connections to the exchange's streams.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fts_core::market::Symbol;
use fts_core::metrics::{BINANCE_CONNECTS_TOTAL, BINANCE_DISCONNECTS_TOTAL};
use fts_core::port::feed::{Connection, Feed, FeedError};
use fts_core::time::Clock;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::change::Changes;
use super::connection::{Lifetime, STREAMS_MAX, Streams};
use super::limit::{Attempts, Turnstile};
use super::net::{DialError, Socket, Target, encode, status_advice};
use super::portion::Portion;
use super::route::Routes;
use super::{Channel, ConfigError};

/// Streams named in the URL or in one request; more are known to fail silently.
const NAMES_MAX: usize = 200;
/// Bytes of stream names in the URL: proxies refuse request lines of more than 8 KiB.
const URL_NAMES_BYTES_MAX: usize = 7_000;
/// The span over which the exchange counts connection attempts, and a second for the way there.
const ATTEMPTS_SPAN: Duration = Duration::from_secs(301);
/// No message of the exchange's streams comes near it.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// What a connection reads at once. Zeroed for every read, and pinned by any frame kept of it, so
/// not larger than a burst.
const READ_BUFFER_BYTES: usize = 32 << 10;

/// How to reach the exchange's streams.
#[derive(Clone)]
pub struct FeedConfig {
    /// Base URL, such as `wss://stream.binance.com:9443`; `ws://` for a simulated exchange.
    pub stream_url: String,
    /// What to ask for of every symbol.
    pub channels: Vec<Channel>,
    /// A connection that has been silent for so long is dead. The exchange pings every 20 s.
    pub read_timeout: Duration,
    /// How long to wait for a connection, and for the answer to a subscription.
    pub connect_timeout: Duration,
    /// Connection attempts in any 5 minutes, over all connections; the exchange allows 300 an IP
    /// address.
    pub connections_per_5min: u32,
    /// What part of them is this process's.
    pub portion: Portion,
    /// Connections of this age ask to be replaced; the exchange cuts them at 24 h.
    pub max_age: Duration,
    /// Stamps the frames.
    pub clock: Arc<dyn Clock>,
}

impl FeedConfig {
    /// Trades, best bid and ask and the 24 h statistics, within the exchange's limits.
    pub fn new(stream_url: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self {
            stream_url: stream_url.into(),
            channels: vec![Channel::TRADE, Channel::BOOK_TICKER, Channel::TICKER],
            read_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            connections_per_5min: 300,
            portion: Portion::default(),
            max_age: Duration::from_secs(24 * 3_600 - 600),
            clock,
        }
    }
}

impl fmt::Debug for FeedConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("FeedConfig")
            .field("stream_url", &self.stream_url)
            .field("channels", &self.channels)
            .field("read_timeout", &self.read_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("connections_per_5min", &self.connections_per_5min)
            .field("portion", &self.portion)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}

/// The exchange's combined streams. One value serves all connections of a node, as they share the
/// limit on connection attempts.
#[derive(Debug)]
pub struct BinanceFeed {
    config: FeedConfig,
    target: Target,
    attempts: Turnstile<Attempts>,
}

impl BinanceFeed {
    /// Checks the configuration; connects to nothing.
    pub fn new(config: FeedConfig) -> Result<Self, ConfigError> {
        let target = Target::parse("binance.stream_url", &config.stream_url, ("ws", "wss"))?;
        if config.channels.is_empty() {
            return Err(ConfigError("no channel is asked for: name at least one".to_owned()));
        }
        if config.read_timeout.is_zero() || config.connect_timeout.is_zero() {
            return Err(ConfigError("a timeout of zero never connects: raise it".to_owned()));
        }
        let attempts = Attempts::new(ATTEMPTS_SPAN);
        Ok(Self { config, target, attempts: Turnstile::new("connects", attempts) })
    }

    async fn open(&self, names: &[String]) -> Result<WebSocketStream<Socket>, DialError> {
        let socket = self.target.dial(self.config.connect_timeout).await?;
        // The scheme only has to be one of a WebSocket: the socket is encrypted, or not, already.
        let url =
            format!("ws://{}{}/stream?streams={}", self.target.authority, self.target.path, {
                let names: Vec<_> = names.iter().map(|name| encode(name, b"@")).collect();
                names.join("/")
            });
        let limits = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let handshake = client_async_with_config(url, socket, Some(limits));
        match timeout(self.config.connect_timeout, handshake).await {
            Ok(Ok((stream, _))) => Ok(stream),
            Ok(Err(error)) => Err(self.no_stream(error)),
            Err(_) => Err(DialError {
                class: "timeout",
                message: format!("{:?} took the connection but does not answer", self.target),
            }),
        }
    }

    fn no_stream(&self, error: WsError) -> DialError {
        let WsError::Http(response) = error else {
            return DialError {
                class: "handshake",
                message: format!(
                    "{:?} does not speak WebSocket: {error}; check binance.stream_url",
                    self.target
                ),
            };
        };
        let status = response.status().as_u16();
        let wait = response.headers().get("retry-after").and_then(|wait| wait.to_str().ok());
        let wait = wait.map(|wait| format!(", wants {wait} s of silence")).unwrap_or_default();
        let advice = status_advice(status).map(|text| format!(": {text}")).unwrap_or_default();
        DialError {
            class: "refused",
            message: format!("{:?} answered HTTP {status}{wait}{advice}", self.target),
        }
    }
}

#[async_trait]
impl Feed for BinanceFeed {
    async fn connect(&self, symbols: &[Symbol]) -> Result<Box<dyn Connection>, FeedError> {
        let no = |what: String| FeedError::Disconnected(what);
        let Some((routes, names)) = Routes::new(symbols, &self.config.channels) else {
            return Err(no("no symbol is asked for: name at least one".to_owned()));
        };
        if names.len() > STREAMS_MAX {
            return Err(no(format!(
                "{} symbols of {} channels are {} streams, but a connection carries {STREAMS_MAX}: \
                 use fewer symbols a connection",
                symbols.len(),
                self.config.channels.len(),
                names.len()
            )));
        }
        // No rule of attempts closes for good.
        let limit = || self.config.portion.of(self.config.connections_per_5min);
        let _ = self.attempts.pass(|rule| rule.take(Instant::now(), limit())).await;
        let (in_url, by_request) = names.split_at(in_url(&names));
        let socket = self.open(in_url).await.map_err(|error| {
            metrics::counter!(BINANCE_DISCONNECTS_TOTAL, "reason" => error.class).increment(1);
            no(error.message)
        })?;
        metrics::counter!(BINANCE_CONNECTS_TOTAL).increment(1);
        let lifetime = Lifetime { silence: self.config.read_timeout, age: self.config.max_age };
        let changes = Changes::new(self.config.channels.clone(), self.config.connect_timeout);
        let clock = Arc::clone(&self.config.clock);
        let mut streams = Streams::new(socket, routes, clock, lifetime, changes);
        for names in by_request.chunks(NAMES_MAX) {
            streams.subscribe(names, self.config.connect_timeout).await?;
        }
        Ok(Box::new(streams))
    }
}

/// How many of `names` the URL can carry.
fn in_url(names: &[String]) -> usize {
    let mut bytes = 0;
    let fits = names.iter().take(NAMES_MAX).take_while(|name| {
        bytes += encode(name, b"@").len() + 1;
        bytes <= URL_NAMES_BYTES_MAX
    });
    fits.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_carries_no_more_names_than_servers_take() {
        let names = |name: &str, count| vec![name.to_owned(); count];
        assert_eq!(in_url(&names("btcusdt@trade", 3)), 3);
        assert_eq!(in_url(&names("btcusdt@trade", 1_024)), 200);
        assert_eq!(in_url(&names(&"币".repeat(64), 200)), 12);
    }

    #[test]
    fn a_configuration_that_cannot_work_is_refused() {
        let config = || FeedConfig::new("ws://127.0.0.1:1", Arc::new(fts_core::time::SystemClock));
        assert!(BinanceFeed::new(config()).is_ok());
        for wrong in [
            FeedConfig { stream_url: "http://127.0.0.1".to_owned(), ..config() },
            FeedConfig { channels: Vec::new(), ..config() },
            FeedConfig { read_timeout: Duration::ZERO, ..config() },
        ] {
            assert!(BinanceFeed::new(wrong.clone()).is_err(), "{wrong:?}");
        }
    }
}
