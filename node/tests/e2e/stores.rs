//! Three stores at once: SQLite, Cassandra and Elasticsearch hold the same rows, and those are the
//! truth, though the node, Cassandra and Elasticsearch are killed on the way. [`full`]: two of them have no
//! room left. And [`outage`]: scenes to be watched.

mod full;
mod outage;

use std::collections::BTreeMap;

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;

use crate::kill::{TAPE, parameter, pauses};
use crate::support::check::{await_trades, every_candle_is_right, every_trade_is_stored_once};
use crate::support::dump::{self, Cells, TABLES, assert_same_rows, same};
use crate::support::node::{Exchange, NodeCommand, SYMBOLS};
use crate::support::servers::{cassandra, elasticsearch, kill_repeatedly};
use crate::support::store::{Store, decimal, integer, text};
use crate::support::truth::Truth;
use crate::support::{PATIENCE, fixtures, until};
use crate::tape::the_exchanges_own_bars_agree;

/// How often the node is killed, and each of the two servers.
const KILLS: u64 = 10;
const SERVER_KILLS: u64 = 2;

/// The other two stores, as a stranger sees them.
struct Others {
    runtime: tokio::runtime::Runtime,
    session: Session,
    elasticsearch: String,
}

impl Others {
    /// `elasticsearch` is `host:port`.
    fn connect(cassandra: &str, elasticsearch: String) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let session = SessionBuilder::new().known_node(cassandra).connection_timeout(PATIENCE);
        let session = runtime.block_on(session.build()).expect("Cassandra answers");
        Self { runtime, session, elasticsearch }
    }

    fn cassandra(&self, table: &str) -> Option<Vec<Cells>> {
        self.runtime.block_on(dump::cassandra(&self.session, KEYSPACE, table))
    }

    fn elasticsearch(&self, table: &str) -> Option<Vec<Cells>> {
        dump::elasticsearch(&self.elasticsearch, table)
    }
}

/// The keyspace that a node uses where no other is named.
const KEYSPACE: &str = "binance_stream";

/// Both servers, started side by side; `None`, said loudly, where there is no pattern for one.
fn servers() -> Option<(cassandra::Server, elasticsearch::Server)> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let started =
        async { tokio::join!(cassandra::Server::start(), elasticsearch::Server::start()) };
    let (cassandra, elasticsearch) = runtime.block_on(started);
    Some((cassandra?, elasticsearch?))
}

