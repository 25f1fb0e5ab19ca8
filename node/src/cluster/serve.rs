//! What this node does for others: calls on its own log and stores.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fts_core::interval::Interval;
use fts_core::market::{Symbol, Topic};
use fts_core::port::log::{Log, LogError};
use fts_core::port::store::{End, Span, Store};
use fts_core::row::{BookSecondRow, BookTickerRow, Rows, Table, TickerRow};
use fts_proto::gateway::{
    Answer, Bounds, Call, Changed, Checkpoint, Described, Failure, Kind, Malformed, Nothing, Place,
    Put, Select, failure, stored,
};
use fts_proto::rows;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use super::calls::Answers;

/// What reads a store for the newest change of a book, in place of a table's name.
pub(super) const LATEST: &str = "latest";
/// Longest wait for records that is answered as one.
pub(super) const PATIENCE_MAX: Duration = Duration::from_secs(10);

/// No read of the log gives more at once.
const READ_BYTES_MAX: usize = 4 << 20;
/// Reads for all peers at once: what they hold is bounded so.
const READS: usize = 32;

/// Serves a log and stores to the peers of all links.
pub(super) struct Server {
    served: RwLock<Arc<Served>>,
    reads: Arc<Semaphore>,
}

#[derive(Default)]
struct Served {
    log: Option<Arc<dyn Log>>,
    stores: Vec<Arc<dyn Store>>,
}

impl Default for Server {
    fn default() -> Self {
        Self { served: RwLock::default(), reads: Arc::new(Semaphore::new(READS)) }
    }
}

impl Server {
    pub(super) fn serve(&self, log: Option<Arc<dyn Log>>, stores: Vec<Arc<dyn Store>>) {
        let served = Arc::new(Served { log, stores });
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = served;
    }
}

impl Answers for Server {
    fn answer(&self, call: Call) -> BoxFuture<'static, Answer> {
        let served = Arc::clone(&self.served.read().unwrap_or_else(PoisonError::into_inner));
        let reads = Arc::clone(&self.reads);
        Box::pin(async move {
            let is_read = matches!(call, Call::Read(_) | Call::Select(_) | Call::LoadCheckpoint(_));
            let _place = if is_read { reads.acquire().await.ok() } else { None };
            served.answer(call).await.unwrap_or_else(Answer::Failure)
        })
    }
}

impl Served {
    async fn answer(&self, call: Call) -> Result<Answer, Failure> {
        match call {
            Call::Describe(Nothing {}) => Ok(Answer::Described(Described {
                partitions: self.log.as_ref().map_or(0, |log| log.partitions()),
                stores: self.stores.iter().map(|store| store.name().to_owned()).collect(),
            })),
            Call::Append(records) => {
                let batch = records.into_batch().map_err(malformed)?;
                done(self.log()?.append(batch).await)
            }
            Call::Read(read) => {
                let place = read.place.unwrap_or_default();
                let max_bytes = usize::try_from(read.max_bytes).unwrap_or(READ_BYTES_MAX);
                let (log, topic) = (self.log()?, topic_of(&place)?);
                let max_bytes = max_bytes.min(READ_BYTES_MAX);
                let found = log.read(topic, place.partition, place.offset, max_bytes).await?;
                Ok(Answer::Records(stored(found)))
            }
            Call::Bounds(place) => {
                let (oldest, next) = self.log()?.bounds(topic_of(&place)?, place.partition).await?;
                Ok(Answer::Bounds(Bounds { oldest, next }))
            }
            Call::Changed(changed) => self.changed(changed).await,
            Call::Release(place) => {
                let topic = topic_of(&place)?;
                done(self.log()?.release(topic, place.partition, place.offset).await)
            }
            Call::SaveCheckpoint(Checkpoint { name, bytes }) => {
                done(self.log()?.save_checkpoint(&name, bytes.unwrap_or_default()).await)
            }
            Call::LoadCheckpoint(Checkpoint { name, .. }) => {
                let bytes = self.log()?.load_checkpoint(&name).await?;
                Ok(Answer::Checkpoint(Checkpoint { name, bytes }))
            }
            Call::Put(put) => self.put(put).await,
            Call::Expire(expire) => {
                let gone = self.store(&expire.store)?.expire(table(&expire.table)?, expire.keep_ms);
                Ok(Answer::Count(gone.await?))
            }
            Call::Select(select) => {
                let found = self.select(select).await?;
                Ok(Answer::Rows(rows::encode(&found)))
            }
        }
    }

    async fn changed(&self, changed: Changed) -> Result<Answer, Failure> {
        let log = self.log()?;
        let seen: Result<Vec<(Topic, u64)>, Failure> =
            changed.seen.iter().map(|place| Ok((topic_of(place)?, place.offset))).collect();
        let patience = Duration::from_millis(changed.patience_ms).min(PATIENCE_MAX);
        log.changed(changed.partition, &seen?, patience).await;
        Ok(Answer::Done(Nothing {}))
    }

