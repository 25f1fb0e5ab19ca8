//! The fold of one partition: records in, changed rows out.
//!
//! A pure function of the records absorbed, in their order (law 2 of ARCHITECTURE.md): no clock, no chance,
//! no order of a map. Two copies that absorbed the same prefix of the log hold the same rows; which
//! of those were already emitted is all that may differ.

mod marks;

use std::collections::{BTreeMap, HashMap};

use crate::alert::{AlertParts, AlertRule, Alerts};
use crate::book::{Book, Recent};
use crate::candle::Candles;
use crate::coverage::{Coverage, Gap, Range, Verdict};
use crate::interval::Interval;
use crate::market::{BookTicker, Event, Source, Symbol, Ticker, Topic, Trade};
use crate::port::log::Stored;
use crate::row::{
    BookSecond, BookTickerRow, Candle, CandleRow, DeadLetterRow, GapRow, Rows, TickerRow, TradeRow,
    TransactionRow,
};
use crate::stock::{Stock, StockCheckpoint, Transaction};
use crate::time::UnixNanos;

use self::marks::Marks;

/// How many event times of the 24 h statistics are remembered: they come once a second.
const TICKERS_SEEN_MAX: usize = 64;

/// The state of one partition.
#[derive(Debug)]
pub struct Aggregate {
    partition: u32,
    rule: AlertRule,
    index: HashMap<Symbol, usize>,
    symbols: Vec<SymbolState>,
    /// The symbols that changed since the last batch.
    fast: Marks,
    /// The symbols that changed since the last batch of all rows.
    slow: Marks,
    /// The symbols of which something was heard since the last [`Aggregate::take_news`].
    news: Marks,
    /// Rows that never change again, waiting for the next batch.
    rows: Rows,
    /// Stocks have no trade ids and no streams: they are no symbols of the exchange.
    stocks: BTreeMap<Symbol, Stock>,
    strays: u64,
}

/// The state of one symbol.
#[derive(Debug)]
pub struct SymbolState {
    /// Whose.
    pub symbol: Symbol,
    /// Which trades are known.
    pub coverage: Coverage,
    /// Records absorbed since this copy was made, by what became of them.
    pub counts: Counts,
    /// When its newest record was received.
    pub received_at: Option<UnixNanos>,
    /// The newest best bid and ask that this copy was told of.
    pub best: Option<BookTicker>,
    /// The newest 24 h statistics that this copy was told of.
    pub ticker: Option<Box<Ticker>>,
    candles: Candles,
    book: Book,
    tickers_seen: Recent,
    alerts: Alerts,
}

/// Which of the changed rows a batch takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// What people watch live: single records, candles of a second.
    Fast,
    /// All of them. Rows that change with nearly every record, and say little more each time, are
    /// most of a store's work if every change is written.
    All,
}

/// What became of the records of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All records.
    pub records: u64,
    /// Trades folded.
    pub trades: u64,
    /// Trades among them that came by backfill.
    pub backfilled: u64,
    /// Repeats of what was known.
    pub duplicates: u64,
    /// Trades that came after their window was closed for good: stored, but not in its candle.
    pub stragglers: u64,
    /// Not understood.
    pub dead_letters: u64,
}

/// All that a successor needs to go on from a position.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// The next offset to absorb, by topic.
    pub positions: Vec<(Topic, u64)>,
    /// By symbol, in the order of first sight.
    pub symbols: Vec<SymbolCheckpoint>,
    /// By stock.
    pub stocks: Vec<StockCheckpoint>,
}

/// The part of a [`Checkpoint`] that is about one symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolCheckpoint {
    /// Whose.
    pub symbol: Symbol,
    /// Known trade ids.
    pub ranges: Vec<Range>,
    /// Where the record begins.
    pub floor: Option<i64>,
    /// Declared gaps.
    pub gaps: Vec<Gap>,
    /// Windows that may still change, or whose last row may not be stored.
    pub windows: Vec<(Interval, Candle)>,
    /// The newest book update ids.
    pub updates_seen: Vec<i64>,
    /// Seconds of the book that may still change.
    pub book_seconds: Vec<BookSecond>,
    /// The newest event times of the 24 h statistics.
    pub tickers_seen: Vec<i64>,
    /// What is not decided about abrupt price changes.
    pub alerts: AlertParts,
}

