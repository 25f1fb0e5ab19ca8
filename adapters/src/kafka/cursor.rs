//! A place in a stream from which records are fetched ahead, and the clients that fetch.
//!
//! A client (a *lane*) can be at one place of a stream only; readers at several places use several
//! lanes. A cursor belongs to no reader: who asks for what it will fetch next, uses it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fts_core::market::{Source, Symbol};
use fts_core::port::log::{Record, Stored};
use fts_core::time::UnixNanos;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::append::{FEED, RECEIVED_AT, SOURCE};
use super::config::KafkaConfig;
use super::context::Context;
use super::streams::{Slot, Streams};

/// Readers of one stream that may be at different places without getting into each other's way.
pub(super) const LANES: usize = 4;
/// Symbols of a stream that are remembered, so that they need not be made anew.
const SYMBOLS_MAX: usize = 10_000;

pub(super) type Client = BaseConsumer<Context>;

/// The clients; each is made when it is first needed.
pub(super) struct Lanes {
    config: KafkaConfig,
    context: Context,
    clients: Mutex<[Option<Arc<Client>>; LANES]>,
}

impl Lanes {
    pub(super) fn new(config: KafkaConfig, context: Context) -> Self {
        Self { config, context, clients: Mutex::default() }
    }

    fn client(&self, lane: usize) -> Result<Arc<Client>, KafkaError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = clients.get_mut(lane) else { return Err(KafkaError::Canceled) };
        if let Some(client) = place {
            return Ok(Arc::clone(client));
        }
        let client: Client = self.config.consumer().create_with_context(self.context.clone())?;
        let client = Arc::new(client);
        *place = Some(Arc::clone(&client));
        Ok(client)
    }

    /// Serves what is not a record: the library asks for it.
    pub(super) fn serve(&self) {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for client in clients.iter().flatten() {
            while let Some(event) = client.poll(Duration::ZERO) {
                match event {
                    Ok(message) => {
                        // Its cursor finds the hole, as the record is not in its own queue.
                        tracing::error!(topic = message.topic(), "a record on the wrong queue");
                    }
                    Err(error) => tracing::debug!(%error, "kafka"),
                }
            }
        }
    }
}

/// What a cursor's client tells.
#[derive(Debug, Default)]
pub(super) struct Signal {
    /// Whether there may be something to fetch.
    pub(super) has_more: AtomicBool,
    pub(super) notify: Notify,
}

/// A place in a stream.
pub(super) struct Cursor {
    client: Arc<Client>,
    name: String,
    slot: Slot,
    queue: Option<PartitionQueue<Context>>,
    pub(super) signal: Arc<Signal>,
    /// The offset to be fetched next.
    pub(super) next: u64,
    /// Fetched, and over what was asked for.
    held_back: Option<Stored>,
    pub(super) used_at: Instant,
}

impl Cursor {
    /// Starts to fetch from `from` on, over `lane`, where no other cursor of the stream is.
    pub(super) fn start(
        lanes: &Lanes,
        lane: usize,
        streams: &Arc<Streams>,
        slot: Slot,
        from: u64,
    ) -> Result<Self, KafkaError> {
        let client = lanes.client(lane)?;
        let name = streams.name(slot.topic).to_owned();
        let signal = Arc::new(Signal::default());
        // Before it is assigned: nothing of it must come over the client's own queue.
        let mut queue = client
            .split_partition_queue(&name, slot.number())
            .ok_or_else(|| KafkaError::Subscription(name.clone()))?;
        let (told, woken) = (Arc::clone(&signal), Arc::clone(streams));
        queue.set_nonempty_callback(move || {
            told.has_more.store(true, Ordering::Release);
            told.notify.notify_one();
            woken.wake(slot.partition);
        });
        let mut places = TopicPartitionList::new();
        let offset = Offset::Offset(i64::try_from(from).unwrap_or(i64::MAX));
        places.add_partition_offset(&name, slot.number(), offset)?;
        client.incremental_assign(&places)?;
        Ok(Self {
            client,
            name,
            slot,
            queue: Some(queue),
            signal,
            next: from,
            held_back: None,
            used_at: Instant::now(),
        })
    }

