//! Two stores at once: SQLite and a Cassandra that is killed on the way hold the same rows.

use std::collections::BTreeMap;

use rusqlite::types::Value;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::response::PagingState;
use scylla::statement::unprepared::Statement;
use scylla::value::{CqlValue, Row as CqlRow};

use crate::support::check::{await_trades, every_candle_is_right, every_trade_is_stored_once};
use crate::support::node::{Exchange, NodeCommand};
use crate::support::store::{Store, assert_same};
use crate::support::truth::Truth;
use crate::support::{PATIENCE, fixtures, until};

#[path = "../../../adapters/tests/scylla/server.rs"]
mod server;

use server::Server;

/// The tables that the tape fills or must leave empty.
const TABLES: [&str; 8] = [
    "trades",
    "candles",
    "binance_book_ticker_data",
    "book_ticker_1s",
    "binance_ticker_data",
    "gaps",
    "alerts",
    "dead_letters",
];

/// What one of the two has and the other has not: the partition, and the version where it is
/// always 0.
const ONE_SIDED: [&str; 2] = ["bucket", "version"];

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
    let dump = |table: &str| runtime.block_on(dump(&session, table));
    until("Cassandra has caught up", PATIENCE, || {
        node.check_alive();
        let same = |table: &str| plain(&sqlite, table) == dump(table).unwrap_or_default();
        (same("trades") && same("candles")).then_some(())
    });
    node.terminate();

    every_trade_is_stored_once(&sqlite, &truth);
    every_candle_is_right(&sqlite, &truth);
    for table in TABLES {
        let (left, right) = (plain(&sqlite, table), dump(table).unwrap());
        assert_same(&format!("{table} in SQLite and Cassandra"), &left, &right);
    }
    assert!(plain(&sqlite, "book_ticker_1s").len() > 20, "there was something to compare");
}

/// A table of SQLite as text, row by row, without what only one of the stores has.
fn plain(store: &Store, table: &str) -> Vec<String> {
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

/// The same of Cassandra: the decimals by the text beside them. `None` where it can't be asked.
async fn dump(session: &Session, table: &str) -> Option<Vec<String>> {
    let statement = Statement::new(format!("SELECT * FROM binance_stream.{table}"));
    let mut state = PagingState::start();
    let mut lines = Vec::new();
    loop {
        let page = session.query_single_page(statement.clone(), (), state).await;
        let (page, next) = page.ok()?;
        let page = page.into_rows_result().unwrap();
        let specs = page.column_specs();
        let names: Vec<String> = specs.iter().map(|it| it.name().to_owned()).collect();
        for row in page.rows::<CqlRow>().unwrap() {
            let row = row.unwrap().columns;
            let mut cells = BTreeMap::new();
            for (name, value) in names.iter().zip(row) {
                let text = match value {
                    None => "-".to_owned(),
                    Some(CqlValue::Text(text)) => text,
                    Some(CqlValue::BigInt(number)) => number.to_string(),
                    Some(CqlValue::Int(number)) => number.to_string(),
                    Some(CqlValue::Boolean(flag)) => u8::from(flag).to_string(),
                    Some(CqlValue::Timestamp(time)) => time.0.to_string(),
                    Some(CqlValue::Decimal(_)) => continue,
                    other => panic!("{table}.{name}: {other:?}"),
                };
                let name = name.strip_suffix("_text").unwrap_or(name);
                cells.insert(name.to_owned(), text);
            }
            lines.push(line(cells));
        }
        match next.into_paging_control_flow() {
            std::ops::ControlFlow::Break(()) => return Some(sorted(lines.into_iter())),
            std::ops::ControlFlow::Continue(next) => state = next,
        }
    }
}

fn line(mut cells: BTreeMap<String, String>) -> String {
    cells.retain(|name, _| !ONE_SIDED.contains(&name.as_str()));
    cells.iter().map(|(name, value)| format!("{name}={value} ")).collect()
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}
