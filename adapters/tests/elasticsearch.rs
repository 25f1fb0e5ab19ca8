//! The Elasticsearch store on a real server: `FTS_TEST_ELASTICSEARCH=http://host:port` names one
//! that asks for no login.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails; clippy exempts only #[test] bodies"
)]

#[path = "stores/counted.rs"]
mod counted;
#[path = "elasticsearch/faults.rs"]
mod faults;
#[path = "elasticsearch/indices.rs"]
mod indices;
#[path = "elasticsearch/login.rs"]
mod login;
#[path = "stores/outage.rs"]
mod outage;
#[path = "elasticsearch/place.rs"]
mod place;
#[path = "stores/rows.rs"]
mod rows;
#[path = "elasticsearch/server.rs"]
mod server;
#[path = "elasticsearch/slow.rs"]
mod slow;
#[path = "elasticsearch/transactions.rs"]
mod transactions;

use place::place;

mod conformance {
    fts_core::store_conformance!(async super::place);
}
