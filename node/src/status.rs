//! `fts-node status`: what a running node says of itself, as a table or as JSON.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::Value;

use crate::{cli, client};

/// Asks the node at `address` and prints the answer.
pub(crate) fn show(address: SocketAddr, json: bool) -> anyhow::Result<()> {
    let status = client::get(address, "/api/status")?;
    cli::say(&if json { serde_json::to_string_pretty(&status)? } else { table(&status) });
    Ok(())
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
