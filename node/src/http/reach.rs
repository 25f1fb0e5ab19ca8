//! How far back a symbol's rows reach, found out cheaply before any are read.
//!
//! A store may have to walk past all rows of all other symbols to learn that it has none of this one. Of
//! candles of a day there are few, and whoever traded has one: retention keeps it longer than anything that it
//! was made of.

use fts_core::interval::Interval;
use fts_core::market::Symbol;
use fts_core::port::store::{End, Span, StoreError};

use super::App;

/// Best bid and ask and statistics may come so long before the first trade's day, and after the last's.
const MARGIN_MS: i64 = 3_600_000;

/// When rows of a symbol can be of, epoch milliseconds, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) from: i64,
    pub(super) to: i64,
}

impl Reach {
    /// Of `symbol`; `None` where nobody follows it and nothing is stored of it.
    ///
    /// Of one without a candle only the last hour is searched: it has just been added, or its trades are not
    /// captured or not kept.
    pub(super) async fn of(app: &App, symbol: &Symbol) -> Result<Option<Self>, StoreError> {
        let follows = app.follows(symbol);
        let Some(first) = day(app, symbol, End::Oldest).await? else {
            if !follows && app.web.store.latest_book(symbol).await?.is_none() {
                return Ok(None);
            }
            let from = app.web.clock.now().millis().saturating_sub(MARGIN_MS);
            return Ok(Some(Self { from, to: i64::MAX }));
        };
        let from = first.saturating_sub(MARGIN_MS);
        if follows {
            return Ok(Some(Self { from, to: i64::MAX }));
        }
        let last = day(app, symbol, End::Newest).await?.unwrap_or(first);
        let to = last.saturating_add(Interval::Day.millis() + MARGIN_MS);
        Ok(Some(Self { from, to }))
    }
}

/// When the symbol's oldest or newest candle of a day opens.
async fn day(app: &App, symbol: &Symbol, end: End) -> Result<Option<i64>, StoreError> {
    let span = Span { from: i64::MIN, to: i64::MAX, limit: 1, end };
    let found = app.web.store.candles(symbol, Interval::Day, span).await?;
    Ok(found.first().map(|row| row.candle.open_time))
}
