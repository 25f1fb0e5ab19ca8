//! What is in a table of each kind of store, as a stranger reads it there, in one form: column by column
//! as text, times in epoch milliseconds, decimals with all their digits.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use rusqlite::types::Value;
use scylla::client::session::Session;
use scylla::response::PagingState;
use scylla::statement::unprepared::Statement;
use scylla::value::{CqlValue, Row as CqlRow};
use serde_json::Value as Json;

use super::http;
use super::store::{Store, assert_same};

/// The tables that the tape fills or must leave empty.
pub(crate) const TABLES: [&str; 8] = [
    "trades",
    "candles",
    "binance_book_ticker_data",
    "book_ticker_1s",
    "binance_ticker_data",
    "gaps",
    "alerts",
    "dead_letters",
];

/// What only some kinds of store have: the partition, and the version where it is always 0.
const ONE_SIDED: [&str; 2] = ["bucket", "version"];
/// Documents in an answer; servers give no more by default.
const PAGE: usize = 10_000;

/// A row, by column.
pub(crate) type Cells = BTreeMap<String, String>;

/// What SQLite has.
pub(crate) fn sqlite(store: &Store, table: &str) -> Vec<Cells> {
    let mut found = Vec::new();
    each_of_sqlite(store, table, |row| found.push(row));
    found
}

/// Each row that SQLite has, one after the other.
pub(crate) fn each_of_sqlite(store: &Store, table: &str, mut take: impl FnMut(Cells)) {
    let text = |value: &Value| match value {
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => panic!("{table}: {other:?}"),
    };
    store.each(&format!("SELECT * FROM {table}"), |row| {
        take(row.iter().map(|(name, value)| (name.clone(), text(value))).collect());
    });
}

/// What Cassandra has; the decimals by the text beside them. `None` where it can't be asked.
pub(crate) async fn cassandra(
    session: &Session,
    keyspace: &str,
    table: &str,
) -> Option<Vec<Cells>> {
    let mut found = Vec::new();
    each_of_cassandra(session, keyspace, table, |row| found.push(row)).await?;
    Some(found)
}

/// Each row that Cassandra has, one after the other. `None` where it can't be asked.
pub(crate) async fn each_of_cassandra(
    session: &Session,
    keyspace: &str,
    table: &str,
    mut take: impl FnMut(Cells),
) -> Option<()> {
    let statement = Statement::new(format!("SELECT * FROM {keyspace}.{table}"));
    let mut state = PagingState::start();
    loop {
        let page = session.query_single_page(statement.clone(), (), state).await;
        let (page, next) = page.ok()?;
        let page = page.into_rows_result().unwrap();
        let specs = page.column_specs();
        let names: Vec<String> = specs.iter().map(|it| it.name().to_owned()).collect();
        for row in page.rows::<CqlRow>().unwrap() {
            let row = row.unwrap().columns;
            let mut cells = Cells::new();
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
            take(cells);
        }
        match next.into_paging_control_flow() {
            std::ops::ControlFlow::Break(()) => return Some(()),
            std::ops::ControlFlow::Continue(next) => state = next,
        }
    }
}

/// What Elasticsearch finds in an index or alias, nothing where there is none. `None` where it can't
/// be asked.
pub(crate) fn elasticsearch(address: &str, index: &str) -> Option<Vec<Cells>> {
    Some(documents(address, index)?.iter().map(cells).collect())
}

/// Each of them, one after the other.
pub(crate) fn each_of_elasticsearch(
    address: &str,
    index: &str,
    mut take: impl FnMut(Cells),
) -> Option<()> {
    each_document(address, index, |document| take(cells(&document)))
}

/// The documents of an index or alias, after a refresh.
pub(crate) fn documents(address: &str, index: &str) -> Option<Vec<Json>> {
    let mut found = Vec::new();
    each_document(address, index, |document| found.push(document))?;
    Some(found)
}

fn each_document(address: &str, index: &str, mut take: impl FnMut(Json)) -> Option<()> {
    http::get(address, &format!("/{index}/_refresh?ignore_unavailable=true"))?;
    let search =
        format!("/{index}/_search?ignore_unavailable=true&size={PAGE}&sort=_doc&scroll=1m");
    let mut page = http::get_json(address, &search)?;
    loop {
        let hits = page["hits"]["hits"].as_array_mut()?;
        let count = hits.len();
        hits.drain(..).for_each(|mut hit| take(hit["_source"].take()));
        if count < PAGE {
            return Some(());
        }
        let place = page["_scroll_id"].as_str()?.replace('=', "%3D").replace('+', "%2B");
        page = http::get_json(address, &format!("/_search/scroll?scroll=1m&scroll_id={place}"))?;
    }
}

