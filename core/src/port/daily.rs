//! Daily prices: what a data provider says of a stock.

use async_trait::async_trait;

use crate::market::Symbol;
use crate::stock::Daily;

/// Asks for the daily prices of stocks. The caller keeps to the provider's limits.
#[async_trait]
pub trait DailyPrices: Send + Sync + 'static {
    /// The days of `symbol` that the provider gives, oldest first.
    async fn daily(&self, symbol: &Symbol) -> Result<Vec<Daily>, DailyError>;
}

/// Why there are no prices. The split is the caller's question: when to ask again, and whom for?
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DailyError {
    /// Too many requests in a short time: again shortly.
    #[error("asked too often: {0}")]
    Burst(String),
    /// No more today: again tomorrow.
    #[error("the day's requests are used up: {0}")]
    DayIsOver(String),
    /// The key is not accepted: for every symbol, until somebody changes it.
    #[error("the key is not accepted: {0}")]
    Key(String),
    /// Not for this symbol: the others may do.
    #[error("refused: {0}")]
    Refused(String),
    /// Out of reach, or the answer was cut: again in a while.
    #[error("no usable answer: {0}")]
    Unavailable(String),
}
