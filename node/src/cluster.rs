//! The nodes among themselves: who is there, and how they speak with one another.
//!
//! Nothing here decides about data. A wrong view of the cluster costs double work, never a wrong row.

pub mod controller;
pub mod gossip;
#[cfg_attr(not(test), expect(dead_code, reason = "links are what it guards"))]
mod guard;
pub mod key;
pub mod registry;
mod seal;
pub mod settings;
pub mod symbols;
pub mod tls;
