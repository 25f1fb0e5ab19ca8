//! `[log]`: which log there is, and how it is reached.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use fts_adapters::kafka::{KafkaConfig, Login, Security};

use super::written::{Kafka, Log};

/// Before the names of tables, where nothing else is written.
const RESULTS_PREFIX: &str = "fts.";
/// The environment variable that has Kafka's password, where no file does.
const PASSWORD: &str = "FTS_KAFKA_PASSWORD";
const SECURITIES: [&str; 4] = ["plaintext", "tls", "sasl_plaintext", "sasl_tls"];
const MECHANISMS: [&str; 3] = ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"];
const COMPRESSIONS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Whether the section makes sense.
pub(super) fn check(log: &Log) -> anyhow::Result<()> {
    ensure!(
        ["embedded", "kafka"].contains(&log.kind.as_str()),
        "`log.kind` is \"{}\": write \"embedded\" or \"kafka\"",
        log.kind
    );
    ensure!(
        (1..=1_024).contains(&log.partitions),
        "`log.partitions` is {}: write 1 to 1024",
        log.partitions
    );
    ensure!(
        (1 << 20..=1 << 30).contains(&log.segment_bytes),
        "`log.segment_bytes` is {}: write 1048576 to 1073741824",
        log.segment_bytes
    );
    ensure!(
        log.retention_bytes >= 2 * log.segment_bytes,
        "`log.retention_bytes` is {}: it must have room for two segments of `log.segment_bytes`",
        log.retention_bytes
    );
    if log.kind == "kafka" { check_kafka(&log.kafka) } else { Ok(()) }
}

/// `[[stores]]` of the kind "kafka": the keys of `[log.kafka]`, and `partitions`.
pub(super) fn results(mut section: toml::Table) -> anyhow::Result<KafkaConfig> {
    ensure!(!section.contains_key("spill_bytes"), "`spill_bytes` is for the log only");
    section.entry("topic_prefix").or_insert_with(|| RESULTS_PREFIX.into());
    let partitions = match section.remove("partitions") {
        None => Log::default().partitions,
        Some(value) => value.try_into().context("`partitions` is no number")?,
    };
    ensure!((1..=1_024).contains(&partitions), "`partitions` is {partitions}: write 1 to 1024");
    let section: Kafka = section.try_into()?;
    check_kafka(&section)?;
    kafka(&Log { kafka: section, partitions, tail_bytes: 0, ..Log::default() })
}

