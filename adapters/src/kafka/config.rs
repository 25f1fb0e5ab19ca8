//! How Kafka is reached, and what is asked of its topics.

use std::path::PathBuf;
use std::time::Duration;

use rdkafka::ClientConfig;

/// Bytes that one record may have: a checkpoint of a partition with thousands of symbols.
const RECORD_BYTES_MAX: usize = 16 << 20;

/// Where Kafka is and how the log uses it.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// Some of its brokers, `host:port`; the rest is learned from them.
    pub brokers: Vec<String>,
    /// How connections are secured.
    pub security: Security,
    /// Before the name of every topic: lets several installations share one Kafka.
    pub topic_prefix: String,
    /// Partitions a topic; fixed for the life of the topics.
    pub partitions: u32,
    /// Copies of each partition, on as many brokers.
    pub replication: u16,
    /// Copies that must have a record before it counts as appended.
    pub in_sync_min: u16,
    /// Records older than so many milliseconds may go.
    pub retention_ms: i64,
    /// Beyond so many bytes a partition its oldest records may go; -1: no bound.
    pub retention_bytes: i64,
    /// `none`, `gzip`, `lz4`, `snappy` or `zstd`.
    pub compression: String,
    /// How long an append, or a question, may take before Kafka counts as out of reach.
    pub timeout: Duration,
    /// Memory for recent records, which readers share.
    pub tail_bytes: usize,
}

/// How connections are secured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// Whether connections are encrypted, and brokers have to prove who they are.
    pub tls: bool,
    /// The authorities that are believed, a PEM file; `None`: those of the machine.
    pub ca_file: Option<PathBuf>,
    /// Certificate and key by which this client proves who it is, PEM files.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// User and password.
    pub login: Option<Login>,
}

/// A user. Its password is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// `SCRAM-SHA-512`, `SCRAM-SHA-256` or `PLAIN`.
    pub mechanism: String,
    /// The user's name.
    pub username: String,
    /// The user's password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Login")
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl KafkaConfig {
    /// A client of any kind.
    pub(super) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.brokers.join(","));
        client.set("client.id", "fts-node");
        client.set("message.max.bytes", RECORD_BYTES_MAX.to_string());
        client.set("reconnect.backoff.ms", "50");
        client.set("reconnect.backoff.max.ms", "1000");
        client.set("retry.backoff.ms", "50");
        client.set("topic.metadata.refresh.fast.interval.ms", "100");
        client.set("socket.keepalive.enable", "true");
        let Security { tls, ca_file, certificate, login } = &self.security;
        let protocol = match (tls, login) {
            (false, None) => "plaintext",
            (true, None) => "ssl",
            (false, Some(_)) => "sasl_plaintext",
            (true, Some(_)) => "sasl_ssl",
        };
        client.set("security.protocol", protocol);
        if let Some(path) = ca_file {
            client.set("ssl.ca.location", path.display().to_string());
        }
        if let Some((certificate, key)) = certificate {
            client.set("ssl.certificate.location", certificate.display().to_string());
            client.set("ssl.key.location", key.display().to_string());
        }
        if let Some(login) = login {
            client.set("sasl.mechanism", &login.mechanism);
            client.set("sasl.username", &login.username);
            client.set("sasl.password", &login.password);
        }
        client
    }

    /// One that appends: all copies have to confirm, and retries neither repeat nor reorder.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut client = self.client();
        client.set("acks", "all");
        client.set("enable.idempotence", "true");
        client.set("compression.type", &self.compression);
        client.set("linger.ms", "2");
        client.set("batch.size", "1000000");
        client.set("queue.buffering.max.messages", "200000");
        client.set("queue.buffering.max.kbytes", "65536");
        client.set("message.timeout.ms", self.timeout.as_millis().max(1_000).to_string());
        client
    }

    /// One that reads from where it is told, as member of no group.
    pub(super) fn consumer(&self) -> ClientConfig {
        let mut client = self.client();
        // Positions are part of checkpoints; the name is asked for by the library, and nothing is kept under it.
        client.set("group.id", format!("{}fts-node", self.topic_prefix));
        client.set("enable.auto.commit", "false");
        client.set("enable.auto.offset.store", "false");
        client.set("auto.offset.reset", "error");
        client.set("check.crcs", "true");
        client.set("fetch.wait.max.ms", "100");
        client.set("fetch.error.backoff.ms", "100");
        client.set("fetch.queue.backoff.ms", "5");
        // Each partition that is read: at most so much is fetched ahead.
        client.set("queued.max.messages.kbytes", "1024");
        client.set("max.partition.fetch.bytes", "1048576");
        client
    }
}