impl Aggregate {
    /// A partition with no past.
    pub fn new(partition: u32, rule: AlertRule) -> Self {
        Self {
            partition,
            rule,
            index: HashMap::new(),
            symbols: Vec::new(),
            fast: Marks::default(),
            slow: Marks::default(),
            news: Marks::default(),
            rows: Rows::default(),
            stocks: BTreeMap::new(),
            strays: 0,
        }
    }

    /// A partition that goes on from a checkpoint. Every window in it is emitted again.
    pub fn restore(partition: u32, rule: AlertRule, checkpoint: &Checkpoint) -> Self {
        let mut aggregate = Self::new(partition, rule);
        for saved in &checkpoint.symbols {
            let index = aggregate.entry(&saved.symbol);
            if let Some(state) = aggregate.symbols.get_mut(index) {
                state.restore(saved);
            }
            aggregate.touch(index);
        }
        let stocks = checkpoint.stocks.iter();
        aggregate.stocks = stocks.map(|it| (it.symbol.clone(), Stock::restore(it))).collect();
        aggregate
    }

    /// What a successor needs, `positions` being where this copy stands. To be taken when nothing
    /// waits to be emitted ([`Aggregate::has_changes`]), and to be saved only once all that was
    /// emitted before is in the store: what it leaves out can't be computed again.
    pub fn checkpoint(&self, positions: Vec<(Topic, u64)>) -> Checkpoint {
        let symbols = self.symbols.iter().map(SymbolState::save).collect();
        let stocks = self.stocks.iter().map(|(symbol, stock)| stock.save(symbol)).collect();
        Checkpoint { positions, symbols, stocks }
    }

    /// Takes in one record of the log; `event` is what it says, or why it can't be understood.
    pub fn absorb(&mut self, topic: Topic, stored: &Stored, event: Result<Event, String>) {
        let record = &stored.record;
        if matches!(topic, Topic::Daily | Topic::Transactions) {
            return self.absorb_stock(topic, stored, event);
        }
        if let Err(reason) = &event
            && !self.index.contains_key(&record.key)
        {
            // Anybody may write to the log, under any key: that alone makes no symbol to ask after.
            return self.dead_letter(topic, stored, reason.clone());
        }
        let index = self.entry(&record.key);
        let Some(state) = self.symbols.get_mut(index) else { return };
        state.counts.records += 1;
        if record.source != Source::Control {
            state.received_at = state.received_at.max(Some(record.received_at));
        }
        self.news.add(index);
        let received_at = record.received_at.millis();
        let changed = match event {
            Ok(Event::Trade(trade)) => {
                state.absorb_trade(&self.rule, &trade, received_at, record.source, &mut self.rows)
            }
            Ok(Event::Book(book)) => state.absorb_book(&book, received_at, &mut self.rows),
            Ok(Event::Ticker(ticker)) => state.absorb_ticker(ticker, received_at, &mut self.rows),
            Ok(Event::Floor(id)) => {
                state.coverage.set_floor(id);
                true
            }
            Ok(Event::Gap(first, last, reason)) => {
                state.declare_gap(first, last, &reason, &mut self.rows)
            }
            // A new connection is news to the backfill, and nothing to what is stored. Only the
            // topics of stocks speak of stocks.
            Ok(Event::Connected | Event::Raw | Event::Daily(_) | Event::Transaction(_)) => false,
            Err(reason) => {
                state.counts.dead_letters += 1;
                self.dead_letter(topic, stored, reason);
                false
            }
        };
        if changed {
            self.touch(index);
        }
    }

    fn absorb_stock(&mut self, topic: Topic, stored: &Stored, event: Result<Event, String>) {
        match event {
            Ok(Event::Daily(daily)) => {
                let symbol = &stored.record.key;
                let stock = self.stocks.entry(symbol.clone()).or_default();
                stock.absorb_daily(symbol, &daily, &mut self.rows);
            }
            Ok(Event::Transaction(transaction)) => {
                self.absorb_transaction(topic, stored, *transaction);
            }
            Ok(_) => {}
            Err(reason) => self.dead_letter(topic, stored, reason),
        }
    }

    fn absorb_transaction(&mut self, topic: Topic, stored: &Stored, transaction: Transaction) {
        self.strays += u64::from(stored.record.key != transaction.stock);
        let stock = self.stocks.entry(transaction.stock.clone()).or_default();
        let received_at = stored.record.received_at.millis();
        stock.absorb_price(&self.rule, transaction.time, received_at, transaction.unit_price);
        // Its place in the log is the same for whoever reads it, as often as it is read.
        let place = || format!("{}-{}-{}", topic.name(), self.partition, stored.offset);
        let id = transaction.id.clone().unwrap_or_else(place);
        self.rows.transactions.push(TransactionRow { id, transaction, received_at });
    }

