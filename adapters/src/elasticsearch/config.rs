//! Where the cluster is, who asks, and how much at once.

use std::collections::BTreeSet;
use std::path::PathBuf;

use fts_core::row::Table;
use serde::{Deserialize, Serialize};

pub use crate::secret::Secret;
use crate::secret::Source;

/// An Elasticsearch or OpenSearch cluster and how to use it. As TOML, all keys but `nodes` may be
/// left out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ElasticsearchConfig {
    /// Where its nodes are reached: `https://host:port`, or `host:port` for one without TLS. They
    /// are asked in turn. At least one.
    pub nodes: Vec<String>,
    /// What stands before the name of every index; lower-case letters, digits, `-` and `_`.
    /// Default: nothing.
    pub index_prefix: String,
    /// Primary shards of an index that is created. Default: 1.
    pub shards: u16,
    /// Copies beside the primary of an index that is created. Default: 1.
    pub replicas: u16,
    /// Who asks. Default: nobody, for a cluster without security.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password. Rather use one of the next two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// A file that holds the password; read on each connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// The environment variable that holds the password. Default, where there is a `username`:
    /// [`ElasticsearchConfig::PASSWORD_VARIABLE`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    /// An API key, encoded as the server hands it out, in place of user and password. Rather use
    /// one of the next two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Secret>,
    /// A file that holds the API key; read on each connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// The environment variable that holds the API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// The certificates, as PEM, of the authorities that sign the nodes'. Default: the public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How long one request may take before it counts as failed, milliseconds. Default: 30000.
    pub request_timeout_ms: u64,
    /// How many requests that write may be under way at once, over all callers. Default: 4.
    pub concurrency: usize,
    /// The most bytes of rows in one of them (or one row, if that is larger). Default: 5 MiB.
    pub bulk_bytes: usize,
    /// The tables that have indices here: what is given to `Store::put`, hence no key of its own.
    #[serde(skip)]
    pub tables: BTreeSet<Table>,
}

/// Why a configuration can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

impl Default for ElasticsearchConfig {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            index_prefix: String::new(),
            shards: 1,
            replicas: 1,
            username: None,
            password: None,
            password_file: None,
            password_env: None,
            api_key: None,
            api_key_file: None,
            api_key_env: None,
            ca_file: None,
            request_timeout_ms: 30_000,
            concurrency: 4,
            bulk_bytes: 5 * 1_024 * 1_024,
            tables: BTreeSet::from(Table::ALL),
        }
    }
}

impl ElasticsearchConfig {
    /// The environment variable that holds the password, unless another one is named.
    pub const PASSWORD_VARIABLE: &str = "FTS_ELASTICSEARCH_PASSWORD";

    /// The tables that a store of this kind takes unless it is told otherwise: those of the stocks,
    /// the alerts, and what could not be understood.
    pub const USUAL_TABLES: [Table; 5] = [
        Table::Alerts,
        Table::DeadLetters,
        Table::Dailies,
        Table::DailyChanges,
        Table::Transactions,
    ];

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

    /// The nodes' addresses.
    pub(super) fn urls(&self) -> Result<Vec<reqwest::Url>, String> {
        let url = |node: &String| {
            let text = if node.contains("://") { node.clone() } else { format!("http://{node}") };
            let url = reqwest::Url::parse(&text).ok().filter(|it| {
                matches!(it.scheme(), "http" | "https")
                    && it.host_str().is_some_and(|host| !host.is_empty())
                    && it.username().is_empty()
                    && it.password().is_none()
                    && it.query().is_none()
            });
            // The text may hold a password: it is not shown.
            url.ok_or_else(|| {
                "`nodes` has what is no address: write https://host:port, without user and \
                 password"
                    .to_owned()
            })
        };
        self.nodes.iter().map(url).collect()
    }