/// `FTS_KILL_SEED` chooses other instants.
#[test]
fn the_tape_lies_in_three_stores_alike_though_the_node_and_two_of_them_are_killed() {
    let Some(fixtures) = fixtures() else { return };
    let Some((cassandra, elasticsearch)) = servers() else { return };
    let truth = Truth::read(&fixtures);
    let seed = parameter("FTS_KILL_SEED", 1);
    println!("seed {seed}, {KILLS} kills of the node, {SERVER_KILLS} of each server");
    let folder = tempfile::tempdir().unwrap();
    let exchange = Exchange::play(&fixtures, folder.path());
    let tables = serde_json::to_string(&TABLES).unwrap();
    let command = NodeCommand::new(folder.path(), &exchange).with(format!(
        "stores=[{{kind=\"sqlite\"}}, \
         {{kind=\"scylla\", nodes=[\"{}\"], replication_factor=1}}, \
         {{kind=\"elasticsearch\", nodes=[\"{}\"], replicas=0, \
         tables={tables}}}]",
        cassandra.address(),
        elasticsearch.address(),
    ));
    let mut node = command.start();
    let sqlite = Store::new(command.database());
    until("the first trade of the tape", PATIENCE, || exchange.newest_trade(SYMBOLS[0]));

    // Who hangs holds up nobody else.
    cassandra.signal("STOP");
    elasticsearch.signal("STOP");
    let before = sqlite.count("trades");
    let share = i64::try_from(truth.trades.len()).unwrap() / 10;
    until("a part of the tape in SQLite, though the others hang", PATIENCE, || {
        node.check_alive();
        (sqlite.count("trades") >= before + share).then_some(())
    });
    cassandra.signal("CONT");
    elasticsearch.signal("CONT");

    // Not at its end: who is down then can't hear the last of the book, which is not asked for again.
    let most_is_played = |exchange: &Exchange, truth: &Truth, symbol: &str| {
        let first = truth.trades.keys().find(|it| it.0 == symbol).expect("it trades").1;
        let span = truth.last_trade_id(symbol) - first;
        exchange.newest_trade(symbol).is_some_and(|id| id - first > span * 7 / 10)
    };
    let stretch = TAPE * 3 / 5;
    let address = (cassandra.address(), elasticsearch.address());
    let cassandra = kill_repeatedly(cassandra, pauses(seed + 1, SERVER_KILLS, stretch));
    let elasticsearch = kill_repeatedly(elasticsearch, pauses(seed + 2, SERVER_KILLS, stretch));
    for (at, pause) in pauses(seed, KILLS, stretch).into_iter().enumerate() {
        std::thread::sleep(pause);
        if SYMBOLS.iter().any(|symbol| most_is_played(&exchange, &truth, symbol)) {
            break;
        }
        println!("kill {} after {pause:?}", at + 1);
        node.kill();
        node = command.start();
    }
    await_trades(&mut node, &sqlite, &truth);
    let _servers = (cassandra.join().unwrap(), elasticsearch.join().unwrap());

    until("the last book updates of the tape in SQLite", PATIENCE, || {
        node.check_alive();
        let newest = |symbol: &str| {
            let query = "SELECT max(update_id) FROM binance_book_ticker_data WHERE symbol =";
            sqlite.number(&format!("{query} '{symbol}'"))
        };
        SYMBOLS.iter().all(|symbol| newest(symbol) == last_update(&truth, symbol)).then_some(())
    });
    let elasticsearch = address.1.trim_start_matches("http://").to_owned();
    let others = Others::connect(&address.0, elasticsearch);
    let here = |table: &str| dump::sqlite(&sqlite, table);
    until("the others to have what SQLite has", PATIENCE, || {
        node.check_alive();
        let alike = |table: &&str| {
            let rows = here(table);
            others.cassandra(table).is_some_and(|it| same(table, &rows, &it))
                && others.elasticsearch(table).is_some_and(|it| same(table, &rows, &it))
        };
        TABLES.iter().all(alike).then_some(())
    });
    node.terminate();

    every_trade_is_stored_once(&sqlite, &truth);
    every_candle_is_right(&sqlite, &truth);
    the_exchanges_own_bars_agree(&sqlite, &fixtures, &truth);
    every_book_update_is_of_the_tape(&sqlite, &truth);
    let mut counts = BTreeMap::new();
    for table in TABLES {
        let rows = here(table);
        let cassandra = others.cassandra(table).expect("Cassandra answers");
        assert_same_rows("SQLite and Cassandra", table, &rows, &cassandra);
        let elasticsearch = others.elasticsearch(table).expect("Elasticsearch answers");
        assert_same_rows("SQLite and Elasticsearch", table, &rows, &elasticsearch);
        counts.insert(table, rows.len());
    }
    println!("rows in each of the three stores: {counts:?}");
    assert_eq!((counts["gaps"], counts["dead_letters"]), (0, 0));
    assert!(counts["book_ticker_1s"] > 20, "there was something to compare");
}

fn last_update(truth: &Truth, symbol: &str) -> i64 {
    truth.books.keys().filter(|(of, _)| of == symbol).map(|(_, id)| *id).max().unwrap()
}

/// What was said while no node listened is not there; what is there is as it was said.
fn every_book_update_is_of_the_tape(store: &Store, truth: &Truth) {
    for row in &store.rows("SELECT * FROM binance_book_ticker_data") {
        let key = (text(row, "symbol").to_owned(), integer(row, "update_id"));
        let Some(book) = truth.books.get(&key) else { panic!("{key:?} was never said") };
        let columns =
            ["best_bid_price", "best_bid_quantity", "best_ask_price", "best_ask_quantity"];
        assert_eq!(columns.map(|column| decimal(row, column)), *book, "{key:?}");
    }
}
