//! The HTTP side over a real socket and a store in memory: what is asked wrongly is refused in the
//! exchange's own words, and what fails says so in a way that a person can read.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails; clippy exempts only #[test] bodies"
)]

mod memory;
mod reach;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fts_actors::view::{SymbolView, View};
use fts_core::decimal::{Decimal, Notional};
use fts_core::interval::Interval;
use fts_core::market::{BookTicker, Symbol, Ticker};
use fts_core::port::store::Store;
use fts_core::row::{
    AlertRow, BookSecond, BookSecondRow, Candle, CandleRow, Extent, GapRow, Rows, TickerRow,
};
use fts_core::time::{SystemClock, UnixNanos};
use fts_node::http::{Web, serve};
use memory::MemoryStore;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// 2024-08-09 00:00 UTC.
const START: i64 = 1_723_161_600_000;
const MINUTE: i64 = 60_000;
/// Candles of one minute; the one in the middle did not trade.
const MINUTES: i64 = 1_200;

struct Node {
    address: SocketAddr,
    view: Arc<View>,
    store: Arc<MemoryStore>,
    _stop: watch::Sender<bool>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Node {
    /// BTCUSDT has everything, NEWUSDT is followed and nothing came of it yet.
    async fn start() -> Self {
        Self::start_on("127.0.0.1:0", &[]).await
    }

    /// The same, asked on 127.0.0.1 wherever else it listens, too.
    async fn start_on(bound: &str, hosts: &[&str]) -> Self {
        let (view, store) = (Arc::new(View::default()), Arc::new(MemoryStore::default()));
        store.put(&[Arc::new(rows())]).await.unwrap();
        for name in ["BTCUSDT", "NEWUSDT"] {
            view.update(|it| it.symbols.insert(symbol(name), SymbolView::default()));
        }
        view.update_symbol(&symbol("BTCUSDT"), |it| it.book = Some(book()));
        let (stop, shutdown) = watch::channel(false);
        let web = Web {
            view: Arc::clone(&view),
            store: Arc::clone(&store) as Arc<dyn Store>,
            metrics: Arc::new(|| "# TYPE fts_x counter\nfts_x 1\n".to_owned()),
            clock: Arc::new(SystemClock),
            node: "test".to_owned(),
            hosts: hosts.iter().map(|it| (*it).to_owned()).collect(),
            nodes: None,
            started_at: UnixNanos::from_millis(START),
            batch: None,
            shutdown,
        };
        let listener = TcpListener::bind(bound).await.unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
        tokio::spawn(serve(listener, web));
        Self { address, view, store, _stop: stop }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1"), &format!("Host: {}", self.address)).await
    }

    async fn ask(&self, request: &str, header: &str) -> Answer {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let text = format!("{request}\r\n{header}\r\nConnection: close\r\n\r\n");
        socket.write_all(text.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).await.unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// The answer to `path` has this status and, where it is no success, this code and message.
    async fn refuses(&self, path: &str, status: u16, code: i64, words: &str) {
        let answer = self.get(path).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        let body = answer.json();
        assert_eq!(body["code"], code, "{path}: {body}");
        assert!(body["msg"].as_str().unwrap().contains(words), "{path}: {body}");
        assert_eq!(body.as_object().unwrap().len(), 2, "{path}: {body}");
    }

    async fn list(&self, path: &str) -> Vec<Value> {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json().as_array().unwrap_or_else(|| panic!("{path}: {answer:?}")).clone()
    }
}

fn symbol(name: &str) -> Symbol {
    Symbol::new(name).unwrap()
}

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn book() -> BookTicker {
    BookTicker {
        update_id: 77,
        bid_price: decimal("61837.63"),
        bid_quantity: decimal("3.78826"),
        ask_price: decimal("61837.64"),
        ask_quantity: decimal("1.54698"),
    }
}

fn ticker(time: i64, count: i64) -> Ticker {
    let price = decimal("61837.63");
    Ticker {
        event_time: time,
        price_change: decimal("-95.96"),
        price_change_percent: decimal("-0.155"),
        weighted_avg_price: price,
        first_trade_price: price,
        last_price: price,
        last_quantity: decimal("0.02"),
        best_bid_price: price,
        best_bid_quantity: decimal("3"),
        best_ask_price: price,
        best_ask_quantity: decimal("2"),
        open_price: price,
        high_price: price,
        low_price: price,
        base_volume: decimal("7"),
        quote_volume: decimal("9"),
        open_time: time - 86_400_000,
        close_time: time,
        first_trade_id: 1,
        last_trade_id: count,
        trade_count: count,
    }
}

fn candle(symbol: &Symbol, interval: Interval, open_time: i64, trades: (i64, i64)) -> CandleRow {
    let price = decimal("61837.63");
    let candle = Candle {
        open_time,
        open: price,
        high: price,
        low: price,
        close: price,
        volume: decimal("0.02"),
        quote_volume: Notional::ZERO,
        trade_count: trades.1 - trades.0 + 1,
        taker_buy_volume: Decimal::ZERO,
        taker_buy_quote_volume: Notional::ZERO,
        first_trade_id: trades.0,
        last_trade_id: trades.1,
    };
    CandleRow { symbol: symbol.clone(), interval, candle, complete: true }
}

fn book_second(symbol: &Symbol, open_time: i64) -> BookSecondRow {
    let extent = |price| Extent { open: price, high: price, low: price, close: price };
    BookSecondRow {
        symbol: symbol.clone(),
        second: BookSecond {
            open_time,
            bid: extent(book().bid_price),
            ask: extent(book().ask_price),
            spread_sum: book().ask_price.minus(book().bid_price),
            update_count: 1,
            first_update_id: open_time,
            last_update_id: open_time,
        },
    }
}

fn ticker_row(symbol: &Symbol, time: i64, count: i64) -> TickerRow {
    let ticker = Box::new(ticker(time, count));
    TickerRow { symbol: symbol.clone(), ticker, received_at: time }
}

fn rows() -> Rows {
    let symbol = symbol("BTCUSDT");
    let mut rows = Rows::default();
    let price = decimal("61837.63");
    for minute in (0..MINUTES).filter(|minute| *minute != MINUTES / 2) {
        // Contiguous over the minute in which nothing traded.
        let trade = minute - i64::from(minute > MINUTES / 2);
        let open_time = START + minute * MINUTE;
        rows.candles.push(candle(&symbol, Interval::Minute, open_time, (trade, trade)));
    }
    rows.candles.push(candle(&symbol, Interval::Day, START, (0, MINUTES - 2)));
    for second in 0..3 {
        let at = START + second * 1_000;
        rows.book_seconds.push(book_second(&symbol, at));
        rows.tickers.push(ticker_row(&symbol, at, 100 + second));
    }
    rows.alerts.push(AlertRow {
        symbol: symbol.clone(),
        time: START,
        up: true,
        window_ms: MINUTE,
        threshold_percent: decimal("1"),
        reference_price: price,
        price,
        change_percent: decimal("1.5"),
    });
    rows.gaps.push(GapRow {
        symbol,
        first_trade_id: 5,
        last_trade_id: 6,
        missing: 2,
        after_time: Some(START),
        before_time: START + 1,
        reason: "the exchange does not have them".to_owned(),
    });
    rows
}

#[tokio::test]
async fn klines_asked_for_wrongly_are_refused_in_the_exchanges_words() {
    let node = Node::start().await;
    let with = |rest: &str| format!("/api/v3/klines?symbol=BTCUSDT&interval=1m{rest}");
    for (path, code, words) in [
        ("/api/v3/klines".to_owned(), -1102, "'symbol' was not sent"),
        ("/api/v3/klines?interval=1m".to_owned(), -1102, "'symbol' was not sent"),
        ("/api/v3/klines?symbol=&interval=1m".to_owned(), -1102, "'symbol'"),
        ("/api/v3/klines?symbol=BTCUSDT".to_owned(), -1102, "'interval' was not sent"),
        ("/api/v3/klines?symbol=btcusdt&interval=1m".to_owned(), -1100, "'symbol'; legal range"),
        ("/api/v3/klines?symbol=B%20T&interval=1m".to_owned(), -1100, "'symbol'"),
        ("/api/v3/klines?symbol=NOPEUSDT&interval=1m".to_owned(), -1121, "Invalid symbol."),
        ("/api/v3/klines?symbol=BTCUSDT&interval=7m".to_owned(), -1120, "Invalid interval."),
        (with("&limit=0"), -1130, "'limit'"),
        (with("&limit=-1"), -1100, "'limit'"),
        (with("&limit=ten"), -1100, "'limit'"),
        (with("&limit=99999999999999999999"), -1108, "'limit' overflowed"),
        (with("&limit="), -1105, "'limit' was empty"),
        (with("&startTime=yesterday"), -1100, "'startTime'"),
        (with("&endTime=1.5"), -1100, "'endTime'"),
        (with("&timeZone=25"), -1130, "'timeZone'"),
        (with("&colour=red"), -1104, "read '2' parameter(s) but was sent '3'"),
        (with("&interval=5m"), -1101, "Duplicate values"),
    ] {
        node.refuses(&path, 400, code, words).await;
    }
    let host = format!("Host: {}\r\nX-MBX-TIME-UNIT: DAY", node.address);
    let answer = node.ask(&format!("GET {} HTTP/1.1", with("")), &host).await;
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(-1194)));
}

