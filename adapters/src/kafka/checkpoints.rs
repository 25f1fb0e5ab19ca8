//! Checkpoints: a compacted topic, of which every node keeps the newest values in memory.
//!
//! It is followed all the time, so that a node that takes over has next to nothing to read first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fts_core::port::log::LogError;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::config::KafkaConfig;
use super::context::Context;
use super::read::watermarks;

/// The topic's name, behind the prefix.
pub(super) const TOPIC: &str = "fts-checkpoints";

/// What was last saved, by name.
pub(super) struct Checkpoints {
    name: String,
    timeout: Duration,
    context: Context,
    client: Arc<BaseConsumer<Context>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Whether the client fetches from `next` on.
    is_followed: bool,
    /// The offset to be read next.
    next: i64,
    values: HashMap<String, Bytes>,
}

impl Checkpoints {
    pub(super) fn new(config: &KafkaConfig, context: &Context) -> Result<Self, KafkaError> {
        let client = config.consumer().create_with_context(context.clone())?;
        Ok(Self {
            name: format!("{}{TOPIC}", config.topic_prefix),
            timeout: config.timeout,
            context: context.clone(),
            client: Arc::new(client),
            state: Arc::default(),
        })
    }

    pub(super) fn topic(&self) -> &str {
        &self.name
    }

    /// Reads on to the end of the topic: any node may have written.
    pub(super) async fn load(&self, name: &str) -> Result<Option<Bytes>, LogError> {
        let (client, state, timeout) =
            (Arc::clone(&self.client), Arc::clone(&self.state), self.timeout);
        let (topic, name) = (self.name.clone(), name.to_owned());
        let read = move || {
            let (low, high) = watermarks(&client, &topic, 0, timeout)?;
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.read_to(&client, &topic, low, high, timeout)?;
            Ok(state.values.get(&name).cloned())
        };
        let outcome = tokio::task::spawn_blocking(read).await;
        outcome.map_err(|panic| LogError::Broken(panic.to_string()))?.map_err(
            |error: KafkaError| {
                let what = format!("kafka: no checkpoint: {error}{}", self.context.why());
                LogError::Unavailable(what)
            },
        )
    }

    /// Takes what was fetched meanwhile; to be called several times a second.
    pub(super) fn serve(&self) {
        // Whoever reads it to its end takes all of it.
        let Ok(mut state) = self.state.try_lock() else { return };
        while let Some(outcome) =
            state.is_followed.then(|| self.client.poll(Duration::ZERO)).flatten()
        {
            state.take(outcome).unwrap_or_else(|error| tracing::debug!(%error, "kafka"));
        }
    }
}

/// Whether the client gets over it by itself, and goes on where it is. Some may have piled up while
/// nobody asked.
fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
        )
    )
}

impl State {
    /// Takes everything from where it is up to `high`, and stays there; the oldest is at `low`.
    fn read_to(
        &mut self,
        client: &BaseConsumer<Context>,
        topic: &str,
        low: i64,
        high: i64,
        timeout: Duration,
    ) -> Result<(), KafkaError> {
        if self.next < low {
            (self.next, self.is_followed) = (low, false);
        }
        if !self.is_followed {
            let mut places = TopicPartitionList::new();
            places.add_partition_offset(topic, 0, Offset::Offset(self.next))?;
            // Not by `assign` alone: two of them in a row stop the fetcher of the first twice if it is still
            // ending, and for that librdkafka (2.12) aborts the process.
            client.unassign()?;
            client.assign(&places)?;
            self.is_followed = true;
        }
        let mut deadline = Instant::now() + timeout;
        while self.next < high {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(outcome) = client.poll(left) else {
                self.is_followed = false;
                return Err(KafkaError::NoMessageReceived);
            };
            match self.take(outcome) {
                Ok(()) => deadline = Instant::now() + timeout,
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// After an error that ends the fetching it starts over where it is.
    fn take(&mut self, outcome: Result<BorrowedMessage<'_>, KafkaError>) -> Result<(), KafkaError> {
        // Compaction never takes the last record; whatever else lies before it is passed over.
        let message = outcome.inspect_err(|error| self.is_followed &= is_passing(error))?;
        if message.offset() < self.next {
            return Ok(());
        }
        self.next = message.offset() + 1;
        let key = message.key().and_then(|key| std::str::from_utf8(key).ok());
        let Some(key) = key else { return Ok(()) };
        match message.payload() {
            Some(value) => {
                self.values.insert(key.to_owned(), Bytes::copy_from_slice(value));
            }
            None => {
                self.values.remove(key);
            }
        }
        Ok(())
    }
}
