//! What must be stored, by another path: from the market's own list, without arbitration, versions,
//! checkpoints or order of arrival; and, for what has no time or number of its own, from a plain
//! look at the log.

use std::collections::{BTreeMap, BTreeSet};

use fts_core::decimal::{Decimal, Notional};
use fts_core::interval::Interval;
use fts_core::market::{Event, Symbol, Topic, Trade};
use fts_core::row::{
    AlertRow, BookSecond, BookSecondRow, BookTickerRow, Candle, CandleRow, DeadLetterRow, Extent,
    GapRow, TickerRow, TradeRow,
};

use crate::market::{FIRST_ID, Market};
use crate::store::{Key, Row};
use crate::world::{LOST, Log, RULE};

pub(crate) fn truth(market: &Market, log: &Log) -> BTreeMap<Key, Row> {
    let mut rows = Vec::new();
    for (symbol, trades) in &market.trades {
        let history = History { symbol, trades };
        rows.extend(history.gaps().into_iter().map(Row::Gap));
        rows.extend(history.candles());
        rows.extend(history.alerts());
    }
    rows.extend(heard(market, log));
    rows.into_iter().map(|row| (row.key(), row)).collect()
}

struct History<'a> {
    symbol: &'a Symbol,
    trades: &'a [Trade],
}

impl History<'_> {
    /// The ids that the exchange does not have.
    fn gaps(&self) -> Vec<GapRow> {
        let pairs = self.trades.windows(2).filter(|pair| pair[0].id + 1 < pair[1].id);
        pairs
            .map(|pair| GapRow {
                symbol: self.symbol.clone(),
                first_trade_id: pair[0].id + 1,
                last_trade_id: pair[1].id - 1,
                missing: pair[1].id - pair[0].id - 1,
                after_time: Some(pair[0].time),
                before_time: pair[1].time,
                reason: LOST.to_owned(),
            })
            .collect()
    }

    /// Whether all trades from `open` to `end` are known to be known.
    fn is_complete(&self, open: i64, end: i64) -> bool {
        let touches = |gap: &GapRow| gap.after_time.unwrap() < end && open <= gap.before_time;
        self.trades[0].id == FIRST_ID
            && self.trades.iter().any(|it| it.time < open)
            && self.trades.iter().any(|it| it.time >= end)
            && !self.gaps().iter().any(touches)
    }

    fn candles(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for interval in Interval::ALL {
            let mut windows: BTreeMap<i64, Vec<&Trade>> = BTreeMap::new();
            for trade in self.trades {
                windows.entry(interval.floor(trade.time)).or_default().push(trade);
            }
            for (open_time, trades) in windows {
                let sum = |of: &dyn Fn(&Trade) -> i128| trades.iter().map(|it| of(it)).sum();
                let bought = |it: &Trade| i128::from(!it.buyer_is_maker);
                let candle = Candle {
                    open_time,
                    open: trades[0].price,
                    high: trades.iter().map(|it| it.price).max().unwrap(),
                    low: trades.iter().map(|it| it.price).min().unwrap(),
                    close: trades[trades.len() - 1].price,
                    volume: Decimal(sum(&|it| it.quantity.0)),
                    quote_volume: Notional(sum(&|it| it.price.0 * it.quantity.0)),
                    trade_count: i64::try_from(trades.len()).unwrap(),
                    taker_buy_volume: Decimal(sum(&|it| bought(it) * it.quantity.0)),
                    taker_buy_quote_volume: Notional(sum(&|it| {
                        bought(it) * it.price.0 * it.quantity.0
                    })),
                    first_trade_id: trades[0].id,
                    last_trade_id: trades[trades.len() - 1].id,
                };
                let complete = self.is_complete(open_time, open_time + interval.millis());
                let symbol = self.symbol.clone();
                rows.push(Row::Candle(CandleRow { symbol, interval, candle, complete }));
            }
        }
        rows
    }

    fn alerts(&self) -> Vec<Row> {
        let price_at = |end: i64| self.trades.iter().rfind(|it| it.time < end);
        let change = |end: i64| {
            let (now, then) = (price_at(end)?.price, price_at(end - RULE.window_ms)?.price);
            Some((then, now, now.percent_from(then)?))
        };
        let seconds: BTreeSet<_> = self.trades.iter().map(|it| it.time - it.time % 1_000).collect();
        let mut rows = Vec::new();
        for time in seconds {
            let end = time + 1_000;
            if !self.is_complete(time - 1_000 - RULE.window_ms, end) {
                continue;
            }
            let Some((reference_price, price, change_percent)) = change(end) else { continue };
            let threshold_percent = RULE.threshold_percent;
            for up in [true, false] {
                let reaches = |by: Decimal| {
                    if up { by >= threshold_percent } else { by.0 <= -threshold_percent.0 }
                };
                let had = change(end - 1_000).is_some_and(|(_, _, by)| reaches(by));
                if reaches(change_percent) && !had {
                    let (symbol, window_ms) = (self.symbol.clone(), RULE.window_ms);
                    rows.push(Row::Alert(AlertRow {
                        symbol,
                        time,
                        up,
                        window_ms,
                        threshold_percent,
                        reference_price,
                        price,
                        change_percent,
                    }));
                }
            }
        }
        rows
    }
}