fn cells(document: &Json) -> Cells {
    let columns = document.as_object().unwrap();
    let mut cells = Cells::new();
    for (name, value) in columns {
        let text = match value {
            Json::Null => "-".to_owned(),
            Json::Bool(flag) => u8::from(*flag).to_string(),
            // A number with a text beside it is a decimal.
            Json::Number(_) if columns.contains_key(&format!("{name}_text")) => continue,
            Json::Number(number) => number.to_string(),
            Json::String(text) => millis(text).map_or_else(|| text.clone(), |it| it.to_string()),
            other => other.to_string(),
        };
        cells.insert(name.strip_suffix("_text").unwrap_or(name).to_owned(), text);
    }
    cells
}

/// Epoch milliseconds of a text such as `2024-08-09T00:00:00.005Z`; `None` where it is none.
fn millis(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut parts = date.splitn(3, '-').chain(time.splitn(3, ':'));
    let mut next = || parts.next()?.parse::<f64>().ok();
    let (year, month, day) = (next()?, next()?, next()?);
    let (hour, minute, second) = (next()?, next()?, next()?);
    // Days from 1970-01-01, the year beginning in March so that a leap day is its last.
    let (year, month) = if month > 2.0 { (year, month - 3.0) } else { (year - 1.0, month + 9.0) };
    let leap = (year / 4.0).floor() - (year / 100.0).floor() + (year / 400.0).floor();
    let before = year * 365.0 + leap + ((153.0 * month + 2.0) / 5.0).floor();
    let days = before + day - 1.0 - 719_468.0;
    let seconds = ((days * 24.0 + hour) * 60.0 + minute) * 60.0 + second;
    #[expect(clippy::cast_possible_truncation, reason = "exact in a double, as times are")]
    Some((seconds * 1_000.0).round() as i64)
}

/// The rows as lines in order, one a row, with these columns only.
fn lines(rows: &[Cells], columns: &BTreeSet<String>) -> Vec<String> {
    let line = |row: &Cells| {
        let kept = row.iter().filter(|(name, _)| columns.contains(*name));
        kept.map(|(name, value)| format!("{name}={value} ")).collect()
    };
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    lines.sort();
    lines
}

/// The columns that both have, if these are all but [`ONE_SIDED`]; all of them where one is empty.
#[track_caller]
fn common(table: &str, left: &[Cells], right: &[Cells]) -> BTreeSet<String> {
    let names = |rows: &[Cells]| -> BTreeSet<String> {
        rows.first().into_iter().flat_map(|row| row.keys().cloned()).collect()
    };
    let (left, right) = (names(left), names(right));
    if left.is_empty() || right.is_empty() {
        return left.union(&right).cloned().collect();
    }
    for name in left.symmetric_difference(&right) {
        assert!(ONE_SIDED.contains(&name.as_str()), "only one of the stores has {table}.{name}");
    }
    left.intersection(&right).cloned().collect()
}

/// Whether the rows are the same, in every column that both have.
#[track_caller]
pub(crate) fn same(table: &str, left: &[Cells], right: &[Cells]) -> bool {
    let columns = common(table, left, right);
    left.len() == right.len() && lines(left, &columns) == lines(right, &columns)
}

/// The same, with the first rows that differ.
#[track_caller]
pub(crate) fn assert_same_rows(what: &str, table: &str, left: &[Cells], right: &[Cells]) {
    let columns = common(table, left, right);
    assert_same(&format!("{table} in {what}"), &lines(left, &columns), &lines(right, &columns));
}

/// Rows as numbers, one a row, in an order of their own: for more rows than one wants to hold.
#[derive(Default)]
pub(crate) struct Digest(Vec<u64>);

impl Digest {
    /// Adds a row, without the columns that only some kinds of store have.
    pub(crate) fn add(&mut self, row: &Cells) {
        let mut hasher = DefaultHasher::new();
        for cell in row.iter().filter(|(name, _)| !ONE_SIDED.contains(&name.as_str())) {
            cell.hash(&mut hasher);
        }
        self.0.push(hasher.finish());
    }

    /// All of them, sorted.
    pub(crate) fn into_rows(mut self) -> Vec<u64> {
        self.0.sort_unstable();
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_read_to_the_millisecond() {
        assert_eq!(millis("1970-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(millis("2024-02-29T23:59:59.999Z"), Some(1_709_251_199_999));
        assert_eq!(millis("2024-08-09T00:00:00.005Z"), Some(1_723_161_600_005));
        assert_eq!(millis("1969-12-31T23:59:59.999Z"), Some(-1));
        assert_eq!(millis("BTCUSDT"), None);
    }
}
