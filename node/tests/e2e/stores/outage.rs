//! Scenes to be watched, not tests: one of two stores stands still for `FTS_OUTAGE_S` seconds while
//! the exchange sends on. Each prints what that does to the node's memory, and how fast the store
//! catches up; it fails where a row is missing afterwards.
//!
//! `FTS_OUTAGE_RATE` is the number of messages a second, 5,000 where it is not given. SQLite stands
//! still because somebody else holds its write lock, Cassandra and Elasticsearch because they are
//! stopped (`SIGSTOP`). Each scene has its own exchange, node and server, so they can run side by side.

use std::sync::Mutex;
use std::time::Duration;

use scylla::client::session_builder::SessionBuilder;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::KEYSPACE;
use crate::kill::parameter;
use crate::support::dump::{self, Digest, TABLES};
use crate::support::process::{Process, exchange_binary, free_port, node_binary, program};
use crate::support::servers::{cassandra, elasticsearch};
use crate::support::store::Store;
use crate::support::{http, until};

/// What is compared afterwards.
const COMPARED: [&str; 3] = ["trades", "candles", "book_ticker_1s"];
/// How long the pipeline runs before the outage.
const WARM_UP: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(900);
/// Fewer records than these are always on their way.
const CAUGHT_UP: f64 = 5_000.0;
/// Looks at an empty backlog after which nothing is on its way.
const QUIET: usize = 100;

/// The server beside SQLite.
enum Server {
    Cassandra(cassandra::Server),
    Elasticsearch(elasticsearch::Server),
}

impl Server {
    fn cassandra(runtime: &Runtime) -> Option<Self> {
        runtime.block_on(cassandra::Server::start()).map(Self::Cassandra)
    }

    fn elasticsearch(runtime: &Runtime) -> Option<Self> {
        runtime.block_on(elasticsearch::Server::start()).map(Self::Elasticsearch)
    }

    /// What metrics call the store.
    fn name(&self) -> &'static str {
        match self {
            Self::Cassandra(_) => "scylla",
            Self::Elasticsearch(_) => "elasticsearch",
        }
    }

    /// The store, as the node's configuration has it.
    fn setting(&self) -> String {
        match self {
            Self::Cassandra(server) => format!(
                "{{kind=\"scylla\", nodes=[\"{}\"], replication_factor=1, request_timeout_ms=5000}}",
                server.address()
            ),
            Self::Elasticsearch(server) => format!(
                "{{kind=\"elasticsearch\", nodes=[\"{}\"], replicas=0, \
                 tables={}}}",
                server.address(),
                serde_json::to_string(&TABLES).unwrap()
            ),
        }
    }

    fn signal(&self, name: &str) {
        match self {
            Self::Cassandra(server) => server.signal(name),
            Self::Elasticsearch(server) => server.signal(name),
        }
    }

    /// All rows of a table.
    fn digest(&self, runtime: &Runtime, table: &str) -> Vec<u64> {
        let mut digest = Digest::default();
        let take = |row| digest.add(&row);
        match self {
            Self::Cassandra(server) => runtime.block_on(async {
                let session = SessionBuilder::new().known_node(server.address());
                let session = session.build().await.expect("the server answers");
                dump::each_of_cassandra(&session, KEYSPACE, table, take).await
            }),
            Self::Elasticsearch(server) => {
                let address = server.address();
                dump::each_of_elasticsearch(address.trim_start_matches("http://"), table, take)
            }
        }
        .expect("the server answers");
        digest.into_rows()
    }
}

#[test]
#[ignore = "a scene to be watched: --ignored --nocapture"]
fn sqlite_stands_still_for_a_while_catches_up_and_memory_stays_flat() {
    let runtime = Runtime::new().unwrap();
    let Some(server) = Server::cassandra(&runtime) else { return };
    play(&runtime, &server, true);
}

#[test]
#[ignore = "a scene to be watched: --ignored --nocapture"]
fn cassandra_stands_still_for_a_while_catches_up_and_memory_stays_flat() {
    let runtime = Runtime::new().unwrap();
    let Some(server) = Server::cassandra(&runtime) else { return };
    play(&runtime, &server, false);
}

#[test]
#[ignore = "a scene to be watched: --ignored --nocapture"]
fn elasticsearch_stands_still_for_a_while_catches_up_and_memory_stays_flat() {
    let runtime = Runtime::new().unwrap();
    let Some(server) = Server::elasticsearch(&runtime) else { return };
    play(&runtime, &server, false);
}

