//! Three stores at once: SQLite, Cassandra and Elasticsearch hold the same rows, and those are the
//! truth, though the node is killed on the way. And [`outage`]: a scene to be watched.

mod outage;

use std::collections::BTreeMap;

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;

use crate::foreign::{clean, named};
use crate::kill::{TAPE, parameter, pauses};
use crate::support::check::{await_trades, every_candle_is_right, every_trade_is_stored_once};
use crate::support::dump::{self, Cells, TABLES, assert_same_rows, same};
use crate::support::node::{Exchange, NodeCommand, SYMBOLS};
use crate::support::store::{Store, decimal, integer, text};
use crate::support::truth::Truth;
use crate::support::{PATIENCE, fixtures, until};

/// The servers that the tests share, with a name in them that is this process's own.
struct Servers {
    cassandra: String,
    elasticsearch: String,
    own: String,
    runtime: tokio::runtime::Runtime,
    session: Session,
}

impl Servers {
    /// `None`, said loudly, where one of them is not there.
    fn find(of: &str) -> Option<Self> {
        let (cassandra, url) = (named("FTS_TEST_CASSANDRA")?, named("FTS_TEST_ELASTICSEARCH")?);
        let elasticsearch = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let session = SessionBuilder::new().known_node(&cassandra);
        let session = runtime.block_on(session.build()).expect("Cassandra answers");
        let own = format!("e2e_{of}_{}", std::process::id());
        Some(Self { cassandra, elasticsearch, own, runtime, session })
    }

    /// The configuration of the three stores.
    fn stores(&self) -> String {
        let tables = serde_json::to_string(&TABLES).unwrap();
        let Self { cassandra, elasticsearch, own, .. } = self;
        format!(
            "stores=[{{kind=\"sqlite\"}}, \
             {{kind=\"scylla\", nodes=[\"{cassandra}\"], keyspace=\"{own}\", \
             replication_factor=1}}, \
             {{kind=\"elasticsearch\", nodes=[\"http://{elasticsearch}\"], \
             index_prefix=\"{own}-\", replicas=0, tables={tables}}}]"
        )
    }

    fn cassandra(&self, table: &str) -> Option<Vec<Cells>> {
        self.runtime.block_on(dump::cassandra(&self.session, &self.own, table))
    }

    fn elasticsearch(&self, table: &str) -> Option<Vec<Cells>> {
        dump::elasticsearch(&self.elasticsearch, &format!("{}-{table}", self.own))
    }
}

impl Drop for Servers {
    /// Leaves them as they were found.
    fn drop(&mut self) {
        let drop_keyspace = format!("DROP KEYSPACE IF EXISTS {}", self.own);
        drop(self.runtime.block_on(self.session.query_unpaged(drop_keyspace, ())));
        clean(&self.elasticsearch, &format!("{}-", self.own));
    }
}

/// `FTS_KILL_SEED` chooses other instants.
#[test]
fn the_tape_lies_in_three_stores_alike_though_the_node_is_killed() {
    let Some(fixtures) = fixtures() else { return };
    let Some(servers) = Servers::find("tape") else { return };
    let truth = Truth::read(&fixtures);
    let (seed, kills) = (parameter("FTS_KILL_SEED", 1), 10);
    println!("seed {seed}, {kills} kills");
    let folder = tempfile::tempdir().unwrap();
    let exchange = Exchange::play(&fixtures, folder.path());
    let command = NodeCommand::new(folder.path(), &exchange).with(servers.stores());
    let mut node = command.start();
    until("the first trade of the tape", PATIENCE, || exchange.newest_trade(SYMBOLS[0]));
    // Not at its end: who is down then can't hear the last of the book, which is not asked for again.
    for (at, pause) in pauses(seed, kills, TAPE * 3 / 4).into_iter().enumerate() {
        std::thread::sleep(pause);
        println!("kill {} after {pause:?}", at + 1);
        node.kill();
        node = command.start();
    }

    let sqlite = Store::new(command.database());
    await_trades(&mut node, &sqlite, &truth);
    until("the last book updates of the tape in SQLite", PATIENCE, || {
        node.check_alive();
        let newest = |symbol: &str| {
            let query = "SELECT max(update_id) FROM binance_book_ticker_data WHERE symbol =";
            sqlite.number(&format!("{query} '{symbol}'"))
        };
        SYMBOLS.iter().all(|symbol| newest(symbol) == last_update(&truth, symbol)).then_some(())
    });
    let here = |table: &str| dump::sqlite(&sqlite, table);
    until("the others to have what SQLite has", PATIENCE, || {
        node.check_alive();
        let alike = |table: &&str| {
            let rows = here(table);
            servers.cassandra(table).is_some_and(|it| same(table, &rows, &it))
                && servers.elasticsearch(table).is_some_and(|it| same(table, &rows, &it))
        };
        TABLES.iter().all(alike).then_some(())
    });
    node.terminate();

    every_trade_is_stored_once(&sqlite, &truth);
    every_candle_is_right(&sqlite, &truth);
    every_book_update_is_of_the_tape(&sqlite, &truth);
    let mut counts = BTreeMap::new();
    for table in TABLES {
        let rows = here(table);
        let cassandra = servers.cassandra(table).expect("Cassandra answers");
        assert_same_rows("SQLite and Cassandra", table, &rows, &cassandra);
        let elasticsearch = servers.elasticsearch(table).expect("Elasticsearch answers");
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