#[tokio::test]
async fn klines_are_what_was_asked_for_and_no_more() {
    let node = Node::start().await;
    let with = |rest: &str| format!("/api/v3/klines?symbol=BTCUSDT&interval=1m{rest}");
    let opens = async |path: &str| -> Vec<i64> {
        let list = node.list(path).await;
        list.iter().map(|it| (it[0].as_i64().unwrap() - START) / MINUTE).collect()
    };
    let newest: Vec<i64> = (MINUTES - 500..MINUTES).collect();
    assert_eq!(opens(&with("")).await, newest, "500 unless said otherwise, the newest");
    assert_eq!(opens(&with("&limit=5000")).await.len(), 1_000, "1,000 at most");
    assert_eq!(opens(&with("&limit=2")).await, [MINUTES - 2, MINUTES - 1]);
    let from = START + 3 * MINUTE;
    assert_eq!(opens(&with(&format!("&startTime={from}&limit=2"))).await, [3, 4]);
    assert_eq!(opens(&with(&format!("&startTime={}&limit=2", from - 1))).await, [3, 4]);
    assert_eq!(opens(&with(&format!("&startTime={}&limit=1", from * 1_000))).await, [3], "µs");
    assert_eq!(opens(&with(&format!("&endTime={from}&limit=2"))).await, [2, 3]);
    assert_eq!(opens(&with(&format!("&startTime={from}&endTime={START}"))).await, [0_i64; 0]);
    assert_eq!(opens("/api/v3/klines?symbol=NEWUSDT&interval=1m").await, [0_i64; 0]);

    // Where nothing traded there is a flat candle, as the exchange has it.
    let flat = START + MINUTES / 2 * MINUTE;
    let list = node.list(&with(&format!("&startTime={flat}&limit=1"))).await;
    let price = "61837.63000000";
    let zero = "0.00000000";
    let expected = json!([
        flat,
        price,
        price,
        price,
        price,
        zero,
        flat + MINUTE - 1,
        zero,
        0,
        zero,
        zero,
        "0"
    ]);
    assert_eq!(list, [expected]);
}

