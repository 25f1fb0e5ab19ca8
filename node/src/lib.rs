//! The node as a library: what the binary is wired from, for its tests and examples.

pub mod cli;
pub mod cluster;
pub mod config;
mod demo;
pub mod http;
mod run;
mod status;
mod telemetry;
mod wiring;
