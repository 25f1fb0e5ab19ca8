//! What the SQLite file is to others: its columns, its views, its locks, and what a kill leaves.

#[path = "sqlite/columns.rs"]
mod columns;
#[path = "sqlite/faults.rs"]
mod faults;
#[path = "sqlite/processes.rs"]
mod processes;
#[path = "sqlite/retention.rs"]
mod retention;
#[path = "sqlite/rows.rs"]
mod rows;

use std::path::{Path, PathBuf};

use fts_adapters::sqlite::{SqliteConfig, SqliteStore};
use rusqlite::{Connection, OpenFlags};

fn open(folder: &Path) -> SqliteStore {
    SqliteStore::open(SqliteConfig { path: file(folder) }).expect("a fresh folder can be used")
}

fn file(folder: &Path) -> PathBuf {
    folder.join("fts.sqlite")
}

/// As a dashboard opens the file: read-only, and waiting for nobody.
fn reader(path: &Path) -> Connection {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let connection = connection.expect("the file can be opened");
    connection.busy_timeout(std::time::Duration::ZERO).expect("a timeout can be set");
    connection
}

fn trade_ids(path: &Path) -> Vec<i64> {
    let connection = reader(path);
    let mut statement =
        connection.prepare("SELECT trade_id FROM trades ORDER BY trade_id").expect("valid");
    let ids = statement.query_map([], |row| row.get(0)).expect("valid");
    ids.collect::<Result<_, _>>().expect("ids are integers")
}
