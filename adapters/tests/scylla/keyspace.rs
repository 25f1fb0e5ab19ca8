//! A keyspace of its own for each test, on the server that the environment names.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fts_adapters::scylla::{ScyllaConfig, ScyllaStore};
use fts_core::port::store::Store;
use fts_core::port::store::conformance::Place;
use fts_core::time::{Clock as _, SystemClock};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::unprepared::Statement;

/// The variable that names the server.
const SERVER: &str = "FTS_TEST_CASSANDRA";

/// Longer than a server takes that shares its machine with everything else.
pub(crate) const PATIENCE_MS: u64 = 180_000;

/// A keyspace that nobody else uses.
pub(crate) struct Keyspace {
    pub(crate) server: String,
    pub(crate) name: String,
}

/// A fresh keyspace; `None`, said loudly, where no server is named.
pub(crate) async fn keyspace() -> Option<Keyspace> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let Ok(server) = std::env::var(SERVER) else {
        eprintln!("SKIPPED: {SERVER} does not name a Cassandra or ScyllaDB node (host:port)");
        return None;
    };
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let millis = SystemClock.now().millis();
    Some(Keyspace { server, name: format!("fts_{millis}_{}_{number}", std::process::id()) })
}

impl Keyspace {
    /// For a store on it: a trial's replication, so that one node is enough.
    pub(crate) fn config(&self) -> ScyllaConfig {
        ScyllaConfig {
            keyspace: self.name.clone(),
            replication_factor: 1,
            connect_timeout_ms: PATIENCE_MS,
            request_timeout_ms: PATIENCE_MS,
            ..ScyllaConfig::new(vec![self.server.clone()])
        }
    }

    /// A client that is not the store's.
    pub(crate) async fn session(&self) -> Session {
        let patience = Duration::from_millis(PATIENCE_MS);
        let session = SessionBuilder::new().known_node(&self.server).connection_timeout(patience);
        session.build().await.expect("the server answers")
    }
}

#[async_trait::async_trait]
impl Place for Keyspace {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(ScyllaStore::new(self.config()).expect("a configuration that works"))
    }

    async fn remove(&self) {
        let cql = format!("DROP KEYSPACE IF EXISTS \"{}\"", self.name);
        let mut statement = Statement::new(cql);
        statement.set_request_timeout(Some(Duration::from_millis(PATIENCE_MS)));
        self.session().await.query_unpaged(statement, ()).await.expect("the keyspace is removed");
    }
}
