//! Read-only connections, lent to blocking threads.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fts_core::port::store::StoreError;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::{connection, errors};

/// How many reads run at once; further ones wait. Each has a snapshot of its own and holds up
/// neither the writer nor another read.
const CONNECTIONS: usize = 3;

/// Lends connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Pool(Arc<Inner>);

struct Inner {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Pool {
    pub(super) fn new(path: &Path) -> Self {
        Self(Arc::new(Inner {
            path: path.to_owned(),
            idle: Mutex::new(Vec::new()),
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
        }))
    }

    /// Runs `query` on a blocking thread.
    pub(super) async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let pool = self.clone();
        let permit = Arc::clone(&self.0.permits).acquire_owned().await;
        let outcome = tokio::task::spawn_blocking(move || {
            // Held until the query ends, also if the caller no longer waits for it.
            let _permit = permit;
            let connection = pool.take()?;
            let outcome = query(&connection);
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