fn check_kafka(kafka: &Kafka) -> anyhow::Result<()> {
    ensure!(!kafka.brokers.is_empty(), "`log.kafka.brokers` is empty: write [\"host:port\"]");
    for broker in &kafka.brokers {
        let port = broker.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        ensure!(port.is_some(), "`log.kafka.brokers` has \"{broker}\": write \"host:port\"");
    }
    for (key, value, words) in [
        ("security", &kafka.security, &SECURITIES[..]),
        ("mechanism", &kafka.mechanism, &MECHANISMS[..]),
        ("compression", &kafka.compression, &COMPRESSIONS[..]),
    ] {
        ensure!(
            words.contains(&value.as_str()),
            "`log.kafka.{key}` is \"{value}\": write one of {}",
            words.join(", ")
        );
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    ensure!(
        kafka.topic_prefix.len() <= 100 && kafka.topic_prefix.chars().all(fits),
        "`log.kafka.topic_prefix` is \"{}\": write letters, digits, `.`, `_`, `-`",
        kafka.topic_prefix
    );
    ensure!(
        (1..=32).contains(&kafka.replication),
        "`log.kafka.replication` is {}: write 1 to 32",
        kafka.replication
    );
    ensure!(
        (1..=kafka.replication).contains(&kafka.min_insync),
        "`log.kafka.min_insync` is {}: write 1 to `log.kafka.replication`, {}",
        kafka.min_insync,
        kafka.replication
    );
    ensure!(
        kafka.retention_ms > 0,
        "`log.kafka.retention_ms` is {}: write milliseconds above 0",
        kafka.retention_ms
    );
    ensure!(
        (1_000..=300_000).contains(&kafka.timeout_ms),
        "`log.kafka.timeout_ms` is {}: write 1000 to 300000",
        kafka.timeout_ms
    );
    let is_sasl = kafka.security.starts_with("sasl");
    ensure!(
        is_sasl != kafka.username.is_empty(),
        "`log.kafka.username` goes with `log.kafka.security` = \"sasl_tls\": write both or none"
    );
    ensure!(
        kafka.certificate_file.is_empty() == kafka.key_file.is_empty(),
        "`log.kafka.certificate_file` and `log.kafka.key_file`: write both or none"
    );
    ensure!(
        kafka.spill_bytes == 0 || kafka.spill_bytes >= 16 << 20,
        "`log.kafka.spill_bytes` is {}: write 0, or 16777216 and more",
        kafka.spill_bytes
    );
    Ok(())
}

/// For the log in Kafka. Reads the password.
pub(super) fn kafka(log: &Log) -> anyhow::Result<KafkaConfig> {
    let Log { kafka, partitions, tail_bytes, .. } = log;
    let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
    let login = if kafka.security.starts_with("sasl") {
        let password = password(path(&kafka.password_file).as_deref())?;
        let (mechanism, username) = (kafka.mechanism.clone(), kafka.username.clone());
        Some(Login { mechanism, username, password })
    } else {
        None
    };
    Ok(KafkaConfig {
        brokers: kafka.brokers.clone(),
        security: Security {
            tls: kafka.security.ends_with("tls"),
            ca_file: path(&kafka.ca_file),
            certificate: path(&kafka.certificate_file).zip(path(&kafka.key_file)),
            login,
        },
        topic_prefix: kafka.topic_prefix.clone(),
        partitions: *partitions,
        replication: kafka.replication,
        in_sync_min: kafka.min_insync,
        retention_ms: kafka.retention_ms,
        retention_bytes: kafka.retention_bytes,
        compression: kafka.compression.clone(),
        timeout: Duration::from_millis(kafka.timeout_ms),
        tail_bytes: *tail_bytes,
    })
}

fn password(file: Option<&Path>) -> anyhow::Result<String> {
    let password = match file {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read `log.kafka.password_file` {}", path.display()))?,
        None => std::env::var(PASSWORD).unwrap_or_default(),
    };
    let password = password.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!(
            "`log.kafka.security` asks for a password: put it into the file \
             `log.kafka.password_file`, or into the environment as {PASSWORD}"
        );
    }
    Ok(password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(text: &str) -> anyhow::Result<Log> {
        let log: Log = toml::from_str(text)?;
        check(&log)?;
        Ok(log)
    }

    #[track_caller]
    fn refused(kafka: &str, place: &str) {
        let text = format!("kind = \"kafka\"\n[kafka]\n{kafka}");
        let error = format!("{:#}", log(&text).expect_err("it must be refused"));
        assert!(error.contains(place), "`{place}` is not in: {error}");
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place() {
        refused("brokers = []", "log.kafka.brokers");
        refused("brokers = [\"kafka\"]", "host:port");
        refused("security = \"ssl\"", "log.kafka.security");
        refused("security = \"sasl_tls\"", "log.kafka.username");
        refused("username = \"fts\"", "log.kafka.security");
        refused("min_insync = 4", "log.kafka.min_insync");
        refused("replication = 0", "log.kafka.replication");
        refused("topic_prefix = \"a/b\"", "log.kafka.topic_prefix");
        refused("timeout_ms = 10", "log.kafka.timeout_ms");
        refused("key_file = \"key.pem\"", "log.kafka.certificate_file");
        refused("spill_bytes = 7", "log.kafka.spill_bytes");
        refused("password = \"x\"", "password");
    }

    #[test]
    fn results_have_the_keys_of_the_log_and_a_prefix_of_their_own() {
        let read = |text: &str| results(text.parse().unwrap());
        let config = read("partitions = 7\nreplication = 1\nmin_insync = 1").unwrap();
        assert_eq!((config.partitions, &*config.topic_prefix), (7, "fts."));
        assert_eq!(read("topic_prefix = \"\"").unwrap().topic_prefix, "");
        for (text, place) in [("partitions = 0", "partitions"), ("spill_bytes = 0", "spill_bytes")]
        {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(place), "{error}");
        }
    }

    #[test]
    fn a_password_comes_from_its_file_and_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "geheim\n").unwrap();
        let text = format!(
            "kind = \"kafka\"\n[kafka]\nsecurity = \"sasl_tls\"\nusername = \"fts\"\n\
             password_file = \"{}\"",
            file.display()
        );
        let config = kafka(&log(&text).unwrap()).unwrap();
        assert_eq!(config.security.login.as_ref().unwrap().password, "geheim");
        assert!(!format!("{config:?}").contains("geheim"));
        std::fs::write(&file, "").unwrap();
        let error = format!("{:#}", kafka(&log(&text).unwrap()).unwrap_err());
        assert!(error.contains(PASSWORD), "{error}");
    }
}
