//! What every log and every store must do, done by another node's over TLS.

use async_trait::async_trait;
use fts_adapters::journal::{Journal, JournalConfig, JournalError};
use fts_adapters::sqlite::{SqliteConfig, SqliteStore};
use fts_core::port::log::conformance::log as log_conformance;
use fts_core::port::store::conformance::Place;
use fts_core::time::SystemClock;

use super::*;

fn journal(dir: &std::path::Path) -> Result<Journal, JournalError> {
    Journal::open(JournalConfig {
        dir: dir.to_owned(),
        partitions: 2,
        segment_bytes: 64 << 20,
        retention_ms: 0,
        retention_bytes: u64::MAX,
        tail_bytes: 64 << 20,
        clock: Arc::new(SystemClock),
    })
    .map(|(journal, _)| journal)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_nodes_journal_is_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (node("a").await, node("b").await);
    linked(&[&one, &other]).await;
    let open = || async {
        // The owner restarts: what it served is closed, and opened again.
        other.links.serve(None, Vec::new());
        let journal = loop {
            match journal(dir.path()) {
                Ok(journal) => break journal,
                Err(JournalError::InUse(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        other.links.serve(Some(Arc::new(journal)), Vec::new());
        let log = one.links.remote_log("b", PATIENCE).await.unwrap();
        Arc::new(log) as Arc<dyn Log>
    };
    log_conformance(open).await;
}

struct Remote {
    dir: tempfile::TempDir,
    nodes: tokio::sync::OnceCell<(Node, Node)>,
}

fn remote() -> Remote {
    Remote { dir: tempfile::tempdir().unwrap(), nodes: tokio::sync::OnceCell::new() }
}

#[async_trait]
impl Place for Remote {
    async fn open(&self) -> Arc<dyn Store> {
        let (one, other) = self
            .nodes
            .get_or_init(|| async {
                let (one, other) = (node("a").await, node("b").await);
                linked(&[&one, &other]).await;
                (one, other)
            })
            .await;
        let path = self.dir.path().join("fts.sqlite");
        let store = SqliteStore::open(SqliteConfig { path }).unwrap();
        let name = store.name();
        other.links.serve(None, vec![Arc::new(store)]);
        Arc::new(one.links.remote_store("b", name))
    }
}

fts_core::store_conformance!(remote);
