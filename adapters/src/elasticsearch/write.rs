//! Rows into `_bulk` requests: bounded in size, so many at once, what failed tried again.
//!
//! What did not get through in time, or was too large, is tried again in halves, down to the document.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fts_core::backoff::Backoff;
use fts_core::metrics::STORE_ROWS_TOTAL;
use fts_core::port::store::StoreError;
use fts_core::row::{Rows, Table};
use futures_util::future;
use serde::Deserialize;
use tokio::time::Instant;

use super::client::Client;
use super::document::{Document, OUT_OF_RANGE, quoted};
use super::errors::{self, Fault, Silence, Verdict};
use super::index::Index;
use super::rows::{Stored, each};
use super::{AHEAD, ElasticsearchStore};

/// How often documents are sent that the cluster is too busy for. The waits between add up to some
/// four seconds; the caller tries again after that.
const ATTEMPTS_MAX: u32 = 8;
const WAIT_MIN: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(1);
/// After so many refusals of a whole body in a row it is taken to be too large for so busy a cluster.
const BUSY_MAX: u32 = 3;
/// So many requests in a row may not get through in time before the caller hears of it: a cluster that
/// hangs does not answer to a smaller body either.
const LATE_MAX: u32 = 3;
/// The largest document: servers take requests of 100 MiB, and of one document less than half.
const DOCUMENT_BYTES_MAX: usize = 32 * 1_024 * 1_024;
/// The longest key that servers take.
const ID_BYTES_MAX: usize = 512;
/// Rejected rows that are named each.
const NAMED_MAX: usize = 3;
/// As much of a key as an operator needs.
const ID_CHARS_SHOWN: usize = 100;

/// What a `_bulk` request says, line by line.
#[derive(Debug, Default)]
pub(super) struct Body {
    bytes: Vec<u8>,
    items: Vec<Item>,
}

/// One of its actions.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    table: Table,
    /// Where its lines end.
    end: usize,
}

impl Body {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Deletes the document, unless it knows more than what has this version.
    pub(super) fn delete(&mut self, table: Table, index: &str, id: &str, version: i64) {
        self.action("delete", index, id, version);
        self.items.push(Item { table, end: self.bytes.len() });
    }

    /// Writes the row, unless what is there knows more. Leaves no trace of a row that can't be
    /// stored.
    fn add(&mut self, row: &dyn Stored, index: &Index, id: &str) -> Result<(), &'static str> {
        let start = self.bytes.len();
        let added = self.lines(row, index, id);
        if added.is_err() {
            self.bytes.truncate(start);
            return added;
        }
        if self.bytes.len() - start > DOCUMENT_BYTES_MAX {
            self.bytes.truncate(start);
            return Err("it is larger than 32 MiB");
        }
        self.items.push(Item { table: row.table(), end: self.bytes.len() });
        Ok(())
    }

    fn lines(&mut self, row: &dyn Stored, index: &Index, id: &str) -> Result<(), &'static str> {
        if id.len() > ID_BYTES_MAX {
            return Err("its key is longer than 512 bytes");
        }
        if row.version() < 0 {
            return Err("its version is negative");
        }
        self.action("index", &index.name, id, row.version());
        let mut document = Document::begin(&mut self.bytes);
        row.write(&mut document);
        document.end()?;
        self.bytes.push(b'\n');
        Ok(())
    }

    fn action(&mut self, kind: &str, index: &str, id: &str, version: i64) {
        let out = &mut self.bytes;
        out.extend_from_slice(b"{\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\":{\"_index\":");
        quoted(out, index);
        out.extend_from_slice(b",\"_id\":");
        quoted(out, id);
        out.extend_from_slice(b",\"version\":");
        out.extend_from_slice(version.to_string().as_bytes());
        out.extend_from_slice(b",\"version_type\":\"external_gte\"}}\n");
    }

    /// The lines of an item, and the item.
    fn get(&self, number: usize) -> Option<(&[u8], &Item)> {
        let item = self.items.get(number)?;
        let start = number.checked_sub(1).and_then(|it| self.items.get(it)).map_or(0, |it| it.end);
        Some((self.bytes.get(start..item.end)?, item))
    }

    /// Only these items.
    fn only(&self, numbers: &[usize]) -> Self {
        let mut body = Self::default();
        for (lines, item) in numbers.iter().filter_map(|it| self.get(*it)) {
            body.bytes.extend_from_slice(lines);
            body.items.push(Item { table: item.table, end: body.bytes.len() });
        }
        body
    }

    /// Two halves, the first one last: who takes from the end takes the rows in their order.
    fn halves(&self) -> [Self; 2] {
        let numbers: Vec<usize> = (0..self.items.len()).collect();
        let (first, second) = numbers.split_at(numbers.len() / 2);
        [self.only(second), self.only(first)]
    }

    /// Which document an item is about.
    fn id(&self, number: usize) -> String {
        #[derive(Deserialize)]
        struct Id {
            #[serde(rename = "_id")]
            id: String,
        }
        let line = self.get(number).and_then(|(lines, _)| lines.split(|it| *it == b'\n').next());
        let action = line.and_then(|it| serde_json::from_slice::<BTreeMap<String, Id>>(it).ok());
        action.and_then(|it| it.into_values().next()).map(|it| it.id).unwrap_or_default()
    }
}

