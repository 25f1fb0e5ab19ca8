//! Connections, all with the same settings.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, FileControl, MAIN_DB, OpenFlags};

/// How long a statement waits for another process's write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements kept prepared a connection: one upsert a table, the transaction's own, the sweeps'.
const STATEMENTS: usize = 64;
/// The write-ahead log's length on disk after it was moved into the file, bytes.
const WAL_BYTES_KEPT: i64 = 64 << 20;
/// Page cache of a connection, KiB. Inserts go to the right edges of the trees: they need little.
const CACHE_KIB: i64 = 8 << 10;

/// Opens the file. `access` is read-only, or read-write with or without creating it.
pub(super) fn open(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Views and generated columns may call built-in functions only: the file may come from elsewhere.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // A reader without write permission to the folder can't make -wal and -shm: the last one to
    // close must leave them.
    let mut persist = 1;
    connection.file_control(Some(MAIN_DB), FileControl::PersistWal(&mut persist))?;
    Ok(connection)
}

/// Opens the file for writing; creates it. The write-ahead log is moved into the file only when
/// asked to, see [`super::checkpoint`].
pub(super) fn open_for_writing(path: &Path) -> rusqlite::Result<Connection> {
    let access = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = open(path, access)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // FULL: a commit is on the disk when it returns. What is acknowledged is forgotten upstream.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |_| Ok(()))?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_on_the_disk_when_it_returns() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_for_writing(&folder.path().join("fts.sqlite")).unwrap();
        let ask = |pragma| connection.query_row(pragma, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(ask("PRAGMA synchronous"), 2, "FULL");
        let mode: String =
            connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
    }
}
