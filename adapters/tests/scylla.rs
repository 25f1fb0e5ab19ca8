//! The Scylla store on a real server: `FTS_TEST_CASSANDRA=host:port` names a Cassandra or ScyllaDB
//! node that asks for no login.

#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails; clippy exempts only #[test] bodies"
)]

#[path = "scylla/faults.rs"]
mod faults;
#[path = "scylla/keyspace.rs"]
mod keyspace;
#[path = "scylla/login.rs"]
mod login;
#[path = "stores/outage.rs"]
mod outage;
#[path = "scylla/routing.rs"]
mod routing;
#[path = "stores/rows.rs"]
mod rows;
#[path = "scylla/server.rs"]
mod server;
#[path = "scylla/tables.rs"]
mod tables;

use keyspace::keyspace;

mod conformance {
    fts_core::store_conformance!(async super::keyspace);
}
