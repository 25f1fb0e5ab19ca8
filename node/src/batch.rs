//! `fts-node batch run`: the daily batch at once, with a bar that shows how far it is.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};

use crate::{cli, client};

/// How often the node is asked how far it is.
const TURN: Duration = Duration::from_millis(300);

/// Asks the node at `address` to run its batch for `symbol`, or for all of its symbols, and waits
/// until it is done. It goes on without whoever waits.
pub(crate) fn run(address: SocketAddr, symbol: Option<&str>) -> anyhow::Result<()> {
    let before = started_at(&client::get(address, "/api/batch")?);
    let query = symbol.map(|it| format!("?symbol={it}")).unwrap_or_default();
    client::post(address, &format!("/api/batch/run{query}"))?;
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?;
    let bar = ProgressBar::new(0).with_style(style);
    let symbols = loop {
        std::thread::sleep(TURN);
        let batch = client::get(address, "/api/batch")?;
        if started_at(&batch) == before {
            bar.set_message("waiting for its turn");
            continue;
        }
        let symbols = batch.get("symbols").and_then(Value::as_object).cloned();
        let symbols = symbols.context("the node says nothing of its batch")?;
        let waiting: Vec<_> = symbols.iter().filter(|it| it.1.is_null()).map(|it| it.0).collect();
        bar.set_length(u64::try_from(symbols.len())?);
        bar.set_position(u64::try_from(symbols.len() - waiting.len())?);
        bar.set_message(match waiting.first() {
            Some(next) => format!("{next} ({})", allowance(&batch)),
            None => String::new(),
        });
        if batch.get("running") == Some(&Value::Bool(false)) {
            break symbols;
        }
    };
    bar.finish_and_clear();
    summary(&symbols)
}

fn started_at(batch: &Value) -> Option<i64> {
    batch.get("started_at").and_then(Value::as_i64)
}

fn allowance(batch: &Value) -> String {
    let number = |name: &str| batch.get(name).and_then(Value::as_u64).unwrap_or(0);
    format!("{} of {} requests today", number("requests_used"), number("requests_max"))
}

/// Says what came of each symbol; an error if one has no prices.
fn summary(symbols: &Map<String, Value>) -> anyhow::Result<()> {
    let mut failed = 0;
    for (symbol, outcome) in symbols {
        match outcome.get("error").and_then(Value::as_str) {
            Some(reason) => {
                failed += 1;
                cli::say(&format!("{symbol}  no prices: {reason}"));
            }
            None => {
                let days = outcome.get("days").and_then(Value::as_u64).unwrap_or(0);
                cli::say(&format!("{symbol}  {days} days"));
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} symbols have no prices", symbols.len());
    }
    Ok(())
}
