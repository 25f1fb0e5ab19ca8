//! Elasticsearch: the tape in SQLite and in an Elasticsearch that is killed, and the transactions of
//! the producer that this project replaces.

use std::path::Path;
use std::sync::Arc;

use fts_adapters::journal::{Journal, JournalConfig};
use fts_core::market::{Source, Symbol, Topic};
use fts_core::port::log::{Append, Log as _, Record};
use fts_core::time::{Clock as _, SystemClock, UnixNanos};
use serde_json::{Value, json};

use crate::support::check::{await_trades, every_candle_is_right, every_trade_is_stored_once};
use crate::support::node::{Exchange, NodeCommand};
use crate::support::process::{Process, free_port, node_binary, program};
use crate::support::store::{Store, assert_same};
use crate::support::truth::Truth;
use crate::support::{PATIENCE, fixtures, http, until};

#[path = "../../../adapters/tests/elasticsearch/server.rs"]
mod server;

use server::Server;

/// The variable that names a server that asks for no login.
const SERVER: &str = "FTS_TEST_ELASTICSEARCH";
/// What SQLite has and documents have not: the version where it is always 0.
const ONE_SIDED: [&str; 1] = ["version"];
/// Documents that are read together.
const PAGE: usize = 5_000;
/// Partitions of a topic, unless it is said otherwise.
const PARTITIONS: u32 = 4;

#[test]
fn the_tape_lies_in_both_stores_alike_though_one_of_them_is_killed() {
    let Some(fixtures) = fixtures() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(mut server) = runtime.block_on(Server::start()) else { return };
    let truth = Truth::read(&fixtures);
    let folder = tempfile::tempdir().unwrap();
    let exchange = Exchange::play(&fixtures, folder.path());
    let tables = ["trades", "candles", "book_ticker_1s", "binance_ticker_data", "gaps", "alerts"];
    let stores = format!(
        "stores=[{{kind=\"sqlite\"}}, {{kind=\"elasticsearch\", nodes=[\"{}\"], replicas=0, \
         request_timeout_ms=10000, tables={tables:?}}}]",
        server.address()
    );
    let command = NodeCommand::new(folder.path(), &exchange).with(stores);
    let mut node = command.start();
    let sqlite = Store::new(command.database());

    // Each kill in the middle of what is being written.
    let trades = i64::try_from(truth.trades.len()).unwrap();
    for share in [3, 2] {
        until("a part of the tape in SQLite", PATIENCE, || {
            node.check_alive();
            (sqlite.count("trades") >= trades / share).then_some(())
        });
        server.kill();
        runtime.block_on(server.run());
    }
    // One that hangs holds up nobody else.
    server.signal("STOP");
    await_trades(&mut node, &sqlite, &truth);
    server.signal("CONT");
    let indices = Indices { server: server.address(), prefix: String::new() };
    until("Elasticsearch has caught up", PATIENCE, || {
        node.check_alive();
        let same = |table: &str| Some(plain(&sqlite, table) == indices.dump(table)?);
        (same("trades")? && same("candles")?).then_some(())
    });
    node.terminate();

    every_trade_is_stored_once(&sqlite, &truth);
    every_candle_is_right(&sqlite, &truth);
    for table in tables {
        let (left, right) = (plain(&sqlite, table), indices.dump(table).unwrap());
        assert_same(&format!("{table} in SQLite and Elasticsearch"), &left, &right);
    }
    assert!(plain(&sqlite, "book_ticker_1s").len() > 20, "there was something to compare");
}

/// The events that the replaced producer wrote, to the letter, and what is none.
fn events() -> Vec<String> {
    let event = |second: i64, stock: &str, rest: &str| {
        format!(
            "{{\"timestamp\": \"2026-11-20 10:15:{second:02}\", \"accion\": \"{stock}\", {rest}}}"
        )
    };
    let good = "\"tipo_transaccion\": \"COMPRA\", \"cantidad\": 76, \"precio_unitario\": 216.36, \
                \"total\": 16443.36, \"estado\": \"EXITOSO\", \"error\": null";
    let failed = "\"tipo_transaccion\": \"VENTA\", \"cantidad\": 1, \"precio_unitario\": 0.1, \
                  \"total\": 0.1, \"estado\": \"FALLIDO\", \"error\": \"ERROR_CONEXION\"";
    vec![
        event(1, "TSLA", good),
        event(2, "AAPL", failed),
        event(3, "TSLA", &good.replace("76", "\"muchas\"")),
        "2026-11-20 10:15:04 - INFO - Transacción enviada".to_owned(),
        event(5, "MSFT", &good.replace("COMPRA", "REGALO")),
        event(6, "GOOGL", good),
        "{\"timestamp\": \"2026-11-20 10:15:07\"}".to_owned(),
    ]
}

