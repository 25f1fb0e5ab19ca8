//! Checkpoints: a compacted topic, of which every node keeps the newest values in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fts_core::port::log::LogError;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

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
    state: Arc<Mutex<State>>,
}

struct State {
    client: BaseConsumer<Context>,
    /// The offset to be read next.
    next: i64,
    values: HashMap<String, Bytes>,
}

impl Checkpoints {
    pub(super) fn new(config: &KafkaConfig, context: &Context) -> Result<Self, KafkaError> {
        let client = config.consumer().create_with_context(context.clone())?;
        let state = State { client, next: 0, values: HashMap::new() };
        Ok(Self {
            name: format!("{}{TOPIC}", config.topic_prefix),
            timeout: config.timeout,
            context: context.clone(),
            state: Arc::new(Mutex::new(state)),
        })
    }

    pub(super) fn topic(&self) -> &str {
        &self.name
    }

    /// Reads on to the end of the topic: any node may have written.
    pub(super) async fn load(&self, name: &str) -> Result<Option<Bytes>, LogError> {
        let (state, timeout) = (Arc::clone(&self.state), self.timeout);
        let (topic, name) = (self.name.clone(), name.to_owned());
        let read = move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.read_on(&topic, timeout)?;
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
}

impl State {
    fn read_on(&mut self, topic: &str, timeout: Duration) -> Result<(), KafkaError> {
        let (low, high) = watermarks(&self.client, topic, 0, timeout)?;
        self.next = self.next.max(low);
        if self.next >= high {
            return Ok(());
        }
        let mut places = TopicPartitionList::new();
        places.add_partition_offset(topic, 0, Offset::Offset(self.next))?;
        self.client.assign(&places)?;
        let outcome = self.read_to(high, timeout);
        self.client.unassign()?;
        outcome
    }

    fn read_to(&mut self, high: i64, timeout: Duration) -> Result<(), KafkaError> {
        while self.next < high {
            let message = match self.client.poll(timeout) {
                None => return Err(KafkaError::NoMessageReceived),
                // Compaction never takes the last record; whatever else lies before it is passed over.
                Some(message) => message?,
            };
            self.next = message.offset() + 1;
            let key = message.key().and_then(|key| std::str::from_utf8(key).ok());
            let Some(key) = key else { continue };
            match message.payload() {
                Some(value) => {
                    self.values.insert(key.to_owned(), Bytes::copy_from_slice(value));
                }
                None => {
                    self.values.remove(key);
                }
            }
        }
        Ok(())
    }
}
