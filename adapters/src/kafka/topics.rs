//! The topics: created as configured, or checked where they exist. What is stronger than configured
//! is fine; what is weaker, or would put a symbol elsewhere, is refused.

use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use tokio::time::Instant;

use super::config::KafkaConfig;
use super::context::Context;

/// How long brokers may take to tell one another of a topic.
const SPREAD: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(200);
/// Bytes that a record of a topic may have.
pub(super) const RECORD_BYTES: i64 = 4 << 20;
const CHECKPOINT_BYTES: i64 = 16 << 20;

/// Why Kafka can't be the log.
#[derive(Debug, thiserror::Error)]
pub enum KafkaOpenError {
    /// The configuration is none that the client library takes.
    #[error("kafka's client refuses its configuration: {0}")]
    Configuration(String),
    /// No broker answers.
    #[error("cannot reach kafka at {brokers}: {reason}")]
    Unreachable {
        /// Which were asked.
        brokers: String,
        /// What the client says.
        reason: String,
    },
    /// A topic can't be created.
    #[error("cannot create the topic {topic}: {reason}")]
    NotCreated {
        /// Which.
        topic: String,
        /// What the broker says.
        reason: String,
    },
    /// A topic is there and is not what the configuration says.
    #[error("the topic {topic} has {what} {found}, and {wanted} is configured: {advice}")]
    Contradiction {
        /// Which.
        topic: String,
        /// What of it.
        what: &'static str,
        /// What it has.
        found: String,
        /// What is wanted.
        wanted: String,
        /// What to do.
        advice: &'static str,
    },
}

/// What is asked of a topic.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) partitions: u32,
    /// Compacted: the newest value of each key stays. Else the newest records do.
    pub(super) is_compacted: bool,
    pub(super) record_bytes: i64,
}

impl Wanted {
    pub(super) fn log(name: String, partitions: u32) -> Self {
        Self { name, partitions, is_compacted: false, record_bytes: RECORD_BYTES }
    }

    pub(super) fn checkpoints(name: String) -> Self {
        Self { name, partitions: 1, is_compacted: true, record_bytes: CHECKPOINT_BYTES }
    }
}

/// Sees to it that the topics are there as wanted.
pub(super) async fn ensure(
    config: &KafkaConfig,
    context: &Context,
    wanted: &[Wanted],
) -> Result<(), KafkaOpenError> {
    let admin: AdminClient<Context> = config
        .client()
        .create_with_context(context.clone())
        .map_err(|error| KafkaOpenError::Configuration(error.to_string()))?;
    let admin = std::sync::Arc::new(admin);
    let unreachable = |error: KafkaError| KafkaOpenError::Unreachable {
        brokers: config.brokers.join(","),
        reason: format!("{error}{}", context.why()),
    };
    let there = names(&admin, config.timeout).await.map_err(unreachable)?;
    let missing: Vec<&Wanted> = wanted.iter().filter(|it| !there.contains(&it.name)).collect();
    create(&admin, config, &missing).await?;

    let deadline = Instant::now() + SPREAD;
    for topic in wanted {
        let (found, resource) = loop {
            match look(&admin, config.timeout, &topic.name).await {
                Ok(found) => break found,
                Err(_) if Instant::now() < deadline => tokio::time::sleep(POLL).await,
                Err(error) => return Err(unreachable(error)),
            }
        };
        check(config, topic, &found, &resource)?;
    }
    Ok(())
}

/// What a topic has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    partitions: usize,
    /// Of the partition that has the fewest.
    replicas: usize,
}

async fn names(
    admin: &std::sync::Arc<AdminClient<Context>>,
    timeout: Duration,
) -> Result<Vec<String>, KafkaError> {
    let admin = std::sync::Arc::clone(admin);
    let ask = move || {
        let metadata = admin.inner().fetch_metadata(None, timeout)?;
        Ok(metadata.topics().iter().map(|it| it.name().to_owned()).collect())
    };
    tokio::task::spawn_blocking(ask).await.unwrap_or(Err(KafkaError::Canceled))
}

async fn create(
    admin: &AdminClient<Context>,
    config: &KafkaConfig,
    missing: &[&Wanted],
) -> Result<(), KafkaOpenError> {
    if missing.is_empty() {
        return Ok(());
    }
    let texts: Vec<Vec<(&str, String)>> = missing.iter().map(|it| settings(config, it)).collect();
    let replicas = i32::from(config.replication);
    let topics: Vec<NewTopic<'_>> = missing
        .iter()
        .zip(&texts)
        .map(|(topic, settings)| {
            let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
            let topic = NewTopic::new(&topic.name, partitions, TopicReplication::Fixed(replicas));
            settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
        })
        .collect();
    let options = AdminOptions::new()
        .operation_timeout(Some(config.timeout))
        .request_timeout(Some(config.timeout));
    let outcomes = admin.create_topics(&topics, &options).await.map_err(|error| {
        let topic = missing.first().map_or_else(String::new, |it| it.name.clone());
        KafkaOpenError::NotCreated { topic, reason: error.to_string() }
    })?;
    for outcome in outcomes {
        match outcome {
            Ok(name) => tracing::info!(topic = name, "created"),
            // Another node was faster; that it is as wanted is checked like all others.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                let reason = code.to_string();
                return Err(KafkaOpenError::NotCreated { topic, reason });
            }
        }
    }
    Ok(())
}

