//! A scene to be watched, not a test: one of two stores stands still for `FTS_OUTAGE_S` seconds while
//! the exchange sends on. Prints what that does to the node's memory, and how fast the store catches
//! up; fails where a row is missing afterwards.
//!
//! `FTS_OUTAGE_RATE` is the number of messages a second, 5,000 where it is not given. The store that
//! stands still is a Cassandra of the scene's own, the other one SQLite.

use std::time::Duration;

use scylla::client::session_builder::SessionBuilder;
use tokio::time::Instant;

use crate::kill::parameter;
use crate::scylla::server::Server;
use crate::support::dump::{self, assert_same_rows, same};
use crate::support::http;
use crate::support::process::{Process, exchange_binary, free_port, node_binary, program};
use crate::support::store::Store;
use crate::support::until;

/// What is compared afterwards.
const TABLES: [&str; 3] = ["trades", "candles", "book_ticker_1s"];
/// How long the pipeline runs before the outage.
const WARM_UP: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(900);

#[test]
#[ignore = "a scene to be watched: --ignored --nocapture"]
fn a_store_that_stands_still_for_a_while_catches_up_and_memory_stays_flat() {
    let (seconds, rate) = (parameter("FTS_OUTAGE_S", 60), parameter("FTS_OUTAGE_RATE", 5_000));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(server) = runtime.block_on(Server::start()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..50).map(|number| format!("SYM{number}USDT")).collect();
    let mut command = program(exchange_binary());
    command.args(["--listen", "127.0.0.1:0", "--seed", "5", "--steady"]);
    command.args(["--rate", &rate.to_string(), "--symbols", &names.join(",")]);
    let mut exchange = Process::start("exchange", folder.path(), &mut command);
    let address = exchange.line("the exchange's address", |line| {
        let (_, rest) = line.split_once("listening on ws://")?;
        Some(rest.split_whitespace().next()?.to_owned())
    });
    let listen = format!("127.0.0.1:{}", free_port());
    let mut command = program(node_binary());
    command.current_dir(folder.path()).args(["run", "--http", &listen, "--data-dir", "data"]);
    for setting in [
        format!("binance.stream_url=ws://{address}"),
        format!("binance.rest_url=http://{address}"),
        format!("symbols={}", serde_json::to_string(&names).unwrap()),
        "backfill.first_sight_trades_max=0".to_owned(),
        format!(
            "stores=[{{kind=\"sqlite\"}}, {{kind=\"scylla\", nodes=[\"{}\"], \
             replication_factor=1, request_timeout_ms=5000}}]",
            server.address()
        ),
    ] {
        command.args(["--set", &setting]);
    }
    let mut node = Process::start("node", folder.path(), &mut command);
    let written = || metric(&listen, "fts_store_rows_total", "scylla");
    let behind = || metric(&listen, "fts_fold_backlog_records", "scylla");
    until("rows in Cassandra", PATIENCE, || {
        node.check_alive();
        (written() > 1_000.0).then_some(())
    });
    std::thread::sleep(WARM_UP);
    report("before", &mut node, behind());

    server.signal("STOP");
    let mut peak = 0;
    for second in 1..=seconds {
        std::thread::sleep(Duration::from_secs(1));
        peak = peak.max(node.resident());
        if second % 30 == 0 {
            report(&format!("after {second} s of outage"), &mut node, behind());
        }
    }
    report("at the end of the outage", &mut node, behind());
    let (left, rows, started) = (behind(), written(), Instant::now());
    server.signal("CONT");
    until("Cassandra to have caught up", PATIENCE, || {
        node.check_alive();
        peak = peak.max(node.resident());
        (behind() < 5_000.0).then_some(())
    });
    let (took, rows) = (started.elapsed().as_secs_f64(), written() - rows);
    report("caught up", &mut node, behind());
    println!(
        "outage of {seconds} s at {rate} messages/s: {left:.0} records behind, caught up in \
         {took:.1} s, {rows:.0} rows, {:.0} rows/s; peak RSS {} MiB",
        rows / took,
        peak / 1_024
    );

    // The market ends, and everything that it said is in both.
    drop(exchange);
    let sqlite = Store::new(folder.path().join("data/fts.sqlite"));
    let session = SessionBuilder::new().known_node(server.address());
    let session = runtime.block_on(session.build()).expect("the server answers");
    let there = |table: &str| runtime.block_on(dump::cassandra(&session, "binance_stream", table));
    let here = |table: &str| dump::sqlite(&sqlite, table);
    until("both stores to have the same rows", PATIENCE, || {
        node.check_alive();
        let alike = |table: &&str| there(table).is_some_and(|it| same(table, &here(table), &it));
        TABLES.iter().all(alike).then_some(())
    });
    node.terminate();
    for table in TABLES {
        let (left, right) = (here(table), there(table).unwrap());
        assert_same_rows("SQLite and Cassandra", table, &left, &right);
        println!("{table}: {} rows in both", left.len());
    }
    let holes = "SELECT count(*) FROM (SELECT 1 FROM trades GROUP BY symbol \
                 HAVING max(trade_id) - min(trade_id) + 1 <> count(*))";
    assert_eq!(sqlite.number(holes), 0, "symbols with trades missing");
}

fn report(when: &str, node: &mut Process, behind: f64) {
    println!("{when}: RSS {} MiB, {behind:.0} records behind", node.resident() / 1_024);
}

/// The sum of a metric over everything but the store; 0 where it is not there.
fn metric(listen: &str, name: &str, store: &str) -> f64 {
    let Some(answer) = http::get(listen, "/metrics") else { return 0.0 };
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let store = format!("store=\"{store}\"");
    text.lines()
        .filter(|line| line.starts_with(name) && line.contains(&store))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
