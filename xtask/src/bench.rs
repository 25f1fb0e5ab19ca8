//! `cargo xtask bench`: what it costs, beside what the machine costs anyhow.

mod cluster;
mod pipeline;
mod process;
mod prometheus;
mod reference;

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::shell;

/// Frames that a node has received.
const FRAMES: &str = "fts_binance_frames_total";
/// Bytes of those frames.
const BYTES: &str = "fts_binance_bytes_total";
/// From the receipt of a frame to its row on disk.
const LATENCY: &str = "fts_stored_latency_seconds";
/// Trades that came by REST.
const BACKFILLED: &str = "fts_backfilled_trades_total";
/// Rows that are on disk.
const ROWS: &str = "fts_store_rows_total";
/// What is not measured: connecting, the caches' warming.
const WARM_UP: Duration = Duration::from_secs(15);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only these; all but the cluster, which needs Kafka, if none is named.
    #[arg(value_enum)]
    what: Vec<What>,
    /// How long the pipeline is measured, in seconds.
    #[arg(long, default_value_t = 60, conflicts_with = "minutes")]
    seconds: u64,
    /// How long the pipeline is measured, in minutes: ten show whether memory stays flat.
    #[arg(long)]
    minutes: Option<u64>,
    /// Seed of the market.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Symbols of the market.
    #[arg(long, default_value_t = 500)]
    symbols: u64,
    /// Messages a second of the market, all symbols together.
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Sets a key of the node, such as --set ingest.feeds=2; may be given again.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Each stage alone: parse, fold, append, upsert.
    Micro,
    /// Socket to stored candle, with real processes over loopback.
    Pipeline,
    /// The same by way of three nodes and three brokers, with one feed and with two.
    Cluster,
}

/// Measures and prints; answers true.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let wanted = |what| arguments.what.is_empty() || arguments.what.contains(&what);
    if wanted(What::Micro) {
        micro()?;
    }
    let seconds = arguments.minutes.map_or(arguments.seconds, |minutes| minutes * 60);
    if wanted(What::Pipeline) {
        pipeline::run(arguments, seconds)?;
    }
    if arguments.what.contains(&What::Cluster) {
        cluster::run(arguments, seconds)?;
    }
    Ok(true)
}

/// The symbols that a simulated exchange has.
fn listed(exchange: &str) -> Result<Vec<String>> {
    let info = prometheus::get(exchange, "/api/v3/exchangeInfo")?;
    let info: serde_json::Value = serde_json::from_str(&info)?;
    let symbols = info.get("symbols").and_then(|it| it.as_array()).context("no symbols")?;
    Ok(symbols.iter().filter_map(|it| Some(it.get("symbol")?.as_str()?.to_owned())).collect())
}

/// Examples that measure a server: they are told which, and are run by hand.
const SERVED: [&str; 3] = ["bench_elasticsearch", "bench_kafka", "bench_scylla"];

/// Runs every example called `bench_…` of every crate that needs no server.
fn micro() -> Result<()> {
    let mut found = Vec::new();
    for package in ["core", "proto", "adapters", "actors", "node"] {
        let Ok(folder) = std::fs::read_dir(shell::root().join(package).join("examples")) else {
            continue;
        };
        for entry in folder {
            let path = entry?.path();
            let name = path.file_stem().context("a file without a name")?.to_string_lossy();
            if name.starts_with("bench_") && !SERVED.contains(&&*name) {
                found.push((format!("fts-{package}"), name.into_owned()));
            }
        }
    }
    found.sort();
    for (package, example) in found {
        println!("\n=== {example}");
        let mut cargo = shell::cargo();
        cargo.args(["run", "--quiet", "--locked", "--release", "--package", &package]);
        shell::run(cargo.args(["--example", &example]))?;
    }
    Ok(())
}
