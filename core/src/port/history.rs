//! History: what the exchange answers about the past, by REST.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::market::Symbol;

/// Asks the exchange about trades of the past, within the exchange's request budget: calls wait
/// for their turn.
#[async_trait]
pub trait History: Send + Sync + 'static {
    /// The newest trade of `symbol`; `None` where it has never traded.
    async fn latest(&self, symbol: &Symbol) -> Result<Option<Latest>, HistoryError>;

    /// The id of the first trade at or after `time` (epoch milliseconds).
    async fn first_id_at(&self, symbol: &Symbol, time: i64) -> Result<Option<i64>, HistoryError>;

    /// The trades from `from_id` on, or from as far back as is known here, at most 1,000.
    async fn trades(&self, symbol: &Symbol, from_id: i64) -> Result<PastTrades, HistoryError>;

    /// Which of `symbols` the exchange does not list.
    async fn unlisted(&self, symbols: &[Symbol]) -> Result<Vec<Symbol>, HistoryError>;
}

/// The newest trade of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latest {
    /// Its id.
    pub id: i64,
    /// The exchange's time of the answer, epoch milliseconds.
    pub time: i64,
}

/// An answer about the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastTrades {
    /// From this id on the answer is whole: what it skips there proves that it can't be had. Of older ids
    /// it says nothing.
    pub whole_from: i64,
    /// Ascending by id.
    pub trades: Vec<PastTrade>,
}

/// A trade as the exchange's REST sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastTrade {
    /// Its id.
    pub id: i64,
    /// The exchange's own JSON.
    pub value: Bytes,
}

/// Why the exchange did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// Try again after so long: out of reach, over the limit, overloaded.
    #[error("the exchange did not answer: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
        /// How long to leave it alone.
        retry_after: Duration,
    },
    /// It will never answer this: an unknown symbol, an endpoint that is not there.
    #[error("the exchange refused: {0}")]
    Refused(String),
}