#[tokio::test]
async fn tickers_asked_for_wrongly_are_refused_in_the_exchanges_words() {
    let node = Node::start().await;
    for endpoint in ["24hr", "bookTicker"] {
        for (query, status, code, words) in [
            ("symbol=NOPEUSDT", 400, -1121, "Invalid symbol."),
            ("symbol=btcusdt", 400, -1100, "'symbol'"),
            ("symbol=", 400, -1105, "'symbol' was empty"),
            ("symbols=BTCUSDT", 400, -1100, "'symbols'"),
            ("symbols=%5B%22NOPEUSDT%22%5D", 400, -1121, "Invalid symbol."),
            ("symbols=%5B%22BTCUSDT%22,%22BTCUSDT%22%5D", 400, -1151, "multiple times"),
            ("symbol=BTCUSDT&symbols=%5B%22BTCUSDT%22%5D", 400, -1128, "cannot both be sent"),
            ("symbol=BTCUSDT&symbolStatus=OPEN", 400, -1122, "Invalid symbolStatus."),
            ("symbol=BTCUSDT&interval=1m", 400, -1104, "read '1' parameter(s)"),
            ("symbol=NEWUSDT", 503, -1000, "Nothing received of NEWUSDT yet."),
        ] {
            node.refuses(&format!("/api/v3/ticker/{endpoint}?{query}"), status, code, words).await;
        }
    }
    let path = "/api/v3/ticker/24hr?symbol=BTCUSDT&type=HUGE";
    node.refuses(path, 400, -1139, "Invalid ticker type.").await;
}

