//! The WebSocket side: framing, control messages, the life of a connection.

pub(crate) mod connection;
pub(crate) mod control;
pub(crate) mod frame;
pub(crate) mod upgrade;
