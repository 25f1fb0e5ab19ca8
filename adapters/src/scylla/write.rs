//! Rows into partitions: unlogged batches of one partition each, so many at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use fts_core::metrics::STORE_ROWS_TOTAL;
use fts_core::port::store::StoreError;
use fts_core::row::{
    AlertRow, BookSecondRow, BookTickerRow, CandleRow, DailyChangeRow, DailyRow, DeadLetterRow,
    GapRow, Rows, Table, TickerRow, TradeRow, TransactionRow,
};
use futures_util::stream::{self, FuturesUnordered, StreamExt as _, TryStreamExt as _};

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
/// As much of a key as an operator needs.
const KEY_CHARS_SHOWN: usize = 100;
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
        let count: usize = chunks.iter().map(|it| it.rows.len()).sum();
        // Made as there is room for them: a request under way takes kilobytes.
        let mut sending = FuturesUnordered::new();
        for chunk in chunks {
            if sending.len() >= self.config.concurrency {
                sending.try_next().await?;
            }
            sending.push(self.send(live, chunk, ttl));
        }
        while sending.try_next().await?.is_some() {}
        let table = R::TABLE.name();
        metrics::counter!(STORE_ROWS_TOTAL, "store" => super::NAME, "table" => table)
            .increment(u64::try_from(count).unwrap_or(0));
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
    let mut waiting: HashMap<(Partition, i64), (usize, usize)> = HashMap::new();
    for row in batches.iter().flat_map(|rows| R::of(rows)) {
        if row.timestamp().is_none() {
            return Err(rejected(row, OUT_OF_RANGE));
        }
        if let Some(fault) = row.fault() {
            return Err(rejected(row, fault));
        }
        let partition = Partition::of(R::TABLE, row.series(), row.time());
        if R::KEY_IS_TIME {
            let place = waiting.get(&(partition.clone(), row.time()));
            let place = place.and_then(|(chunk, at)| chunks.get_mut(*chunk)?.rows.get_mut(*at));
            if let Some(other) = place {
                if other.version() < row.version() {
                    *other = row;
                }
                continue;
            }
        }
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
            if R::KEY_IS_TIME {
                let key = (chunk.partition.clone(), row.time());
                waiting.insert(key, (index, chunk.rows.len()));
            }
            chunk.rows.push(row);
        }
        last = Some(index);
    }
    Ok(chunks)
}

fn rejected<R: Stored>(row: &R, reason: &str) -> StoreError {
    // A stranger's id may be as long as its event.
    let key: String = row.key().chars().take(KEY_CHARS_SHOWN).collect();
    let reason = format!("{reason} ({key})");
    StoreError::Rejected { table: R::TABLE.name(), reason }
}

#[cfg(test)]
mod tests {
    use fts_core::decimal::{Decimal, Notional};
    use fts_core::interval::Interval;
    use fts_core::market::{Source, Symbol, Trade};
    use fts_core::row::Candle;

    use super::*;

    fn trade(symbol: &str, id: i64, time: i64) -> TradeRow {
        let (price, quantity) = (Decimal::from_units(1), Decimal::from_units(2));
        TradeRow {
            symbol: Symbol::new(symbol).unwrap(),
            trade: Trade { id, time, price, quantity, buyer_is_maker: false },
            received_at: time,
            source: Source::Stream,
        }
    }

    fn candle(interval: Interval, open_time: i64, trade_count: i64) -> CandleRow {
        let (price, sum) = (Decimal::from_units(1), Notional::ZERO);
        CandleRow {
            symbol: Symbol::new("BTCUSDT").unwrap(),
            interval,
            candle: Candle {
                open_time,
                open: price,
                high: price,
                low: price,
                close: price,
                volume: price,
                quote_volume: sum,
                trade_count,
                taker_buy_volume: price,
                taker_buy_quote_volume: sum,
                first_trade_id: 1,
                last_trade_id: trade_count,
            },
            complete: false,
        }
    }

    fn trades(rows: Vec<TradeRow>) -> Arc<Rows> {
        Arc::new(Rows { trades: rows, ..Rows::default() })
    }

    #[test]
    fn a_chunk_is_of_one_partition_and_no_larger_than_a_batch() {
        let hour = 3_600_000;
        let mixed = (0..100).map(|id| trade(if id % 2 == 0 { "A" } else { "B" }, id, id));
        let batches = [trades(mixed.collect()), trades(vec![trade("A", 100, hour)])];
        let chunks = chunks::<TradeRow>(&batches).unwrap();
        let mut sizes: Vec<_> = chunks.iter().map(|it| it.rows.len()).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 18, 18, BATCH_ROWS, BATCH_ROWS]);
        for chunk in &chunks {
            for row in &chunk.rows {
                let own = Partition::of(Table::Trades, row.series(), row.trade.time);
                assert_eq!(own, chunk.partition);
            }
        }
    }

    #[test]
    fn of_a_window_that_waits_several_times_the_one_that_knows_most_is_sent() {
        let minute = |count| candle(Interval::Minute, 0, count);
        let batch = |rows| Arc::new(Rows { candles: rows, ..Rows::default() });
        let batches = [
            batch(vec![minute(3), candle(Interval::Minute, 60_000, 1)]),
            batch(vec![minute(5), candle(Interval::Hour, 0, 4), minute(4)]),
        ];
        let chunks = chunks::<CandleRow>(&batches).unwrap();
        let mut found: Vec<_> = chunks
            .iter()
            .flat_map(|it| &it.rows)
            .map(|it| (it.interval.name(), it.candle.open_time, it.candle.trade_count))
            .collect();
        found.sort_unstable();
        assert_eq!(found, [("1h", 0, 4), ("1m", 0, 5), ("1m", 60_000, 1)]);
    }

    #[test]
    fn a_time_beyond_what_is_stored_is_rejected_with_its_row() {
        let batches = [trades(vec![trade("A", 1, 0), trade("A", 7, i64::MAX)])];
        let error = chunks::<TradeRow>(&batches).err();
        let reason = "its time or version is out of range (A trade 7)".to_owned();
        assert_eq!(error, Some(StoreError::Rejected { table: "trades", reason }));
    }
}
