//! Between the messages and the values of `fts-core`.

use std::collections::HashMap;

use fts_core::market::{Source, Symbol, Topic};
use fts_core::port::log::{self, Append, LogError, Stored};
use fts_core::port::store::StoreError;
use fts_core::row::Table;
use fts_core::time::UnixNanos;

use super::{Failure, Kind, Place, Record, Records};

/// Why a message makes no sense here: another version wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a message of another version: {0}")]
pub struct Malformed(pub String);

const SOURCES: [Source; 3] = [Source::Stream, Source::Backfill, Source::Control];

impl Place {
    /// The place of this offset.
    pub fn new(topic: Topic, partition: u32, offset: u64) -> Self {
        Self { topic: number(topic), partition, offset }
    }

    /// Its topic.
    ///
    /// # Errors
    /// Where there is no topic of this number.
    pub fn topic_of(&self) -> Result<Topic, Malformed> {
        topic(self.topic)
    }
}

/// Records to append, as a message.
pub fn records(batch: Vec<Append>) -> Records {
    let records = batch
        .into_iter()
        .map(|Append { topic, partition, record }| Record {
            topic: number(topic),
            partition,
            ..message(record)
        })
        .collect();
    Records { first_offset: 0, records }
}

impl Records {
    /// The records to append.
    ///
    /// # Errors
    /// Where one has a topic, source, feed or symbol that is unknown here.
    pub fn into_batch(self) -> Result<Vec<Append>, Malformed> {
        let mut symbols = Symbols::default();
        let append = |it: Record| {
            let (topic, partition) = (topic(it.topic)?, it.partition);
            Ok(Append { topic, partition, record: symbols.record(it)? })
        };
        self.records.into_iter().map(append).collect()
    }
}

/// Records that were read, as a message. Their offsets are dense.
pub fn stored(found: Vec<Stored>) -> Records {
    let first_offset = found.first().map_or(0, |it| it.offset);
    let records = found.into_iter().map(|it| message(it.record)).collect();
    Records { first_offset, records }
}

/// The records that were read.
///
/// # Errors
/// Where one has a source, feed or symbol that is unknown here.
pub fn unstored(message: Records) -> Result<Vec<Stored>, Malformed> {
    let mut symbols = Symbols::default();
    let offsets = message.first_offset..;
    let stored = |(offset, it)| Ok(Stored { offset, record: symbols.record(it)? });
    offsets.zip(message.records).map(stored).collect()
}

/// A log's refusal, as a message.
impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Unavailable(text) => failure(Kind::Unavailable, text),
            LogError::Expired { oldest } => {
                Self { oldest, ..failure(Kind::Expired, String::new()) }
            }
            LogError::Broken(text) => failure(Kind::Broken, text),
        }
    }
}

/// A store's refusal, as a message.
impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(text) => failure(Kind::Unavailable, text),
            StoreError::Refused(text) => failure(Kind::Refused, text),
            StoreError::Rejected { table, reason } => {
                Self { table: table.to_owned(), ..failure(Kind::Rejected, reason) }
            }
        }
    }
}

/// A refusal of this kind.
pub fn failure(kind: Kind, text: impl Into<String>) -> Failure {
    Failure { kind: kind.into(), text: text.into(), oldest: 0, table: String::new() }
}

/// What the log's caller is told.
pub fn log_error(failure: Failure) -> LogError {
    match failure.kind() {
        Kind::Unavailable | Kind::Rejected | Kind::Refused => LogError::Unavailable(failure.text),
        Kind::Expired => LogError::Expired { oldest: failure.oldest },
        Kind::Broken => LogError::Broken(failure.text),
    }
}

/// What the store's caller is told.
pub fn store_error(failure: Failure) -> StoreError {
    match failure.kind() {
        Kind::Rejected => {
            let named = Table::ALL.into_iter().find(|it| it.name() == failure.table);
            let table = named.map_or("a table of another version", Table::name);
            StoreError::Rejected { table, reason: failure.text }
        }
        Kind::Refused => StoreError::Refused(failure.text),
        Kind::Unavailable | Kind::Expired | Kind::Broken => StoreError::Unavailable(failure.text),
    }
}

