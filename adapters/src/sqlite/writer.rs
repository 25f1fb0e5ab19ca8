//! The one thread that writes: takes requests from a bounded queue, one transaction at a time.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use fts_core::metrics::{SQLITE_WAL_BYTES, STORE_COMMIT_SECONDS, STORE_ROWS_TOTAL};
use fts_core::port::store::StoreError;
use fts_core::row::{Rows, Table};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::checkpoint::Checkpoints;
use super::sweep::Sweep;
use super::{errors, upsert};

/// Requests that may wait. A caller has at most one at a time, so this bounds the callers.
const QUEUE: usize = 64;
/// Puts that wait are committed together up to so many rows: a commit costs a sync of the disk,
/// however many rows it has.
const GROUP_ROWS: usize = 20_000;

pub(super) enum Request {
    Put { batches: Vec<Arc<Rows>>, done: oneshot::Sender<Result<(), StoreError>> },
    Expire { table: Table, keep_ms: i64, done: oneshot::Sender<Result<u64, StoreError>> },
}

type Put = (Vec<Arc<Rows>>, oneshot::Sender<Result<(), StoreError>>);

/// Starts the thread. It ends once the sender is dropped and the queue is empty.
pub(super) fn start(
    mut connection: Connection,
    path: &Path,
) -> Result<(mpsc::Sender<Request>, JoinHandle<()>), std::io::Error> {
    let wal_pages = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&wal_pages);
    let hook = move |_: &mut rusqlite::hooks::Wal, pages: std::ffi::c_int| {
        seen.store(u64::try_from(pages).unwrap_or(0), Ordering::Relaxed);
        Ok(())
    };
    connection.wal_hook(Some(hook)).map_err(std::io::Error::other)?;
    let page_bytes = connection
        .query_row("PRAGMA page_size", [], |row| row.get::<_, u32>(0))
        .map_err(std::io::Error::other)?;
    let checkpoints = Checkpoints::start(path)?;
    let (sender, requests) = mpsc::channel(QUEUE);
    let writer = Writer {
        connection,
        requests,
        wal_pages,
        page_bytes,
        checkpoints,
        sweeps: VecDeque::new(),
    };
    let thread =
        std::thread::Builder::new().name("sqlite-writer".to_owned()).spawn(move || writer.run())?;
    Ok((sender, thread))
}

struct Writer {
    connection: Connection,
    requests: mpsc::Receiver<Request>,
    wal_pages: Arc<AtomicU64>,
    page_bytes: u32,
    checkpoints: Checkpoints,
    sweeps: VecDeque<(Sweep, oneshot::Sender<Result<u64, StoreError>>)>,
}

