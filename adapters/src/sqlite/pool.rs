//! Read-only connections, lent to blocking threads. Each read ends: by itself, at its deadline, or
//! with whoever waits for it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fts_core::port::store::StoreError;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{connection, errors};

/// How many reads run at once; further ones wait. Each has a snapshot of its own and holds up
/// neither the writer nor another read.
const CONNECTIONS: usize = 3;
/// A read that takes longer is ended. It holds a connection, and keeps the write-ahead log from
/// starting over.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// How many steps SQLite takes between two looks at the clock: some microseconds.
const STEPS: i32 = 1_000;

/// Lends connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Pool(Arc<Inner>);

struct Inner {
    path: PathBuf,
    deadline: Duration,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Pool {
    pub(super) fn new(path: &Path) -> Self {
        Self::with_deadline(path, DEADLINE)
    }

    fn with_deadline(path: &Path, deadline: Duration) -> Self {
        Self(Arc::new(Inner {
            path: path.to_owned(),
            deadline,
            idle: Mutex::new(Vec::new()),
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
        }))
    }

    /// Runs `query` on a blocking thread, for [`DEADLINE`] at most, and no longer than its caller
    /// waits.
    pub(super) async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let pool = self.clone();
        let permit = Arc::clone(&self.0.permits).acquire_owned().await;
        let caller = Caller::default();
        let is_gone = Arc::clone(&caller.0);
        let outcome = tokio::task::spawn_blocking(move || {
            // Held until the query ends, also if the caller no longer waits for it.
            let _permit = permit;
            let mut connection = pool.take()?;
            let until = Instant::now() + pool.0.deadline;
            let shall_end = move || is_gone.load(Ordering::Relaxed) || Instant::now() >= until;
            connection.progress_handler(STEPS, Some(shall_end))?;
            let outcome = query(&connection);
            connection.progress_handler(0, None::<fn() -> bool>)?;
            pool.idle().push(connection);
            outcome
        })
        .await;
        match outcome {
            Ok(outcome) => outcome.map_err(|error| errors::unavailable(&error)),
            Err(ended) => Err(StoreError::Unavailable(format!("a read did not end: {ended}"))),
        }
    }

    fn take(&self) -> rusqlite::Result<Connection> {
        let idle = self.idle().pop();
        idle.map_or_else(|| connection::open(&self.0.path, OpenFlags::SQLITE_OPEN_READ_ONLY), Ok)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever waits for a read; once dropped, nobody does.
#[derive(Default)]
struct Caller(Arc<AtomicBool>);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::task::{Context, Waker};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    /// How long a test waits for what must come.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn pool(deadline: Duration) -> (tempfile::TempDir, Pool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fts.sqlite");
        connection::open_for_writing(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        (folder, Pool::with_deadline(&path, deadline))
    }

    /// Takes minutes where nothing ends it.
    fn long(connection: &Connection) -> rusqlite::Result<i64> {
        let sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 9000000000) \
                   SELECT count(*) FROM n";
        connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
    }

    fn short(connection: &Connection) -> rusqlite::Result<i64> {
        connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0))
    }

    /// Every connection answers: as many reads at once as there are connections.
    async fn all_answer(pool: &Pool) {
        let reads = (0..CONNECTIONS).map(|_| pool.read(short));
        let answers = tokio::time::timeout(PATIENCE, futures_util::future::join_all(reads)).await;
        assert_eq!(answers.expect("in time"), vec![Ok(0); CONNECTIONS]);
    }

    #[tokio::test]
    async fn a_read_that_takes_too_long_is_ended_and_its_connection_goes_on() {
        let (_folder, pool) = pool(Duration::from_millis(50));
        for _ in 0..2 * CONNECTIONS {
            let read = tokio::time::timeout(PATIENCE, pool.read(long)).await;
            match read.expect("it is ended") {
                Err(StoreError::Unavailable(why)) => {
                    assert!(why.contains("read for too long"), "{why}");
                }
                other => panic!("{other:?}"),
            }
        }
        // On a machine that stands still this one, too, may take too long.
        let answers = async { while pool.read(short).await != Ok(0) {} };
        tokio::time::timeout(PATIENCE, answers).await.expect("what ended others does not end it");
        assert_eq!(pool.idle().len(), 1, "the one connection came back each time");
    }

    #[tokio::test]
    async fn a_read_ends_with_whoever_waits_for_it() {
        let (_folder, pool) = pool(HOUR);
        let mut reads: Vec<_> = (0..CONNECTIONS).map(|_| Box::pin(pool.read(long))).collect();
        let mut context = Context::from_waker(Waker::noop());
        for read in &mut reads {
            assert!(read.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(pool.0.permits.available_permits(), 0, "all connections are lent");
        drop(reads);
        all_answer(&pool).await;
    }
}
