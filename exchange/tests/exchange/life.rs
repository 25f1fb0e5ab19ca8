//! The life of a connection: pings, slow consumers, the end.

use crate::support::{Client, get, seeded, tape, trade_line, write_tape};
use fts_exchange::{Exchange, Speed, Start};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

/// A client that shook hands and says nothing more; returns all that it is sent until the end.
async fn mute(exchange: &Exchange) -> Vec<u8> {
    let mut socket = TcpStream::connect(exchange.addr()).await.unwrap();
    let request = "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    socket.read_to_end(&mut all).await.unwrap();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_pong_the_connection_is_closed_with_1008() {
    let mut config = seeded(1, &["BTCUSDT"], 10.0);
    config.socket.ping_interval = Duration::from_millis(30);
    config.socket.pong_timeout = Duration::from_millis(200);
    let exchange = Exchange::start(config).await.unwrap();
    let all = mute(&exchange).await;
    let text = String::from_utf8_lossy(&all).into_owned();
    assert!(text.starts_with("HTTP/1.1 101"), "{text}");
    assert!(text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{text}");
    let frames = &all[all.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4..];
    // A ping carries the time in ms: 13 digits.
    assert_eq!(frames[..2], [0x89, 13]);
    assert!(frames[2..15].iter().all(u8::is_ascii_digit));
    let mut close = vec![0x88, 14, 0x03, 0xf0];
    close.extend_from_slice(b"Pong timeout");
    assert!(frames.ends_with(&close), "{frames:?}");
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_pings_stays() {
    let mut config = seeded(1, &["BTCUSDT"], 10.0);
    config.socket.ping_interval = Duration::from_millis(20);
    config.socket.pong_timeout = Duration::from_secs(3600);
    let exchange = Exchange::start(config).await.unwrap();
    let mut client = Client::connect(&exchange, "/ws").await;
    // The client's library answers when it is read on.
    for _ in 0..50 {
        match client.message().await.expect("closed in spite of pongs") {
            Message::Ping(payload) => assert_eq!(payload.len(), 13),
            other => panic!("{other:?}"),
        }
    }
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_cut_off_and_nobody_else_notices() {
    let folder = tempfile::tempdir().unwrap();
    let count = 60_000;
    let lines: Vec<String> = (0..count).map(|id| trade_line(id, 0)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let file = write_tape(folder.path(), "a.gz", &lines);
    // All frames are due at once: 11 MB, more than the sockets between two processes hold.
    let mut config = tape(vec![file], Speed::Times(1.0), Start::First);
    config.socket.outbox_bytes = 1 << 20;
    let exchange = Exchange::start(config).await.unwrap();
    let mut slow = Client::connect(&exchange, "/ws/aaausdt@trade").await;
    exchange.tape_ended().await;
    let mut received = 0_u64;
    while let Some(Message::Text(_)) = slow.message().await {
        received += 1;
    }
    assert!(received < count, "a client that never read got everything");
    assert_eq!(get(&exchange, "/api/v3/ping").await.status, 200);
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_max_speed_the_tape_waits_for_slow_clients() {
    let folder = tempfile::tempdir().unwrap();
    let count = 60_000;
    let lines: Vec<String> = (0..count).map(|id| trade_line(id, 0)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let file = write_tape(folder.path(), "a.gz", &lines);
    let mut config = tape(vec![file], Speed::Max, Start::First);
    config.socket.outbox_bytes = 1 << 20;
    let exchange = Exchange::start(config).await.unwrap();
    let mut slow = Client::connect(&exchange, "/ws/aaausdt@trade").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for id in 0..count {
        assert_eq!(slow.json().await["t"], id);
    }
    exchange.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_says_goodbye_with_1001() {
    let exchange = Exchange::start(seeded(1, &["BTCUSDT"], 10.0)).await.unwrap();
    let mut client = Client::connect(&exchange, "/ws/nothing@trade").await;
    let (_, last) = tokio::join!(exchange.stop(), client.message());
    match last {
        Some(Message::Close(Some(frame))) => assert_eq!(u16::from(frame.code), 1001),
        other => panic!("{other:?}"),
    }
}