/// What a topic is created with.
fn settings(config: &KafkaConfig, topic: &Wanted) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("min.insync.replicas", config.in_sync_min.to_string()),
        ("max.message.bytes", topic.record_bytes.to_string()),
        ("unclean.leader.election.enable", "false".to_owned()),
    ];
    if topic.is_compacted {
        // A checkpoint a second and partition: what was replaced must go soon.
        settings.extend([
            ("cleanup.policy", "compact".to_owned()),
            ("segment.bytes", (32 << 20).to_string()),
            ("segment.ms", "600000".to_owned()),
            ("min.cleanable.dirty.ratio", "0.1".to_owned()),
            ("max.compaction.lag.ms", "600000".to_owned()),
        ]);
    } else {
        settings.extend([
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", config.retention_ms.to_string()),
            ("retention.bytes", config.retention_bytes.to_string()),
        ]);
    }
    settings
}

async fn look(
    admin: &std::sync::Arc<AdminClient<Context>>,
    timeout: Duration,
    name: &str,
) -> Result<(Found, ConfigResource), KafkaError> {
    let (asked, topic) = (std::sync::Arc::clone(admin), name.to_owned());
    let ask = move || {
        let metadata = asked.inner().fetch_metadata(Some(&topic), timeout)?;
        let found = metadata.topics().first().and_then(found);
        found.ok_or(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition))
    };
    let found = tokio::task::spawn_blocking(ask).await.unwrap_or(Err(KafkaError::Canceled))?;
    let options = AdminOptions::new().request_timeout(Some(timeout));
    let resources = admin.describe_configs(&[ResourceSpecifier::Topic(name)], &options).await?;
    match resources.into_iter().next() {
        // A broker that has yet to hear of the topic answers, too, with no settings at all.
        Some(Ok(resource)) if resource.entries.is_empty() => {
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition))
        }
        Some(Ok(resource)) => Ok((found, resource)),
        Some(Err(code)) => Err(KafkaError::AdminOp(code)),
        None => Err(KafkaError::Canceled),
    }
}

fn found(topic: &MetadataTopic) -> Option<Found> {
    if topic.error().is_some() || topic.partitions().is_empty() {
        return None;
    }
    let replicas = topic.partitions().iter().map(|it| it.replicas().len()).min()?;
    Some(Found { partitions: topic.partitions().len(), replicas })
}

fn check(
    config: &KafkaConfig,
    wanted: &Wanted,
    found: &Found,
    resource: &ConfigResource,
) -> Result<(), KafkaOpenError> {
    let contradiction = |what, found: String, wanted_text: String, advice| {
        Err(KafkaOpenError::Contradiction {
            topic: wanted.name.clone(),
            what,
            found,
            wanted: wanted_text,
            advice,
        })
    };
    if found.partitions != wanted.partitions as usize {
        return contradiction(
            "a number of partitions of",
            found.partitions.to_string(),
            wanted.partitions.to_string(),
            "set log.partitions to what it has, or choose another log.kafka.topic_prefix",
        );
    }
    if found.replicas < usize::from(config.replication) {
        return contradiction(
            "a replication of",
            found.replicas.to_string(),
            config.replication.to_string(),
            "add replicas to the topic, or lower log.kafka.replication",
        );
    }
    let value = |name| resource.get(name).and_then(|it| it.value.clone()).unwrap_or_default();
    let policy = value("cleanup.policy");
    if policy.contains("compact") != wanted.is_compacted {
        let wanted = if wanted.is_compacted { "compact" } else { "delete" };
        let advice = "set it with kafka-configs, or choose another log.kafka.topic_prefix";
        return contradiction("a cleanup.policy of", policy, wanted.to_owned(), advice);
    }
    let mut least = vec![
        ("a min.insync.replicas of", "min.insync.replicas", i64::from(config.in_sync_min)),
        ("a max.message.bytes of", "max.message.bytes", wanted.record_bytes),
    ];
    if !wanted.is_compacted {
        least.push(("a retention.ms of", "retention.ms", config.retention_ms));
        least.push(("a retention.bytes of", "retention.bytes", config.retention_bytes));
    }
    for (what, name, wanted) in least {
        let text = value(name);
        // -1: no bound, which is more than any.
        let rank = |it: i64| if it < 0 { i64::MAX } else { it };
        if text.parse().is_ok_and(|found| rank(found) < rank(wanted)) {
            let advice = "raise it with kafka-configs, or lower what is configured";
            return contradiction(what, text, wanted.to_string(), advice);
        }
    }
    Ok(())
}
