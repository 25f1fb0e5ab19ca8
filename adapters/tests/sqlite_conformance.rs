//! The SQLite store does what every store must do.

use std::sync::Arc;

use fts_adapters::sqlite::{SqliteConfig, SqliteStore};
use fts_core::port::store::Store;
use fts_core::port::store::conformance::Place;

struct Folder(tempfile::TempDir);

fn folder() -> Folder {
    Folder(tempfile::tempdir().expect("a folder for the test"))
}

#[async_trait::async_trait]
impl Place for Folder {
    async fn open(&self) -> Arc<dyn Store> {
        let path = self.0.path().join("fts.sqlite");
        Arc::new(SqliteStore::open(SqliteConfig { path }).expect("a file in it"))
    }
}

fts_core::store_conformance!(folder);