fn message(record: log::Record) -> Record {
    Record {
        key: record.key.as_str().to_owned(),
        value: record.value,
        received_at: record.received_at.0,
        source: position(&SOURCES, record.source),
        feed: record.feed.into(),
        topic: 0,
        partition: 0,
    }
}

fn number(topic: Topic) -> u32 {
    position(&Topic::ALL, topic)
}

fn topic(number: u32) -> Result<Topic, Malformed> {
    at(&Topic::ALL, number).ok_or_else(|| Malformed(format!("topic number {number}")))
}

fn position<T: PartialEq>(all: &[T], one: T) -> u32 {
    let found = all.iter().position(|it| *it == one);
    found.and_then(|it| u32::try_from(it).ok()).unwrap_or(u32::MAX)
}

fn at<T: Copy>(all: &[T], number: u32) -> Option<T> {
    all.get(usize::try_from(number).ok()?).copied()
}

/// A batch has many records and few symbols.
#[derive(Default)]
struct Symbols(HashMap<String, Symbol>);

impl Symbols {
    fn record(&mut self, it: Record) -> Result<log::Record, Malformed> {
        let key = match self.0.get(&it.key) {
            Some(symbol) => symbol.clone(),
            None => {
                let symbol = Symbol::new(&it.key).map_err(|error| Malformed(error.to_string()))?;
                self.0.insert(it.key, symbol.clone());
                symbol
            }
        };
        let source = at(&SOURCES, it.source);
        Ok(log::Record {
            key,
            value: it.value,
            received_at: UnixNanos(it.received_at),
            source: source.ok_or_else(|| Malformed(format!("source number {}", it.source)))?,
            feed: u8::try_from(it.feed).map_err(|_| Malformed(format!("feed {}", it.feed)))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use prost::Message as _;

    fn record(source: Source) -> log::Record {
        log::Record {
            key: Symbol::new("BTCUSDT").unwrap(),
            value: Bytes::from_static(b"{}"),
            received_at: UnixNanos(i64::MIN),
            source,
            feed: 1,
        }
    }

    #[test]
    fn records_of_every_topic_and_source_come_back_as_they_were() {
        let batch: Vec<_> = Topic::ALL
            .into_iter()
            .flat_map(|topic| {
                SOURCES.map(|source| Append { topic, partition: 7, record: record(source) })
            })
            .collect();
        let bytes = records(batch.clone()).encode_to_vec();
        assert_eq!(Records::decode(&*bytes).unwrap().into_batch(), Ok(batch));
        let found = vec![
            Stored { offset: 41, record: record(Source::Stream) },
            Stored { offset: 42, record: record(Source::Control) },
        ];
        assert_eq!(unstored(stored(found.clone())), Ok(found));
        assert_eq!(unstored(stored(Vec::new())), Ok(Vec::new()));
    }

    #[test]
    fn the_numbers_of_topics_never_change() {
        let names = Topic::ALL.map(|topic| (number(topic), topic.name()));
        let expected = [
            (0, "binanceTrade"),
            (1, "binanceAggTrade"),
            (2, "binanceBookTicker"),
            (3, "binanceTicker"),
            (4, "binanceKline"),
            (5, "binanceDeadLetter"),
            (6, "finanzas_batch"),
            (7, "transacciones_financieras"),
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn what_another_version_wrote_is_refused() {
        let refused = |change: fn(&mut Record)| {
            let mut wrong = message(record(Source::Stream));
            change(&mut wrong);
            Records { first_offset: 0, records: vec![wrong] }.into_batch().is_err()
        };
        assert!(!refused(|_| {}));
        assert!(refused(|it| it.topic = 8));
        assert!(refused(|it| it.source = 3));
        assert!(refused(|it| it.feed = 256));
        assert!(refused(|it| it.key = String::new()));
    }

    #[test]
    fn refusals_keep_what_the_caller_is_to_do() {
        for error in [
            LogError::Unavailable("full".into()),
            LogError::Expired { oldest: 9 },
            LogError::Broken("torn".into()),
        ] {
            assert_eq!(log_error(Failure::from(error.clone())), error);
        }
        for error in [
            StoreError::Unavailable("locked".into()),
            StoreError::Refused("a wrong password".into()),
            StoreError::Rejected { table: Table::Gaps.name(), reason: "no".into() },
        ] {
            assert_eq!(store_error(Failure::from(error.clone())), error);
        }
    }
}
