//! `fts-node symbols`: what is captured, and how that changes while the nodes run.

use std::net::SocketAddr;

use anyhow::bail;
use serde_json::Value;

use crate::cli::{self, SymbolsCommand};
use crate::client;

/// Does it, and says what came of it. One symbol that fails does not keep the others.
pub(crate) fn run(node: SocketAddr, what: &SymbolsCommand) -> anyhow::Result<()> {
    let (method, symbols, done, already) = match what {
        SymbolsCommand::List => return list(node),
        SymbolsCommand::Add { symbols } => ("PUT", symbols, "added", "is captured already"),
        SymbolsCommand::Remove { symbols } => ("DELETE", symbols, "removed", "is not captured"),
    };
    let mut failures = Vec::new();
    for symbol in symbols {
        match client::send(node, method, &format!("/api/symbols/{}", encoded(symbol))) {
            Ok(answer) if answer.get("changed").and_then(Value::as_bool) == Some(true) => {
                cli::say(&format!("{symbol}: {done}"));
            }
            Ok(_) => cli::say(&format!("{symbol} {already}")),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    if !failures.is_empty() {
        bail!("{}", failures.join("; "));
    }
    Ok(())
}

fn list(node: SocketAddr) -> anyhow::Result<()> {
    let answer = client::get(node, "/api/symbols")?;
    for symbol in answer.get("symbols").and_then(Value::as_array).into_iter().flatten() {
        cli::say(symbol.as_str().unwrap_or_default());
    }
    Ok(())
}

/// As a part of a URL.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
