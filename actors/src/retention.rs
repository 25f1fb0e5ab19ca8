//! Deletes the rows of one store that are older than they shall be kept.
//!
//! - Supervised by [`crate::supervisor`], restarted alone.
//! - Receives nothing.
//! - Emits requests to the store, one a table and minute.
//! - Loses, if it dies, nothing: the next round deletes the same.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fts_core::metrics::EXPIRED_ROWS_TOTAL;
use fts_core::port::store::Store;
use fts_core::row::Table;

use crate::worker::{Job, JobError, Stop};

/// How often retention is applied.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// The job.
#[expect(missing_debug_implementations, reason = "a port has nothing to show")]
pub struct Retention {
    /// What operators call the store.
    pub name: Arc<str>,
    /// Where rows are.
    pub store: Arc<dyn Store>,
    /// How long rows are kept, in milliseconds, by table.
    pub keep: Vec<(Table, i64)>,
}

#[async_trait]
impl Job for Retention {
    async fn run(&self, mut stop: Stop) -> Result<(), JobError> {
        loop {
            tokio::select! {
                () = stop.requested() => return Ok(()),
                () = tokio::time::sleep(SWEEP_EVERY) => {}
            }
            for (table, keep_ms) in &self.keep {
                tokio::select! {
                    () = stop.requested() => return Ok(()),
                    () = self.sweep(*table, *keep_ms) => {}
                }
            }
        }
    }
}

impl Retention {
    async fn sweep(&self, table: Table, keep_ms: i64) {
        let (store, name) = (self.name.to_string(), table.name());
        match self.store.expire(table, keep_ms).await {
            Ok(rows) => {
                metrics::counter!(EXPIRED_ROWS_TOTAL, "store" => store, "table" => name)
                    .increment(rows);
            }
            Err(error) => tracing::warn!(%error, store, table = name, "retention failed"),
        }
    }
}
