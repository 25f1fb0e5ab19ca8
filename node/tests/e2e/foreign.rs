//! What a client that is not ours puts on Kafka's topics: the events of the replaced system, as that
//! wrote them, become rows of the right types, and what is malformed dead letters with the reason.
//!
//! The client is Kafka's own, in Java (`foreign/OldProducer.java`), run from the broker's own jars: it
//! chooses partitions by another hash than this program, or by none, and writes no headers.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value as Json;

use crate::support::dump::{self, Cells, same};
use crate::support::node::{Exchange, NodeCommand};
use crate::support::store::Store;
use crate::support::{PATIENCE, http, until};

const TRANSACTIONS: &str = "transacciones_financieras";

/// The event as the replaced system wrote it, byte by byte.
const BOUGHT: &str = r#"{"timestamp": "2024-08-09 10:40:00", "accion": "AMZN", "tipo_transaccion": "COMPRA", "cantidad": 88, "precio_unitario": 186.86, "total": 16443.68, "estado": "EXITOSO", "error": null}"#;
const FAILED: &str = r#"{"timestamp": "2024-08-09 10:40:01", "accion": "TSLA", "tipo_transaccion": "VENTA", "cantidad": 1, "precio_unitario": 1042.5, "total": 1042.5, "estado": "FALLIDO", "error": "ERROR_CONEXION"}"#;

/// Keys that foreign clients choose: none, the stock, no symbol, no text.
const KEYS: [&str; 4] = ["-", "AMZN", "no symbol!", "\u{ff}\u{fe}"];

