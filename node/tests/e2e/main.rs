//! End to end: the real binaries as real processes, judged by what they leave in SQLite.
//!
//! | module | what it shows |
//! |---|---|
//! | [`tape`] | recorded minutes of the real exchange go in, the exchange's own klines come out |
//! | [`kill`] | the same rows, though the node is killed at random instants |
//! | [`kafka`] | the same rows by way of Kafka, though the broker is killed and stands still |
//! | [`stores`] | the same rows in SQLite, Cassandra and Elasticsearch at once, though all but the first are killed, and the node |
//! | [`elastic`] | the old producer's events in Elasticsearch |
//! | [`batch`] | the daily batch survives the node that runs it, and its file is whole |
//! | [`foreign`] | transactions by way of Kafka from a client that is not ours, well-formed or not |
//! | [`cluster`] | three nodes are one, whichever of them dies or leaves |
//! | [`restart`] | nothing that is on disk is fetched again |
//! | [`demo`] | `fts-node demo` runs from nothing, and goes on where it ended |
//! | [`mistakes`] | what users try wrongly is answered with what to do |
//! | [`cli`] | what is wrong is refused before anything starts, with the place |
//!
//! `FTS_NODE_BIN` and `FTS_EXCHANGE_BIN` name other binaries to test than those of the profile.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails; clippy exempts only #[test] bodies"
)]
#![expect(clippy::print_stdout, reason = "what a test skips or throws dice for is said aloud")]

mod batch;
mod chaos;
mod cli;
mod cluster;
mod demo;
mod elastic;
mod foreign;
mod kafka;
mod kill;
mod mistakes;
mod restart;
mod stocks;
mod stores;
mod support;
mod tape;
