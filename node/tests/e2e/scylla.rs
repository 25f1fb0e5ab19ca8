//! Two stores at once: SQLite and a Cassandra that is killed on the way hold the same rows.

use scylla::client::session_builder::SessionBuilder;

use crate::support::check::{await_trades, every_candle_is_right, every_trade_is_stored_once};
use crate::support::dump::{self, TABLES, assert_same_rows, same};
use crate::support::node::{Exchange, NodeCommand};
use crate::support::store::Store;
use crate::support::truth::Truth;
use crate::support::{PATIENCE, fixtures, until};

#[path = "../../../adapters/tests/scylla/server.rs"]
pub(crate) mod server;

use server::Server;

/// The keyspace that a node uses where no other is named.
const KEYSPACE: &str = "binance_stream";

#[test]
fn the_tape_lies_in_both_stores_alike_though_one_of_them_is_killed() {
    let Some(fixtures) = fixtures() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(mut server) = runtime.block_on(Server::start()) else { return };
    let truth = Truth::read(&fixtures);
    let folder = tempfile::tempdir().unwrap();
    let exchange = Exchange::play(&fixtures, folder.path());
    let stores = format!(
        "stores=[{{kind=\"sqlite\"}}, {{kind=\"scylla\", nodes=[\"{}\"], replication_factor=1, \
         request_timeout_ms=5000}}]",
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
    let books = i64::try_from(truth.books.len()).unwrap();
    until("every book update of the tape in SQLite", PATIENCE, || {
        (sqlite.count("binance_book_ticker_data") >= books).then_some(())
    });

    let session = runtime
        .block_on(SessionBuilder::new().known_node(server.address()).build())
        .expect("the server answers");
    let there = |table: &str| runtime.block_on(dump::cassandra(&session, KEYSPACE, table));
    let here = |table: &str| dump::sqlite(&sqlite, table);
    until("Cassandra has caught up", PATIENCE, || {
        node.check_alive();
        let caught_up = |table: &&str| same(table, &here(table), &there(table).unwrap_or_default());
        TABLES.iter().all(caught_up).then_some(())
    });
    node.terminate();

    every_trade_is_stored_once(&sqlite, &truth);
    every_candle_is_right(&sqlite, &truth);
    for table in TABLES {
        assert_same_rows("SQLite and Cassandra", table, &here(table), &there(table).unwrap());
    }
    assert!(here("book_ticker_1s").len() > 20, "there was something to compare");
}
