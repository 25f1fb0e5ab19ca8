//! A prefix of its own for each test's indices, on the server that the environment names.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fts_adapters::elasticsearch::{ElasticsearchConfig, ElasticsearchStore};
use fts_core::port::store::Store;
use fts_core::port::store::conformance::Place;
use fts_core::row::Table;
use fts_core::time::{Clock as _, SystemClock};
use serde_json::Value;

/// The variable that names the server.
pub(crate) const SERVER: &str = "FTS_TEST_ELASTICSEARCH";

/// Indices that nobody else uses.
pub(crate) struct Indices {
    pub(crate) server: String,
    pub(crate) prefix: String,
}

/// Fresh indices; `None`, said loudly, where no server is named.
pub(crate) async fn place() -> Option<Indices> {
    let Ok(server) = std::env::var(SERVER) else {
        eprintln!("SKIPPED: {SERVER} does not name an Elasticsearch node (http://host:port)");
        return None;
    };
    Some(Indices::on(server))
}

impl Indices {
    /// Fresh indices on that server.
    pub(crate) fn on(server: String) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let millis = SystemClock.now().millis();
        Self { server, prefix: format!("fts-{millis}-{}-{number}-", std::process::id()) }
    }

    /// For a store on them: without copies, as one node has nowhere to put them.
    pub(crate) fn config(&self) -> ElasticsearchConfig {
        ElasticsearchConfig {
            index_prefix: self.prefix.clone(),
            replicas: 0,
            // Longer than a server takes that shares its machine with everything else.
            request_timeout_ms: 180_000,
            ..ElasticsearchConfig::new(vec![self.server.clone()])
        }
    }

    pub(crate) fn store(&self) -> ElasticsearchStore {
        ElasticsearchStore::new(self.config()).expect("a configuration that works")
    }

    /// A request of a client that is not the store's, and what came of it.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let path = path.replace("{p}", &self.prefix);
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let request = reqwest::Client::new()
            .request(method, format!("{}{path}", self.server))
            .header("content-type", "application/json")
            .body(body.replace("{p}", &self.prefix));
        let answer = request.send().await.expect("the server answers");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("the server's answer");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The documents of a table, refreshed, in the order of their ids.
    pub(crate) async fn documents(&self, table: Table) -> Vec<Value> {
        let name = table.name();
        self.ask("POST", &format!("/{{p}}{name}/_refresh"), "").await;
        let search =
            format!("/{{p}}{name}/_search?size=10000&version=true&ignore_unavailable=true");
        let (_, mut found) = self.ask("GET", &search, "").await;
        let Value::Array(mut hits) = found["hits"]["hits"].take() else { panic!("{found}") };
        hits.sort_by_key(|it| it["_id"].to_string());
        hits
    }
}

#[async_trait::async_trait]
impl Place for Indices {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.store())
    }

    /// Servers show what was written once a second.
    async fn settle(&self) {
        let (status, found) = self.ask("POST", "/{p}*/_refresh", "").await;
        assert_eq!(status, 200, "{found}");
    }

    async fn remove(&self) {
        let (_, found) =
            self.ask("GET", "/{p}*/_settings?filter_path=*.settings.index.uuid", "").await;
        if let Value::Object(indices) = found {
            for index in indices.keys() {
                self.ask("DELETE", &format!("/{index}"), "").await;
            }
        }
        let (status, found) = self.ask("DELETE", "/_index_template/{p}fts-*", "").await;
        assert!(status == 200 || status == 404, "{found}");
    }
}
