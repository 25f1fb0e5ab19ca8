//! What an exchange is started with.

use crate::alpha_vantage::AlphaVantageConfig;
use crate::faults::{FaultError, Faults};
use crate::limits::connections::ConnectionLimits;
use crate::market::tape::file::TapeError;
use crate::ws::connection::SocketLimits;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Everything that an exchange has to be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen, for streams and REST; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// The market to serve.
    pub source: Source,
    /// Request weight that an address may use in a minute; beyond it, 429.
    pub weight_limit: u32,
    /// What is asked of a WebSocket connection.
    pub socket: SocketLimits,
    /// How many connections, streams and messages a client may have; `None`: no limits.
    pub connections: Option<ConnectionLimits>,
    /// What goes wrong on purpose from the start.
    pub faults: Faults,
    /// The simulated Alpha Vantage under `/query`.
    pub alpha_vantage: AlphaVantageConfig,
}

/// The request weight of the real exchange, a minute.
pub const WEIGHT_LIMIT: u32 = 6000;

impl Config {
    /// An exchange on a free port of this machine.
    pub fn new(source: Source) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            source,
            weight_limit: WEIGHT_LIMIT,
            socket: SocketLimits::default(),
            connections: None,
            faults: Faults::default(),
            alpha_vantage: AlphaVantageConfig::default(),
        }
    }
}

/// Where the market comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A recording.
    Tape(TapeConfig),
    /// A market made up from a seed, with bursts and quiet minutes: its trades and book tickers add
    /// up to the rate over each hour, its tickers about so.
    Seeded(SeededConfig),
    /// A market made up from a seed in which every second is as busy as any other, to a message or
    /// two a symbol.
    Steady(SeededConfig),
}

/// A recording and how to play it.
#[derive(Debug, Clone)]
pub struct TapeConfig {
    /// The files; together they are one market.
    pub files: Vec<PathBuf>,
    /// How fast.
    pub speed: Speed,
    /// When to begin.
    pub start: Start,
}

/// How fast a tape is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// So many times as fast as it was recorded.
    Times(f64),
    /// As fast as the subscribers take it: none is cut off, the slowest sets the pace.
    Max,
}

/// When a tape begins to play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At once.
    Now,
    /// 250 ms after the first connection that subscribes to any stream of the tape.
    First,
}

/// A market made up from a seed. The same seed, symbols, rate and epoch are the same market: an
/// exchange that is started again goes on with the same trades and ids.
#[derive(Debug, Clone)]
pub struct SeededConfig {
    /// What the market grows from.
    pub seed: u64,
    /// The symbols, the most liquid first: all that stand before it influence none.
    pub symbols: Vec<String>,
    /// Messages a second over all symbols: trades, book tickers and tickers.
    pub rate: f64,
    /// When the market began, ms UTC, a whole minute; before it there is nothing. `None`: 15 minutes
    /// ago.
    pub epoch_ms: Option<i64>,
}

/// Why an exchange did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The tape can't be played.
    #[error(transparent)]
    Tape(#[from] TapeError),
    /// Faults that make no sense.
    #[error(transparent)]
    Faults(#[from] FaultError),
    /// A symbol that can't be.
    #[error("{name:?} is no symbol: {reason}")]
    Symbol {
        /// As given.
        name: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A number out of range.
    #[error("{key} is {value}: {reason}")]
    Value {
        /// Of which setting.
        key: &'static str,
        /// As given.
        value: String,
        /// What is wrong and what to do.
        reason: &'static str,
    },
    /// The address can't be listened on.
    #[error("cannot listen on {addr}: {source}; choose another address with --listen")]
    Listen {
        /// Which address.
        addr: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

impl StartError {
    /// Whether what was given is wrong (and not the state of the machine).
    pub fn is_bad_input(&self) -> bool {
        !matches!(self, Self::Listen { .. })
    }
}
