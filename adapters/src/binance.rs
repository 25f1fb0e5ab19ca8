//! Binance spot: the exchange's streams, its REST, and what its JSON means.
//!
//! | part | what it is |
//! |---|---|
//! | [`BinanceFeed`] | `Feed`: combined streams over WebSocket, raw frames in bursts |
//! | [`BinanceHistory`] | `History`: past trades over REST, within the request budget |
//! | [`BinanceDecode`] | `Decode`: frames and REST trades to typed events |
//!
//! Works with binance.com, its market-data-only hosts, binance.us and the simulated exchange: they
//! differ in their URLs only.

mod change;
mod channel;
mod connection;
mod decode;
mod feed;
mod history;
mod limit;
mod net;
mod portion;
mod rest;
mod route;

pub use channel::{Channel, UnknownChannel};
pub use decode::BinanceDecode;
pub use feed::{BinanceFeed, FeedConfig};
pub use history::{BinanceHistory, HistoryConfig};
pub use portion::Portion;

/// A setting that can't work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);
