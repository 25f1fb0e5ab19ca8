//! Reading: from memory where another reader was there just before, else from a cursor.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use fts_core::port::log::{LogError, Stored};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::config::KafkaConfig;
use super::context::Context;
use super::cursor::{Cursor, LANES, Lanes, Signal, Symbols};
use super::streams::{Slot, Streams};
use super::tail::Tail;

/// How long the records that are known to be there may take.
const FETCH: Duration = Duration::from_secs(5);
/// After how long without any of them Kafka is asked whether it is there at all.
const DOUBT: Duration = Duration::from_secs(2);
/// A cursor that was not used for so long is nobody's: whoever read there is gone, or far behind.
const STALE: Duration = Duration::from_secs(10);
/// How long to leave a partition alone that has no leader.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// Nothing is known to be hollow.
const NOWHERE: u64 = u64::MAX;

/// What reads.
pub(super) struct Reader {
    streams: Arc<Streams>,
    lanes: Lanes,
    context: Context,
    /// Asks for the ends of partitions.
    probe: Arc<BaseConsumer<Context>>,
    timeout: Duration,
    each: Vec<Stream>,
}

struct Stream {
    state: Mutex<State>,
    /// Where the cursors are, for whoever waits: place and signal.
    watched: StdMutex<[Option<Watched>; LANES]>,
    /// From here on there is nothing to be had, though the stream is said to reach farther: marks
    /// of transactions, which somebody else's records may have.
    hollow: AtomicU64,
}

/// A cursor's place and signal.
type Watched = (u64, Arc<Signal>);

struct State {
    tail: Tail,
    cursors: [Option<Cursor>; LANES],
    symbols: Symbols,
}

impl Reader {
    pub(super) fn new(
        config: &KafkaConfig,
        context: &Context,
        streams: Arc<Streams>,
    ) -> Result<Self, KafkaError> {
        let probe: BaseConsumer<Context> = config.client().create_with_context(context.clone())?;
        // Most bytes go through two or three topics.
        let tail_bytes = config.tail_bytes / (config.partitions.max(1) as usize * 3);
        let stream = || Stream {
            state: Mutex::new(State {
                tail: Tail::new(tail_bytes),
                cursors: Default::default(),
                symbols: Symbols::default(),
            }),
            watched: StdMutex::default(),
            hollow: AtomicU64::new(NOWHERE),
        };
        let each = (0..streams.len()).map(|_| stream()).collect();
        let lanes = Lanes::new(config.clone(), context.clone());
        let (context, timeout) = (context.clone(), config.timeout);
        Ok(Self { streams, lanes, context, probe: Arc::new(probe), timeout, each })
    }

    /// Serves the clients; to be called several times a second.
    pub(super) fn serve(&self) {
        self.lanes.serve();
        drop(self.probe.poll(Duration::ZERO));
    }

