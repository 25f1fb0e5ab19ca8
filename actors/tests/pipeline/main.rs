//! The whole tree over ports in memory, in virtual time.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails; clippy exempts only #[test] bodies"
)]

mod faults;
mod market;
mod memory;
mod shares;
mod stores;
