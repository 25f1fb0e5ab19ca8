//! Rows into partitions: unlogged batches of one partition each, so many at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use fts_core::port::store::StoreError;
use fts_core::row::{
    AlertRow, BookSecondRow, BookTickerRow, CandleRow, DailyChangeRow, DailyRow, DeadLetterRow,
    GapRow, Rows, Table, TickerRow, TradeRow, TransactionRow,
};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::bucket::Partition;
use super::cells::Cells;
use super::errors::{self, Failure};
use super::rows::Stored;
use super::session::Live;
use super::statements::{BATCH_ROWS, OfTable};
use super::{ScyllaStore, lock};

/// The most bytes of rows that are sent together.
const BATCH_BYTES: usize = 64 * 1_024;
/// The largest row. Servers take a write of half a commit log segment, 16 MiB by default.
const ROW_BYTES_MAX: usize = 4 * 1_024 * 1_024;
/// How many partitions are remembered as known.
const KNOWN_MAX: usize = 100_000;
/// How much longer than asked for the server keeps rows: `expire` goes by the rows' own time, which
/// may lag behind the clock.
const TTL_SLACK_SECONDS: i64 = 2 * 86_400;
/// The longest time to live that Cassandra knows: 20 years.
const TTL_MAX_SECONDS: i64 = 630_720_000;

/// Partitions that are in `buckets`.
#[derive(Default)]
pub(super) struct Known(HashSet<Partition>);

impl Known {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn forget(&mut self, partition: &Partition) {
        self.0.remove(partition);
    }

    fn add(&mut self, partition: Partition) {
        if self.0.len() >= KNOWN_MAX {
            self.0.clear();
        }
        self.0.insert(partition);
    }
}

/// Rows of one partition that are sent one after the other.
struct Chunk<'r, R> {
    partition: Partition,
    rows: Vec<&'r R>,
}

impl ScyllaStore {
    /// Writes all rows of all batches.
    pub(super) async fn write(
        &self,
        live: &Arc<Live>,
        batches: &[Arc<Rows>],
    ) -> Result<(), Failure> {
        tokio::try_join!(
            self.write_table::<TradeRow>(live, batches),
            self.write_table::<CandleRow>(live, batches),
            self.write_table::<BookTickerRow>(live, batches),
            self.write_table::<BookSecondRow>(live, batches),
            self.write_table::<TickerRow>(live, batches),
            self.write_table::<GapRow>(live, batches),
            self.write_table::<AlertRow>(live, batches),
            self.write_table::<DeadLetterRow>(live, batches),
            self.write_table::<DailyRow>(live, batches),
            self.write_table::<DailyChangeRow>(live, batches),
            self.write_table::<TransactionRow>(live, batches),
        )?;
        Ok(())
    }

    async fn write_table<R: Stored>(
        &self,
        live: &Live,
        batches: &[Arc<Rows>],
    ) -> Result<(), Failure> {
        let chunks = chunks::<R>(batches)?;
        let newest = chunks.iter().flat_map(|it| &it.rows).map(|row| row.time()).max();
        let Some(newest) = newest else {
            return Ok(());
        };
        self.announce(live, chunks.iter().map(|it| &it.partition)).await?;
        let ttl = self.ttl(R::TABLE);
        // Boxed: the compiler does not see that a future of a generic reference can be sent.
        let sent = chunks.into_iter().map(|chunk| Box::pin(self.send(live, chunk, ttl)));
        stream::iter(sent.collect::<Vec<_>>())
            .buffer_unordered(self.config.concurrency)
            .try_for_each(|()| std::future::ready(Ok(())))
            .await?;
        let mut known = lock(&self.newest);
        let known = known.entry(R::TABLE).or_insert(newest);
        *known = newest.max(*known);
        Ok(())
    }

    /// Puts partitions into `buckets` before there is anything in them: what a reader is told of may
    /// be empty, but nothing is hidden from it.
    async fn announce(
        &self,
        live: &Live,
        partitions: impl Iterator<Item = &Partition>,
    ) -> Result<(), Failure> {
        let unknown: HashSet<Partition> = {
            let known = lock(&self.known);
            partitions.filter(|it| !known.0.contains(*it)).cloned().collect()
        };
        let add = async |partition: Partition| {
            let permit = self.permits.acquire().await;
            let mut series = Cells::default();
            series.text(partition.table.name()).text(&partition.series.to_string());
            let mut bucket = series.clone();
            bucket.int(partition.bucket);
            let statements = &live.statements;
            tokio::try_join!(
                live.session.execute_unpaged(&statements.add_series, &series),
                live.session.execute_unpaged(&statements.add_bucket, &bucket),
            )
            .map_err(|error| errors::of_request(&error))?;
            drop(permit);
            lock(&self.known).add(partition);
            Ok::<(), Failure>(())
        };
        let added: Vec<_> = unknown.into_iter().map(add).collect();
        stream::iter(added)
            .buffer_unordered(self.config.concurrency)
            .try_for_each(|()| std::future::ready(Ok(())))
            .await
    }