    fn dead_letter(&mut self, topic: Topic, stored: &Stored, reason: String) {
        self.rows.dead_letters.push(DeadLetterRow {
            topic,
            partition: self.partition,
            offset: stored.offset,
            symbol: stored.record.key.clone(),
            received_at: stored.record.received_at.millis(),
            reason,
            payload: String::from_utf8_lossy(&stored.record.value).into_owned(),
        });
    }

    /// What changed since the last call, as far as `scope` goes.
    pub fn take_rows(&mut self, scope: Scope) -> Rows {
        let mut rows = std::mem::take(&mut self.rows);
        let fast = self.fast.take();
        let changed = match scope {
            Scope::Fast => fast,
            // What changed since the last batch also changed since the last batch of all rows.
            Scope::All => self.slow.take(),
        };
        for index in changed {
            if let Some(state) = self.symbols.get_mut(index) {
                state.emit(&self.rule, scope, &mut rows);
            }
        }
        for (symbol, stock) in &mut self.stocks {
            stock.emit(symbol, &self.rule, &mut rows.alerts);
        }
        rows
    }

    /// How many rows wait for the next batch, not counting windows.
    pub fn rows_waiting(&self) -> usize {
        self.rows.len()
    }

    /// Whether the next batch would have anything in it.
    pub fn has_changes(&self, scope: Scope) -> bool {
        let marks = if scope == Scope::All { &self.slow } else { &self.fast };
        !marks.is_empty() || !self.rows.is_empty()
    }

    /// The stocks, by name.
    pub fn stocks(&self) -> impl ExactSizeIterator<Item = &Symbol> {
        self.stocks.keys()
    }

    /// Transactions that this copy absorbed and whose record has another key than their stock.
    /// Others of the stock may lie in other partitions: an abrupt change of its price is judged
    /// among those of one partition.
    pub const fn strays(&self) -> u64 {
        self.strays
    }

    /// The symbols, in the order of first sight.
    pub fn symbols(&self) -> &[SymbolState] {
        &self.symbols
    }

    /// The symbols of which something was heard since the last [`Aggregate::take_news`].
    pub fn news(&self) -> impl Iterator<Item = &SymbolState> {
        self.news.iter().filter_map(|index| self.symbols.get(index))
    }

    /// The same, and none of it is news any more.
    pub fn take_news(&mut self) -> impl Iterator<Item = &SymbolState> {
        self.news.take().into_iter().filter_map(|index| self.symbols.get(index))
    }

    fn entry(&mut self, symbol: &Symbol) -> usize {
        if let Some(index) = self.index.get(symbol) {
            return *index;
        }
        let index = self.symbols.len();
        self.symbols.push(SymbolState::new(symbol.clone()));
        self.index.insert(symbol.clone(), index);
        index
    }

    fn touch(&mut self, index: usize) {
        self.fast.add(index);
        self.slow.add(index);
        self.news.add(index);
    }
}

impl SymbolState {
    fn new(symbol: Symbol) -> Self {
        Self {
            symbol,
            coverage: Coverage::default(),
            counts: Counts::default(),
            received_at: None,
            best: None,
            ticker: None,
            candles: Candles::default(),
            book: Book::default(),
            tickers_seen: Recent::default(),
            alerts: Alerts::default(),
        }
    }

    /// The windows that may still change, as (interval, candle).
    pub fn windows(&self) -> impl Iterator<Item = (Interval, &Candle)> {
        self.candles.windows()
    }

    /// The newest window of each interval that is still open, in the order of [`Interval::ALL`].
    pub fn newest_candles(&self) -> [Option<CandleRow>; Interval::ALL.len()] {
        self.candles.newest(&self.symbol, &self.coverage)
    }