/// The scene; `is_sqlite` says that SQLite is the one that stands still, and not the server.
fn play(runtime: &Runtime, server: &Server, is_sqlite: bool) {
    let (seconds, rate) = (parameter("FTS_OUTAGE_S", 60), parameter("FTS_OUTAGE_RATE", 5_000));
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
        format!("stores=[{{kind=\"sqlite\"}}, {}]", server.setting()),
    ] {
        command.args(["--set", &setting]);
    }
    let mut node = Process::start("node", folder.path(), &mut command);
    let database = folder.path().join("data/fts.sqlite");
    let stopped = if is_sqlite { "sqlite" } else { server.name() };
    let written = || metric(&listen, "fts_store_rows_total", stopped);
    let behind = |store| metric(&listen, "fts_fold_backlog_records", store);
    let report = |when: &str, node: &Process| {
        let (memory, behind) = (node.resident() / 1_024, behind(stopped));
        println!("{stopped}, {when}: RSS {memory} MiB, {behind:.0} records behind");
    };
    until("rows in the store", PATIENCE, || {
        node.check_alive();
        (written() > 1_000.0).then_some(())
    });
    std::thread::sleep(WARM_UP);
    report("before", &node);

    let lock = rusqlite::Connection::open(&database).unwrap();
    if is_sqlite {
        lock.busy_timeout(Duration::from_secs(60)).unwrap();
        lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    } else {
        server.signal("STOP");
    }
    let mut peak = 0;
    for second in 1..=seconds {
        std::thread::sleep(Duration::from_secs(1));
        node.check_alive();
        peak = peak.max(node.resident());
        if second % 60 == 0 || second == seconds {
            report(&format!("after {second} s of outage"), &node);
        }
    }
    println!("{stopped}: at most {} MiB during the outage", peak / 1_024);
    let (left, rows, started) = (behind(stopped), written(), Instant::now());
    assert!(left > CAUGHT_UP, "the store stood still");
    if is_sqlite {
        lock.execute_batch("ROLLBACK").unwrap();
    } else {
        server.signal("CONT");
    }
    until("the store to have caught up", PATIENCE, || {
        node.check_alive();
        peak = peak.max(node.resident());
        (behind(stopped) < CAUGHT_UP).then_some(())
    });
    let (took, rows) = (started.elapsed().as_secs_f64(), written() - rows);
    report("caught up", &node);
    println!(
        "{stopped}: outage of {seconds} s at {rate} messages/s: {left:.0} records behind, caught up \
         in {took:.1} s, {rows:.0} rows, {:.0} rows/s; peak RSS {} MiB",
        rows / took,
        peak / 1_024
    );

    // The market ends, and everything that it said is in both.
    drop(exchange);
    let mut quiet = 0;
    until("nothing to be on its way any more", PATIENCE, || {
        node.check_alive();
        let is_quiet = behind("sqlite") + behind(server.name()) == 0.0;
        quiet = if is_quiet { quiet + 1 } else { 0 };
        (quiet > QUIET).then_some(())
    });
    report("at the end", &node);
    node.terminate();
    compare(runtime, stopped, server, &Store::new(database));
}

/// Both stores have the same rows, and no trade is missing.
fn compare(runtime: &Runtime, stopped: &str, server: &Server, sqlite: &Store) {
    // One scene at a time: it takes memory.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap();
    for table in COMPARED {
        let mut here = Digest::default();
        dump::each_of_sqlite(sqlite, table, |row| here.add(&row));
        let (here, there) = (here.into_rows(), server.digest(runtime, table));
        assert_eq!(here.len(), there.len(), "{stopped}: rows of {table}");
        let alike = here.iter().zip(&there).filter(|(left, right)| left == right).count();
        assert_eq!(alike, here.len(), "{stopped}: rows of {table} that are alike");
        println!("{stopped}: {table}: {} rows in both", here.len());
    }
    let holes = "SELECT count(*) FROM (SELECT 1 FROM trades GROUP BY symbol \
                 HAVING max(trade_id) - min(trade_id) + 1 <> count(*))";
    assert_eq!(sqlite.number(holes), 0, "{stopped}: symbols with trades missing");
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