#[tokio::test]
async fn one_symbol_is_answered_by_an_object_and_several_by_a_list() {
    let node = Node::start().await;
    let one = node.get("/api/v3/ticker/bookTicker?symbol=BTCUSDT").await.json();
    let expected = json!({
        "symbol": "BTCUSDT", "bidPrice": "61837.63000000", "bidQty": "3.78826000",
        "askPrice": "61837.64000000", "askQty": "1.54698000",
    });
    assert_eq!(one, expected);
    for query in ["", "?symbols=%5B%22BTCUSDT%22%5D"] {
        let list = node.list(&format!("/api/v3/ticker/bookTicker{query}")).await;
        assert_eq!(list, std::slice::from_ref(&expected), "{query}");
    }
    let full = node.get("/api/v3/ticker/24hr?symbol=BTCUSDT").await.json();
    assert_eq!(full["priceChangePercent"], "-0.155");
    assert_eq!((&full["count"], &full["lastId"]), (&json!(102), &json!(102)), "the newest");
    assert_eq!(full.as_object().unwrap().len(), 21, "{full}");
    let mini = node.list("/api/v3/ticker/24hr?type=MINI").await;
    assert_eq!(mini[0].as_object().unwrap().len(), 12, "{mini:?}");
    assert_eq!(mini[0].get("bidPrice"), None);
}

