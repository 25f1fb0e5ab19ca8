//! `fts-node status`: what a running node says of itself, as a table or as JSON.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::Value;

use crate::{cli, client};

const SYMBOLS: [&str; 8] =
    ["symbol", "rate", "last_price", "lag_ms", "trades", "missing", "lost", "complete"];
const NODES: [&str; 12] = [
    "node",
    "address",
    "state",
    "weight",
    "feed_a",
    "feed_b",
    "partitions",
    "rate",
    "lag_ms",
    "missing",
    "complete",
    "version",
];

/// Asks the node at `address` and prints the answer.
pub(crate) fn show(address: SocketAddr, json: bool) -> anyhow::Result<()> {
    let mut status = client::get(address, "/api/status")?;
    let cluster = client::get(address, "/api/cluster")?;
    if let Some(status) = status.as_object_mut() {
        status.insert("cluster".to_owned(), cluster);
    }
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
    let rows = |of: Option<&Value>, name: &str, columns: &[&str]| -> Vec<Vec<String>> {
        let rows = of.and_then(|it| it.get(name)).and_then(Value::as_array);
        let cell = |row: &Value, column: &&str| row.get(*column).map_or_else(|| "-".into(), text);
        let rows = rows.into_iter().flatten();
        rows.map(|row| columns.iter().map(|it| cell(row, it)).collect()).collect()
    };
    let nodes = rows(status.get("cluster"), "nodes", &NODES);
    if nodes.len() > 1 {
        aligned(&mut out, &NODES, &nodes);
        out.push('\n');
    }
    aligned(&mut out, &SYMBOLS, &rows(Some(status), "symbols", &SYMBOLS));
    out.truncate(out.trim_end().len());
    out
}

fn aligned(out: &mut String, columns: &[&str], rows: &[Vec<String>]) {
    let head: Vec<String> = columns.iter().map(|it| (*it).to_owned()).collect();
    let mut widths: Vec<usize> = vec![0; columns.len()];
    for row in std::iter::once(&head).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in std::iter::once(&head).chain(rows) {
        let cells: Vec<_> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        let _ = writeln!(out, "{}", cells.join("  "));
    }
}
