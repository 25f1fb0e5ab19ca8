//! The Scylla store on a real server: `FTS_TEST_CASSANDRA=host:port` names a Cassandra or ScyllaDB
//! node that asks for no login.

#[path = "scylla/keyspace.rs"]
mod keyspace;

use keyspace::keyspace;

mod conformance {
    fts_core::store_conformance!(async super::keyspace);
}