#[tokio::test]
async fn what_the_page_asks_for_is_answered_or_refused_likewise() {
    let node = Node::start().await;
    for (path, count) in [
        ("/api/candles?symbol=BTCUSDT&interval=1m&limit=3", 3),
        ("/api/candles?symbol=NEWUSDT&interval=1m", 0),
        ("/api/book?symbol=BTCUSDT", 3),
        ("/api/book?symbol=BTCUSDT&limit=2", 2),
        ("/api/trade-counts?symbol=BTCUSDT", 3),
        ("/api/trade-counts?symbol=NEWUSDT", 0),
        ("/api/alerts", 1),
        ("/api/gaps", 1),
    ] {
        assert_eq!(node.list(path).await.len(), count, "{path}");
    }
    for (path, code, words) in [
        ("/api/candles?interval=1m", -1102, "'symbol'"),
        ("/api/candles?symbol=BTCUSDT&interval=2m", -1120, "Invalid interval."),
        ("/api/book", -1102, "'symbol'"),
        ("/api/book?symbol=BTCUSDT&from=now", -1100, "'from'"),
        ("/api/trade-counts?symbol=BTCUSDT&limit=0", -1130, "'limit'"),
        ("/api/alerts?limit=x", -1100, "'limit'"),
        ("/api/gaps?symbol=BTCUSDT", -1104, "read '0'"),
    ] {
        node.refuses(path, 400, code, words).await;
    }
    let status = node.get("/api/status").await.json();
    assert_eq!(status["node"], "test");
    assert_eq!(status["symbols"].as_array().unwrap().len(), 2);
    assert_eq!(node.get("/api/v3/ping").await.json(), json!({}));
    assert!(node.get("/api/v3/time").await.json()["serverTime"].as_i64().unwrap() > START);
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_of_the_server_with_its_reason() {
    let node = Node::start().await;
    node.store.broken.store(true, Ordering::Relaxed);
    for path in [
        "/api/v3/klines?symbol=BTCUSDT&interval=1m",
        "/api/v3/ticker/24hr?symbol=BTCUSDT",
        "/api/candles?symbol=BTCUSDT&interval=1m",
        "/api/book?symbol=BTCUSDT",
        "/api/trade-counts?symbol=BTCUSDT",
        "/api/alerts",
        "/api/gaps",
    ] {
        node.refuses(path, 503, -1000, "the store is unavailable: switched off").await;
    }
    // What is live needs no store.
    assert_eq!(node.get("/api/v3/ticker/bookTicker?symbol=BTCUSDT").await.status, 200);
    assert_eq!(node.get("/livez").await.status, 200);
}

#[tokio::test]
async fn probes_tell_life_from_readiness_and_say_what_is_wrong() {
    let node = Node::start().await;
    assert_eq!((node.get("/readyz").await.status, node.get("/livez").await.status), (200, 200));
    node.view.problem("log", Some("the disk is full".to_owned()));
    let answer = node.get("/readyz").await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "log: the disk is full\n"));
    assert_eq!(node.get("/livez").await.status, 200, "a restart would not help");
    node.view.problem("log", None);
    assert_eq!(node.get("/readyz").await.body, "ready\n");
    let metrics = node.get("/metrics").await;
    assert!(metrics.head.contains("text/plain; version=0.0.4"), "{metrics:?}");
    assert!(metrics.body.contains("fts_x 1"), "{metrics:?}");
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_said_in_words() {
    let node = Node::start().await;
    for path in ["/api/v3/depth?symbol=BTCUSDT", "/nothing", "/api", "/metrics/"] {
        let answer = node.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.contains("/api/v3/klines"), "{path}: {answer:?}");
    }
    let host = format!("Host: {}", node.address);
    let answer = node.ask("POST /api/v3/klines HTTP/1.1", &host).await;
    assert_eq!((answer.status, answer.body.as_str()), (405, "this node does not do that\n"));
    assert!(answer.head.to_lowercase().contains("allow: get"), "{answer:?}");
    // A page of another site, whose name was pointed here.
    let answer = node.ask("GET /api/status HTTP/1.1", "Host: evil.example").await;
    assert_eq!(answer.status, 421);
    assert!(answer.body.contains("http.hosts"), "{answer:?}");
    for header in ["content-security-policy", "x-content-type-options"] {
        assert!(node.get("/nothing").await.head.contains(header), "{header}");
    }
}

#[tokio::test]
async fn a_page_that_points_its_own_name_at_a_node_on_all_addresses_gets_nothing() {
    let node = Node::start_on("0.0.0.0:0", &["ticks.example.org"]).await;
    for request in [
        "GET / HTTP/1.1",
        "GET /api/status HTTP/1.1",
        "GET /api/v3/klines?symbol=BTCUSDT&interval=1m HTTP/1.1",
        "GET /metrics HTTP/1.1",
        "GET /nothing HTTP/1.1",
        "PUT /api/symbols/SOLUSDT HTTP/1.1",
        "DELETE /api/symbols/BTCUSDT HTTP/1.1",
        "POST /api/batch/run HTTP/1.1",
    ] {
        let header = "Host: evil.example:8080\r\nOrigin: http://evil.example:8080\r\n\
                      Sec-Fetch-Site: same-origin\r\nContent-Length: 0";
        let answer = node.ask(request, header).await;
        assert_eq!(answer.status, 421, "{request}: {answer:?}");
        assert!(answer.body.contains("http.hosts"), "{request}: {answer:?}");
    }
    for host in ["127.0.0.1:8080", "localhost:8080", "fts-node-1:8080", "Ticks.example.org"] {
        let answer = node.ask("GET /api/status HTTP/1.1", &format!("Host: {host}")).await;
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
    }
    assert_eq!(node.ask("GET /readyz HTTP/1.0", "Accept: */*").await.status, 200, "no browser");
}
