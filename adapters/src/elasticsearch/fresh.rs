//! What was written is not found until the server has refreshed the index: once a second, or when
//! somebody asks for it. A read asks for it if this process has written since it last did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use fts_core::port::store::StoreError;
use fts_core::row::Table;

use super::client::Client;

/// Which tables were written since they were last refreshed.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// Counts of requests that write, by table: one before each, one after its answer.
    written: Mutex<BTreeMap<Table, u64>>,
    /// How many of them were there when it was refreshed. Held while that goes on: who comes second
    /// reads what the first one has waited for.
    refreshed: tokio::sync::Mutex<BTreeMap<Table, u64>>,
}

impl Fresh {
    /// Notes that rows of `tables` are about to be written, as some may be though no answer comes; or
    /// that they were, as a refresh in between may have missed them.
    pub(super) fn written(&self, tables: &BTreeSet<Table>) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        for table in tables {
            *written.entry(*table).or_default() += 1;
        }
    }

    fn count(&self, table: Table) -> u64 {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(&table).copied().unwrap_or(0)
    }

    /// Lets reads of `table` find all that was written before this is called.
    pub(super) async fn refresh(
        &self,
        client: &Client,
        table: Table,
        index: &str,
    ) -> Result<(), StoreError> {
        let mut refreshed = self.refreshed.lock().await;
        let count = self.count(table);
        if refreshed.get(&table).copied().unwrap_or(0) == count {
            return Ok(());
        }
        refresh(client, index).await?;
        refreshed.insert(table, count);
        Ok(())
    }
}

/// Lets searches of `index` find all that was written.
pub(super) async fn refresh(client: &Client, index: &str) -> Result<(), StoreError> {
    let query = [("ignore_unavailable", "true"), ("allow_no_indices", "true")];
    let path = format!("/{index}/_refresh");
    let method = elasticsearch::http::Method::Post;
    client.send(method, &path, &query, None).await?.success().map(drop)
}
