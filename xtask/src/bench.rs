//! `cargo xtask bench`: what it costs, beside what the machine costs anyhow.

mod pipeline;
mod process;
mod prometheus;
mod reference;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::shell;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only these; all of them if none is named.
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
}

/// Measures and prints; answers true.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let wanted = |what| arguments.what.is_empty() || arguments.what.contains(&what);
    if wanted(What::Micro) {
        micro()?;
    }
    if wanted(What::Pipeline) {
        let seconds = arguments.minutes.map_or(arguments.seconds, |minutes| minutes * 60);
        pipeline::run(arguments, seconds)?;
    }
    Ok(true)
}

/// Runs every example called `bench_…` of every crate.
fn micro() -> Result<()> {
    let mut found = Vec::new();
    for package in ["core", "proto", "adapters", "actors", "node"] {
        let Ok(folder) = std::fs::read_dir(shell::root().join(package).join("examples")) else {
            continue;
        };
        for entry in folder {
            let path = entry?.path();
            let name = path.file_stem().context("a file without a name")?.to_string_lossy();
            if name.starts_with("bench_") {
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
