//! The exchange's truth beside what is stored: in one store, or in several that together are one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rusqlite::types::Value as Cell;
use serde_json::Value;

use crate::support::http;
use crate::support::store::{Row, Store};
use crate::support::until;

const INTERVALS: [&str; 6] = ["1s", "1m", "5m", "15m", "1h", "1d"];
/// Columns that say how a row came about, and not what happened on the market.
const OURS: [&str; 3] = ["received_at", "source", "version"];
/// The newest alerts may not be decided yet when the nodes end.
const UNDECIDED_MS: i64 = 3_000;

/// Compares.
pub(super) struct Judge<'a> {
    exchange: &'a str,
    stores: &'a [Store],
}

/// What the store has of a symbol's trades.
struct Extent {
    symbol: String,
    first: i64,
    last: i64,
    last_time: i64,
    /// Rows in all stores together.
    stored: i64,
}

type Table = BTreeMap<String, BTreeMap<String, String>>;

impl<'a> Judge<'a> {
    pub(super) fn new(exchange: &'a str, stores: &'a [Store]) -> Self {
        Self { exchange, stores }
    }

    /// Waits until the stores have every trade up to one that is yet to come.
    pub(super) fn await_peace(&self, patience: Duration) {
        for (symbol, newest) in self.symbols() {
            until(&format!("every trade of {symbol} up to {newest}"), patience, || {
                let extent = self.extent(&symbol)?;
                let all = extent.last - extent.first + 1;
                let is_there = extent.last > newest && extent.stored >= all;
                // An id is in one store once, but may be in several.
                (is_there && (self.stores.len() == 1 || self.has_all(&extent))).then_some(())
            });
        }
    }

    /// Whether the stores together have every trade between the ends, of those that come meanwhile none.
    fn has_all(&self, extent: &Extent) -> bool {
        let Extent { symbol, first, last, .. } = extent;
        let rows = self.rows(&format!(
            "SELECT trade_id FROM trades WHERE symbol = '{symbol}' \
             AND trade_id BETWEEN {first} AND {last}"
        ));
        let mut ids: Vec<i64> = rows.iter().map(|it| number(it, "trade_id")).collect();
        ids.sort_unstable();
        ids.dedup();
        i64::try_from(ids.len()).unwrap() == last - first + 1
    }

    /// 0 missing, 0 twice, 0 different; every candle complete that can be.
    #[track_caller]
    pub(super) fn everything_is_true(&self) {
        for table in ["gaps", "dead_letters"] {
            assert_eq!(self.rows(&format!("SELECT * FROM {table}")), Vec::<Row>::new(), "{table}");
        }
        let (mut trades, mut candles, mut alerts) = (0, 0, 0);
        let mut found = Found::default();
        for (symbol, _) in self.symbols() {
            let extent = self.extent(&symbol).expect("trades of every symbol");
            trades += self.trades_are_true(&extent, &mut found);
            for interval in INTERVALS {
                candles += self.candles_are_true(&extent, interval, &mut found);
            }
            alerts += self.alerts_are_true(&extent, &mut found);
        }
        let Found { missing, surplus, twice, different, examples } = found;
        println!(
            "chaos: {trades} trades, {candles} candles, {alerts} alerts: {missing} missing, \
             {surplus} that never were, {twice} twice, {different} different"
        );
        assert_eq!(missing + surplus + twice + different, 0, "such as {examples:#?}");
        assert!(trades > 1_000 && candles > 100, "too little happened to judge");
    }

    fn trades_are_true(&self, extent: &Extent, found: &mut Found) -> usize {
        let Extent { symbol, first, last, .. } = extent;
        let query = format!("SELECT * FROM trades WHERE symbol = '{symbol}'");
        let stored = self.table(&query, &["trade_id"], found);
        let mut truth = self.truth(
            "trades",
            &format!("symbol={symbol}&from_id={first}"),
            "from_id",
            &["trade_id"],
        );
        truth.retain(|_, row| row["trade_id"].parse::<i64>().unwrap() <= *last);
        found.compare(&format!("trades of {symbol}"), &stored, &truth);
        truth.len()
    }

    fn candles_are_true(&self, extent: &Extent, interval: &str, found: &mut Found) -> usize {
        let Extent { symbol, first, last_time, .. } = extent;
        let is_over =
            |row: &BTreeMap<String, String>| row["close_time"].parse::<i64>().unwrap() < *last_time;
        let query =
            format!("SELECT * FROM candles WHERE symbol = '{symbol}' AND interval = '{interval}'");
        let mut stored = self.table(&query, &["open_time"], found);
        let query = format!("symbol={symbol}&interval={interval}&since_id={first}");
        let mut truth = self.truth("candles", &query, "from_time", &["open_time"]);
        stored.retain(|_, row| is_over(row));
        truth.retain(|_, row| is_over(row));
        found.compare(&format!("{interval} candles of {symbol}"), &stored, &truth);
        let incomplete = truth.values().filter(|row| row["complete"] != "1").count();
        assert!(incomplete <= 1, "only the record's first candle may be incomplete: {incomplete}");
        truth.len()
    }

