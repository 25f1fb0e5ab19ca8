//! Appending: records are handed to the client library, and whoever appended is told once all
//! copies of all of them are confirmed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fts_core::metrics::{LOG_APPENDED_BYTES_TOTAL, LOG_APPENDED_RECORDS_TOTAL, LOG_COMMIT_SECONDS};
use fts_core::port::log::{Append, LogError, Record};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ThreadedProducer};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::config::KafkaConfig;
use super::context::Context;
use super::streams::{Slot, Streams};

/// How long to wait for room in the client's queue before looking again.
const QUEUE_POLL: Duration = Duration::from_millis(5);
/// What the library may take beyond its own time-out before it counts as stuck.
const GRACE: Duration = Duration::from_secs(5);

/// The headers of a record.
pub(super) const RECEIVED_AT: &str = "received_at";
pub(super) const SOURCE: &str = "source";
pub(super) const FEED: &str = "feed";

type Client = ThreadedProducer<Context>;

/// What appends.
pub(super) struct Appender {
    config: KafkaConfig,
    context: Context,
    streams: Arc<Streams>,
    /// Replaced after an error that its protocol can't go on from.
    client: Mutex<Arc<Client>>,
}

/// An `append` under way.
struct Flight {
    left: AtomicUsize,
    failed: Mutex<Option<KafkaError>>,
    done: Mutex<Option<oneshot::Sender<()>>>,
}

/// A record under way.
pub(super) struct Sent {
    flight: Arc<Flight>,
    /// Where it goes, unless that is no stream of the log.
    stream: Option<(Arc<Streams>, Slot)>,
}

impl Sent {
    pub(super) fn arrived(&self, result: &DeliveryResult<'_>) {
        match result {
            Ok(message) => {
                if let Some((streams, slot)) = &self.stream
                    && let Ok(offset) = u64::try_from(message.offset())
                {
                    streams.reaches(*slot, offset + 1);
                }
            }
            Err((error, _)) => self.flight.fail(error.clone()),
        }
        if let Some((streams, slot)) = &self.stream {
            streams.wake(slot.partition);
        }
        self.flight.landed(1);
    }
}

impl Flight {
    fn fail(&self, error: KafkaError) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get_or_insert(error);
    }

    /// So many are over; whoever waits is told with the last.
    fn landed(&self, count: usize) {
        if self.left.fetch_sub(count, Ordering::AcqRel) > count {
            return;
        }
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(done) = done {
            // Whoever gave up needs no answer.
            let _ = done.send(());
        }
    }
}

impl Appender {
    pub(super) fn new(
        config: KafkaConfig,
        context: Context,
        streams: Arc<Streams>,
    ) -> Result<Self, KafkaError> {
        let client = Mutex::new(Arc::new(create(&config, &context)?));
        Ok(Self { config, context, streams, client })
    }

    /// Appends, and returns once all copies are confirmed.
    pub(super) async fn append(&self, batch: Vec<(Slot, Append)>) -> Result<(), LogError> {
        let started = Instant::now();
        let (count, bytes) = (batch.len(), batch.iter().map(|it| it.1.record.value.len()).sum());
        let records = batch.iter().map(|(slot, append)| {
            let Record { key, value, .. } = &append.record;
            let stream = Some((Arc::clone(&self.streams), *slot));
            let name = self.streams.name(slot.topic);
            (name, slot.number(), key.as_str(), value, Some(headers(&append.record)), stream)
        });
        self.send(count, records).await?;
        metrics::counter!(LOG_APPENDED_RECORDS_TOTAL).increment(count as u64);
        metrics::counter!(LOG_APPENDED_BYTES_TOTAL).increment(as_u64(bytes));
        metrics::histogram!(LOG_COMMIT_SECONDS).record(started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Writes plain records: topic, partition (below 0: by key), key, value.
    pub(super) async fn put(
        &self,
        records: &[(String, i32, String, Bytes)],
    ) -> Result<(), LogError> {
        let each = records.iter().map(|(topic, partition, key, value)| {
            (topic.as_str(), *partition, key.as_str(), value, None, None)
        });
        self.send(records.len(), each).await
    }

    async fn send<'a>(
        &self,
        count: usize,
        records: impl Iterator<Item = Outgoing<'a>>,
    ) -> Result<(), LogError> {
        if count == 0 {
            return Ok(());
        }
        let client = self.client();
        let (done, answer) = oneshot::channel();
        let flight = Arc::new(Flight {
            left: AtomicUsize::new(count),
            failed: Mutex::new(None),
            done: Mutex::new(Some(done)),
        });
        let deadline = Instant::now() + self.config.timeout;
        let mut handed = 0;
        for (topic, partition, key, value, headers, stream) in records {
            let sent = Box::new(Sent { flight: Arc::clone(&flight), stream });
            let mut record: BaseRecord<'_, str, [u8], _> =
                BaseRecord::with_opaque_to(topic, sent).key(key).payload(value.as_ref());
            if partition >= 0 {
                record = record.partition(partition);
            }
            record.headers = headers;
            let refused = loop {
                let Err((error, back)) = client.send(record) else { break None };
                let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                if !is_full || Instant::now() >= deadline {
                    break Some(error);
                }
                record = back;
                tokio::time::sleep(QUEUE_POLL).await;
            };
            if let Some(error) = refused {
                flight.fail(error);
                break;
            }
            handed += 1;
        }
        if handed < count {
            flight.landed(count - handed);
        }
        let patience = self.config.timeout + GRACE;
        if !matches!(tokio::time::timeout(patience, answer).await, Ok(Ok(()))) {
            self.renew(&client);
            let why = self.context.why();
            return Err(LogError::Unavailable(format!("kafka confirms nothing{why}")));
        }
        let failed = flight.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(error) = failed else { return Ok(()) };
        if let Some((_, reason)) = client.client().fatal_error() {
            tracing::warn!(reason, "kafka's client can't go on; going on with another");
            self.renew(&client);
        }
        Err(self.refused(&error))
    }

    fn refused(&self, error: &KafkaError) -> LogError {
        let code = error.rdkafka_error_code();
        let is_for_good = matches!(
            code,
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize)
        );
        let what = code.map_or_else(|| error.to_string(), |code| code.to_string());
        if is_for_good {
            let advice = "raise max.message.bytes of the topic";
            return LogError::Broken(format!(
                "kafka takes no record of this size ({what}): {advice}"
            ));
        }
        LogError::Unavailable(format!("kafka: {what}{}", self.context.why()))
    }

    fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces `spent`, unless somebody did.
    fn renew(&self, spent: &Arc<Client>) {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&client, spent) {
            return;
        }
        match create(&self.config, &self.context) {
            Ok(other) => *client = Arc::new(other),
            Err(error) => tracing::error!(%error, "no further client for kafka"),
        }
    }
}

/// Topic, partition, key, value, headers, stream.
type Outgoing<'a> =
    (&'a str, i32, &'a str, &'a Bytes, Option<OwnedHeaders>, Option<(Arc<Streams>, Slot)>);

fn create(config: &KafkaConfig, context: &Context) -> Result<Client, KafkaError> {
    config.producer().create_with_context(context.clone())
}

/// Texts, so that anybody can read them.
fn headers(record: &Record) -> OwnedHeaders {
    let feed = [b'0'.saturating_add(record.feed)];
    OwnedHeaders::new_with_capacity(3)
        .insert(Header { key: RECEIVED_AT, value: Some(&record.received_at.0.to_string()) })
        .insert(Header { key: SOURCE, value: Some(record.source.name()) })
        .insert(Header { key: FEED, value: Some(&feed[..]) })
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
