//! Asks a running node over its HTTP side: one request a connection, small answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::cli;

/// Longer than a node waits for the exchange.
const PATIENCE: Duration = Duration::from_secs(20);

/// No node was there to answer; anything else is the answer's fault.
#[derive(Debug, thiserror::Error)]
#[error("no node answers at http://{0}: start one, or name its address with --http or --node")]
pub(crate) struct NoNode(SocketAddr);

/// `GET path`: the JSON that comes back.
pub(crate) fn get(address: SocketAddr, path: &str) -> anyhow::Result<Value> {
    send(address, "GET", path)
}

/// The address of the node to ask: of `--node`, else the configured one.
pub(crate) fn address(node: Option<&str>, configured: SocketAddr) -> anyhow::Result<SocketAddr> {
    let Some(text) = node else { return Ok(configured) };
    let host = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let found = host.to_socket_addrs().ok().and_then(|mut it| it.next());
    found.with_context(|| {
        format!("--node is \"{text}\": write the node's URL, such as http://127.0.0.1:8080")
    })
}

/// `method path`: the JSON that comes back.
pub(crate) fn send(address: SocketAddr, method: &str, path: &str) -> anyhow::Result<Value> {
    let body = ask(address, method, path)?;
    serde_json::from_str(&body).with_context(|| format!("{path} answered with no JSON"))
}

/// `POST path`.
pub(crate) fn post(address: SocketAddr, path: &str) -> anyhow::Result<()> {
    ask(address, "POST", path).map(drop)
}

fn ask(address: SocketAddr, method: &str, path: &str) -> anyhow::Result<String> {
    let address = cli::reachable(address);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(|_| NoNode(address))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("what answers at http://{address} does not speak HTTP")
    };
    let line = head.lines().next().unwrap_or_default();
    let is_done = line.split(' ').nth(1).is_some_and(|code| code.starts_with('2'));
    if !is_done {
        let said: Option<Value> = serde_json::from_str(body).ok();
        let said = said.as_ref().and_then(|it| it.get("msg")).and_then(Value::as_str);
        bail!("the node says: {}", said.unwrap_or(line));
    }
    Ok(body.to_owned())
}