/// Makes bodies of rows, as large as they may be.
struct Bodies<'r> {
    rows: std::vec::IntoIter<&'r dyn Stored>,
    store: &'r ElasticsearchStore,
    /// The index of the row before: neighbours mostly lie in one.
    index: Option<(Table, Index)>,
    id: String,
    rejected: Rejected,
}

impl Bodies<'_> {
    /// The next one; an empty one at the end.
    fn next(&mut self) -> Body {
        let limit = self.store.size.now();
        let mut body = Body::default();
        while body.bytes.len() < limit {
            let Some(row) = self.rows.next() else { break };
            self.id.clear();
            row.id(&mut self.id);
            let (table, time) = (row.table(), row.time());
            let known = self.index.take().filter(|(of, it)| *of == table && it.holds(time));
            self.index = known.or_else(|| {
                Index::of(&self.store.config.index_prefix, table, time).map(|it| (table, it))
            });
            let added = match &self.index {
                Some((_, index)) => body.add(row, index, &self.id),
                None => Err(OUT_OF_RANGE),
            };
            if let Err(reason) = added {
                self.rejected.add(table, &self.id, reason);
            }
        }
        body
    }
}

/// Rows that the store can't hold.
#[derive(Debug, Default)]
struct Rejected(BTreeMap<Table, (usize, Vec<String>)>);

impl Rejected {
    fn add(&mut self, table: Table, id: &str, reason: &str) {
        let (count, named) = self.0.entry(table).or_default();
        *count += 1;
        if named.len() < NAMED_MAX {
            let id: String = id.chars().take(ID_CHARS_SHOWN).collect();
            named.push(format!("{reason} ({id})"));
        }
    }

    fn append(&mut self, other: Self) {
        for (table, (count, mut named)) in other.0 {
            let (all, known) = self.0.entry(table).or_default();
            *all += count;
            known.append(&mut named);
            known.truncate(NAMED_MAX);
        }
    }

    /// The rows of one table, as an error; the caller hears of the next table the next time.
    fn error(self) -> Option<StoreError> {
        let (table, (count, named)) = self.0.into_iter().next()?;
        let more = count - named.len();
        let mut reason = errors::shortened(named.join("; "));
        if more > 0 {
            reason.push_str(&format!("; and {more} more"));
        }
        Some(StoreError::Rejected { table: table.name(), reason })
    }
}

/// What the server answers to a `_bulk` request, less what is not needed.
#[derive(Deserialize)]
struct BulkAnswer<'a> {
    #[serde(borrow)]
    items: Vec<BTreeMap<&'a str, ItemAnswer>>,
}

#[derive(Deserialize)]
struct ItemAnswer {
    status: u16,
    #[serde(default)]
    error: Option<Fault>,
}

