//! Where the cluster is, who asks, and how much at once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fts_core::row::Table;
use serde::{Deserialize, Serialize};

pub use crate::secret::Secret;
use crate::secret::Source;

/// A ScyllaDB or Cassandra cluster and how to use it. As TOML, all keys but `nodes` may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScyllaConfig {
    /// `host:port` of some of its nodes; the others are found by asking these. At least one.
    pub nodes: Vec<String>,
    /// The keyspace; letters, digits and underscores. It is created where it is not there.
    /// Default: `binance_stream`.
    pub keyspace: String,
    /// The data centre whose nodes are asked, and on whose nodes a keyspace that is created lies.
    /// Default: none, for a cluster in one data centre.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datacenter: Option<String>,
    /// On how many nodes (of each data centre) a keyspace that is created keeps each row; one that
    /// is there is left as it is. Default: 3.
    pub replication_factor: u8,
    /// How many replicas must answer. Default: `local_quorum`.
    pub consistency: Consistency,
    /// Who logs in. Default: nobody, for a cluster that asks nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password. Rather use one of the next two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// A file that holds the password; read on each connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// The environment variable that holds the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    /// Whether connections are encrypted. The nodes' certificates must name the address under which
    /// they are reached. Default: false.
    pub tls: bool,
    /// The certificates, as PEM, of the authorities that sign the nodes'. Default: the public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// This node's own certificate, as PEM, for a cluster that asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// Its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// How long setting up one connection may take, milliseconds. Default: 5000.
    pub connect_timeout_ms: u64,
    /// How long one request may take before it counts as failed, milliseconds. Default: 10000.
    pub request_timeout_ms: u64,
    /// How many requests may be under way at once, over all callers. Each holds at most 64 KiB of
    /// rows (or one row, if that is larger). Default: 256.
    pub concurrency: usize,
    /// How long rows are kept, milliseconds: the same as is given to `Store::expire`, hence no key
    /// of its own. Rows are written with a time to live that is a little longer, so that the server
    /// gives the disk back cheaply. Tables that are not named are kept for ever.
    #[serde(skip)]
    pub retention: BTreeMap<Table, i64>,
}

/// How many replicas must answer before a request counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// One: what it acknowledged is lost with it.
    One,
    /// Most of those in the local data centre.
    #[default]
    LocalQuorum,
    /// Most of all.
    Quorum,
    /// Most of those in every data centre; reads ask most of the local ones.
    EachQuorum,
    /// All: one that is down stops writing.
    All,
}

/// Why a configuration can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

impl Default for ScyllaConfig {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            keyspace: Self::KEYSPACE.to_owned(),
            datacenter: None,
            replication_factor: 3,
            consistency: Consistency::LocalQuorum,
            username: None,
            password: None,
            password_file: None,
            password_env: None,
            tls: false,
            ca_file: None,
            cert_file: None,
            key_file: None,
            connect_timeout_ms: 5_000,
            request_timeout_ms: 10_000,
            concurrency: 256,
            retention: BTreeMap::new(),
        }
    }
}

impl ScyllaConfig {
    /// The default keyspace: that of the system before this one.
    pub const KEYSPACE: &str = "binance_stream";

    /// Those nodes, and the default of everything else.
    pub fn new(nodes: Vec<String>) -> Self {
        Self { nodes, ..Self::default() }
    }

    /// Says what is wrong, if anything, and what to do.
    pub fn check(&self) -> Result<(), ConfigError> {
        match self.fault() {
            Some(fault) => Err(ConfigError(fault)),
            None => Ok(()),
        }
    }