    fn alerts_are_true(&self, extent: &Extent, found: &mut Found) -> usize {
        let Extent { symbol, first, last_time, .. } = extent;
        let is_decided = |row: &BTreeMap<String, String>| {
            row["time"].parse::<i64>().unwrap() + UNDECIDED_MS < *last_time
        };
        let mut stored = self.table(
            &format!("SELECT * FROM alerts WHERE symbol = '{symbol}'"),
            &["time", "direction"],
            found,
        );
        let query = format!("symbol={symbol}&threshold=1.0&window=60s&since_id={first}");
        let mut truth = self.truth("alerts", &query, "from_time", &["time", "direction"]);
        stored.retain(|_, row| is_decided(row));
        truth.retain(|_, row| is_decided(row));
        found.compare(&format!("alerts of {symbol}"), &stored, &truth);
        truth.len()
    }

    /// The symbols, and the newest trade of each.
    fn symbols(&self) -> Vec<(String, i64)> {
        let status = http::get_json(self.exchange, "/truth/status").expect("the exchange's truth");
        let symbols = status["symbols"].as_array().unwrap().iter();
        symbols
            .map(|it| {
                (it["symbol"].as_str().unwrap().to_owned(), it["last_trade_id"].as_i64().unwrap())
            })
            .collect()
    }

    fn extent(&self, symbol: &str) -> Option<Extent> {
        let query = format!(
            "SELECT min(trade_id) AS first, max(trade_id) AS last, max(time) AS last_time, \
             count(*) AS stored FROM trades WHERE symbol = '{symbol}' HAVING count(*) > 0"
        );
        let rows = self.rows(&query);
        let all = |name: &str| rows.iter().map(|row| number(row, name)).collect::<Vec<_>>();
        Some(Extent {
            symbol: symbol.to_owned(),
            first: all("first").into_iter().min()?,
            last: all("last").into_iter().max()?,
            last_time: all("last_time").into_iter().max()?,
            stored: all("stored").into_iter().sum(),
        })
    }

    /// The stores that have the tables by now.
    fn begun(&self) -> impl Iterator<Item = &Store> {
        self.stores.iter().filter(|it| has_tables(it))
    }

    /// The rows of all stores.
    fn rows(&self, query: &str) -> Vec<Row> {
        self.begun().flat_map(|store| store.rows(query)).collect()
    }

    /// Rows by key; of those with one key in several stores the one with the greater version, as one store
    /// would have it. A store that has a key twice is found out.
    fn table(&self, query: &str, key: &[&str], found: &mut Found) -> Table {
        let mut newest: BTreeMap<String, Row> = BTreeMap::new();
        for store in self.begun() {
            let mut seen = BTreeSet::new();
            for row in store.rows(query) {
                let name = key.iter().map(|it| plain(&row[*it])).collect::<Vec<_>>().join(" ");
                if !seen.insert(name.clone()) {
                    found.twice += 1;
                    found.note(format!("{query}: {name} twice"));
                }
                let version = |row: &Row| row.get("version").map_or(0, |_| number(row, "version"));
                if newest.get(&name).is_none_or(|known| version(known) <= version(&row)) {
                    newest.insert(name, row);
                }
            }
        }
        let columns = |row: Row| {
            let cells = row.into_iter().filter(|(name, _)| !OURS.contains(&name.as_str()));
            cells.map(|(name, cell)| (name, plain(&cell))).collect()
        };
        newest.into_iter().map(|(key, row)| (key, columns(row))).collect()
    }