    /// Where the password stands; `None` for a cluster that wants none.
    pub(super) fn password_source(&self) -> Source<'_> {
        let named = Source {
            given: self.password.as_ref(),
            file: self.password_file.as_ref(),
            variable: self.password_env.as_deref(),
            key: "password",
        };
        if self.username.is_some() && named.count() == 0 {
            return Source { variable: Some(Self::PASSWORD_VARIABLE), ..named };
        }
        named
    }

    /// Where the API key stands.
    pub(super) fn key_source(&self) -> Source<'_> {
        Source {
            given: self.api_key.as_ref(),
            file: self.api_key_file.as_ref(),
            variable: self.api_key_env.as_deref(),
            key: "api_key",
        }
    }

    fn fault(&self) -> Option<String> {
        if self.nodes.is_empty() {
            return Some("`nodes` is empty: name at least one as https://host:port".to_owned());
        }
        let urls = match self.urls() {
            Ok(urls) => urls,
            Err(fault) => return Some(fault),
        };
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        let prefix = &self.index_prefix;
        if !prefix.chars().all(fits) || prefix.starts_with(['-', '_']) || prefix.len() > 100 {
            return Some(format!(
                "`index_prefix` is \"{prefix}\": use up to 100 of a-z, 0-9, - and _, not - or _ first"
            ));
        }
        if self.shards == 0 {
            return Some("`shards` is 0: an index has at least 1".to_owned());
        }
        for source in [self.password_source(), self.key_source()] {
            if let Some(fault) = source.fault() {
                return Some(fault);
            }
        }
        let (password, key) = (self.password_source().count(), self.key_source().count());
        if self.username.is_none() && password > 0 {
            return Some("a password is given and no `username`: name the user".to_owned());
        }
        if password > 0 && key > 0 {
            return Some("use `username` and its password, or an API key: not both".to_owned());
        }
        if self.ca_file.is_some() && urls.iter().all(|it| it.scheme() == "http") {
            return Some("`ca_file` is given, but no node is https://: write https://".to_owned());
        }
        if self.concurrency == 0 || self.request_timeout_ms == 0 {
            return Some("`concurrency` and `request_timeout_ms` must be above 0".to_owned());
        }
        if !(1_024..=64 * 1_024 * 1_024).contains(&self.bulk_bytes) {
            return Some(
                "`bulk_bytes` must be 1024 (1 KiB) to 67108864 (64 MiB): servers take 100 MiB"
                    .to_owned(),
            );
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ElasticsearchConfig {
        ElasticsearchConfig::new(vec!["localhost:9200".to_owned()])
    }

    fn secret() -> Option<Secret> {
        Some(Secret::new("hunter2".to_owned()))
    }

    #[test]
    fn a_secret_is_never_shown() {
        let config = ElasticsearchConfig { password: secret(), api_key: secret(), ..config() };
        let json = serde_json::to_string(&config).unwrap();
        for shown in [format!("{config:?}"), format!("{config:#?}"), json] {
            assert!(!shown.contains("hunter2") && shown.contains("(hidden)"), "{shown}");
        }
        let mut config = config;
        config.nodes = vec!["https://elastic:hunter2@localhost:9200".to_owned()];
        let error = config.check().unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut ElasticsearchConfig), expected: Option<&str>) {
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
        let user = || Some("fts".to_owned());
        check(|_| {}, None);
        check(|it| it.nodes = vec!["https://a:1".into(), "http://b:2".into()], None);
        check(|it| it.username = user(), None);
        check(|it| (it.username, it.password) = (user(), secret()), None);
        check(|it| it.api_key = secret(), None);
        check(|it| it.index_prefix = "test-1_".into(), None);
        check(|it| it.nodes.clear(), Some("https://host:port"));
        check(|it| it.nodes = vec!["ftp://a".into()], Some("https://host:port"));
        check(|it| it.nodes = vec!["https://".into()], Some("https://host:port"));
        check(|it| it.nodes = vec!["https://a:b@c:1".into()], Some("without user"));
        check(|it| it.index_prefix = "Test".into(), Some("a-z"));
        check(|it| it.index_prefix = "_a".into(), Some("first"));
        check(|it| it.index_prefix = "a,b".into(), Some("a-z"));
        check(|it| it.shards = 0, Some("at least 1"));
        check(|it| it.password = secret(), Some("name the user"));
        check(|it| (it.username, it.api_key) = (user(), secret()), Some("not both"));
        check(
            |it| {
                (it.username, it.password, it.password_env) = (user(), secret(), Some("P".into()));
            },
            Some("name one of `password`"),
        );
        check(
            |it| (it.api_key, it.api_key_env) = (secret(), Some("P".into())),
            Some("name one of `api_key`"),
        );
        check(|it| it.ca_file = Some("ca.pem".into()), Some("write https://"));
        check(|it| it.concurrency = 0, Some("above 0"));
        check(|it| it.bulk_bytes = 0, Some("`bulk_bytes`"));
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let read = |text| serde_json::from_str::<ElasticsearchConfig>(text);
        assert!(read(r#"{"hosts": []}"#).unwrap_err().to_string().contains("hosts"));
        let found = read(r#"{"nodes": ["https://a:1"], "replicas": 0}"#).unwrap();
        assert_eq!((found.replicas, found.bulk_bytes), (0, 5_242_880));
        assert_eq!(found.tables.len(), Table::ALL.len());
    }
}