    async fn put(&self, put: Put) -> Result<Answer, Failure> {
        let store = self.store(&put.store)?;
        let batches: Result<Vec<Arc<Rows>>, Failure> = put
            .batches
            .iter()
            .map(|bytes| rows::decode(bytes).map(Arc::new).map_err(|error| other_version(&error)))
            .collect();
        store.put(&batches?).await?;
        Ok(Answer::Done(Nothing {}))
    }

    async fn select(&self, select: Select) -> Result<Rows, Failure> {
        let store = self.store(&select.store)?;
        let limit = usize::try_from(select.limit).unwrap_or(usize::MAX);
        let end = if select.newest { End::Newest } else { End::Oldest };
        let span = Span { from: select.from, to: select.to, limit, end };
        let symbol = || Symbol::new(&select.symbol).map_err(|error| other_version(&error));
        let mut rows = Rows::default();
        if select.table == LATEST {
            let symbol = symbol()?;
            let book = store.latest_book(&symbol).await?;
            // When it came is no part of the answer.
            let row = |book| BookTickerRow { symbol, book, received_at: 0 };
            rows.book_tickers = book.map(row).into_iter().collect();
            return Ok(rows);
        }
        match table(&select.table)? {
            Table::Trades => rows.trades = store.trades(&symbol()?, select.from, limit).await?,
            Table::Candles => {
                let named = Interval::ALL.into_iter().find(|it| it.name() == select.interval);
                let interval = named.ok_or_else(|| other_version(&select.interval))?;
                rows.candles = store.candles(&symbol()?, interval, span).await?;
            }
            Table::BookSeconds => {
                let symbol = symbol()?;
                let found = store.book_seconds(&symbol, span).await?;
                let row = |second| BookSecondRow { symbol: symbol.clone(), second };
                rows.book_seconds = found.into_iter().map(row).collect();
            }
            Table::Tickers => {
                let symbol = symbol()?;
                let found = store.tickers(&symbol, span).await?;
                let row = |ticker| {
                    let (symbol, ticker) = (symbol.clone(), Box::new(ticker));
                    TickerRow { symbol, ticker, received_at: 0 }
                };
                rows.tickers = found.into_iter().map(row).collect();
            }
            Table::Alerts => rows.alerts = store.alerts(limit).await?,
            Table::Gaps => rows.gaps = store.gaps(limit).await?,
            Table::Dailies => rows.dailies = store.dailies(&symbol()?, span).await?,
            Table::Transactions => rows.transactions = store.transactions(&symbol()?, span).await?,
            Table::BookTickers | Table::DeadLetters | Table::DailyChanges => {
                return Err(other_version(&select.table));
            }
        }
        Ok(rows)
    }

    fn log(&self) -> Result<&dyn Log, Failure> {
        let none = || failure(Kind::Unavailable, "this node serves no log");
        self.log.as_deref().ok_or_else(none)
    }

    fn store(&self, name: &str) -> Result<&dyn Store, Failure> {
        let none = || failure(Kind::Unavailable, format!("this node serves no store `{name}`"));
        self.stores.iter().find(|store| store.name() == name).map(|it| &**it).ok_or_else(none)
    }
}

fn done(result: Result<(), LogError>) -> Result<Answer, Failure> {
    result.map(|()| Answer::Done(Nothing {})).map_err(Failure::from)
}

fn topic_of(place: &Place) -> Result<Topic, Failure> {
    place.topic_of().map_err(malformed)
}

fn table(name: &str) -> Result<Table, Failure> {
    Table::ALL.into_iter().find(|it| it.name() == name).ok_or_else(|| other_version(&name))
}

fn malformed(error: Malformed) -> Failure {
    failure(Kind::Unavailable, error.to_string())
}

/// Until the older of the two nodes is upgraded, it is of no use; then it is.
fn other_version(what: &impl std::fmt::Display) -> Failure {
    failure(Kind::Unavailable, format!("another version asks for what is unknown here: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_served_is_unavailable_and_may_be_served_later() {
        let server = Server::default();
        for call in [
            Call::Bounds(Place::default()),
            Call::Put(Put { store: "sqlite".to_owned(), batches: Vec::new() }),
        ] {
            let answer = server.answer(call).await;
            let Answer::Failure(failure) = answer else { panic!("{answer:?}") };
            assert_eq!(failure.kind(), Kind::Unavailable);
        }
        let described = server.answer(Call::Describe(Nothing {})).await;
        assert_eq!(described, Answer::Described(Described::default()));
    }
}
