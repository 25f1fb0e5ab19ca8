//! Feeds: the exchange's streams.

use async_trait::async_trait;
use bytes::Bytes;

use crate::market::{Symbol, Topic};
use crate::time::UnixNanos;

/// Opens connections to the exchange's streams.
#[async_trait]
pub trait Feed: Send + Sync + 'static {
    /// Opens a connection that delivers `topics` of `symbols`. Waits for its turn where the exchange
    /// limits connection attempts. Once it returns, every stream is subscribed.
    async fn connect(&self, symbols: &[Symbol]) -> Result<Box<dyn Connection>, FeedError>;
}

/// An open connection. Dropping it closes it.
#[async_trait]
pub trait Connection: Send {
    /// Waits for a frame; then takes those that are there already, up to `max`. Returns none of them
    /// when a change was carried out: see [`Connection::is_settled`].
    /// Cancel-safe: a frame is either returned or still to come.
    async fn next(&mut self, max: usize) -> Result<Vec<Frame>, FeedError>;

    /// From here on delivers `add` too, and no longer `remove`; nothing else is interrupted. Returns
    /// at once: [`Connection::next`] does what there is to do, as fast as the exchange allows.
    /// False, and nothing changes, where this connection can't: open another one instead.
    fn change(&mut self, _add: &[Symbol], _remove: &[Symbol]) -> bool {
        false
    }

    /// Whether the exchange has confirmed every change.
    fn is_settled(&self) -> bool {
        true
    }
}

/// One message of the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where it belongs; [`Topic::DeadLetter`] where that can't be told.
    pub topic: Topic,
    /// Whose it is; the connection's first symbol where that can't be told.
    pub symbol: Symbol,
    /// The message as received, with the wrapper that names its stream.
    pub value: Bytes,
    /// When it was received.
    pub received_at: UnixNanos,
}

/// Why a connection could not be opened, or ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// It ended, or could not be opened: connect again, after a while.
    #[error("{0}")]
    Disconnected(String),
    /// The exchange asks to move to another connection: at once, and keep this one until then.
    #[error("the exchange is about to close this connection")]
    Rollover,
}
