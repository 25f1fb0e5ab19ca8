//! A store: of two rows with one key, the one with the greater version.

use std::collections::BTreeMap;

use fts_core::market::Symbol;
use fts_core::row::{
    AlertRow, BookSecondRow, BookTickerRow, CandleRow, DeadLetterRow, GapRow, Rows, TickerRow,
    TradeRow,
};

use crate::rules::Broken;

/// Table, symbol, and what else names a row.
pub(crate) type Key = (&'static str, Symbol, i64, i64);

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Row {
    Trade(TradeRow),
    Candle(CandleRow),
    Book(BookTickerRow),
    BookSecond(BookSecondRow),
    Ticker(TickerRow),
    Gap(GapRow),
    Alert(AlertRow),
    DeadLetter(DeadLetterRow),
}

impl Row {
    pub(crate) fn key(&self) -> Key {
        match self {
            Self::Trade(it) => ("trades", it.symbol.clone(), it.trade.id, 0),
            Self::Candle(it) => {
                ("candles", it.symbol.clone(), it.interval.millis(), it.candle.open_time)
            }
            Self::Book(it) => ("book", it.symbol.clone(), it.book.update_id, 0),
            Self::BookSecond(it) => ("book 1s", it.symbol.clone(), it.second.open_time, 0),
            Self::Ticker(it) => ("ticker", it.symbol.clone(), it.ticker.event_time, 0),
            Self::Gap(it) => ("gaps", it.symbol.clone(), it.first_trade_id, 0),
            Self::Alert(it) => ("alerts", it.symbol.clone(), it.time, i64::from(it.up)),
            Self::DeadLetter(it) => {
                let offset = i64::try_from(it.offset).unwrap();
                (it.topic.name(), it.symbol.clone(), i64::from(it.partition), offset)
            }
        }
    }

    fn version(&self, broken: Option<Broken>) -> i64 {
        match self {
            Self::Candle(it) if broken == Some(Broken::CompletenessIsNoKnowledge) => {
                it.candle.trade_count
            }
            Self::Candle(it) => it.version(),
            Self::BookSecond(it) => it.second.update_count,
            Self::Gap(it) => it.version(),
            _ => 0,
        }
    }
}

/// Every row of a batch.
pub(crate) fn each(rows: &Rows) -> impl Iterator<Item = Row> + '_ {
    let trades = rows.trades.iter().cloned().map(Row::Trade);
    let candles = rows.candles.iter().cloned().map(Row::Candle);
    let book = rows.book_tickers.iter().cloned().map(Row::Book);
    let seconds = rows.book_seconds.iter().cloned().map(Row::BookSecond);
    let tickers = rows.tickers.iter().cloned().map(Row::Ticker);
    let gaps = rows.gaps.iter().cloned().map(Row::Gap);
    let alerts = rows.alerts.iter().cloned().map(Row::Alert);
    let dead = rows.dead_letters.iter().cloned().map(Row::DeadLetter);
    trades
        .chain(candles)
        .chain(book)
        .chain(seconds)
        .chain(tickers)
        .chain(gaps)
        .chain(alerts)
        .chain(dead)
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) rows: BTreeMap<Key, Row>,
    /// Rows that came after one that knows more.
    pub(crate) late: u64,
    /// The first two rows that say different things and claim to know as much.
    pub(crate) contradiction: Option<String>,
}

impl Store {
    pub(crate) fn put(&mut self, rows: &Rows, broken: Option<Broken>) {
        for row in each(rows) {
            let Some(kept) = self.rows.get_mut(&row.key()) else {
                self.rows.insert(row.key(), row);
                continue;
            };
            let (version, known) = (row.version(broken), kept.version(broken));
            if version == known && row != *kept {
                self.contradiction.get_or_insert_with(|| format!("{kept:?}\n    and {row:?}"));
            }
            self.late += u64::from(version < known);
            if version >= known || broken == Some(Broken::TheLastRowWins) {
                *kept = row;
            }
        }
    }
}
