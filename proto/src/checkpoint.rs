//! The checkpoint of a partition, as bytes.

use bytes::Bytes;
use fts_core::aggregate::{Checkpoint, SymbolCheckpoint};
use fts_core::alert::AlertParts;
use fts_core::coverage::{Gap, Range};
use fts_core::decimal::{Decimal, Notional};
use fts_core::interval::Interval;
use fts_core::market::{Symbol, Topic};
use fts_core::row::{BookSecond, Candle, Extent};
use fts_core::stock::{Daily, StockCheckpoint};
use prost::Message;

/// Why bytes are no checkpoint.
#[derive(Debug, thiserror::Error)]
#[error("not a checkpoint of this version: {0}")]
pub struct NotACheckpoint(String);

/// As bytes.
pub fn encode(checkpoint: &Checkpoint) -> Bytes {
    let positions = checkpoint
        .positions
        .iter()
        .map(|(topic, next)| wire::Position { topic: topic.name().to_owned(), next: *next });
    let message = wire::Checkpoint {
        positions: positions.collect(),
        symbols: checkpoint.symbols.iter().map(symbol_to_wire).collect(),
        stocks: checkpoint.stocks.iter().map(stock_to_wire).collect(),
    };
    message.encode_to_vec().into()
}

/// From bytes. Positions of topics that this version does not know are left out.
pub fn decode(bytes: &[u8]) -> Result<Checkpoint, NotACheckpoint> {
    let message = wire::Checkpoint::decode(bytes).map_err(|e| NotACheckpoint(e.to_string()))?;
    let positions = message.positions.iter();
    Ok(Checkpoint {
        positions: positions
            .filter_map(|it| Some((Topic::from_name(&it.topic)?, it.next)))
            .collect(),
        symbols: message
            .symbols
            .into_iter()
            .map(symbol_from_wire)
            .collect::<Option<_>>()
            .ok_or_else(|| NotACheckpoint("a field is missing".to_owned()))?,
        stocks: message
            .stocks
            .into_iter()
            .map(stock_from_wire)
            .collect::<Option<_>>()
            .ok_or_else(|| NotACheckpoint("a field of a stock is missing".to_owned()))?,
    })
}

/// The positions alone.
pub fn positions(bytes: &[u8]) -> Result<Vec<(Topic, u64)>, NotACheckpoint> {
    let message = wire::Positions::decode(bytes).map_err(|e| NotACheckpoint(e.to_string()))?;
    let known = message.positions.iter();
    Ok(known.filter_map(|it| Some((Topic::from_name(&it.topic)?, it.next))).collect())
}

fn stock_to_wire(saved: &StockCheckpoint) -> wire::Stock {
    let daily = |it: &Daily| wire::Daily {
        date: it.date.to_string(),
        open: Some(wide(it.open.0)),
        high: Some(wide(it.high.0)),
        low: Some(wide(it.low.0)),
        close: Some(wide(it.close.0)),
        volume: it.volume,
        fetched_at: it.fetched_at,
    };
    wire::Stock {
        symbol: saved.symbol.to_string(),
        days: saved.days.iter().map(daily).collect(),
        transactions: saved.transactions.map(|(count, first_time, last_time)| wire::Transactions {
            count,
            first_time,
            last_time,
        }),
        closes: closes_to_wire(&saved.alerts.closes),
        pending_alerts: saved.alerts.pending.clone(),
        alerts_given_up: saved.alerts.given_up,
    }
}

fn stock_from_wire(message: wire::Stock) -> Option<StockCheckpoint> {
    let decimal = |it: &Option<wire::Wide>| narrow(it.as_ref()).map(Decimal);
    let daily = |it: &wire::Daily| {
        Some(Daily {
            date: it.date.parse().ok()?,
            open: decimal(&it.open)?,
            high: decimal(&it.high)?,
            low: decimal(&it.low)?,
            close: decimal(&it.close)?,
            volume: it.volume,
            fetched_at: it.fetched_at,
        })
    };
    Some(StockCheckpoint {
        symbol: Symbol::new(&message.symbol).ok()?,
        days: message.days.iter().map(daily).collect::<Option<_>>()?,
        transactions: message.transactions.map(|it| (it.count, it.first_time, it.last_time)),
        alerts: AlertParts {
            closes: closes_from_wire(&message.closes)?,
            pending: message.pending_alerts,
            given_up: message.alerts_given_up,
        },
    })
}

