//! Wire formats, and the only conversions between them and `fts-core`.
//!
//! Messages are written as Rust structs with prost's derive, so that no `protoc` is needed; field
//! numbers are never used twice.

pub mod checkpoint;
pub mod control;
pub mod daily;
pub mod gateway;
pub mod rows;
pub mod transaction;
