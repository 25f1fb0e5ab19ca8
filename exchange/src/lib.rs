//! A simulated Binance: streams and REST on one port, from one market that is played from a tape or
//! made up from a seed. And, on the same port, a simulated Alpha Vantage.
//!
//! ```text
//! market      what is known at the market's present moment (tape: what was played; seeded: a pure
//!             function of seed and time)
//! hub         who listens to what; the bounded outbox of each connection
//! ws          framing, control messages, the life of a connection
//! rest        the endpoints, their errors; limits: the weight budget
//! faults      what goes wrong on purpose: a connection's lane and schedule, a request's fate
//! control     the switches over HTTP
//! alpha_vantage  daily prices of stocks under /query, with limits and errors of their own
//! truth       all trades, and candles by a path of their own: what tests compare with
//! ```

mod alpha_vantage;
mod config;
mod control;
mod exchange;
mod faults;
mod hub;
mod interval;
mod json;
mod limits;
mod market;
mod rest;
mod server;
mod streams;
mod ticker;
mod truth;
mod ws;

pub use self::alpha_vantage::{
    AlphaVantageConfig, AlphaVantageControl, Answer, Forced, Restatement, SettingError, Split,
    parse_today,
};
pub use self::config::{
    Config, SeededConfig, Source, Speed, Start, StartError, TapeConfig, WEIGHT_LIMIT,
};
pub use self::exchange::Exchange;
pub use self::faults::{FaultControl, FaultError, FaultTally, Faults};
pub use self::interval::Interval;
pub use self::limits::connections::ConnectionLimits;
pub use self::market::seeded::names::realistic_symbols;
pub use self::market::tape::file::TapeError;
pub use self::market::{Symbol, Trade};
pub use self::truth::{Candle, Truth};
pub use self::ws::connection::SocketLimits;