fn closes_to_wire(closes: &[(i64, i64, Decimal)]) -> Vec<wire::Close> {
    let close = |(second, id, price): &(i64, i64, Decimal)| wire::Close {
        second: *second,
        id: *id,
        price: Some(wide(price.0)),
    };
    closes.iter().map(close).collect()
}

fn closes_from_wire(closes: &[wire::Close]) -> Option<Vec<(i64, i64, Decimal)>> {
    let close = |it: &wire::Close| Some((it.second, it.id, Decimal(narrow(it.price.as_ref())?)));
    closes.iter().map(close).collect()
}

fn symbol_to_wire(saved: &SymbolCheckpoint) -> wire::Symbol {
    let mut before = 0;
    let updates_seen = saved.updates_seen.iter().map(|id| {
        // Ascending ids, close together: the differences are short.
        let step = id.wrapping_sub(before);
        before = *id;
        step
    });
    wire::Symbol {
        symbol: saved.symbol.to_string(),
        ranges: saved.ranges.iter().map(range_to_wire).collect(),
        floor: saved.floor,
        gaps: saved.gaps.iter().map(gap_to_wire).collect(),
        windows: saved
            .windows
            .iter()
            .map(|(interval, candle)| candle_to_wire(*interval, candle))
            .collect(),
        updates_seen: updates_seen.collect(),
        book_seconds: saved.book_seconds.iter().map(second_to_wire).collect(),
        tickers_seen: saved.tickers_seen.clone(),
        closes: closes_to_wire(&saved.alerts.closes),
        pending_alerts: saved.alerts.pending.clone(),
        alerts_given_up: saved.alerts.given_up,
    }
}

fn symbol_from_wire(message: wire::Symbol) -> Option<SymbolCheckpoint> {
    let mut before: i64 = 0;
    let updates_seen = message.updates_seen.iter().map(|step| {
        before = before.wrapping_add(*step);
        before
    });
    Some(SymbolCheckpoint {
        symbol: Symbol::new(&message.symbol).ok()?,
        updates_seen: updates_seen.collect(),
        ranges: message.ranges.iter().map(range_from_wire).collect(),
        floor: message.floor,
        gaps: message.gaps.into_iter().map(gap_from_wire).collect(),
        windows: message.windows.iter().map(candle_from_wire).collect::<Option<_>>()?,
        book_seconds: message.book_seconds.iter().map(second_from_wire).collect::<Option<_>>()?,
        tickers_seen: message.tickers_seen,
        alerts: AlertParts {
            closes: closes_from_wire(&message.closes)?,
            pending: message.pending_alerts,
            given_up: message.alerts_given_up,
        },
    })
}

fn range_to_wire(range: &Range) -> wire::Range {
    let Range { first, last, first_time, last_time } = *range;
    wire::Range { first, last, first_time, last_time }
}

fn range_from_wire(message: &wire::Range) -> Range {
    let wire::Range { first, last, first_time, last_time } = *message;
    Range { first, last, first_time, last_time }
}

fn gap_to_wire(gap: &Gap) -> wire::Gap {
    let Gap { first, last, after_time, before_time, reason, recovered } = gap.clone();
    wire::Gap { first, last, after_time, before_time, reason, recovered }
}

fn gap_from_wire(message: wire::Gap) -> Gap {
    let wire::Gap { first, last, after_time, before_time, reason, recovered } = message;
    Gap { first, last, after_time, before_time, reason, recovered }
}

fn candle_to_wire(interval: Interval, candle: &Candle) -> wire::Candle {
    wire::Candle {
        interval: interval.name().to_owned(),
        open_time: candle.open_time,
        open: Some(wide(candle.open.0)),
        high: Some(wide(candle.high.0)),
        low: Some(wide(candle.low.0)),
        close: Some(wide(candle.close.0)),
        volume: Some(wide(candle.volume.0)),
        quote_volume: Some(wide(candle.quote_volume.0)),
        trade_count: candle.trade_count,
        taker_buy_volume: Some(wide(candle.taker_buy_volume.0)),
        taker_buy_quote_volume: Some(wide(candle.taker_buy_quote_volume.0)),
        first_trade_id: candle.first_trade_id,
        last_trade_id: candle.last_trade_id,
    }
}

