//! The ports of `fts-core`, implemented.
//!
//! | module | port | what is behind it |
//! |---|---|---|
//! | [`journal`] | `Log` | segment files in a data directory |
//! | [`sqlite`] | `Store` | one SQLite file |
//! | [`binance`] | `Feed`, `History`, `Decode` | the exchange's streams and REST |

pub mod binance;
pub mod journal;
pub mod mapping;
pub mod sqlite;