    /// Where the password stands; nowhere for a cluster that asks nobody.
    pub(super) fn password_source(&self) -> Source<'_> {
        Source {
            given: self.password.as_ref(),
            file: self.password_file.as_ref(),
            variable: self.password_env.as_deref(),
            key: "password",
        }
    }

    fn fault(&self) -> Option<String> {
        let word = |text: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
            (1..=48).contains(&text.len()) && text.chars().all(fits)
        };
        if self.nodes.is_empty() {
            return Some("`nodes` is empty: name at least one node as host:port".to_owned());
        }
        let no_port = |node: &&String| {
            let port = node.rsplit_once(':').map(|(host, port)| (host.is_empty(), port.parse()));
            !matches!(port, Some((false, Ok(1_u16..))))
        };
        if let Some(node) = self.nodes.iter().find(no_port) {
            return Some(format!("`nodes` has \"{node}\": write host:port, such as scylla:9042"));
        }
        if !word(&self.keyspace) {
            let keyspace = &self.keyspace;
            return Some(format!(
                "`keyspace` is \"{keyspace}\": use up to 48 letters, digits and underscores"
            ));
        }
        if self.datacenter.as_ref().is_some_and(|name| name.is_empty() || name.contains('\'')) {
            return Some("`datacenter` is no name that a data centre could have".to_owned());
        }
        if self.replication_factor == 0 {
            return Some(
                "`replication_factor` 0 keeps nothing: use 3, or 1 for a trial".to_owned(),
            );
        }
        let password = self.password_source();
        if let Some(fault) = password.fault() {
            return Some(fault);
        }
        if self.username.is_some() != (password.count() == 1) {
            return Some(
                "`username` and a password (`password_file`, `password_env` or `password`) belong \
                 together"
                    .to_owned(),
            );
        }
        if !self.tls && (self.ca_file.is_some() || self.cert_file.is_some()) {
            return Some("certificates are given, but `tls` is false: set it to true".to_owned());
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            return Some("`cert_file` and `key_file` belong together".to_owned());
        }
        if self.concurrency == 0 || self.request_timeout_ms == 0 || self.connect_timeout_ms == 0 {
            return Some(
                "`concurrency`, `request_timeout_ms` and `connect_timeout_ms` must be above 0"
                    .to_owned(),
            );
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ScyllaConfig {
        ScyllaConfig::new(vec!["localhost:9042".to_owned()])
    }

    #[test]
    fn a_secret_is_never_shown() {
        let mut config = config();
        config.password = Some(Secret::new("hunter2".to_owned()));
        let json = serde_json::to_string(&config).unwrap();
        for shown in [format!("{config:?}"), format!("{config:#?}"), json] {
            assert!(!shown.contains("hunter2") && shown.contains("(hidden)"), "{shown}");
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut ScyllaConfig), expected: Option<&str>) {
        let mut config = config();
        change(&mut config);
        let found = config.check().map_err(|error| error.to_string());
        match expected {
            None => assert_eq!(found, Ok(())),
            Some(word) => {
                assert!(found.as_ref().is_err_and(|it| it.contains(word)), "{word}: {found:?}");
            }
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_what_to_do() {
        let secret = || Some(Secret::new("x".to_owned()));
        check(|_| {}, None);
        check(|it| (it.username, it.password) = (Some("fts".into()), secret()), None);
        check(|it| it.nodes.clear(), Some("host:port"));
        check(|it| it.nodes = vec!["scylla".into()], Some("host:port"));
        check(|it| it.nodes = vec!["scylla:0".into()], Some("host:port"));
        check(|it| it.keyspace = "a\"; DROP KEYSPACE b".into(), Some("letters, digits"));
        check(|it| it.keyspace.clear(), Some("letters, digits"));
        check(|it| it.datacenter = Some("a'b".into()), Some("datacenter"));
        check(|it| it.replication_factor = 0, Some("use 3"));
        check(|it| it.concurrency = 0, Some("above 0"));
        check(|it| it.username = Some("fts".into()), Some("belong together"));
        check(|it| it.password = secret(), Some("belong together"));
        check(
            |it| (it.password, it.password_env) = (secret(), Some("P".into())),
            Some("name one of"),
        );
        check(|it| it.ca_file = Some("ca.pem".into()), Some("`tls` is false"));
        check(|it| (it.tls, it.cert_file) = (true, Some("c.pem".into())), Some("`key_file`"));
    }

    #[test]
    fn an_unknown_key_is_refused_and_consistencies_have_cql_s_names() {
        let read = |text| serde_json::from_str::<ScyllaConfig>(text);
        assert!(read(r#"{"contact": []}"#).unwrap_err().to_string().contains("contact"));
        let found = read(r#"{"nodes": ["a:1"], "consistency": "each_quorum"}"#).unwrap();
        assert_eq!(found.consistency, Consistency::EachQuorum);
        assert_eq!((found.keyspace.as_str(), found.concurrency), ("binance_stream", 256));
        assert!(read(r#"{"consistency": "most"}"#).unwrap_err().to_string().contains("quorum"));
    }
}