#[test]
fn what_the_old_producer_writes_arrives_with_types_and_what_is_malformed_is_kept_with_the_reason() {
    let Ok(server) = std::env::var(SERVER) else {
        println!("SKIPPED: {SERVER} does not name an Elasticsearch node (http://host:port)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(append(&folder.path().join("data/log")));
    let prefix = format!("fts-e2e-{}-{}-", SystemClock.now().millis(), std::process::id());
    let indices = Indices { server, prefix };
    let mut node = start(folder.path(), &indices, &[]);
    judge(&mut node, &indices);
    node.terminate();
    // A second run reads nothing twice, and a log that is read again changes nothing.
    std::fs::remove_dir_all(folder.path().join("data/log/checkpoints")).unwrap();
    std::fs::create_dir(folder.path().join("data/log/checkpoints")).unwrap();
    let mut node = start(folder.path(), &indices, &[]);
    judge(&mut node, &indices);
    node.terminate();
    indices.remove();
}

/// Writes the events to the embedded log, as somebody who knows nothing of partitions.
async fn append(log: &Path) {
    let clock: Arc<dyn fts_core::time::Clock> = Arc::new(SystemClock);
    let config = JournalConfig {
        dir: log.to_owned(),
        partitions: PARTITIONS,
        segment_bytes: 1 << 20,
        retention_ms: 0,
        retention_bytes: u64::MAX,
        tail_bytes: 1 << 20,
        clock,
    };
    let (journal, _) = Journal::open(config).unwrap();
    let batch = events().into_iter().map(|event| {
        let record = Record {
            key: Symbol::new("TSLA").unwrap(),
            value: event.into(),
            received_at: UnixNanos(1_763_633_700_000_000_000),
            source: Source::Stream,
            feed: 0,
        };
        Append { topic: Topic::Transactions, partition: 1, record }
    });
    journal.append(batch.collect()).await.unwrap();
}

fn start(folder: &Path, indices: &Indices, settings: &[String]) -> Process {
    let (prefix, server) = (&indices.prefix, &indices.server);
    let stores = format!(
        "stores=[{{kind=\"elasticsearch\", nodes=[\"{server}\"], index_prefix=\"{prefix}\", \
         replicas=0}}]"
    );
    let mut command = program(node_binary());
    command.current_dir(folder).arg("run").arg("--data-dir").arg(folder.join("data"));
    command.args(["--http", &format!("127.0.0.1:{}", free_port())]);
    // Nobody listens there: this is about stocks.
    let nobody = free_port();
    command.args(["--set", &format!("binance.stream_url=ws://127.0.0.1:{nobody}")]);
    command.args(["--set", &format!("binance.rest_url=http://127.0.0.1:{nobody}")]);
    command.args(["--set", "symbols=[\"BTCUSDT\"]", "--set", &stores]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    Process::start("node", folder, &mut command)
}

fn judge(node: &mut Process, indices: &Indices) {
    let (rows, letters) = until("the events in Elasticsearch", PATIENCE, || {
        node.check_alive();
        let rows = indices.documents("transacciones_nrt")?;
        let letters = indices.documents("dead_letters")?;
        (rows.len() == 3 && letters.len() == 4).then_some((rows, letters))
    });
    let mut found: Vec<Value> = rows.into_iter().map(|mut it| it["_source"].take()).collect();
    found.sort_by_key(|it| it["time"].to_string());
    let common = |row: &Value| {
        let mut row = row.clone();
        for column in ["id", "received_at", "extra"] {
            assert!(row.as_object_mut().unwrap().remove(column).is_some(), "{column}: {row}");
        }
        row
    };
    let expected = |second: i64, stock: &str| {
        json!({
            "time": format!("2026-11-20T10:15:0{second}.000Z"),
            "timestamp": format!("2026-11-20 10:15:0{second}"),
            "accion": stock,
            "tipo_transaccion": "COMPRA",
            "cantidad": 76,
            "precio_unitario": 216.36,
            "precio_unitario_text": "216.36000000",
            "total": 16443.36,
            "total_text": "16443.36000000",
            "estado": "EXITOSO",
            "error": null,
        })
    };
    assert_eq!(common(&found[0]), expected(1, "TSLA"));
    assert_eq!(common(&found[2]), expected(6, "GOOGL"));
    assert_eq!(found[0]["extra"]["hora"], json!(10));
    assert_eq!(found[1]["error"], "ERROR_CONEXION");
    assert_eq!(found[1]["precio_unitario"], json!(0.1));

    let mut letters: Vec<Value> = letters.into_iter().map(|mut it| it["_source"].take()).collect();
    letters.sort_by_key(|it| it["offset"].as_i64());
    let events = events();
    for (letter, (event, word)) in letters.iter().zip([
        (&events[2], "cantidad"),
        (&events[3], "not a JSON object"),
        (&events[4], "tipo_transaccion"),
        (&events[6], "accion"),
    ]) {
        assert_eq!(letter["payload"], **event);
        assert!(letter["reason"].as_str().unwrap().contains(word), "`{word}`: {letter}");
        assert_eq!(letter["topic"], "transacciones_financieras");
    }
}

/// Indices, as a stranger sees them.
struct Indices {
    server: String,
    prefix: String,
}

impl Indices {
    /// All documents of a table; `None` where it cannot be asked.
    fn documents(&self, table: &str) -> Option<Vec<Value>> {
        let address = self.server.trim_start_matches("http://");
        // In an order that no two rows share, page by page.
        let sort = match table {
            "trades" => json!(["trade_id", "symbol"]),
            "candles" => json!(["open_time", "symbol", "interval"]),
            "binance_ticker_data" => json!(["event_time", "symbol"]),
            "book_ticker_1s" => json!(["open_time", "symbol"]),
            _ => json!(["_doc"]),
        };
        let mut search = json!({ "size": PAGE, "sort": sort });
        let mut all: Vec<Value> = Vec::new();
        loop {
            let path = format!(
                "/{}{table}/_search?ignore_unavailable=true&source_content_type=application/json\
                 &source={}",
                self.prefix,
                encoded(&search.to_string())
            );
            let mut found = get_json(address, &path)?;
            let Value::Array(hits) = found["hits"]["hits"].take() else { return None };
            let count = hits.len();
            all.extend(hits);
            if count < PAGE {
                return Some(all);
            }
            search["search_after"] = all.last()?["sort"].clone();
        }
    }

    /// The rows of a table as text, like those of SQLite: the decimals by the text beside them.
    fn dump(&self, table: &str) -> Option<Vec<String>> {
        let lines = self.documents(table)?.into_iter().map(|mut hit| {
            let Value::Object(source) = hit["_source"].take() else { panic!("{hit}") };
            let texts = |name: &str| source.contains_key(&format!("{name}_text"));
            let cells = source.iter().filter(|(name, _)| !texts(name)).map(|(name, value)| {
                let text = match value {
                    Value::String(text) if name.ends_with("time") || name.ends_with("_at") => {
                        text.parse::<jiff::Timestamp>().unwrap().as_millisecond().to_string()
                    }
                    Value::String(text) => text.clone(),
                    Value::Bool(flag) => u8::from(*flag).to_string(),
                    Value::Null => "-".to_owned(),
                    other => other.to_string(),
                };
                (name.strip_suffix("_text").unwrap_or(name).to_owned(), text)
            });
            line(cells.collect())
        });
        Some(sorted(lines))
    }

    fn remove(&self) {
        let address = self.server.trim_start_matches("http://");
        let names: Vec<String> = ["transacciones_nrt", "dead_letters"]
            .iter()
            .filter_map(|table| self.documents(table))
            .flatten()
            .filter_map(|it| it["_index"].as_str().map(str::to_owned))
            .collect();
        for path in names.iter().map(|it| format!("/{it}")) {
            delete(address, &path);
        }
        delete(address, &format!("/_index_template/{}fts-*", self.prefix));
    }
}

/// The JSON of an answer with status 200. Elasticsearch sends it in chunks, whatever it is asked for.
fn get_json(address: &str, path: &str) -> Option<Value> {
    let answer = http::get(address, path).filter(|it| it.status == 200)?;
    let (mut rest, mut whole) = (answer.body.as_slice(), Vec::new());
    if rest.first() != Some(&b'{') {
        loop {
            let end = rest.windows(2).position(|it| it == b"\r\n")?;
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
            if size == 0 {
                break;
            }
            whole.extend_from_slice(rest.get(end + 2..end + 2 + size)?);
            rest = rest.get(end + 4 + size..)?;
        }
        rest = &whole;
    }
    serde_json::from_slice(rest).ok()
}

/// A text as part of an address.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn delete(address: &str, path: &str) {
    use std::io::{Read as _, Write as _};
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    write!(socket, "DELETE {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    socket.read_to_end(&mut Vec::new()).unwrap();
}

/// A table of SQLite as text, row by row.
fn plain(store: &Store, table: &str) -> Vec<String> {
    use rusqlite::types::Value;
    let text = |value: &Value| match value {
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => panic!("{table}: {other:?}"),
    };
    let rows = store.rows(&format!("SELECT * FROM {table}"));
    let lines = rows
        .iter()
        .map(|row| line(row.iter().map(|(name, value)| (name.clone(), text(value))).collect()));
    sorted(lines)
}

fn line(mut cells: std::collections::BTreeMap<String, String>) -> String {
    cells.retain(|name, _| !ONE_SIDED.contains(&name.as_str()));
    cells.iter().map(|(name, value)| format!("{name}={value} ")).collect()
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}
