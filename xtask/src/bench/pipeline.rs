//! Socket to stored candle: a simulated exchange and a node, release builds, over loopback.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::process::Process;
use super::prometheus::{self, Scrape};
use super::reference;
use super::{Arguments, BACKFILLED, BYTES, FRAMES, LATENCY, ROWS, WARM_UP, listed};
use crate::shell::{self, Stopwatch};

/// Measures for `seconds`, and prints a table.
pub(super) fn run(arguments: &Arguments, seconds: u64) -> Result<()> {
    let packages = ["--package", "fts-node", "--package", "fts-exchange"];
    shell::run(shell::cargo().args(["build", "--locked", "--release", "--bins"]).args(packages))?;
    let folder = shell::target().join("bench");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;

    let (seed, symbols, rate) = (arguments.seed, arguments.symbols, arguments.rate);
    println!("\n=== pipeline: {symbols} symbols, {rate} messages/s, seed {seed}, {seconds} s");
    let mut command = shell::program(shell::release_binary("fts-exchange"));
    command.args(["--listen", "127.0.0.1:0", "--seed", &seed.to_string()]);
    command.args(["--symbols", &symbols.to_string(), "--rate", &rate.to_string()]);
    let mut exchange = Process::start("exchange", &folder, &mut command)?;
    let patience = Duration::from_secs(60);
    let address = exchange.until("the exchange's address", patience, |printed| {
        let (_, rest) = printed.split_once("listening on ws://")?;
        Some(rest.split_whitespace().next()?.to_owned())
    })?;
    let (mut node, http) = start_node(&folder, &address, &arguments.set)?;
    node.until("the node to be ready", Duration::from_secs(120), |_| {
        prometheus::get(&http, "/readyz").ok()
    })?;
    std::thread::sleep(WARM_UP);

    let watch = Stopwatch::start();
    let (before, cpu) = (Scrape::take(&http)?, [node.cpu_seconds()?, exchange.cpu_seconds()?]);
    let threads = node.cpu_seconds_by_thread()?;
    let mut rss = Vec::new();
    while watch.elapsed() < Duration::from_secs(seconds) {
        rss.push((watch.elapsed().as_secs_f64() / 60.0, node.rss_mib()?));
        std::thread::sleep(Duration::from_secs(1));
    }
    let elapsed = watch.elapsed().as_secs_f64();
    let after = Scrape::take(&http)?;
    let cpu = [node.cpu_seconds()? - cpu[0], exchange.cpu_seconds()? - cpu[1]];
    let mut by_thread = node.cpu_seconds_by_thread()?;
    for (name, seconds) in &mut by_thread {
        *seconds -= threads.get(name).copied().unwrap_or(0.0);
    }

    let frames = after.sum(FRAMES) - before.sum(FRAMES);
    ensure!(frames > 0.0, "the node received nothing: see {}", folder.display());
    let bytes = (after.sum(BYTES) - before.sum(BYTES)) / frames;
    let millions = frames / 1e6;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a frame's size")]
    let raw = reference::receive_a_million(bytes as usize)?;
    let latency = |quantile| {
        let found = prometheus::quantile(&before, &after, LATENCY, quantile);
        found.map_or_else(|| "not measured".to_owned(), |it| format!("{:.1} ms", it * 1e3))
    };
    let peak = rss.iter().map(|(_, mib)| *mib).fold(0.0, f64::max);
    let stop = node.end()?;

    println!("\n| what | value |\n|---|--:|");
    let row = |what: &str, value: String| println!("| {what} | {value} |");
    row("messages a second", format!("{:.0}", frames / elapsed));
    let rows = after.sum(ROWS) - before.sum(ROWS);
    row("rows stored a second", format!("{:.0}", rows / elapsed));
    let filled = after.sum(BACKFILLED) - before.sum(BACKFILLED);
    row("trades by REST meanwhile", format!("{filled:.0}"));
    row("bytes a message", format!("{bytes:.0}"));
    row("node: CPU-seconds a million messages", format!("{:.2}", cpu[0] / millions));
    for (name, seconds) in by_thread.iter().filter(|(_, seconds)| **seconds > 0.01 * cpu[0]) {
        row(&format!("… in threads called {name}"), format!("{:.2}", seconds / millions));
    }
    row("node: share of one core", format!("{:.0} %", 100.0 * cpu[0] / elapsed));
    row("raw loopback receive of the same: CPU-seconds a million", format!("{raw:.2}"));
    row("node against raw receive", format!("{:.1} x", cpu[0] / millions / raw));
    row("exchange: CPU-seconds a million messages", format!("{:.2}", cpu[1] / millions));
    row("receive to stored, p50", latency(0.5));
    row("receive to stored, p99", latency(0.99));
    row("peak RSS", format!("{peak:.0} MiB"));
    row("RSS, slope of the second half", format!("{:+.2} MiB/min", slope(&rss)));
    row("data on disk", format!("{:.0} MiB", folder_mib(&folder)?));
    row("SIGTERM to end", format!("{:.1} s", stop.as_secs_f64()));
    Ok(())
}

fn start_node(folder: &Path, exchange: &str, set: &[String]) -> Result<(Process, String)> {
    let symbols = listed(exchange)?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let http = format!("127.0.0.1:{port}");
    let mut command = shell::program(shell::release_binary("fts-node"));
    command.current_dir(folder).arg("run").arg("--data-dir").arg(folder.join("data"));
    command.args(["--http", &http]);
    command.args(["--set", &format!("binance.stream_url=ws://{exchange}")]);
    command.args(["--set", &format!("binance.rest_url=http://{exchange}")]);
    command.args(["--set", &format!("symbols={}", serde_json::to_string(&symbols)?)]);
    // A steady stream is measured, not the filling of a past of millions of trades.
    command.args(["--set", "backfill.first_sight_trades_max=0"]);
    for setting in set {
        command.args(["--set", setting]);
    }
    Ok((Process::start("node", folder, &mut command)?, http))
}

/// The least-squares slope of the second half of (minutes, MiB).
fn slope(samples: &[(f64, f64)]) -> f64 {
    let half = samples.get(samples.len() / 2..).unwrap_or_default();
    let count = half.iter().map(|_| 1.0).sum::<f64>();
    let mean = |of: fn(&(f64, f64)) -> f64| half.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|it| it.0), mean(|it| it.1));
    let over: f64 = half.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    let under: f64 = half.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    if under > 0.0 { over / under } else { 0.0 }
}

fn folder_mib(folder: &Path) -> Result<f64> {
    let mut sum = 0.0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        #[expect(clippy::cast_precision_loss, reason = "mebibytes for people")]
        let own = metadata.len() as f64 / 1_048_576.0;
        sum += if metadata.is_dir() { folder_mib(&entry.path())? } else { own };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_of_the_second_half() {
        let samples = [(0.0, 9.0), (1.0, 0.0), (2.0, 1.0), (3.0, 3.0)];
        assert!((slope(&samples) - 2.0).abs() < 1e-9);
        assert!(slope(&[]).abs() < 1e-9);
    }
}
