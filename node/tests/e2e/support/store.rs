//! What a node left in SQLite, read as a stranger would: by the public names alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use super::truth::exact;

/// One row, by column.
pub(crate) type Row = BTreeMap<String, Value>;

/// A node's SQLite file. Opened for each question, as it may not exist yet and its writer may die
/// at any moment.
pub(crate) struct Store(PathBuf);

impl Store {
    /// The store in that file.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A number, 0 while there is no file or no table yet.
    pub(crate) fn number(&self, query: &str) -> i64 {
        open(&self.0)
            .and_then(|connection| connection.query_row(query, [], |row| row.get(0)))
            .unwrap_or(0)
    }

    /// How many rows a table has.
    pub(crate) fn count(&self, table: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {table}"))
    }

    /// The rows of a query.
    #[track_caller]
    pub(crate) fn rows(&self, query: &str) -> Vec<Row> {
        let mut found = Vec::new();
        self.each(query, |row| found.push(row));
        found
    }

    /// Each row of a query, one after the other.
    #[track_caller]
    pub(crate) fn each(&self, query: &str, mut take: impl FnMut(Row)) {
        let connection = open(&self.0).unwrap();
        let mut statement = connection.prepare(query).unwrap();
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let value = |at: usize| row.get::<_, Value>(at).unwrap();
            take(names.iter().cloned().enumerate().map(|(at, n)| (n, value(at))).collect());
        }
    }

    /// Every row of a table as text, without the columns of `but`, in the order of that text.
    #[track_caller]
    pub(crate) fn dump(&self, table: &str, but: &[&str]) -> Vec<String> {
        let mut lines: Vec<String> = self
            .rows(&format!("SELECT * FROM {table}"))
            .iter()
            .map(|row| {
                let cells = row.iter().filter(|(name, _)| !but.contains(&name.as_str()));
                cells.map(|(name, value)| format!("{name}={value:?} ")).collect()
            })
            .collect();
        lines.sort();
        lines
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    // Read-only also keeps this reader from checkpointing a dead writer's WAL in its stead.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    Ok(connection)
}

/// A column that must be an INTEGER.
#[track_caller]
pub(crate) fn integer(row: &Row, column: &str) -> i64 {
    match row.get(column) {
        Some(Value::Integer(number)) => *number,
        other => panic!("`{column}` must be an INTEGER, is {other:?}"),
    }
}

/// A column that must be TEXT.
#[track_caller]
pub(crate) fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    match row.get(column) {
        Some(Value::Text(text)) => text,
        other => panic!("`{column}` must be TEXT, is {other:?}"),
    }
}

/// A column that must be an exact decimal as TEXT, in units of 10⁻¹⁶.
#[track_caller]
pub(crate) fn decimal(row: &Row, column: &str) -> i128 {
    exact(text(row, column))
}

/// Two dumps, equal line by line; says the first lines that are not.
#[track_caller]
pub(crate) fn assert_same(what: &str, left: &[String], right: &[String]) {
    if left == right {
        return;
    }
    let missing = |of: &[String], from: &[String]| {
        let lines = of.iter().filter(|line| from.binary_search(line).is_err());
        lines.take(5).map(|line| format!("\n    {line}")).collect::<String>()
    };
    panic!(
        "{what} differ: {} and {} rows\n  only left:{}\n  only right:{}",
        left.len(),
        right.len(),
        missing(left, right),
        missing(right, left)
    );
}
