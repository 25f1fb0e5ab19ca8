//! The supervised tree: who runs, who restarts whom, and who may wait for whom.
//!
//! ```text
//! supervisor ─┬─ ingestor   × socket      exchange → log
//!             ├─ backfill   × partition   exchange's REST → log, what no socket delivered
//!             ├─ batch                    a provider's daily prices → log
//!             ├─ simulator                transactions → log
//!             ├─ aggregator × partition and store   log → rows
//!             ├─ writer     × partition and store   rows → store
//!             └─ retention  × store       deletes what is older than it shall be kept
//! ```
//!
//! Actors exchange control messages; bulk data is pulled from the log, or passes the writer's
//! bounded queue. Nothing here names an exchange, a log or a store: only the ports of `fts-core`.

pub mod aggregator;
pub mod backfill;
pub mod batch;
pub mod demand;
pub mod ingestor;
pub mod partition;
pub mod pipeline;
pub mod retention;
pub mod simulator;
pub mod supervisor;
pub mod view;
pub mod worker;
pub mod writer;

#[cfg(test)]
mod testing;
