//! The nodes among themselves: who is there, and how they speak with one another.
//!
//! Nothing here decides about data. A wrong view of the cluster costs double work, never a wrong row.

pub mod calls;
pub mod controller;
pub(crate) mod egress;
pub mod gateway;
pub mod gossip;
mod guard;
mod handshake;
pub(crate) mod join;
pub mod key;
pub mod links;
pub(crate) mod member;
pub mod registry;
pub mod remote_log;
pub mod remote_store;
mod seal;
mod serve;
pub mod settings;
pub mod symbols;
pub mod tls;