/// What is as it was first heard: the log's order decides. Trades must be the market's own.
fn heard(market: &Market, log: &Log) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut known = BTreeSet::new();
    let mut seconds: BTreeMap<(Symbol, i64), BookSecond> = BTreeMap::new();
    let mut newest: BTreeMap<Symbol, i64> = BTreeMap::new();
    for (&(topic, partition), entries) in log {
        for entry in entries {
            let record = &entry.stored.record;
            let (symbol, received_at) = (record.key.clone(), record.received_at.millis());
            match &entry.event {
                Ok(Event::Trade(trade)) if known.insert((topic, symbol.clone(), trade.id)) => {
                    let own = market.trades[&symbol].iter().find(|it| it.id == trade.id);
                    let trade = own.copied().unwrap_or(*trade);
                    let source = record.source;
                    rows.push(Row::Trade(TradeRow { symbol, trade, received_at, source }));
                }
                Ok(Event::Book(book)) if known.insert((topic, symbol.clone(), book.update_id)) => {
                    let book = *book;
                    rows.push(Row::Book(BookTickerRow {
                        symbol: symbol.clone(),
                        book,
                        received_at,
                    }));
                    // A second is over once something was received thirty seconds after its start.
                    let second = received_at - received_at.rem_euclid(1_000);
                    let latest = newest.entry(symbol.clone()).or_insert(second);
                    if second <= *latest - 30_000 {
                        continue;
                    }
                    *latest = second.max(*latest);
                    fold(seconds.entry((symbol, second)), second, &book);
                }
                Ok(Event::Ticker(ticker))
                    if known.insert((topic, symbol.clone(), ticker.event_time)) =>
                {
                    let ticker = ticker.clone();
                    rows.push(Row::Ticker(TickerRow { symbol, ticker, received_at }));
                }
                Ok(_) => {}
                Err(reason) => rows.push(Row::DeadLetter(DeadLetterRow {
                    topic,
                    partition,
                    offset: entry.stored.offset,
                    symbol,
                    received_at,
                    reason: reason.clone(),
                    payload: String::new(),
                })),
            }
        }
    }
    let seconds = seconds.into_iter();
    rows.extend(
        seconds.map(|((symbol, _), second)| Row::BookSecond(BookSecondRow { symbol, second })),
    );
    // Every trade that happened, heard or not.
    for (symbol, trades) in &market.trades {
        for trade in
            trades.iter().filter(|it| !known.contains(&(Topic::Trade, symbol.clone(), it.id)))
        {
            let (symbol, source) = (symbol.clone(), fts_core::market::Source::Backfill);
            rows.push(Row::Trade(TradeRow { symbol, trade: *trade, received_at: 0, source }));
        }
    }
    rows
}

fn fold(
    entry: std::collections::btree_map::Entry<'_, (Symbol, i64), BookSecond>,
    open_time: i64,
    book: &fts_core::market::BookTicker,
) {
    let at = |price| Extent { open: price, high: price, low: price, close: price };
    let spread = book.ask_price.minus(book.bid_price);
    let second = entry.or_insert_with(|| BookSecond {
        open_time,
        bid: at(book.bid_price),
        ask: at(book.ask_price),
        spread_sum: Decimal::ZERO,
        update_count: 0,
        first_update_id: book.update_id,
        last_update_id: book.update_id,
    });
    for (extent, price) in [(&mut second.bid, book.bid_price), (&mut second.ask, book.ask_price)] {
        if book.update_id < second.first_update_id {
            extent.open = price;
        }
        if book.update_id > second.last_update_id {
            extent.close = price;
        }
        extent.high = extent.high.max(price);
        extent.low = extent.low.min(price);
    }
    second.first_update_id = second.first_update_id.min(book.update_id);
    second.last_update_id = second.last_update_id.max(book.update_id);
    second.spread_sum = second.spread_sum.plus(spread);
    second.update_count += 1;
}
