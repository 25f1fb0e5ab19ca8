//! Reports: files that people and other programs read, beside the stores.

use crate::market::Symbol;
use crate::stock::Daily;
use crate::time::UnixNanos;

/// A log file in the form that its readers know: a time, a level and a message a line.
pub trait LineLog: Send + Sync + 'static {
    /// Appends a line. A failure is the log's own to report: nothing else waits for it.
    fn line(&self, at: UnixNanos, level: LineLevel, message: &str);
}

/// How bad a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineLevel {
    /// As it should be.
    Info,
    /// Not as it should be, and dealt with.
    Warning,
    /// Not done.
    Error,
}

/// The daily prices as a file.
pub trait DailyReport: Send + Sync + 'static {
    /// Puts the days of `symbol` in the place of what the file says of them, and leaves the rest.
    /// The file is never seen half written. The error says what to do.
    fn put(&self, symbol: &Symbol, days: &[Daily]) -> Result<(), String>;
}
