//! Rows that can't be held, and files that are locked, not ours, or closed.

use std::path::PathBuf;
use std::sync::Arc;

use fts_adapters::sqlite::{SqliteConfig, SqliteStore};
use fts_core::port::store::{Store as _, StoreError};
use rusqlite::Connection;

use crate::rows::{btc, one_of_each};
use crate::{file, open, trade_ids};

#[tokio::test]
async fn a_row_that_cannot_be_held_takes_only_its_own_put_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut wrong = one_of_each(1);
    wrong.dead_letters[0].offset = u64::MAX;
    let (good, refused, other) = tokio::join!(
        async { store.put(&[Arc::new(one_of_each(2))]).await },
        async { store.put(&[Arc::new(one_of_each(3)), Arc::new(wrong)]).await },
        async { store.put(&[Arc::new(one_of_each(4))]).await },
    );
    assert_eq!((good, other), (Ok(()), Ok(())));
    let Err(StoreError::Rejected { table, reason }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(table, "dead_letters");
    assert!(reason.starts_with("binanceDeadLetter 3/18446744073709551615: "), "{reason}");
    assert_eq!(trade_ids(&file(folder.path())), [2, 4], "nothing of the refused put is there");
}

#[tokio::test]
async fn a_locked_file_is_unavailable_and_nothing_of_the_batch_is_half_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let other = Connection::open(file(folder.path())).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = store.put(&[Arc::new(one_of_each(1))]).await;
    let Err(StoreError::Unavailable(reason)) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("another process holds the file's write lock"), "{reason}");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(trade_ids(&file(folder.path())), [0_i64; 0]);
    store.put(&[Arc::new(one_of_each(1))]).await.unwrap();
    assert_eq!(trade_ids(&file(folder.path())), [1]);
}

#[test]
fn a_file_that_is_not_ours_to_write_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let check = |path: PathBuf, expected: &str| {
        let error = SqliteStore::open(SqliteConfig { path: path.clone() }).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    };
    check(folder.path().join("missing/fts.sqlite"), "see that the folder exists");

    let newer = folder.path().join("newer.sqlite");
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    check(newer, "version 99 of the tables");

    let other = folder.path().join("other.sqlite");
    std::fs::write(&other, "no database at all, but longer than a header".repeat(100)).unwrap();
    check(other, "the file is damaged");
}

#[tokio::test]
async fn a_closed_file_keeps_what_readers_without_write_permission_need() {
    // Whichever connection is the last to close: a reading one, or the writer's.
    for read in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        store.put(&[Arc::new(one_of_each(1))]).await.unwrap();
        if read {
            assert!(store.latest_book(&btc()).await.unwrap().is_some());
        }
        drop(store);
        let shm = folder.path().join("fts.sqlite-shm");
        assert!(shm.exists(), "read before: {read}");
        let wal = std::fs::metadata(folder.path().join("fts.sqlite-wal")).unwrap();
        assert_eq!(wal.len(), 0, "all of it is in the file");
        assert_eq!(trade_ids(&file(folder.path())), [1]);
    }
}
