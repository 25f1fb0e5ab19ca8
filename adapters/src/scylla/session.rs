//! The connection: made when it is first needed, made again when the tables are not what they were.

use std::sync::Arc;
use std::time::Duration;

use fts_core::port::store::StoreError;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::statement::Consistency as Level;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::config::{Consistency, ScyllaConfig};
use super::errors::{self, Failure};
use super::migrate;
use super::statements::Statements;

/// How long a failed attempt answers for those that come after it: they would all wait in turn.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// How soon a connection whose other end has vanished is noticed.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How long connecting, migrating and preparing may take together.
const OPEN_TIMEOUT: Duration = Duration::from_secs(180);

/// A session and its statements.
pub(super) struct Live {
    pub(super) session: Session,
    pub(super) statements: Statements,
}

/// Makes sessions, one at a time.
pub(super) struct Connector {
    config: ScyllaConfig,
    state: Mutex<State>,
}

enum State {
    Fresh,
    Live(Arc<Live>),
    Failed(Instant, StoreError),
}

impl Connector {
    pub(super) fn new(config: ScyllaConfig) -> Self {
        Self { config, state: Mutex::new(State::Fresh) }
    }

    /// The session; connects, and brings the tables to this program's version, if there is none.
    pub(super) async fn live(&self) -> Result<Arc<Live>, StoreError> {
        let mut state = self.state.lock().await;
        match &*state {
            State::Live(live) => return Ok(Arc::clone(live)),
            State::Failed(at, error) if at.elapsed() < FAILED_FOR => return Err(error.clone()),
            State::Fresh | State::Failed(..) => {}
        }
        let opened = tokio::time::timeout(OPEN_TIMEOUT, open(&self.config)).await;
        let opened = opened.unwrap_or_else(|_| {
            Err(errors::unavailable("the cluster takes minutes to open: is it overloaded?"))
        });
        match opened {
            Ok(live) => {
                let live = Arc::new(live);
                *state = State::Live(Arc::clone(&live));
                Ok(live)
            }
            Err(error) => {
                *state = State::Failed(Instant::now(), error.clone());
                Err(error)
            }
        }
    }

    /// What a failed request means for its caller. Where the server knows a table no more, the next
    /// caller makes the tables again.
    pub(super) async fn judge(&self, live: &Arc<Live>, failure: Failure) -> StoreError {
        if failure.tables_changed {
            let mut state = self.state.lock().await;
            if matches!(&*state, State::Live(current) if Arc::ptr_eq(current, live)) {
                *state = State::Failed(Instant::now(), failure.error.clone());
            }
        }
        failure.error
    }
}

async fn open(config: &ScyllaConfig) -> Result<Live, StoreError> {
    let timeout = Duration::from_millis(config.request_timeout_ms);
    let mut policy = DefaultPolicy::builder().token_aware(true);
    if let Some(datacenter) = &config.datacenter {
        policy = policy.prefer_datacenter(datacenter.clone()).permit_dc_failover(false);
    }
    let profile = ExecutionProfile::builder()
        .consistency(level(config.consistency))
        .request_timeout(Some(timeout))
        .load_balancing_policy(policy.build())
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.nodes)
        .default_execution_profile_handle(profile.into_handle())
        .connection_timeout(Duration::from_millis(config.connect_timeout_ms))
        .hostname_resolution_timeout(Some(timeout))
        .metadata_request_clientside_timeout(timeout)
        .tcp_keepalive_interval(KEEPALIVE)
        .keyspaces_to_fetch([config.keyspace.as_str()])
        .fetch_full_schema_metadata(false);
    if let Some(username) = &config.username {
        let password = config.password_source().read().map_err(errors::refused)?;
        builder = builder.user(username, password.unwrap_or_default());
    }
    if config.tls {
        builder = builder.tls_context(Some(Arc::new(tls(config)?)));
    }
    // The driver bounds neither the handshake nor the sum of its attempts.
    let limit = timeout + 3 * Duration::from_millis(config.connect_timeout_ms);
    let session = tokio::time::timeout(limit, builder.build()).await.map_err(|_| {
        errors::unavailable(
            "nodes accept connections and say nothing: does the cluster hang, and is this its CQL \
             port?",
        )
    })?;
    let session = session.map_err(|error| errors::of_session(&error))?;
    migrate::migrate(&session, config).await?;
    let statements = Statements::prepare(&session, &config.keyspace).await?;
    Ok(Live { session, statements })
}

/// Reads know of no quorum in each data centre.
pub(super) const fn level(consistency: Consistency) -> Level {
    match consistency {
        Consistency::One => Level::One,
        Consistency::LocalQuorum => Level::LocalQuorum,
        Consistency::Quorum => Level::Quorum,
        Consistency::EachQuorum => Level::EachQuorum,
        Consistency::All => Level::All,
    }
}

fn tls(config: &ScyllaConfig) -> Result<ClientConfig, StoreError> {
    let mut roots = RootCertStore::empty();
    match &config.ca_file {
        Some(path) => {
            let unreadable = |error: &dyn std::fmt::Display| {
                errors::refused(format!(
                    "`ca_file` {} is no PEM file with certificates: {error}",
                    path.display()
                ))
            };
            for certificate in certificates(path).map_err(|error| unreadable(&error))? {
                roots.add(certificate).map_err(|error| unreadable(&error))?;
            }
            if roots.is_empty() {
                return Err(unreadable(&"it holds none"));
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| errors::refused(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots);
    let (Some(cert), Some(key)) = (&config.cert_file, &config.key_file) else {
        return Ok(builder.with_no_client_auth());
    };
    let unusable = |error: &dyn std::fmt::Display| {
        errors::refused(format!(
            "`cert_file` {} and `key_file` {} are no certificate with its key: {error}",
            cert.display(),
            key.display()
        ))
    };
    let chain = certificates(cert).map_err(|error| unusable(&error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(&error))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| unusable(&error))
}

fn certificates(
    path: &std::path::Path,
) -> Result<Vec<CertificateDer<'static>>, tokio_rustls::rustls::pki_types::pem::Error> {
    CertificateDer::pem_file_iter(path)?.collect()
}
