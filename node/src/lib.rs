//! The node as a library: what the binary is wired from, for its tests and examples.

mod batch;
pub mod cli;
mod client;
pub mod cluster;
pub mod config;
mod demo;
mod flows;
pub mod http;
mod run;
mod status;
mod symbols;
mod telemetry;
mod wiring;