impl Writer {
    fn run(mut self) {
        while let Some(first) = self.next() {
            if let Some(request) = first {
                self.serve(request);
            }
            self.sweep();
        }
        self.checkpoints.stop();
        // Readers that may not write find a short log. Whoever still reads keeps it from being cut.
        if let Err(error) = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::debug!(%error, "the write-ahead log is left for the next start");
        }
    }

    /// The next request; `Some(None)` where none waits but there is something to sweep.
    fn next(&mut self) -> Option<Option<Request>> {
        if self.sweeps.is_empty() {
            return self.requests.blocking_recv().map(Some);
        }
        match self.requests.try_recv() {
            Ok(request) => Some(Some(request)),
            Err(mpsc::error::TryRecvError::Empty) => Some(None),
            Err(mpsc::error::TryRecvError::Disconnected) => None,
        }
    }

    /// Serves one request and, if it is a put, those that wait behind it.
    fn serve(&mut self, first: Request) {
        let mut puts: Vec<Put> = Vec::new();
        let mut rows = 0;
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Put { batches, done } => {
                    rows += batches.iter().map(|batch| batch.len()).sum::<usize>();
                    puts.push((batches, done));
                }
                Request::Expire { table, keep_ms, done } => {
                    match Sweep::plan(&self.connection, table, keep_ms) {
                        Ok(sweep) => self.sweeps.push_back((sweep, done)),
                        Err(error) => reply(done, Err(errors::unavailable(&error))),
                    }
                }
            }
            next = if rows < GROUP_ROWS { self.requests.try_recv().ok() } else { None };
        }
        self.put(puts);
    }

    /// Commits all puts together. A row that is rejected takes only its own put with it.
    fn put(&mut self, puts: Vec<Put>) {
        let together = self.commit(puts.iter().flat_map(|(batches, _)| batches));
        let alone = matches!(together, Err(StoreError::Rejected { .. })) && puts.len() > 1;
        for (batches, done) in puts {
            let outcome = if alone { self.commit(batches.iter()) } else { together.clone() };
            reply(done, outcome);
        }
    }

    fn commit<'r>(
        &mut self,
        batches: impl Iterator<Item = &'r Arc<Rows>> + Clone,
    ) -> Result<(), StoreError> {
        if batches.clone().all(|batch| batch.is_empty()) {
            return Ok(());
        }
        let began = Instant::now();
        let written = batches.clone();
        self.transaction(|connection| {
            for rows in written {
                upsert::write(connection, rows)?;
            }
            Ok(())
        })?;
        metrics::histogram!(STORE_COMMIT_SECONDS, "store" => super::NAME)
            .record(began.elapsed().as_secs_f64());
        for rows in batches {
            count(rows);
        }
        self.after_commit();
        Ok(())
    }

    /// One chunk of the sweep that is due; the others take turns with it.
    fn sweep(&mut self) {
        let Some((mut sweep, done)) = self.sweeps.pop_front() else {
            return;
        };
        let outcome = self.transaction(|connection| {
            sweep.step(connection).map_err(|error| errors::unavailable(&error))
        });
        self.after_commit();
        match outcome {
            Ok(false) => self.sweeps.push_back((sweep, done)),
            Ok(true) => reply(done, Ok(sweep.deleted)),
            Err(error) => reply(done, Err(error)),
        }
    }

    /// All of `work` or nothing of it.
    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = &self.connection;
        let run = |sql| {
            let outcome = connection.prepare_cached(sql).and_then(|mut it| it.raw_execute());
            outcome.map_err(|error| errors::unavailable(&error))
        };
        // Immediate: the wait for another process's lock comes before the work.
        run("BEGIN IMMEDIATE")?;
        let outcome = work(connection).and_then(|value| run("COMMIT").map(|_| value));
        if outcome.is_err() && !connection.is_autocommit() {
            run("ROLLBACK")?;
        }
        outcome
    }

    fn after_commit(&mut self) {
        let pages = self.wal_pages.load(Ordering::Relaxed);
        self.checkpoints.step(&self.connection, pages);
        #[expect(clippy::cast_precision_loss, reason = "a gauge; exact below 2^53 bytes")]
        let bytes = (pages * u64::from(self.page_bytes)) as f64;
        metrics::gauge!(SQLITE_WAL_BYTES).set(bytes);
    }
}

fn count(rows: &Rows) {
    let counts = [
        (Table::Trades, rows.trades.len()),
        (Table::Candles, rows.candles.len()),
        (Table::BookTickers, rows.book_tickers.len()),
        (Table::BookSeconds, rows.book_seconds.len()),
        (Table::Tickers, rows.tickers.len()),
        (Table::Gaps, rows.gaps.len()),
        (Table::Alerts, rows.alerts.len()),
        (Table::DeadLetters, rows.dead_letters.len()),
        (Table::Dailies, rows.dailies.len()),
        (Table::DailyChanges, rows.daily_changes.len()),
        (Table::Transactions, rows.transactions.len()),
    ];
    for (table, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        metrics::counter!(STORE_ROWS_TOTAL, "store" => super::NAME, "table" => table.name())
            .increment(u64::try_from(count).unwrap_or(0));
    }
}

/// A caller that no longer waits has chosen not to know.
fn reply<T>(done: oneshot::Sender<T>, outcome: T) {
    let _ = done.send(outcome);
}
