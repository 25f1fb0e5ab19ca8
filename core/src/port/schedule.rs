//! A schedule: when something is due.

/// Says when something is due.
pub trait Schedule: Send + Sync + 'static {
    /// The first time after `after` (epoch milliseconds, both); `None` where there is none.
    fn next(&self, after: i64) -> Option<i64>;
}