    pub(super) async fn read(
        &self,
        slot: Slot,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, LogError> {
        let Some(stream) = self.each.get(slot.place) else { return Ok(Vec::new()) };
        let mut state = stream.state.lock().await;
        if let Some(found) = state.tail.read(from, max_bytes) {
            return Ok(found);
        }
        if self.streams.end(slot).is_none_or(|end| from > end) {
            let (oldest, end) = self.bounds(slot).await?;
            if from < oldest {
                return Err(LogError::Expired { oldest });
            }
            if from > end {
                return Ok(Vec::new());
            }
        }
        let found = self.fetch(stream, &mut state, slot, from, max_bytes).await;
        stream.show(&state);
        let found = found?;
        if let Some(last) = found.last() {
            stream.hollow.store(NOWHERE, Ordering::Release);
            self.streams.reaches(slot, last.offset + 1);
            state.tail.extend(from, &found);
        }
        Ok(found)
    }

    async fn fetch(
        &self,
        stream: &Stream,
        state: &mut State,
        slot: Slot,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Stored>, LogError> {
        let State { cursors, symbols, .. } = state;
        let deadline = Instant::now() + FETCH;
        let mut doubt_at = Instant::now() + DOUBT;
        loop {
            let lane = self.lane(cursors, slot, from)?;
            let Some(cursor) = cursors.get_mut(lane).and_then(Option::as_mut) else {
                return Err(LogError::Broken("a cursor is not where it was put".to_owned()));
            };
            match cursor.take(max_bytes, symbols) {
                Ok(found) if !found.is_empty() => return Ok(found),
                Ok(_) => {}
                Err(error) => {
                    // Whatever it was: it starts over at the same place.
                    drop(cursors.get_mut(lane).and_then(Option::take));
                    return Err(self.unreadable(slot, from, &error).await);
                }
            }
            let is_end = self.streams.end(slot).is_none_or(|end| from >= end)
                || stream.hollow.load(Ordering::Acquire) == from;
            if is_end {
                return Ok(Vec::new());
            }
            let signal = Arc::clone(&cursor.signal);
            let wait = tokio::time::timeout_at(doubt_at, signal.notify.notified());
            if wait.await.is_ok() {
                continue;
            }
            // It is there, as somebody was told; is Kafka?
            let (oldest, end) = self.bounds(slot).await?;
            if from < oldest {
                return Err(LogError::Expired { oldest });
            }
            if Instant::now() >= deadline {
                tracing::debug!(topic = self.streams.name(slot.topic), from, end, "nothing there");
                stream.hollow.store(from, Ordering::Release);
                return Ok(Vec::new());
            }
            doubt_at = Instant::now() + DOUBT;
        }
    }

    /// The lane whose cursor is at `from`, put there if none is.
    fn lane(
        &self,
        cursors: &mut [Option<Cursor>; LANES],
        slot: Slot,
        from: u64,
    ) -> Result<usize, LogError> {
        let at = |it: &Option<Cursor>| it.as_ref().is_some_and(|it| it.next == from);
        if let Some(lane) = cursors.iter().position(at) {
            return Ok(lane);
        }
        // The first client is connected to all brokers: it is the fastest to begin with.
        for place in cursors.iter_mut() {
            drop(place.take_if(|it| it.used_at.elapsed() > STALE));
        }
        let free = cursors.iter().position(Option::is_none);
        let lane = free.unwrap_or_else(|| {
            let used_at = |it: &(usize, &Option<Cursor>)| it.1.as_ref().map(|it| it.used_at);
            cursors.iter().enumerate().min_by_key(used_at).map_or(0, |it| it.0)
        });
        if let Some(place) = cursors.get_mut(lane) {
            // First it leaves where it was.
            *place = None;
            let started = Cursor::start(&self.lanes, lane, &self.streams, slot, from);
            *place = Some(started.map_err(|error| self.unavailable(&error))?);
        }
        Ok(lane)
    }

    /// The offsets of the oldest record and of the next one to come, as Kafka has them.
    pub(super) async fn bounds(&self, slot: Slot) -> Result<(u64, u64), LogError> {
        let (probe, timeout) = (Arc::clone(&self.probe), self.timeout);
        let name = self.streams.name(slot.topic).to_owned();
        let ask = move || watermarks(&probe, &name, slot.number(), timeout);
        let answer = tokio::task::spawn_blocking(ask).await;
        let (low, high) = answer
            .map_err(|panic| LogError::Broken(panic.to_string()))?
            .map_err(|error| self.unavailable(&error))?;
        let (oldest, end) = (u64::try_from(low).unwrap_or(0), u64::try_from(high).unwrap_or(0));
        self.streams.reaches(slot, end);
        let hollow = self.each.get(slot.place).map(|it| it.hollow.load(Ordering::Acquire));
        Ok((oldest, hollow.map_or(end, |hollow| end.min(hollow.max(oldest)))))
    }

    /// As `Log::changed`.
    pub(super) async fn changed(&self, partition: u32, seen: &[(Slot, u64)], patience: Duration) {
        let Some(mut news) = self.streams.news(partition) else {
            return tokio::time::sleep(patience).await;
        };
        if seen.iter().any(|(slot, next)| self.has_more(*slot, *next)) {
            return;
        }
        // Late or not, the caller looks again.
        drop(tokio::time::timeout(patience, news.changed()).await);
    }

    fn has_more(&self, slot: Slot, next: u64) -> bool {
        let Some(stream) = self.each.get(slot.place) else { return false };
        let watched = stream.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let is_told = watched
            .iter()
            .flatten()
            .any(|(place, signal)| *place == next && signal.has_more.load(Ordering::Acquire));
        let is_hollow = stream.hollow.load(Ordering::Acquire) == next;
        is_told || (!is_hollow && self.streams.end(slot).is_some_and(|end| end > next))
    }

    async fn unreadable(&self, slot: Slot, from: u64, error: &KafkaError) -> LogError {
        let code = error.rdkafka_error_code();
        if matches!(
            code,
            Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset)
        ) {
            match self.bounds(slot).await {
                Ok((oldest, _)) if from < oldest => return LogError::Expired { oldest },
                Ok(_) => {}
                Err(error) => return error,
            }
        }
        self.unavailable(error)
    }

    pub(super) fn unavailable(&self, error: &KafkaError) -> LogError {
        let what =
            error.rdkafka_error_code().map_or_else(|| error.to_string(), |it| it.to_string());
        LogError::Unavailable(format!("kafka: {what}{}", self.context.why()))
    }
}

/// The offsets of the oldest record and of the next one. Blocks; while a partition changes its
/// leader, it is asked again.
pub(super) fn watermarks(
    client: &BaseConsumer<Context>,
    topic: &str,
    partition: i32,
    timeout: Duration,
) -> Result<(i64, i64), KafkaError> {
    let deadline = Instant::now() + timeout;
    loop {
        let answer = client.fetch_watermarks(topic, partition, timeout);
        let is_passing =
            answer.as_ref().err().and_then(KafkaError::rdkafka_error_code).is_some_and(|code| {
                matches!(
                    code,
                    RDKafkaErrorCode::NotLeaderForPartition
                        | RDKafkaErrorCode::LeaderNotAvailable
                        | RDKafkaErrorCode::UnknownTopicOrPartition
                        | RDKafkaErrorCode::UnknownPartition
                )
            });
        if !is_passing || Instant::now() >= deadline {
            return answer;
        }
        std::thread::sleep(ASK_AGAIN);
    }
}

impl Stream {
    /// Tells those who wait where the cursors are.
    fn show(&self, state: &State) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        for (shown, cursor) in watched.iter_mut().zip(&state.cursors) {
            *shown = cursor.as_ref().map(|it| (it.next, Arc::clone(&it.signal)));
        }
    }
}
