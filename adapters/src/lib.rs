//! The ports of `fts-core`, implemented.
//!
//! | module | port | what is behind it |
//! |---|---|---|
//! | [`journal`] | `Log` | segment files in a data directory |
//! | [`kafka`] | `Log`, `Store` | Apache Kafka: the log; topics of results |
//! | [`spill`] | `Log` | another log, and this node's disk while that is away |
//! | [`sqlite`] | `Store` | one SQLite file |
//! | [`alpha_vantage`] | `DailyPrices` | Alpha Vantage |
//! | [`scylla`] | `Store` | a ScyllaDB or Cassandra cluster |
//! | [`elasticsearch`] | `Store` | an Elasticsearch or OpenSearch cluster |
//! | [`binance`] | `Feed`, `History`, `Decode` | the exchange's streams and REST |
//! | [`cron`] | `Schedule` | cron expressions |
//! | [`daily_csv`], [`line_log`] | `DailyReport`, `LineLog` | files for people |
//! | [`mapping`] | `Decode` | declared rules for transactions |

pub mod alpha_vantage;
pub mod binance;
pub mod cron;
pub mod daily_csv;
mod digits;
pub mod elasticsearch;
pub mod journal;
pub mod kafka;
pub mod line_log;
pub mod mapping;
pub mod scylla;
mod secret;
pub mod spill;
pub mod sqlite;
mod values;