    /// All pages of a table of the truth.
    fn truth(&self, table: &str, query: &str, cursor: &str, key: &[&str]) -> Table {
        let mut rows = Table::new();
        let mut next: Option<u64> = None;
        loop {
            let from = next.map(|it| format!("&{cursor}={it}")).unwrap_or_default();
            let query = match next {
                // The first page's own beginning is not said twice.
                Some(_) => query
                    .split('&')
                    .filter(|it| !it.starts_with(&format!("{cursor}=")))
                    .collect::<Vec<_>>()
                    .join("&"),
                None => query.to_owned(),
            };
            let path = format!("/truth/{table}?{query}{from}");
            let page = http::get_json(self.exchange, &path)
                .unwrap_or_else(|| panic!("{path} has no answer"));
            for row in page["rows"].as_array().unwrap_or_else(|| panic!("{path}: {page}")) {
                let row: BTreeMap<String, String> = row
                    .as_object()
                    .unwrap()
                    .iter()
                    .map(|(name, it)| (name.clone(), said(it)))
                    .collect();
                let name = key.iter().map(|it| row[*it].clone()).collect::<Vec<_>>().join(" ");
                rows.insert(name, row);
            }
            next = page[format!("next_{cursor}")].as_u64();
            if next.is_none() {
                return rows;
            }
        }
    }
}

/// Whether a node has come as far as to make its tables.
pub(super) fn has_tables(store: &Store) -> bool {
    store.number("SELECT count(*) FROM sqlite_master WHERE name = 'trades'") > 0
}

/// What is not as it must be.
#[derive(Default)]
struct Found {
    missing: usize,
    surplus: usize,
    twice: usize,
    different: usize,
    /// The first of them.
    examples: Vec<String>,
}

impl Found {
    /// Column by column, as far as the truth has the column.
    fn compare(&mut self, what: &str, stored: &Table, truth: &Table) {
        for key in stored.keys().filter(|key| !truth.contains_key(*key)) {
            self.surplus += 1;
            self.note(format!("{what}: {key} never was"));
        }
        for (key, expected) in truth {
            let Some(found) = stored.get(key) else {
                self.missing += 1;
                self.note(format!("{what}: {key} is missing"));
                continue;
            };
            let differs = |(name, value): &(&String, &String)| {
                let stored = found.get(*name).unwrap_or_else(|| panic!("{what}: no column {name}"));
                canonical(stored) != canonical(value)
            };
            if let Some((name, value)) = expected.iter().find(differs) {
                self.different += 1;
                self.note(format!("{what}: {name} of {key} is {}, not {value}", found[name]));
            }
        }
    }

    fn note(&mut self, example: String) {
        if self.examples.len() < 20 {
            self.examples.push(example);
        }
    }
}

/// A decimal without the zeros at its end; anything else as it is.
fn canonical(text: &str) -> &str {
    if text.contains('.') && text.bytes().all(|it| it.is_ascii_digit() || b".-".contains(&it)) {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

fn plain(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Text(text) => text.clone(),
        Cell::Blob(_) => "a blob".to_owned(),
    }
}

fn said(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => i32::from(*flag).to_string(),
        other => other.to_string(),
    }
}

fn number(row: &Row, column: &str) -> i64 {
    match row.get(column) {
        Some(Cell::Integer(number)) => *number,
        other => panic!("`{column}` must be an INTEGER, is {other:?}"),
    }
}

/// Asks the exchange to do something.
pub(super) fn post(address: &str, method: &str, path: &str) {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(socket, "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.lines().next().unwrap().contains(" 20"), "{method} {path}: {answer}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[(&str, &str)]) -> Table {
        let row = |value: &str| BTreeMap::from([("price".to_owned(), value.to_owned())]);
        rows.iter().map(|(key, value)| ((*key).to_owned(), row(value))).collect()
    }

    #[test]
    fn what_is_missing_surplus_or_different_is_found() {
        let truth = table(&[("1", "2.50"), ("2", "3"), ("3", "4"), ("4", "5")]);
        let mut found = Found::default();
        found.compare(
            "trades",
            &table(&[("1", "2.5"), ("2", "3.1"), ("4", "5"), ("9", "1")]),
            &truth,
        );
        assert_eq!((found.missing, found.surplus, found.different), (1, 1, 1));
        assert_eq!(found.examples.len(), 3, "{:?}", found.examples);
    }

    #[test]
    fn a_key_that_one_store_has_twice_is_found_and_one_in_two_stores_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let stores = ["one", "two"].map(|name| {
            let path = folder.path().join(name);
            let connection = rusqlite::Connection::open(&path).unwrap();
            connection.execute_batch("CREATE TABLE trades (trade_id, version)").unwrap();
            (Store::new(path), connection)
        });
        stores[0].1.execute_batch("INSERT INTO trades VALUES (7, 1), (8, 1), (8, 1)").unwrap();
        stores[1].1.execute_batch("INSERT INTO trades VALUES (7, 2)").unwrap();
        let stores = stores.map(|it| it.0);
        let mut found = Found::default();
        let judge = Judge::new("nowhere", &stores);
        let rows = judge.table("SELECT * FROM trades", &["trade_id"], &mut found);
        assert_eq!((rows.len(), found.twice), (2, 1));
    }
}