    fn absorb_trade(
        &mut self,
        rule: &AlertRule,
        trade: &Trade,
        received_at: i64,
        source: Source,
        rows: &mut Rows,
    ) -> bool {
        // A window is judged by what was known before this trade: with it, the window that it
        // completes would look as if it had been complete without it.
        let in_time = !self.coverage.is_fresh(trade.id) || self.candles.fold(trade, &self.coverage);
        match self.coverage.absorb(trade.id, trade.time) {
            Verdict::Duplicate => {
                self.counts.duplicates += 1;
                return false;
            }
            Verdict::Fresh => {
                self.counts.trades += 1;
                self.counts.backfilled += u64::from(source == Source::Backfill);
                self.counts.stragglers += u64::from(!in_time);
                self.alerts.absorb(rule, &self.coverage, trade);
            }
            Verdict::Recovered(gap) => {
                self.counts.stragglers += 1;
                rows.gaps.extend(self.coverage.gap(gap).map(|gap| gap_row(&self.symbol, gap)));
            }
        }
        let symbol = self.symbol.clone();
        rows.trades.push(TradeRow { symbol, trade: *trade, received_at, source });
        true
    }

    fn absorb_book(&mut self, book: &BookTicker, received_at: i64, rows: &mut Rows) -> bool {
        let fresh = self.book.absorb(book, received_at);
        if fresh {
            if self.best.is_none_or(|best| best.update_id < book.update_id) {
                self.best = Some(*book);
            }
            let symbol = self.symbol.clone();
            rows.book_tickers.push(BookTickerRow { symbol, book: *book, received_at });
        } else {
            self.counts.duplicates += 1;
        }
        fresh
    }

    fn absorb_ticker(&mut self, ticker: Box<Ticker>, received_at: i64, rows: &mut Rows) -> bool {
        let fresh = self.tickers_seen.insert(ticker.event_time, TICKERS_SEEN_MAX);
        if fresh {
            self.tickers_seen.forget(i64::MAX, TICKERS_SEEN_MAX, TICKERS_SEEN_MAX);
            if self.ticker.as_ref().is_none_or(|it| it.event_time < ticker.event_time) {
                self.ticker = Some(ticker.clone());
            }
            let symbol = self.symbol.clone();
            rows.tickers.push(TickerRow { symbol, ticker, received_at });
        } else {
            self.counts.duplicates += 1;
        }
        fresh
    }

    fn declare_gap(&mut self, first: i64, last: i64, reason: &str, rows: &mut Rows) -> bool {
        let added = self.coverage.declare_gap(first, last, reason);
        let gaps = added.iter().filter_map(|index| self.coverage.gap(*index));
        rows.gaps.extend(gaps.map(|gap| gap_row(&self.symbol, gap)));
        self.coverage.prune();
        !added.is_empty()
    }

    fn emit(&mut self, rule: &AlertRule, scope: Scope, rows: &mut Rows) {
        let longest = match scope {
            Scope::Fast => Interval::Second,
            Scope::All => Interval::Day,
        };
        self.candles.emit(&self.symbol, &self.coverage, longest, &mut rows.candles);
        if scope == Scope::All {
            self.alerts.emit(&self.symbol, rule, &self.coverage, &mut rows.alerts);
            self.book.emit(&self.symbol, &mut rows.book_seconds);
        }
    }

    fn save(&self) -> SymbolCheckpoint {
        let (ranges, floor, gaps) = self.coverage.parts();
        let (updates_seen, book_seconds) = self.book.parts();
        SymbolCheckpoint {
            symbol: self.symbol.clone(),
            ranges: ranges.to_vec(),
            floor,
            gaps: gaps.to_vec(),
            windows: self.candles.windows().map(|(interval, it)| (interval, *it)).collect(),
            updates_seen: updates_seen.collect(),
            book_seconds: book_seconds.copied().collect(),
            tickers_seen: self.tickers_seen.ids().collect(),
            alerts: self.alerts.parts(),
        }
    }

    fn restore(&mut self, saved: &SymbolCheckpoint) {
        self.coverage = Coverage::from_parts(saved.ranges.clone(), saved.floor, saved.gaps.clone());
        self.candles = Candles::from_windows(saved.windows.iter().copied());
        self.book = Book::from_parts(
            saved.updates_seen.iter().copied(),
            saved.book_seconds.iter().copied(),
        );
        self.tickers_seen = Recent::from_ids(saved.tickers_seen.iter().copied());
        self.alerts = Alerts::from_parts(&saved.alerts);
    }
}

fn gap_row(symbol: &Symbol, gap: &Gap) -> GapRow {
    GapRow {
        symbol: symbol.clone(),
        first_trade_id: gap.first,
        last_trade_id: gap.last,
        missing: gap.missing(),
        after_time: gap.after_time,
        before_time: gap.before_time,
        reason: gap.reason.clone(),
    }
}

#[cfg(test)]
mod tests;
