//! What the tests share: a WebSocket client, an HTTP client, tapes made for the occasion.

use flate2::{Compression, write::GzEncoder};
use fts_exchange::{Config, Exchange, SeededConfig, Source, Speed, Start, TapeConfig};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Nothing that is waited for takes this long, unless it never comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The recorded fixtures, or `None` with a loud line where they are not.
pub(crate) fn fixtures() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/binance");
    if folder.join("spot_btcusdt_20240808.gz").exists() {
        return Some(folder);
    }
    eprintln!("!!! NOT TESTED: the recorded fixtures are not at ../shared/fixtures");
    None
}

/// The four spot recordings.
pub(crate) fn recordings(folder: &Path) -> Vec<PathBuf> {
    ["btcusdt_20240808", "btcusdt_20240809", "ethusdt_20240808", "ethusdt_20240809"]
        .map(|name| folder.join(format!("spot_{name}.gz")))
        .into()
}

pub(crate) fn tape(files: Vec<PathBuf>, speed: Speed, start: Start) -> Config {
    Config::new(Source::Tape(TapeConfig { files, speed, start }))
}

pub(crate) fn seeded(seed: u64, symbols: &[&str], rate: f64) -> Config {
    let symbols = symbols.iter().map(|name| (*name).to_owned()).collect();
    Config::new(Source::Seeded(SeededConfig { seed, symbols, rate, epoch_ms: None }))
}

/// Writes lines as a gzip file.
pub(crate) fn write_tape(folder: &Path, name: &str, lines: &[&str]) -> PathBuf {
    let path = folder.join(name);
    let mut out = GzEncoder::new(std::fs::File::create(&path).unwrap(), Compression::fast());
    for line in lines {
        writeln!(out, "{line}").unwrap();
    }
    out.finish().unwrap();
    path
}

/// A recorded trade of AAAUSDT, one a second.
pub(crate) fn trade_line(id: u64, second: i64) -> String {
    let ms = 1_700_000_000_000 + second * 1000;
    format!(
        "{}000000 {{\"stream\":\"aaausdt@trade\",\"data\":{{\"e\":\"trade\",\"E\":{},\"s\":\"AAAUSDT\",\
         \"t\":{id},\"p\":\"2.50000000\",\"q\":\"4.00000000\",\"T\":{ms},\"m\":true,\"M\":true}}}}",
        ms + 3,
        ms + 2,
    )
}

/// A WebSocket client.
pub(crate) struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    /// Connects to a path such as `/ws`.
    pub(crate) async fn connect(exchange: &Exchange, path: &str) -> Self {
        let url = format!("ws://{}{path}", exchange.addr());
        Self(tokio_tungstenite::connect_async(url).await.unwrap().0)
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next message of any kind; `None` when the connection is gone.
    pub(crate) async fn message(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
        next.expect("nothing came").and_then(Result::ok)
    }

    /// The code and reason that the connection is closed with; whatever comes before is skipped.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.message().await.expect("the connection ended without a goodbye") {
                Message::Close(Some(frame)) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Message::Close(None) => panic!("closed without a code"),
                _ => {}
            }
        }
    }

    /// Waits for the end of the connection; whether there was a goodbye.
    pub(crate) async fn ended(&mut self) -> bool {
        while let Some(message) = self.message().await {
            if matches!(message, Message::Close(_)) {
                return true;
            }
        }
        false
    }

    /// The next text.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            match self.message().await.expect("the connection ended") {
                Message::Text(text) => return text.as_str().to_owned(),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The next text, as JSON.
    pub(crate) async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// Sends a request and returns the next text.
    pub(crate) async fn ask(&mut self, request: &str) -> String {
        self.send(request).await;
        self.text().await
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            line.split_once(": ").filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|h| h.1)
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// GET of a path such as `/api/v3/ping`.
pub(crate) async fn get(exchange: &Exchange, path: &str) -> Answer {
    request(exchange, "GET", path, "").await
}

/// Any request with a body.
pub(crate) async fn request(exchange: &Exchange, method: &str, path: &str, body: &str) -> Answer {
    let mut socket = TcpStream::connect(exchange.addr()).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut raw = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut raw)).await.unwrap().unwrap();
    let text = String::from_utf8(raw).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// GET of `/api/v3/…`, which must succeed.
pub(crate) async fn api(exchange: &Exchange, path: &str) -> Value {
    let answer = get(exchange, &format!("/api/v3/{path}")).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}
