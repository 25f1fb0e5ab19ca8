//! Decoding: from the exchange's bytes to values.

use crate::market::{Event, Topic};
use crate::port::log::Record;

/// Understands the records of one exchange.
pub trait Decode: Send + Sync + 'static {
    /// What `record` of `topic` says. The error is the reason that goes to the dead letters.
    fn decode(&self, topic: Topic, record: &Record) -> Result<Event, String>;
}