    /// Sends the rows of a chunk: in one request, unless they are large.
    async fn send<R: Stored>(
        &self,
        live: &Live,
        chunk: Chunk<'_, R>,
        ttl: i32,
    ) -> Result<(), Failure> {
        let _permit = self.permits.acquire().await;
        let statements = live.statements.of(R::TABLE);
        let mut bytes = 0;
        let mut waiting: Vec<Cells> = Vec::with_capacity(chunk.rows.len());
        for row in chunk.rows {
            let mut cells = Cells::with_capacity(R::BYTES);
            row.write(chunk.partition.bucket, &mut cells);
            if cells.len() > ROW_BYTES_MAX {
                return Err(rejected(row, "it is larger than 4 MiB").into());
            }
            let timestamp = row.timestamp().ok_or_else(|| rejected(row, OUT_OF_RANGE))?;
            cells.int(timestamp).small(ttl);
            if bytes + cells.len() > BATCH_BYTES && !waiting.is_empty() {
                execute(live, statements, &waiting).await?;
                waiting.clear();
                bytes = 0;
            }
            bytes += cells.len();
            waiting.push(cells);
        }
        execute(live, statements, &waiting).await
    }

    /// How many seconds the server keeps rows of `table`; 0 stands for ever.
    fn ttl(&self, table: Table) -> i32 {
        let keep_ms = self.config.retention.get(&table).copied().unwrap_or(0);
        if keep_ms <= 0 {
            return 0;
        }
        let seconds = (keep_ms / 1_000).saturating_add(TTL_SLACK_SECONDS).min(TTL_MAX_SECONDS);
        i32::try_from(seconds).unwrap_or(0)
    }
}

const OUT_OF_RANGE: &str = "its time or version is out of range";

async fn execute(live: &Live, statements: &OfTable, rows: &[Cells]) -> Result<(), Failure> {
    let sent = match (rows, statements.batch(rows.len())) {
        ([], _) => return Ok(()),
        ([row], _) => live.session.execute_unpaged(&statements.insert, row).await,
        (_, Some(batch)) => live.session.batch(batch, rows).await,
        (_, None) => return Err(errors::unavailable("a batch is larger than any may be").into()),
    };
    sent.map(drop).map_err(|error| errors::of_request(&error))
}

/// Rows by partition, at most as many together as are sent together. What can't be stored is found
/// before anything is sent.
fn chunks<R: Stored>(batches: &[Arc<Rows>]) -> Result<Vec<Chunk<'_, R>>, StoreError> {
    let mut chunks: Vec<Chunk<'_, R>> = Vec::new();
    let mut open: HashMap<Partition, usize> = HashMap::new();
    let mut last: Option<usize> = None;
    for row in batches.iter().flat_map(|rows| R::of(rows)) {
        if row.timestamp().is_none() {
            return Err(rejected(row, OUT_OF_RANGE));
        }
        if let Some(fault) = row.fault() {
            return Err(rejected(row, fault));
        }
        let partition = Partition::of(R::TABLE, row.series(), row.time());
        // Neighbours mostly lie in one partition: they need no look-up.
        let is_last =
            |index: &usize| chunks.get(*index).is_some_and(|it| it.partition == partition);
        let index = last.filter(is_last).or_else(|| open.get(&partition).copied());
        let index = match index {
            Some(index) if chunks.get(index).is_some_and(|it| it.rows.len() < BATCH_ROWS) => index,
            _ => {
                let rows = Vec::with_capacity(1);
                open.insert(partition.clone(), chunks.len());
                chunks.push(Chunk { partition, rows });
                chunks.len() - 1
            }
        };
        if let Some(chunk) = chunks.get_mut(index) {
            chunk.rows.push(row);
        }
        last = Some(index);
    }
    Ok(chunks)
}

fn rejected<R: Stored>(row: &R, reason: &str) -> StoreError {
    let reason = format!("{reason} ({})", row.key());
    StoreError::Rejected { table: R::TABLE.name(), reason }
}