    /// What was fetched, without waiting: about `max_bytes` of it.
    pub(super) fn take(
        &mut self,
        max_bytes: usize,
        symbols: &mut Symbols,
    ) -> Result<Vec<Stored>, KafkaError> {
        self.used_at = Instant::now();
        let mut bytes = 0;
        let mut found: Vec<Stored> = Vec::new();
        self.signal.has_more.store(false, Ordering::Release);
        loop {
            let stored = match self.held_back.take() {
                Some(stored) => stored,
                None => {
                    let polled = self.queue.as_ref().and_then(|it| it.poll(Duration::ZERO));
                    match polled {
                        None => break,
                        Some(Err(error)) if found.is_empty() => return Err(error),
                        Some(Err(error)) => {
                            tracing::debug!(%error, "kafka");
                            break;
                        }
                        Some(Ok(message)) => stored(&message, symbols),
                    }
                }
            };
            if stored.offset < self.next {
                continue;
            }
            bytes += stored.record.value.len();
            if bytes > max_bytes && !found.is_empty() {
                self.held_back = Some(stored);
                self.signal.has_more.store(true, Ordering::Release);
                break;
            }
            self.next = stored.offset + 1;
            found.push(stored);
        }
        Ok(found)
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.queue = None;
        let mut places = TopicPartitionList::new();
        places.add_partition(&self.name, self.slot.number());
        if let Err(error) = self.client.incremental_unassign(&places) {
            tracing::debug!(%error, "kafka");
        }
    }
}

/// Symbols of a stream, by their bytes.
#[derive(Debug, Default)]
pub(super) struct Symbols(HashMap<Vec<u8>, Symbol>);

impl Symbols {
    /// A record of somebody else may have a key that is no symbol, or none.
    fn get(&mut self, key: &[u8]) -> Symbol {
        if let Some(symbol) = self.0.get(key) {
            return symbol.clone();
        }
        let text = std::str::from_utf8(key).unwrap_or_default();
        let symbol = Symbol::new(text)
            .or_else(|_| Symbol::new("UNKNOWN"))
            .expect("the word is letters only");
        if self.0.len() >= SYMBOLS_MAX {
            self.0.clear();
        }
        self.0.insert(key.to_vec(), symbol.clone());
        symbol
    }
}

/// What a message says. Without our headers it is somebody else's: it came when it was written.
fn stored(message: &impl Message, symbols: &mut Symbols) -> Stored {
    let written_at = message.timestamp().to_millis().unwrap_or(0);
    let mut record = Record {
        key: symbols.get(message.key().unwrap_or_default()),
        value: message.payload().map_or_else(Bytes::new, Bytes::copy_from_slice),
        received_at: UnixNanos(written_at.saturating_mul(1_000_000)),
        source: Source::Stream,
        feed: 0,
    };
    // The library panics at a header whose name is no text, and anybody may write one.
    let read = std::panic::AssertUnwindSafe(|| read_headers(message, &mut record));
    drop(std::panic::catch_unwind(read));
    Stored { offset: u64::try_from(message.offset()).unwrap_or(0), record }
}

fn read_headers(message: &impl Message, record: &mut Record) {
    let Some(headers) = message.headers() else { return };
    for at in 0..headers.count() {
        let Some(header) = headers.try_get(at) else { return };
        let value = header.value.and_then(|it| std::str::from_utf8(it).ok()).unwrap_or_default();
        match header.key {
            RECEIVED_AT => {
                record.received_at = value.parse().map_or(record.received_at, UnixNanos);
            }
            SOURCE => record.source = Source::from_name(value).unwrap_or(record.source),
            FEED => record.feed = value.parse().unwrap_or(record.feed),
            _ => {}
        }
    }
}
