//! Where the cluster is, who asks, and how much at once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use fts_core::row::Table;

/// A ScyllaDB or Cassandra cluster and how to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScyllaConfig {
    /// `host:port` of some of its nodes; the others are found by asking these. At least one.
    pub contact_points: Vec<String>,
    /// The keyspace; letters, digits and underscores. It is created where it is not there.
    pub keyspace: String,
    /// The data centre whose nodes are asked, and whose replicas are counted. `None`: that of the
    /// node that answers first, for a cluster in one data centre.
    pub local_dc: Option<String>,
    /// On how many nodes a keyspace that is created keeps each row.
    pub replication_factor: u8,
    /// Who logs in; `None` where the cluster asks nobody.
    pub login: Option<Login>,
    /// Encryption; `None` for a cluster on the same machine or network of trust.
    pub tls: Option<Tls>,
    /// How many replicas must answer.
    pub consistency: Consistency,
    /// How long one request may take before it counts as failed.
    pub request_timeout: Duration,
    /// How many requests may be under way at once, over all callers.
    pub concurrency: usize,
    /// How long rows are kept, milliseconds: the same as is given to `Store::expire`. Rows are
    /// written with a time to live that is a little longer, so that the server gives the disk back
    /// cheaply. Tables that are not named are kept for ever.
    pub retention: BTreeMap<Table, i64>,
}

/// User and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The role's name.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

/// How connections are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificates, as PEM, of the authorities that sign the nodes'. The nodes' must name the
    /// address under which they are reached.
    pub ca_file: PathBuf,
    /// The node's own certificate, for a cluster that asks for one.
    pub client: Option<ClientCertificate>,
}

/// A certificate and its key, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, and those between it and the authority.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// How many replicas must answer before a request counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// One: what it acknowledged is lost with it.
    One,
    /// Most of those in the local data centre.
    #[default]
    LocalQuorum,
    /// Most of all.
    Quorum,
    /// Most of those in every data centre.
    EachQuorum,
    /// All: one that is down stops writing.
    All,
}

impl FromStr for Consistency {
    type Err = NotAConsistency;

    fn from_str(text: &str) -> Result<Self, NotAConsistency> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "one" => Self::One,
            "local_quorum" => Self::LocalQuorum,
            "quorum" => Self::Quorum,
            "each_quorum" => Self::EachQuorum,
            "all" => Self::All,
            _ => return Err(NotAConsistency(text.to_owned())),
        })
    }
}

/// No name of a consistency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no consistency: use one, local_quorum, quorum, each_quorum or all")]
pub struct NotAConsistency(pub String);

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being shown.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(hidden)")
    }
}

impl ScyllaConfig {
    /// The default keyspace: that of the system before this one.
    pub const KEYSPACE: &str = "binance_stream";

    /// Those nodes, and the default of everything else.
    pub fn new(contact_points: Vec<String>) -> Self {
        Self {
            contact_points,
            keyspace: Self::KEYSPACE.to_owned(),
            local_dc: None,
            replication_factor: 3,
            login: None,
            tls: None,
            consistency: Consistency::LocalQuorum,
            request_timeout: Duration::from_secs(10),
            concurrency: 256,
            retention: BTreeMap::new(),
        }
    }

    /// What is wrong with it, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        let word = |text: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
            (1..=48).contains(&text.len()) && text.chars().all(fits)
        };
        if self.contact_points.is_empty() {
            return Some("no contact point: name at least one node as host:port".to_owned());
        }
        if !word(&self.keyspace) {
            let keyspace = &self.keyspace;
            return Some(format!(
                "`{keyspace}` is no keyspace: use up to 48 letters, digits and underscores"
            ));
        }
        if self.local_dc.as_ref().is_some_and(|name| name.is_empty() || name.contains('\'')) {
            return Some("the local data centre has no name that could be one".to_owned());
        }
        if self.replication_factor == 0 {
            return Some("a replication factor of 0 keeps nothing: use 3, or 1 for a trial".into());
        }
        if self.concurrency == 0 || self.request_timeout.is_zero() {
            return Some("concurrency and request timeout must be more than 0".to_owned());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let mut config = ScyllaConfig::new(vec!["localhost:9042".to_owned()]);
        let password = Secret::new("hunter2".to_owned());
        config.login = Some(Login { user: "fts".to_owned(), password });
        let shown = format!("{config:?} {config:#?}");
        assert!(!shown.contains("hunter2") && shown.contains("(hidden)"), "{shown}");
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut ScyllaConfig), expected: Option<&str>) {
        let mut config = ScyllaConfig::new(vec!["localhost:9042".to_owned()]);
        change(&mut config);
        let fault = config.fault();
        match expected {
            None => assert_eq!(fault, None),
            Some(word) => assert!(fault.as_ref().is_some_and(|it| it.contains(word)), "{fault:?}"),
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_what_to_do() {
        check(|_| {}, None);
        check(|config| config.contact_points.clear(), Some("host:port"));
        check(|config| config.keyspace = "a; DROP KEYSPACE b".into(), Some("letters, digits"));
        check(|config| config.keyspace.clear(), Some("letters, digits"));
        check(|config| config.local_dc = Some("a'b".into()), Some("data centre"));
        check(|config| config.replication_factor = 0, Some("use 3"));
        check(|config| config.concurrency = 0, Some("more than 0"));
    }

    #[test]
    fn consistencies_have_cql_s_names() {
        assert_eq!("LOCAL_QUORUM".parse(), Ok(Consistency::LocalQuorum));
        assert_eq!("each_quorum".parse(), Ok(Consistency::EachQuorum));
        let error = "most".parse::<Consistency>().unwrap_err().to_string();
        assert!(error.contains("local_quorum"), "{error}");
    }
}
