//! Retention: deletes old rows by partition, the last one of each series in part.
//!
//! A deletion carries the greatest write timestamp of the rows that it is for: it beats those and
//! nothing that knows more. Deleted rows that are put again stay deleted until the servers forget
//! the deletion, a day later.

use std::sync::Arc;

use fts_core::interval::Interval;
use fts_core::port::store::{End, retention_end};
use fts_core::row::Table;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::bucket::{Partition, Series, clamp, storable};
use super::cells::Cells;
use super::errors::{self, Failure};
use super::read::{bucket_page, select};
use super::rows::partition_key;
use super::session::Live;
use super::{ScyllaStore, lock};
use crate::values::Values as _;

/// The share of the time to keep that must have passed before a table is swept again: each sweep
/// leaves a deletion in the partition that is cut.
const STEP: i64 = 64;
/// How many series are swept at once.
const CONCURRENCY: usize = 8;
/// Partitions that are looked at together.
const BUCKETS: usize = 64;

impl ScyllaStore {
    /// Deletes rows of `table` that are older than `keep_ms` before its newest row.
    pub(super) async fn sweep(
        &self,
        live: &Arc<Live>,
        table: Table,
        keep_ms: i64,
    ) -> Result<u64, Failure> {
        let known = lock(&self.newest).get(&table).copied();
        let newest = match known {
            Some(newest) => newest,
            None => match newest(live, table).await? {
                None => return Ok(0),
                Some(found) => {
                    let mut known = lock(&self.newest);
                    let known = known.entry(table).or_insert(found);
                    *known = found.max(*known);
                    *known
                }
            },
        };
        let before = retention_end(newest).saturating_sub(keep_ms);
        let swept = lock(&self.swept).get(&table).copied();
        if swept.is_some_and(|swept| before < swept.saturating_add(keep_ms / STEP)) {
            return Ok(0);
        }
        let series = series_of(live, table).await?;
        let swept = series.into_iter().map(|it| self.sweep_series(live, table, it, before));
        let deleted = stream::iter(swept.collect::<Vec<_>>())
            .buffer_unordered(CONCURRENCY)
            .try_fold(0_u64, |sum, deleted| std::future::ready(Ok(sum + deleted)))
            .await?;
        lock(&self.swept).insert(table, before);
        Ok(deleted)
    }

    async fn sweep_series(
        &self,
        live: &Arc<Live>,
        table: Table,
        series: Series,
        before: i64,
    ) -> Result<u64, Failure> {
        let before = match &series {
            // A candle is as old as its end: the day's candle outlives the seconds it is made of.
            Series::Candles(_, interval) => {
                before.saturating_sub(interval.millis() - Interval::Second.millis())
            }
            _ => before,
        };
        let before = clamp(before);
        let (mut from, mut deleted) = (i64::MIN, 0);
        loop {
            let span = (from, before.saturating_sub(1));
            let buckets = bucket_page(live, table, &series, span, End::Oldest, BUCKETS).await?;
            for bucket in &buckets {
                let partition = Partition { table, series: series.clone(), bucket: *bucket };
                let is_whole = bucket.saturating_add(series.bucket_ms(table)) <= before;
                deleted += self.delete(live, &partition, before, is_whole).await?;
            }
            match buckets.last() {
                Some(last) if buckets.len() == BUCKETS => from = last.saturating_add(1),
                _ => return Ok(deleted),
            }
        }
    }

    /// Deletes what is older than `before`: the whole partition, or its older part.
    async fn delete(
        &self,
        live: &Arc<Live>,
        partition: &Partition,
        before: i64,
        is_whole: bool,
    ) -> Result<u64, Failure> {
        let statements = live.statements.of(partition.table);
        let key = partition_key(partition);
        let mut values = key.clone();
        values.int(before);
        let counted =
            select(live, &statements.count, &values, 1, |row| Ok((row.int()?, row.maybe_int()?)));
        let (rows, timestamp) = match counted.await?.first() {
            Some((rows, Some(timestamp))) => (*rows, *timestamp),
            _ => (0, 0),
        };
        let mut bound = Cells::default();
        bound.int(timestamp);
        bound.append(&key);
        if is_whole {
            if rows > 0 {
                execute(live, &statements.drop, &bound).await?;
            }
            // Whoever knows it as announced may still write a row that is too old: nobody finds it,
            // and its time to live ends it.
            lock(&self.known).forget(partition);
            let mut entry = Cells::default();
            entry.text(partition.table.name()).text(&partition.series.to_string());
            execute(live, &live.statements.drop_bucket, entry.int(partition.bucket)).await?;
        } else if rows > 0 {
            execute(live, &statements.cut, bound.int(before)).await?;
        }
        Ok(u64::try_from(rows).unwrap_or(0))
    }
}

/// The time of the newest row of `table`.
async fn newest(live: &Live, table: Table) -> Result<Option<i64>, Failure> {
    let statement = &live.statements.of(table).newest_time;
    let mut newest: Option<i64> = None;
    for series in series_of(live, table).await? {
        let mut to = i64::MAX;
        // The newest partition may be empty: announced, and then not written.
        loop {
            let page = bucket_page(live, table, &series, (i64::MIN, to), End::Newest, 1).await?;
            let Some(bucket) = page.first().copied() else { break };
            let end = bucket.saturating_add(series.bucket_ms(table));
            if newest.is_some_and(|newest| end <= newest) {
                break;
            }
            let partition = Partition { table, series: series.clone(), bucket };
            let key = partition_key(&partition);
            let found = select(live, statement, &key, 1, |row| row.int()).await?;
            if let Some(found) = found.first() {
                newest = newest.max(Some(*found));
                break;
            }
            to = bucket.saturating_sub(1);
        }
    }
    Ok(newest.filter(|time| storable(*time)))
}

async fn series_of(live: &Live, table: Table) -> Result<Vec<Series>, Failure> {
    let mut name = Cells::default();
    name.text(table.name());
    let statement = &live.statements.series;
    select(live, statement, &name, usize::MAX, |row| {
        row.word("a series", |text| Series::parse(table, text))
    })
    .await
}

async fn execute(
    live: &Live,
    statement: &scylla::statement::prepared::PreparedStatement,
    values: &Cells,
) -> Result<(), Failure> {
    let done = live.session.execute_unpaged(statement, values).await;
    done.map(drop).map_err(|error| errors::of_request(&error))
}
