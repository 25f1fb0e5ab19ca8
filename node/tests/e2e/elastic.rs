//! The transactions of the producer that this project replaces, by way of the embedded log to
//! Elasticsearch.

use std::path::Path;
use std::sync::Arc;

use fts_adapters::journal::{Journal, JournalConfig};
use fts_core::market::{Source, Symbol, Topic};
use fts_core::port::log::{Append, Log as _, Record};
use fts_core::time::{Clock as _, SystemClock, UnixNanos};
use serde_json::{Value, json};

use crate::foreign::{clean, named};
use crate::support::dump;
use crate::support::process::{Process, free_port, node_binary, program};
use crate::support::{PATIENCE, until};

/// Partitions of a topic, unless it is said otherwise.
const PARTITIONS: u32 = 4;

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
    let Some(url) = named("FTS_TEST_ELASTICSEARCH") else { return };
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(append(&folder.path().join("data/log")));
    let prefix = format!("fts-e2e-{}-{}-", SystemClock.now().millis(), std::process::id());
    let server = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
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
    clean(&indices.server, &indices.prefix);
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
        "stores=[{{kind=\"elasticsearch\", nodes=[\"http://{server}\"], index_prefix=\"{prefix}\", \
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
    let (mut found, mut letters) = until("the events in Elasticsearch", PATIENCE, || {
        node.check_alive();
        let documents =
            |table| dump::documents(&indices.server, &format!("{}{table}", indices.prefix));
        let (rows, letters) = (documents("transacciones_nrt")?, documents("dead_letters")?);
        (rows.len() == 3 && letters.len() == 4).then_some((rows, letters))
    });
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

/// Indices that nobody else uses.
struct Indices {
    /// `host:port` of the server.
    server: String,
    prefix: String,
}
