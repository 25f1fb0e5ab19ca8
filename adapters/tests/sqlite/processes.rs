//! Other processes that read the file, and what a kill leaves in it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use fts_adapters::sqlite::{SqliteConfig, SqliteStore};
use fts_core::port::store::{Store as _, StoreError};

use crate::rows::one_of_each;
use crate::{file, open, reader, trade_ids};

/// Where the helper processes of these tests find the file.
const PATH: &str = "FTS_TEST_SQLITE_PATH";

#[tokio::test]
async fn another_process_reads_while_this_one_writes() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.put(&[Arc::new(one_of_each(0))]).await.unwrap();
    let mut readers: Vec<_> = (0..2)
        .map(|_| helper("processes::reading_process", folder.path()).spawn().unwrap())
        .collect();
    let mut number = 0;
    let mut running = true;
    while running {
        // As many rows as to move the log into the file many times over.
        let batch = (0..200).map(|_| {
            number += 1;
            Arc::new(one_of_each(number))
        });
        store.put(&batch.collect::<Vec<_>>()).await.unwrap();
        running = readers.iter_mut().any(|reader| reader.try_wait().unwrap().is_none());
    }
    for reader in readers {
        let output = reader.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
#[ignore = "a helper: run by another_process_reads_while_this_one_writes"]
fn reading_process() {
    let Ok(path) = std::env::var(PATH) else { return };
    let mut seen = 0;
    for _ in 0..300 {
        // A new connection each time: that is when locks are in the way, if ever.
        let connection = reader(Path::new(&path));
        let (count, last): (i64, i64) = connection
            .query_row("SELECT count(*), max(trade_id) FROM trades", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(count, last + 1, "a reader sees whole commits");
        assert!(last >= seen, "and never goes back");
        seen = last;
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = -1;
    for lines in [1, 40, 7, 150, 400, 90] {
        let mut writer = helper("processes::writing_process", folder.path()).spawn().unwrap();
        let output = BufReader::new(writer.stdout.take().unwrap());
        let numbers = output.lines().map_while(Result::ok).filter_map(|line| {
            line.strip_prefix("acknowledged ").and_then(|number| number.parse::<i64>().ok())
        });
        let last = numbers.take(lines).last().unwrap();
        assert!(last > acknowledged);
        acknowledged = last;
        // SIGKILL.
        writer.kill().unwrap();
        writer.wait().unwrap();

        let ids = trade_ids(&file(folder.path()));
        assert_eq!(ids, (0..ids.len() as i64).collect::<Vec<_>>(), "no hole");
        assert!(ids.len() as i64 > 10 * acknowledged + 9, "{} rows, {last} batches", ids.len());
        assert_eq!(ids.len() % 10, 0, "whole batches only");
    }
    let check = "PRAGMA integrity_check";
    let sound: String =
        reader(&file(folder.path())).query_row(check, [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}

#[tokio::test]
#[ignore = "a helper: run by what_was_acknowledged_is_there_after_a_kill"]
async fn writing_process() {
    let Ok(path) = std::env::var(PATH) else { return };
    let path = PathBuf::from(path);
    let store = SqliteStore::open(SqliteConfig { path: path.clone() }).unwrap();
    let first = trade_ids(&path).last().map_or(0, |id| id / 10 + 1);
    for number in first.. {
        let batch: Vec<_> = (0..10).map(|it| Arc::new(one_of_each(10 * number + it))).collect();
        store.put(&batch).await.unwrap();
        // Straight to the pipe: what the harness captures does not arrive before the end.
        use std::io::Write;
        writeln!(std::io::stdout(), "acknowledged {number}").unwrap();
    }
}

/// Files of the helper may not grow beyond a limit, as if the disk ended there, until it is lifted.
#[test]
fn where_the_disk_ends_nothing_is_half_there_and_all_is_once_there_is_room() {
    let Ok(true) = Command::new("prlimit").arg("--version").output().map(|it| it.status.success())
    else {
        eprintln!("SKIPPED: there is no `prlimit` to set a limit with");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let inner = helper("processes::process_without_room", folder.path());
    let mut limited = Command::new("sh");
    // In units of 512 bytes; what is beyond the limit is an error, and no signal.
    limited.args(["-c", "trap '' XFSZ; ulimit -S -f 1000; exec \"$@\"", "sh"]);
    limited.arg(inner.get_program()).args(inner.get_args()).env(PATH, file(folder.path()));
    let mut writer = limited.stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(writer.stdout.take().unwrap());
    let mut lines = output.lines().map_while(Result::ok);
    let full = lines.find_map(|it| it.strip_prefix("full after ").map(str::to_owned)).unwrap();
    let stored = trade_ids(&file(folder.path()));
    assert_eq!(stored.len(), full.parse::<usize>().unwrap(), "what was acknowledged, and no more");
    let pid = writer.id().to_string();
    let lifted = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status();
    assert!(lifted.unwrap().success());
    assert!(lines.any(|it| it == "stored"));
    assert!(writer.wait().unwrap().success());
    assert_eq!(trade_ids(&file(folder.path())).len(), stored.len() + 10);
}

#[tokio::test]
#[ignore = "a helper: run by where_the_disk_ends_nothing_is_half_there_and_all_is_once_there_is_room"]
async fn process_without_room() {
    use std::io::Write as _;
    let Ok(path) = std::env::var(PATH) else { return };
    let store = SqliteStore::open(SqliteConfig { path: path.into() }).unwrap();
    let batch =
        |number: i64| (0..10).map(|it| Arc::new(one_of_each(10 * number + it))).collect::<Vec<_>>();
    let mut number = 0;
    let reason = loop {
        match store.put(&batch(number)).await {
            Ok(()) => number += 1,
            Err(StoreError::Unavailable(reason)) => break reason,
            Err(other) => panic!("{other:?}"),
        }
    };
    assert!(reason.contains("kernel's log"), "{reason}");
    // On a line of its own: the test's name may stand before it.
    writeln!(std::io::stdout(), "\nfull after {}", 10 * number).unwrap();
    while let Err(error) = store.put(&batch(number)).await {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    writeln!(std::io::stdout(), "stored").unwrap();
}

/// Another process that runs one of the ignored tests above.
fn helper(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test knows its binary"));
    command.args(["--exact", test, "--ignored", "--nocapture"]).env(PATH, file(folder));
    command.stdout(Stdio::piped());
    command
}
