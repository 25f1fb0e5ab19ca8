//! The Elasticsearch store on a real server: `FTS_TEST_ELASTICSEARCH=http://host:port` names one
//! that asks for no login.

#[path = "elasticsearch/indices.rs"]
mod indices;
#[path = "elasticsearch/place.rs"]
mod place;

use place::place;

mod conformance {
    fts_core::store_conformance!(async super::place);
}