impl ElasticsearchStore {
    /// Writes all rows of all batches that can be written, and then says which can't.
    pub(super) async fn write(
        &self,
        client: &Client,
        batches: &[Arc<Rows>],
    ) -> Result<(), StoreError> {
        let rows: Vec<&dyn Stored> = batches.iter().flat_map(|rows| each(rows)).collect();
        let bodies = StdMutex::new(Bodies {
            rows: rows.into_iter(),
            store: self,
            index: None,
            id: String::new(),
            rejected: Rejected::default(),
        });
        let workers = self.config.concurrency.saturating_add(AHEAD);
        let workers = (0..workers).map(|_| self.work(client, &bodies));
        let outcomes = future::try_join_all(workers).await?;
        let mut rejected = bodies.into_inner().unwrap_or_else(PoisonError::into_inner).rejected;
        for more in outcomes {
            rejected.append(more);
        }
        rejected.error().map_or(Ok(()), Err)
    }

    /// Sends bodies as long as there are any. A body is made once there is room for it: that bounds
    /// how many there are, and has the next one ready when the server has answered.
    async fn work(
        &self,
        client: &Client,
        bodies: &StdMutex<Bodies<'_>>,
    ) -> Result<Rejected, StoreError> {
        let mut rejected = Rejected::default();
        loop {
            let _room = self.room.acquire().await;
            let body = bodies.lock().unwrap_or_else(PoisonError::into_inner).next();
            if body.is_empty() {
                return Ok(rejected);
            }
            let (more, done) = self.send(client, body).await?;
            rejected.append(more);
            done.count();
        }
    }

    /// Sends a body until each of its items is done for good. Answers which were rejected, and what
    /// came of the others.
    async fn send(&self, client: &Client, body: Body) -> Result<(Rejected, Done), StoreError> {
        let (mut rejected, mut done) = (Rejected::default(), Done::default());
        let (mut backoff, mut late) = (Backoff::new(WAIT_MIN, WAIT_MAX), 0);
        // Halves of what was too much at once wait here.
        let mut waiting = vec![body];
        while let Some(body) = waiting.pop() {
            let tables = body.items.iter().map(|it| it.table).collect();
            let is_one = body.items.len() < 2;
            self.fresh.written(&tables);
            let outcome = self.send_once(client, &body).await;
            self.fresh.written(&tables);
            let (again, reason) = match outcome? {
                Sent::Items { again, reason, rejected: more, done: others } => {
                    late = 0;
                    if again.len() < body.items.len() {
                        backoff.reset();
                    }
                    rejected.append(more);
                    done.append(others);
                    (body.only(&again), reason)
                }
                Sent::Busy(reason) => (body, reason),
                Sent::TooLarge(reason) if is_one => {
                    let table = body.items.first().map_or(Table::Trades, |it| it.table);
                    rejected.add(table, &body.id(0), &reason);
                    continue;
                }
                Sent::TooMuch | Sent::TooLarge(_) => {
                    waiting.extend(body.halves());
                    continue;
                }
                Sent::Late(error) => {
                    late += 1;
                    if is_one || late >= LATE_MAX {
                        return Err(error);
                    }
                    waiting.extend(body.halves());
                    continue;
                }
            };
            if again.is_empty() {
                continue;
            }
            let wait = backoff.next(u32::MAX / 2);
            if backoff.failures() >= ATTEMPTS_MAX {
                return Err(errors::unavailable(reason));
            }
            tracing::debug!(rows = again.items.len(), reason, ?wait, "the cluster is busy");
            tokio::time::sleep(wait).await;
            if backoff.failures() >= BUSY_MAX && again.items.len() > 1 {
                self.size.slow(again.bytes.len(), &reason);
                waiting.extend(again.halves());
            } else {
                waiting.push(again);
            }
        }
        Ok((rejected, done))
    }

