//! `fts-node status`: what a running node says of itself, as a table or as JSON.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::cli;

const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the node at `address` and prints the answer.
pub(crate) fn show(address: SocketAddr, json: bool) -> anyhow::Result<()> {
    let address = cli::reachable(address);
    let status = ask(address).with_context(|| {
        format!("no node answers at http://{address}: start one, or name its address with --http")
    })?;
    cli::say(&if json { serde_json::to_string_pretty(&status)? } else { table(&status) });
    Ok(())
}

fn ask(address: SocketAddr) -> anyhow::Result<Value> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /api/status HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("no HTTP answer") };
    let line = head.lines().next().unwrap_or_default();
    if !line.contains(" 200 ") {
        bail!("it answered `{line}`");
    }
    Ok(serde_json::from_str(body)?)
}

fn table(status: &Value) -> String {
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number
            .as_f64()
            .filter(|it| it.fract() != 0.0)
            .map_or_else(|| number.to_string(), |it| format!("{it:.1}")),
        other => other.to_string(),
    };
    let mut out = String::new();
    let field = |name: &str| status.get(name).map_or_else(|| "-".to_owned(), text);
    // Writing to a string can't fail.
    let _ =
        writeln!(out, "{}  version {}  ready {}", field("node"), field("version"), field("ready"));
    for (name, sign) in [("problems", "not ready"), ("warnings", "warning")] {
        for (part, what) in status.get(name).and_then(Value::as_object).into_iter().flatten() {
            let _ = writeln!(out, "  {sign}: {part}: {}", text(what));
        }
    }
    const COLUMNS: [&str; 8] =
        ["symbol", "rate", "last_price", "lag_ms", "trades", "missing", "lost", "complete"];
    let rows: Vec<[String; 8]> = status
        .get("symbols")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|row| COLUMNS.map(|name| row.get(name).map_or_else(|| "-".to_owned(), text)))
        .collect();
    let mut widths = COLUMNS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in std::iter::once(&COLUMNS.map(str::to_owned)).chain(&rows) {
        let cells: Vec<_> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        let _ = writeln!(out, "{}", cells.join("  "));
    }
    out.truncate(out.trim_end().len());
    out
}
