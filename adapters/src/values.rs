//! What the rows of SQLite and of Cassandra have in common: the same values in the same order, behind
//! each one's key.

use fts_core::decimal::{Decimal, Notional};
use fts_core::market::{BookTicker, Ticker};
use fts_core::row::{BookSecond, Candle, Extent};

/// A row's values, read one after the other.
pub(crate) trait Values {
    /// What is said where a value is none of its kind.
    type Error;

    fn int(&mut self) -> Result<i64, Self::Error>;

    fn decimal(&mut self) -> Result<Decimal, Self::Error>;

    fn notional(&mut self) -> Result<Notional, Self::Error>;

    fn extent(&mut self) -> Result<Extent, Self::Error> {
        Ok(Extent {
            open: self.decimal()?,
            high: self.decimal()?,
            low: self.decimal()?,
            close: self.decimal()?,
        })
    }
}

/// A candle from its open time on.
pub(crate) fn candle<V: Values>(row: &mut V) -> Result<Candle, V::Error> {
    let open_time = row.int()?;
    let _close_time = row.int()?;
    Ok(Candle {
        open_time,
        open: row.decimal()?,
        high: row.decimal()?,
        low: row.decimal()?,
        close: row.decimal()?,
        volume: row.decimal()?,
        quote_volume: row.notional()?,
        trade_count: row.int()?,
        taker_buy_volume: row.decimal()?,
        taker_buy_quote_volume: row.notional()?,
        first_trade_id: row.int()?,
        last_trade_id: row.int()?,
    })
}

/// A second of the book from its open time on.
pub(crate) fn book_second<V: Values>(row: &mut V) -> Result<BookSecond, V::Error> {
    let open_time = row.int()?;
    let _close_time = row.int()?;
    let (bid, ask, spread_sum) = (row.extent()?, row.extent()?, row.decimal()?);
    let _mean_spread = row.decimal()?;
    Ok(BookSecond {
        open_time,
        bid,
        ask,
        spread_sum,
        update_count: row.int()?,
        first_update_id: row.int()?,
        last_update_id: row.int()?,
    })
}

/// Best bid and ask, from the bid's price on.
pub(crate) fn book<V: Values>(update_id: i64, row: &mut V) -> Result<BookTicker, V::Error> {
    Ok(BookTicker {
        update_id,
        bid_price: row.decimal()?,
        bid_quantity: row.decimal()?,
        ask_price: row.decimal()?,
        ask_quantity: row.decimal()?,
    })
}

/// The 24 h statistics, from the price's change on.
pub(crate) fn ticker<V: Values>(event_time: i64, row: &mut V) -> Result<Ticker, V::Error> {
    Ok(Ticker {
        event_time,
        price_change: row.decimal()?,
        price_change_percent: row.decimal()?,
        weighted_avg_price: row.decimal()?,
        first_trade_price: row.decimal()?,
        last_price: row.decimal()?,
        last_quantity: row.decimal()?,
        best_bid_price: row.decimal()?,
        best_bid_quantity: row.decimal()?,
        best_ask_price: row.decimal()?,
        best_ask_quantity: row.decimal()?,
        open_price: row.decimal()?,
        high_price: row.decimal()?,
        low_price: row.decimal()?,
        base_volume: row.decimal()?,
        quote_volume: row.decimal()?,
        open_time: row.int()?,
        close_time: row.int()?,
        first_trade_id: row.int()?,
        last_trade_id: row.int()?,
        trade_count: row.int()?,
    })
}