    async fn send_once(&self, client: &Client, body: &Body) -> Result<Sent, StoreError> {
        let limit = Duration::from_millis(self.config.request_timeout_ms);
        let timeout = format!("{}ms", self.config.request_timeout_ms / 2);
        let query =
            [("filter_path", "items.*.status,items.*.error"), ("timeout", timeout.as_str())];
        let length = body.bytes.len();
        let permit = self.permits.acquire().await;
        // It was made when bodies might be larger.
        if body.items.len() > 1 && length / 2 > self.size.now() {
            return Ok(Sent::TooMuch);
        }
        let begin = Instant::now();
        let answer = client.bulk(&query, Bytes::copy_from_slice(&body.bytes)).await;
        drop(permit);
        let answer = match answer {
            Ok(answer) => answer,
            Err(Silence::Late(error)) => {
                self.size.slow(length, &error.to_string());
                return Ok(Sent::Late(error));
            }
            Err(Silence::Away(error)) => return Err(error),
        };
        match answer.verdict() {
            None => self.size.done(length, begin.elapsed(), limit),
            Some(Verdict::Busy(reason)) => return Ok(Sent::Busy(reason)),
            Some(Verdict::TooLarge(reason)) => {
                self.size.large(length, &reason);
                return Ok(Sent::TooLarge(reason));
            }
            Some(Verdict::Late(reason)) => {
                self.size.slow(length, &reason);
                return Ok(Sent::Late(errors::unavailable(reason)));
            }
            Some(verdict) => return Err(verdict.into()),
        }
        outcome(body, &answer.body)
    }

    /// Deletes what `body` names. Answers how many documents that were.
    pub(super) async fn delete(&self, client: &Client, body: Body) -> Result<u64, StoreError> {
        self.send(client, body).await.map(|(_, done)| done.changed)
    }
}

/// Items that need not be sent again.
#[derive(Debug, Default)]
struct Done {
    /// How many did what they should: not those that found a row that knows more.
    changed: u64,
    /// How many there are of each table: what they say, or more, is in the index.
    by_table: BTreeMap<Table, u64>,
}

impl Done {
    fn add(&mut self, table: Table, changed: bool) {
        self.changed += u64::from(changed);
        *self.by_table.entry(table).or_default() += 1;
    }

    fn append(&mut self, other: Self) {
        self.changed += other.changed;
        for (table, count) in other.by_table {
            *self.by_table.entry(table).or_default() += count;
        }
    }

    fn count(&self) {
        for (table, count) in &self.by_table {
            let table = table.name();
            metrics::counter!(STORE_ROWS_TOTAL, "store" => super::NAME, "table" => table)
                .increment(*count);
        }
    }
}

/// What came of one request.
#[derive(Debug)]
enum Sent {
    Items {
        /// What the cluster was too busy for, and its words.
        again: Vec<usize>,
        reason: String,
        rejected: Rejected,
        done: Done,
    },
    Busy(String),
    TooLarge(String),
    /// It was not sent, as it is larger than bodies should be now.
    TooMuch,
    /// It did not get through in time, or not whole. It may have been done all the same.
    Late(StoreError),
}

fn outcome(body: &Body, answer: &[u8]) -> Result<Sent, StoreError> {
    let nonsense = |error: &dyn std::fmt::Display| {
        errors::refused(format!("an answer makes no sense ({error}): is this Elasticsearch?"))
    };
    let answer: BulkAnswer<'_> = serde_json::from_slice(answer).map_err(|it| nonsense(&it))?;
    let items = answer.items;
    if items.len() != body.items.len() {
        return Err(nonsense(&format!("{} items of {}", items.len(), body.items.len())));
    }
    let (mut again, mut reason, mut rejected, mut done) =
        (Vec::new(), String::new(), Rejected::default(), Done::default());
    for (number, item) in items.into_iter().filter_map(|it| it.into_values().next()).enumerate() {
        let table = body.items.get(number).map_or(Table::Trades, |it| it.table);
        match (item.status, &item.error) {
            (200..=299, _) => done.add(table, true),
            // What is there knows more, or is gone.
            (409, _) | (404, None) => done.add(table, false),
            (status, fault) => match errors::judge(status, &fault.clone().unwrap_or_default()) {
                Verdict::Busy(words) => {
                    again.push(number);
                    reason = words;
                }
                Verdict::Rejected(words) | Verdict::TooLarge(words) => {
                    rejected.add(table, &body.id(number), &words);
                }
                verdict => return Err(verdict.into()),
            },
        }
    }
    Ok(Sent::Items { again, reason, rejected, done })
}
