//! The traits through which the domain meets the world. `fts-adapters` implements them.
//!
//! Each port is a contract in prose plus, under the feature `testing`, one conformance suite that
//! every implementation passes.

pub mod daily;
pub mod decode;
pub mod feed;
pub mod history;
pub mod log;
pub mod report;
pub mod schedule;
pub mod store;
