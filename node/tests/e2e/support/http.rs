//! HTTP, as much as the tests need.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// An answer.
pub(crate) struct Answer {
    /// Such as 200.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// The answer, or `None` where there was none: nobody listens yet, or the process died.
pub(crate) fn get(address: &str, path: &str) -> Option<Answer> {
    let mut socket = TcpStream::connect(address).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    // 1.0: no chunks, and the connection ends with the answer.
    write!(socket, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).ok()?;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    let body = &bytes[end + 4..];
    // Some servers send chunks all the same.
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if is_chunked { joined(body)? } else { body.to_vec() };
    Some(Answer { status, body })
}

/// The chunks put together; `None` where the end is missing.
fn joined(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&chunks[..end]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(chunks.get(end + 2..end + 2 + size)?);
        chunks = chunks.get(end + 2 + size + 2..)?;
    }
}

/// The JSON of an answer with status 200.
pub(crate) fn get_json(address: &str, path: &str) -> Option<serde_json::Value> {
    let answer = get(address, path)?;
    if answer.status != 200 {
        return None;
    }
    serde_json::from_slice(&answer.body).ok()
}

/// Asks with another method and without a body; the status, or `None` where there was no answer.
pub(crate) fn send(address: &str, method: &str, path: &str) -> Option<u16> {
    send_json(address, method, path, "")
}

/// Likewise, with a body.
pub(crate) fn send_json(address: &str, method: &str, path: &str, body: &str) -> Option<u16> {
    let mut socket = TcpStream::connect(address).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let length = body.len();
    let kind = "Content-Type: application/json\r\n";
    let head = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n{kind}");
    write!(socket, "{head}Content-Length: {length}\r\n\r\n{body}").ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    answer.split_whitespace().nth(1)?.parse().ok()
}