fn candle_from_wire(message: &wire::Candle) -> Option<(Interval, Candle)> {
    let decimal = |it: &Option<wire::Wide>| narrow(it.as_ref()).map(Decimal);
    let candle = Candle {
        open_time: message.open_time,
        open: decimal(&message.open)?,
        high: decimal(&message.high)?,
        low: decimal(&message.low)?,
        close: decimal(&message.close)?,
        volume: decimal(&message.volume)?,
        quote_volume: Notional(narrow(message.quote_volume.as_ref())?),
        trade_count: message.trade_count,
        taker_buy_volume: decimal(&message.taker_buy_volume)?,
        taker_buy_quote_volume: Notional(narrow(message.taker_buy_quote_volume.as_ref())?),
        first_trade_id: message.first_trade_id,
        last_trade_id: message.last_trade_id,
    };
    Some((message.interval.parse().ok()?, candle))
}

fn second_to_wire(second: &BookSecond) -> wire::BookSecond {
    wire::BookSecond {
        open_time: second.open_time,
        bid: Some(extent_to_wire(&second.bid)),
        ask: Some(extent_to_wire(&second.ask)),
        spread_sum: Some(wide(second.spread_sum.0)),
        update_count: second.update_count,
        first_update_id: second.first_update_id,
        last_update_id: second.last_update_id,
    }
}

fn second_from_wire(message: &wire::BookSecond) -> Option<BookSecond> {
    Some(BookSecond {
        open_time: message.open_time,
        bid: extent_from_wire(message.bid.as_ref())?,
        ask: extent_from_wire(message.ask.as_ref())?,
        spread_sum: Decimal(narrow(message.spread_sum.as_ref())?),
        update_count: message.update_count,
        first_update_id: message.first_update_id,
        last_update_id: message.last_update_id,
    })
}

fn extent_to_wire(extent: &Extent) -> wire::Extent {
    wire::Extent {
        open: Some(wide(extent.open.0)),
        high: Some(wide(extent.high.0)),
        low: Some(wide(extent.low.0)),
        close: Some(wide(extent.close.0)),
    }
}

fn extent_from_wire(message: Option<&wire::Extent>) -> Option<Extent> {
    let message = message?;
    let decimal = |it: &Option<wire::Wide>| narrow(it.as_ref()).map(Decimal);
    Some(Extent {
        open: decimal(&message.open)?,
        high: decimal(&message.high)?,
        low: decimal(&message.low)?,
        close: decimal(&message.close)?,
    })
}

fn wide(value: i128) -> wire::Wide {
    let high = i64::try_from(value >> 64).expect("128 bits shifted by 64 are 64 bits");
    let low = u64::try_from(value & i128::from(u64::MAX)).expect("masked to 64 bits");
    wire::Wide { high, low }
}

fn narrow(message: Option<&wire::Wide>) -> Option<i128> {
    message.map(|it| (i128::from(it.high) << 64) | i128::from(it.low))
}

/// The messages. Field numbers are never used twice.
mod wire {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Checkpoint {
        #[prost(message, repeated, tag = "1")]
        pub positions: Vec<Position>,
        #[prost(message, repeated, tag = "2")]
        pub symbols: Vec<Symbol>,
        #[prost(message, repeated, tag = "3")]
        pub stocks: Vec<Stock>,
    }