/// What is malformed (a byte a character), and what its reason must name.
const MALFORMED: [(&str, &str); 9] = [
    ("-", "not a JSON object"),
    ("", "not a JSON object"),
    ("hola", "not a JSON object"),
    ("[1, 2]", "not a JSON object"),
    ("\u{ff}\u{fe}", "no text"),
    (r#"{"timestamp": "2024-08-09 10:40:00", "accion": "AMZN"}"#, "`tipo_transaccion`"),
    (r#"{"timestamp": "ayer", "accion": "AMZN"}"#, "`time`"),
    (
        r#"{"timestamp": "2024-08-09 10:40:00", "accion": "AMZN", "tipo_transaccion": "REGALO", "cantidad": 88}"#,
        "`REGALO` is none of",
    ),
    (
        r#"{"timestamp": "2024-08-09 10:40:00", "accion": "AMZN", "tipo_transaccion": "VENTA", "cantidad": "many"}"#,
        "`many` is not a whole number",
    ),
];

/// A trade of the exchange, on its topic but without its key.
const TRADE: &str = r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}"#;

#[test]
fn events_of_the_replaced_system_come_through_kafka_from_a_client_that_is_not_ours() {
    let Some(broker) = named("FTS_TEST_KAFKA") else { return };
    let Some(pattern) = named("FTS_TEST_KAFKA_PIDS") else { return };
    let Some(url) = named("FTS_TEST_ELASTICSEARCH") else { return };
    let elastic = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let own = format!("foreign{}-", std::process::id());
    let folder = tempfile::tempdir().unwrap();
    let exchange = Exchange::seeded(folder.path());
    let command = NodeCommand::new(folder.path(), &exchange)
        .with("log.kind=kafka".to_owned())
        .with(format!("log.kafka.brokers=[\"{broker}\"]"))
        .with("log.kafka.replication=1".to_owned())
        .with("log.kafka.min_insync=1".to_owned())
        .with(format!("log.kafka.topic_prefix={own}"))
        .with(format!(
            "stores=[{{kind=\"sqlite\"}}, {{kind=\"elasticsearch\", nodes=[\"{url}\"], \
             index_prefix=\"{own}\", replicas=0}}]"
        ));
    let mut node = command.start();
    command.await_ready(&mut node);

    let mut lines = Vec::new();
    for key in KEYS {
        for event in [BOUGHT, FAILED].into_iter().chain(MALFORMED.map(|it| it.0)) {
            lines.push(format!("{own}{TRANSACTIONS}\t{key}\t{event}"));
        }
    }
    for key in ["-", "no symbol!"] {
        lines.push(format!("{own}binanceTrade\t{key}\t{TRADE}"));
    }
    produce(&pattern, &broker, &lines);

    let sqlite = Store::new(command.database());
    let (good, bad) = (2 * KEYS.len(), MALFORMED.len() * KEYS.len() + 2);
    let stored = |table: &str| dump::elasticsearch(&elastic, &format!("{own}{table}"));
    for (table, count) in [("transacciones_nrt", good), ("dead_letters", bad)] {
        until("everything in both stores", PATIENCE, || {
            node.check_alive();
            let rows = dump::sqlite(&sqlite, table);
            let there = stored(table)?;
            let plain = |rows: &[Cells]| rows.iter().map(without_extra).collect::<Vec<_>>();
            (rows.len() >= count && same(table, &plain(&rows), &plain(&there))).then_some(())
        });
    }
    // Of one key only it can be said that it is the stock.
    until("the warning of the other keys", PATIENCE, || {
        let ready = http::get(&command.http, "/readyz").filter(|it| it.status == 200)?;
        let said = String::from_utf8_lossy(&ready.body).into_owned();
        said.contains("under another key than their stock").then_some(())
    });
    node.terminate();

    every_event_is_a_row(&sqlite);
    every_column_has_its_type(&elastic, &own);
    let mut reasons: Vec<(String, String)> = dump::sqlite(&sqlite, "dead_letters")
        .into_iter()
        .map(|mut row| (row.remove("payload").unwrap(), row.remove("reason").unwrap()))
        .collect();
    assert_eq!(reasons.len(), bad);
    for (payload, reason) in MALFORMED.into_iter().chain([(TRADE, "UNKNOWN")]) {
        let count = if payload == TRADE { 2 } else { KEYS.len() };
        // No value is an empty one; what is no text is kept as far as it can be written.
        let written = match payload {
            "-" => "",
            "\u{ff}\u{fe}" => "\u{fffd}\u{fffd}",
            other => other,
        };
        for _ in 0..count {
            let at = reasons.iter().position(|it| it.0 == written && it.1.contains(reason));
            let Some(at) = at else { panic!("`{payload}` for `{reason}` is not in {reasons:#?}") };
            reasons.remove(at);
        }
    }
    clean(&elastic, &own);
}

/// Each good event once for each key, in the columns that people know.
fn every_event_is_a_row(store: &Store) {
    let expected: [(&str, [(&str, &str); 9]); 2] = [
        (
            "AMZN",
            [
                ("time", "1723200000000"),
                ("timestamp", "2024-08-09 10:40:00"),
                ("tipo_transaccion", "COMPRA"),
                ("cantidad", "88"),
                ("precio_unitario", "186.86000000"),
                ("total", "16443.68000000"),
                ("estado", "EXITOSO"),
                ("error", "-"),
                ("extra", r#"{"hora":10}"#),
            ],
        ),
        (
            "TSLA",
            [
                ("time", "1723200001000"),
                ("timestamp", "2024-08-09 10:40:01"),
                ("tipo_transaccion", "VENTA"),
                ("cantidad", "1"),
                ("precio_unitario", "1042.50000000"),
                ("total", "1042.50000000"),
                ("estado", "FALLIDO"),
                ("error", "ERROR_CONEXION"),
                ("extra", r#"{"hora":10}"#),
            ],
        ),
    ];
    let rows = dump::sqlite(store, "transacciones_nrt");
    assert_eq!(rows.len(), 2 * KEYS.len());
    for (stock, columns) in expected {
        let of: Vec<&Cells> = rows.iter().filter(|row| row["accion"] == stock).collect();
        assert_eq!(of.len(), KEYS.len(), "{stock}");
        for row in of {
            for (column, value) in columns {
                assert_eq!(row[column], value, "{column} of {row:?}");
            }
            assert!(row["id"].starts_with(TRANSACTIONS), "its place in the log: {row:?}");
            // The broker's clock said when it came, not the event.
            assert!(row["received_at"].parse::<i64>().unwrap() > 1_750_000_000_000, "{row:?}");
        }
    }
}

/// Numbers are numbers and dates are dates, for whoever sums and charts.
fn every_column_has_its_type(elastic: &str, own: &str) {
    let mapping = http::get_json(elastic, &format!("/{own}transacciones_nrt/_mapping")).unwrap();
    let mappings: Vec<&Json> = mapping.as_object().unwrap().values().collect();
    let properties = &mappings[0]["mappings"]["properties"];
    let types: BTreeMap<&str, &str> = properties
        .as_object()
        .unwrap()
        .iter()
        .filter_map(|(name, property)| Some((name.as_str(), property["type"].as_str()?)))
        .collect();
    for (column, kind) in [
        ("time", "date"),
        ("received_at", "date"),
        ("accion", "keyword"),
        ("tipo_transaccion", "keyword"),
        ("cantidad", "long"),
        ("precio_unitario", "double"),
        ("precio_unitario_text", "keyword"),
        ("total", "double"),
        ("estado", "keyword"),
        ("error", "keyword"),
    ] {
        assert_eq!(types.get(column), Some(&kind), "{column}");
    }
    for document in dump::documents(elastic, &format!("{own}transacciones_nrt")).unwrap() {
        assert!(document["cantidad"].is_i64() && document["total"].is_f64(), "{document}");
        assert_eq!(document["extra"]["hora"], 10, "{document}");
        assert!(document["time"].as_str().unwrap().starts_with("2024-08-09T10:40:0"), "{document}");
    }
}

/// `extra` is a text in one of the stores, and an object in the other.
fn without_extra(row: &Cells) -> Cells {
    let mut row = row.clone();
    row.remove("extra");
    row
}

/// Has the foreign client write these lines, and waits until the broker has confirmed them all.
fn produce(pattern: &str, broker: &str, lines: &[String]) {
    let pattern = pattern.split(',').next().unwrap();
    let raw = std::fs::read(format!("/proc/{pattern}/cmdline")).expect("the broker runs");
    let text = String::from_utf8(raw).unwrap();
    let arguments: Vec<&str> = text.split_terminator('\0').collect();
    let at = arguments.iter().position(|it| *it == "-cp").expect("the broker has a class path");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/foreign/OldProducer.java");
    let mut client = Command::new(arguments[0])
        .args(["-cp", arguments[at + 1], source, broker])
        .stdin(Stdio::piped())
        .spawn()
        .expect("java starts");
    let mut input = client.stdin.take().unwrap();
    for line in lines {
        let bytes: Vec<u8> = line.chars().map(|it| u8::try_from(it).unwrap()).collect();
        input.write_all(&bytes).unwrap();
        input.write_all(b"\n").unwrap();
    }
    drop(input);
    assert!(client.wait().unwrap().success(), "the foreign client");
}

/// Leaves the shared server as it was found.
pub(crate) fn clean(elastic: &str, prefix: &str) {
    let listing = http::get(elastic, "/_cat/indices?h=index&expand_wildcards=all");
    let listing = listing.map(|it| String::from_utf8_lossy(&it.body).into_owned());
    for name in listing.iter().flat_map(|it| it.lines()).map(str::trim) {
        if name.starts_with(prefix) {
            http::send(elastic, "DELETE", &format!("/{name}"));
        }
    }
    http::send(elastic, "DELETE", &format!("/_index_template/{prefix}*"));
}

/// The variable's value; said loudly where there is none.
pub(crate) fn named(name: &str) -> Option<String> {
    let found = std::env::var(name).ok();
    if found.is_none() {
        println!("SKIPPED: {name} does not name a server");
    }
    found
}
