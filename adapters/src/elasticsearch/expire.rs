//! Retention: whole indices where all of their rows are too old, single rows of the others.

use std::collections::BTreeMap;

use elasticsearch::http::Method;
use fts_core::port::store::{StoreError, retention_end};
use fts_core::row::Table;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::ElasticsearchStore;
use super::client::Client;
use super::columns::time_column;
use super::fresh::refresh;
use super::index::{Index, Period, alias, pattern, period};
use super::read::ask;
use super::write::Body;

/// Rows that are deleted together.
const PAGE: usize = 5_000;

#[derive(Deserialize)]
struct Found {
    hits: Hits,
}

#[derive(Deserialize)]
struct Hits {
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_index")]
    index: String,
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_version", default)]
    version: i64,
    #[serde(default)]
    sort: Vec<serde_json::Value>,
}

impl ElasticsearchStore {
    /// Deletes the rows of `table` that are older than `keep_ms` before its newest one.
    pub(super) async fn sweep(
        &self,
        client: &Client,
        table: Table,
        keep_ms: i64,
    ) -> Result<u64, StoreError> {
        if !self.config.tables.contains(&table) {
            return Ok(0);
        }
        let alias = alias(&self.config.index_prefix, table);
        refresh(client, &alias).await?;
        let Some(newest) = newest(client, table, &alias).await? else { return Ok(0) };
        let cutoff = retention_end(newest).saturating_sub(keep_ms);
        let mut deleted = self.drop_indices(client, table, cutoff).await?;
        loop {
            let time = time_column(table);
            let search = json!({
                "query": { "range": { time: { "lt": cutoff, "format": "epoch_millis" } } },
                "size": PAGE,
                "_source": false,
                "version": true,
                "track_total_hits": false,
            });
            let found: Found = parsed(&ask(client, &alias, &search).await?)?;
            let mut body = Body::default();
            for hit in &found.hits.hits {
                body.delete(table, &hit.index, &hit.id, hit.version);
            }
            if body.is_empty() {
                return Ok(deleted);
            }
            let count = self.delete(client, body).await?;
            deleted += count;
            refresh(client, &alias).await?;
            // Another node deletes the same rows, or they come to know more meanwhile: the next
            // call looks again.
            if count == 0 {
                return Ok(deleted);
            }
        }
    }

    /// Removes the indices that hold nothing younger.
    async fn drop_indices(
        &self,
        client: &Client,
        table: Table,
        cutoff: i64,
    ) -> Result<u64, StoreError> {
        if period(table) == Period::Ever {
            return Ok(0);
        }
        let prefix = &self.config.index_prefix;
        let query = [("filter_path", "*.mappings._meta"), ("allow_no_indices", "true")];
        let path = format!("/{}/_mapping", pattern(prefix, table));
        let there: BTreeMap<String, IgnoredAny> =
            parsed(&client.get(&path, &query).await?.success()?.body)?;
        let mut deleted = 0;
        for name in there.into_keys() {
            let is_old = |index: Index| index.until <= cutoff;
            if !Index::named(prefix, table, &name).is_some_and(is_old) {
                continue;
            }
            let count = client.get(&format!("/{name}/_count"), &[]).await?;
            // Another node was faster.
            if count.is_missing() {
                continue;
            }
            #[derive(Deserialize)]
            struct Count {
                count: u64,
            }
            let Count { count } = parsed(&count.success()?.body)?;
            let dropped = client.send(Method::Delete, &format!("/{name}"), &[], None).await?;
            if dropped.is_missing() {
                continue;
            }
            dropped.success()?;
            tracing::info!(index = name, rows = count, "index dropped: its rows are too old");
            deleted += count;
        }
        Ok(deleted)
    }
}

/// The time of the table's newest row.
async fn newest(client: &Client, table: Table, alias: &str) -> Result<Option<i64>, StoreError> {
    let search = json!({
        "size": 1,
        "_source": false,
        "track_total_hits": false,
        "sort": [{ time_column(table): { "order": "desc" } }],
    });
    let found: Found = parsed(&ask(client, alias, &search).await?)?;
    let hit = found.hits.hits.into_iter().next();
    Ok(hit.and_then(|it| it.sort.first().and_then(serde_json::Value::as_i64)))
}

fn parsed<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(body).map_err(|error| {
        super::errors::refused(format!(
            "an answer makes no sense ({error}): is this Elasticsearch?"
        ))
    })
}
