//! Requests: with login, TLS and a bound in time. A client is made when it is first needed, and
//! made again, indices checked, after the cluster was out of reach.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use elasticsearch::auth::Credentials;
use elasticsearch::cert::{Certificate, CertificateValidation};
use elasticsearch::http::Method;
use elasticsearch::http::headers::{CONTENT_TYPE, HeaderMap, HeaderValue};
use elasticsearch::http::transport::{MultiNodeConnectionPool, Transport, TransportBuilder};
use fts_core::port::store::StoreError;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::config::ElasticsearchConfig;
use super::errors::{self, Fault, Silence, Verdict};
use super::migrate;

/// How long a failed attempt answers for those that come after it: they would all wait in turn.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// What `_bulk` takes.
const NDJSON: &str = "application/x-ndjson";

/// Makes requests.
#[derive(Debug)]
pub(super) struct Client {
    transport: Transport,
    timeout_ms: u64,
    nodes: usize,
}

/// What a server answers.
pub(super) struct Answer {
    status: u16,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) const fn is_missing(&self) -> bool {
        self.status == 404
    }

    pub(super) const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// What it means, if it is no success.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        (!self.is_success()).then(|| errors::judge(self.status, &Fault::of_body(&self.body)))
    }

    /// The success that it should be.
    pub(super) fn success(self) -> Result<Self, StoreError> {
        match self.verdict() {
            None => Ok(self),
            Some(verdict) => Err(verdict.into()),
        }
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, StoreError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            errors::refused(format!("an answer makes no sense ({error}): is this Elasticsearch?"))
        })
    }
}

impl Client {
    fn open(config: &ElasticsearchConfig) -> Result<Self, StoreError> {
        let urls = config.urls().map_err(errors::refused)?;
        let nodes = urls.len();
        let mut builder = TransportBuilder::new(MultiNodeConnectionPool::round_robin(urls, None))
            // A proxy of the environment is for the way out, not for the way to one's own servers.
            .disable_proxy()
            .enable_meta_header(false);
        if let Some(path) = &config.ca_file {
            let unusable = |error: &dyn std::fmt::Display| {
                errors::refused(format!(
                    "`ca_file` {} is no PEM file with certificates: {error}",
                    path.display()
                ))
            };
            let pem = std::fs::read(path).map_err(|error| unusable(&error))?;
            let chain = Certificate::from_pem(&pem).map_err(|error| unusable(&error))?;
            builder = builder.cert_validation(CertificateValidation::Full(chain));
        }
        if let Some(key) = config.key_source().read().map_err(errors::refused)? {
            let is_key = !key.is_empty() && key.bytes().all(|it| it.is_ascii_graphic());
            if !is_key {
                return Err(errors::refused(
                    "the API key is none: it is one line of letters and digits, as the server \
                     encodes it",
                ));
            }
            builder = builder.auth(Credentials::EncodedApiKey(key));
        } else if let Some(user) = &config.username {
            let password =
                config.password_source().read().map_err(errors::refused)?.unwrap_or_default();
            builder = builder.auth(Credentials::Basic(user.clone(), password));
        }
        let transport = builder.build().map_err(|error| {
            errors::refused(format!("connections cannot be set up ({error}): check `ca_file`"))
        })?;
        Ok(Self { transport, timeout_ms: config.request_timeout_ms, nodes })
    }

    /// One request, of one node after the other until one answers.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Answer, StoreError> {
        let mut tries = self.nodes;
        loop {
            tries -= 1;
            let error = match self.send_once(method, path, query, body.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(silence) => StoreError::from(silence),
            };
            if tries == 0 || !matches!(error, StoreError::Unavailable(_)) {
                return Err(error);
            }
        }
    }

    /// A `_bulk` request. Of another node only if the one before is not there: what one did not do in
    /// time is not put to the next one as it is.
    pub(super) async fn bulk(
        &self,
        query: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, Silence> {
        let mut tries = self.nodes;
        loop {
            tries -= 1;
            let body = Some((NDJSON, body.clone()));
            match self.send_once(Method::Post, "/_bulk", query, body).await {
                Err(Silence::Away(StoreError::Unavailable(_))) if tries > 0 => {}
                other => return other,
            }
        }
    }

    async fn send_once(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Answer, Silence> {
        let mut headers = HeaderMap::new();
        let body = body.map(|(kind, bytes)| {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            bytes
        });
        let limit = Duration::from_millis(self.timeout_ms);
        let asked = async {
            let sent =
                self.transport.send(method, path, headers, Some(query), body, Some(limit)).await;
            let answer = sent.map_err(|error| errors::of_transport(&error, self.timeout_ms))?;
            let status = answer.status_code().as_u16();
            let body = answer.bytes().await;
            let body = body.map_err(|error| errors::of_transport(&error, self.timeout_ms))?;
            Ok(Answer { status, body })
        };
        let answer = tokio::time::timeout(limit, asked).await;
        answer.unwrap_or_else(|_| Err(Silence::Late(errors::timed_out(self.timeout_ms))))
    }

    pub(super) async fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Answer, StoreError> {
        self.send(Method::Get, path, query, None).await
    }

    pub(super) async fn put_json(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<Answer, StoreError> {
        let body = Bytes::from(body.to_string());
        self.send(Method::Put, path, &[], Some(("application/json", body))).await
    }

    pub(super) async fn post_json(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: &serde_json::Value,
    ) -> Result<Answer, StoreError> {
        let body = Bytes::from(body.to_string());
        self.send(Method::Post, path, query, Some(("application/json", body))).await
    }
}

/// Makes clients, one at a time.
pub(super) struct Connector {
    config: ElasticsearchConfig,
    state: Mutex<State>,
}

enum State {
    Fresh,
    Live(Arc<Client>),
    Failed(Instant, StoreError),
}

impl Connector {
    pub(super) fn new(config: ElasticsearchConfig) -> Self {
        Self { config, state: Mutex::new(State::Fresh) }
    }

    /// The client; makes one, and brings the indices to this program's version, if there is none.
    pub(super) async fn live(&self) -> Result<Arc<Client>, StoreError> {
        let mut state = self.state.lock().await;
        match &*state {
            State::Live(client) => return Ok(Arc::clone(client)),
            State::Failed(at, error) if at.elapsed() < FAILED_FOR => return Err(error.clone()),
            State::Fresh | State::Failed(..) => {}
        }
        let opened = async {
            let client = Client::open(&self.config)?;
            migrate::migrate(&client, &self.config).await?;
            Ok::<_, StoreError>(Arc::new(client))
        };
        match opened.await {
            Ok(client) => {
                *state = State::Live(Arc::clone(&client));
                Ok(client)
            }
            Err(error) => {
                *state = State::Failed(Instant::now(), error.clone());
                Err(error)
            }
        }
    }

    /// What came of a request. After one that found no server, or a server that refuses, the next
    /// one makes sure again that login and indices are as they should be: who comes back may have
    /// another password, or an empty disk.
    pub(super) async fn judge<T>(
        &self,
        client: &Arc<Client>,
        result: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Err(StoreError::Unavailable(_) | StoreError::Refused(_)) = &result {
            let mut state = self.state.lock().await;
            if matches!(&*state, State::Live(current) if Arc::ptr_eq(current, client)) {
                *state = State::Fresh;
            }
        }
        result
    }
}
