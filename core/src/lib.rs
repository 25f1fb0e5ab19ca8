//! The market-data domain: values, rules and ports. No sockets, no files, no clock of its own.
//!
//! Everything here is a value or a function of values, so every rule of the pipeline can be tested
//! without a runtime. The outside world is reached only through the traits in [`port`].

pub mod aggregate;
pub mod alert;
pub mod backoff;
pub mod book;
pub mod candle;
pub mod coverage;
pub mod decimal;
pub mod interval;
pub mod market;
pub mod metrics;
pub mod placement;
pub mod port;
pub mod restart;
pub mod row;
pub mod simulator;
pub mod stock;
pub mod time;