    /// The beginning of a [`Checkpoint`]: the rest is passed over.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Positions {
        #[prost(message, repeated, tag = "1")]
        pub positions: Vec<Position>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Stock {
        #[prost(string, tag = "1")]
        pub symbol: String,
        #[prost(message, repeated, tag = "2")]
        pub days: Vec<Daily>,
        #[prost(message, optional, tag = "3")]
        pub transactions: Option<Transactions>,
        #[prost(message, repeated, tag = "4")]
        pub closes: Vec<Close>,
        #[prost(int64, repeated, tag = "5")]
        pub pending_alerts: Vec<i64>,
        #[prost(sint64, optional, tag = "6")]
        pub alerts_given_up: Option<i64>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Daily {
        #[prost(string, tag = "1")]
        pub date: String,
        #[prost(message, optional, tag = "2")]
        pub open: Option<Wide>,
        #[prost(message, optional, tag = "3")]
        pub high: Option<Wide>,
        #[prost(message, optional, tag = "4")]
        pub low: Option<Wide>,
        #[prost(message, optional, tag = "5")]
        pub close: Option<Wide>,
        #[prost(int64, tag = "6")]
        pub volume: i64,
        #[prost(int64, tag = "7")]
        pub fetched_at: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Transactions {
        #[prost(int64, tag = "1")]
        pub count: i64,
        #[prost(int64, tag = "2")]
        pub first_time: i64,
        #[prost(int64, tag = "3")]
        pub last_time: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Position {
        #[prost(string, tag = "1")]
        pub topic: String,
        #[prost(uint64, tag = "2")]
        pub next: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Symbol {
        #[prost(string, tag = "1")]
        pub symbol: String,
        #[prost(message, repeated, tag = "2")]
        pub ranges: Vec<Range>,
        #[prost(sint64, optional, tag = "3")]
        pub floor: Option<i64>,
        #[prost(message, repeated, tag = "4")]
        pub gaps: Vec<Gap>,
        #[prost(message, repeated, tag = "5")]
        pub windows: Vec<Candle>,
        /// Each as the difference to the one before.
        #[prost(sint64, repeated, tag = "6")]
        pub updates_seen: Vec<i64>,
        #[prost(message, repeated, tag = "7")]
        pub book_seconds: Vec<BookSecond>,
        #[prost(sint64, repeated, tag = "8")]
        pub tickers_seen: Vec<i64>,
        #[prost(message, repeated, tag = "9")]
        pub closes: Vec<Close>,
        #[prost(sint64, repeated, tag = "10")]
        pub pending_alerts: Vec<i64>,
        #[prost(sint64, optional, tag = "11")]
        pub alerts_given_up: Option<i64>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Range {
        #[prost(sint64, tag = "1")]
        pub first: i64,
        #[prost(sint64, tag = "2")]
        pub last: i64,
        #[prost(sint64, tag = "3")]
        pub first_time: i64,
        #[prost(sint64, tag = "4")]
        pub last_time: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Gap {
        #[prost(sint64, tag = "1")]
        pub first: i64,
        #[prost(sint64, tag = "2")]
        pub last: i64,
        #[prost(sint64, optional, tag = "3")]
        pub after_time: Option<i64>,
        #[prost(sint64, tag = "4")]
        pub before_time: i64,
        #[prost(string, tag = "5")]
        pub reason: String,
        #[prost(sint64, repeated, tag = "6")]
        pub recovered: Vec<i64>,
    }

    /// A signed 128-bit number, in two halves.
    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Wide {
        #[prost(sint64, tag = "1")]
        pub high: i64,
        #[prost(uint64, tag = "2")]
        pub low: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Candle {
        #[prost(string, tag = "1")]
        pub interval: String,
        #[prost(sint64, tag = "2")]
        pub open_time: i64,
        #[prost(message, optional, tag = "3")]
        pub open: Option<Wide>,
        #[prost(message, optional, tag = "4")]
        pub high: Option<Wide>,
        #[prost(message, optional, tag = "5")]
        pub low: Option<Wide>,
        #[prost(message, optional, tag = "6")]
        pub close: Option<Wide>,
        #[prost(message, optional, tag = "7")]
        pub volume: Option<Wide>,
        #[prost(message, optional, tag = "8")]
        pub quote_volume: Option<Wide>,
        #[prost(sint64, tag = "9")]
        pub trade_count: i64,
        #[prost(message, optional, tag = "10")]
        pub taker_buy_volume: Option<Wide>,
        #[prost(message, optional, tag = "11")]
        pub taker_buy_quote_volume: Option<Wide>,
        #[prost(sint64, tag = "12")]
        pub first_trade_id: i64,
        #[prost(sint64, tag = "13")]
        pub last_trade_id: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct BookSecond {
        #[prost(sint64, tag = "1")]
        pub open_time: i64,
        #[prost(message, optional, tag = "2")]
        pub bid: Option<Extent>,
        #[prost(message, optional, tag = "3")]
        pub ask: Option<Extent>,
        #[prost(message, optional, tag = "4")]
        pub spread_sum: Option<Wide>,
        #[prost(sint64, tag = "5")]
        pub update_count: i64,
        #[prost(sint64, tag = "6")]
        pub first_update_id: i64,
        #[prost(sint64, tag = "7")]
        pub last_update_id: i64,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Extent {
        #[prost(message, optional, tag = "1")]
        pub open: Option<Wide>,
        #[prost(message, optional, tag = "2")]
        pub high: Option<Wide>,
        #[prost(message, optional, tag = "3")]
        pub low: Option<Wide>,
        #[prost(message, optional, tag = "4")]
        pub close: Option<Wide>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Close {
        #[prost(sint64, tag = "1")]
        pub second: i64,
        #[prost(sint64, tag = "2")]
        pub id: i64,
        #[prost(message, optional, tag = "3")]
        pub price: Option<Wide>,
    }
}

#[cfg(test)]
mod tests;
