//! The three laws as a property: any interleaving, duplication, omission with later backfill, lost
//! acknowledgement, crash and zombie gives the same rows.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::decimal::Decimal;
use crate::decimal::Notional;
use crate::port::log::Record;
use crate::row::{AlertRow, CandleRow};
use crate::time::UnixNanos;

const RULE: AlertRule = AlertRule { threshold_percent: Decimal::from_units(3), window_ms: 2_000 };

fn symbol() -> Symbol {
    Symbol::new("BTCUSDT").unwrap()
}

/// The trades of a market: ids from 1,000 without a hole, times that do not run backwards.
fn market() -> impl Strategy<Value = Vec<Trade>> {
    let step = prop_oneof![4 => 0..40_i64, 2 => 100..1_500_i64, 1 => 20_000..400_000_i64];
    prop::collection::vec((step, 90..110_i64, 1..9_i64, any::<bool>()), 20..120).prop_map(|steps| {
        let mut time = 1_723_161_255_000;
        let trade =
            |(index, (step, price, quantity, buyer_is_maker)): (usize, (i64, i64, i64, bool))| {
                time += step;
                Trade {
                    id: 1_000 + i64::try_from(index).unwrap(),
                    time,
                    price: Decimal::from_units(price),
                    quantity: Decimal(i128::from(quantity)),
                    buyer_is_maker,
                }
            };
        steps.into_iter().enumerate().map(trade).collect()
    })
}

/// What happens to a copy of the aggregate, by turns.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The copy absorbs so many records.
    Absorb(usize, usize),
    /// The copy emits a batch; it is delivered, and acknowledged.
    Deliver(usize),
    /// The copy emits a batch; it stays under way.
    Send(usize),
    /// A batch under way arrives, in any order; its sender may be dead.
    Arrive(usize),
    /// The copy saves its state, if everything it sent is acknowledged.
    Checkpoint(usize),
    /// The copy dies, with or without what it has under way; a successor goes on from the last
    /// checkpoint.
    Crash(usize, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let copy = 0..3_usize;
    let step = prop_oneof![
        6 => (copy.clone(), 1..20_usize).prop_map(|(copy, count)| Step::Absorb(copy, count)),
        3 => copy.clone().prop_map(Step::Deliver),
        2 => copy.clone().prop_map(Step::Send),
        2 => any::<usize>().prop_map(Step::Arrive),
        2 => copy.clone().prop_map(Step::Checkpoint),
        1 => (copy, any::<bool>()).prop_map(|(copy, lose)| Step::Crash(copy, lose)),
    ];
    prop::collection::vec(step, 10..120)
}

/// How the market reaches the log: two feeds that lose, repeat and delay, then a backfill of what
/// neither saw.
fn log(trades: &[Trade], dice: &[u8]) -> Vec<(Source, Event)> {
    let roll = |index: usize, salt: usize| dice[(index * 7 + salt * 13) % dice.len()];
    let mut arrivals = Vec::new();
    for (index, trade) in trades.iter().enumerate() {
        for feed in 0..2 {
            if roll(index, feed) < 200 {
                let delay = usize::from(roll(index, feed + 2)) / 40;
                arrivals.push((index * 2 + delay, Source::Stream, *trade));
            }
        }
        let seen = (0..2).any(|feed| roll(index, feed) < 200);
        if !seen || roll(index, 5) > 240 {
            let delay = usize::from(roll(index, 6)) * 2;
            arrivals.push((index * 2 + delay, Source::Backfill, *trade));
        }
    }
    arrivals.sort_by_key(|(at, _, trade)| (*at, trade.id % 3));
    let mut events: Vec<_> =
        arrivals.into_iter().map(|(_, source, trade)| (source, Event::Trade(trade))).collect();
    let floor = usize::from(roll(0, 8)) % (events.len() + 1);
    events.insert(floor, (Source::Control, Event::Floor(1_000)));
    for salt in 9..12 {
        let at = usize::from(roll(0, salt)) % (events.len() + 1);
        events.insert(at, (Source::Control, Event::Connected));
    }
    events
}

/// A store that keeps the greater version.
#[derive(Debug, Default, Clone, PartialEq)]
struct Kept {
    candles: BTreeMap<(Interval, i64), CandleRow>,
    trades: BTreeMap<i64, Trade>,
    alerts: BTreeMap<(i64, bool), AlertRow>,
}

impl Kept {
    fn put(&mut self, rows: &Rows) {
        for row in &rows.candles {
            let kept = self
                .candles
                .entry((row.interval, row.candle.open_time))
                .or_insert_with(|| row.clone());
            if row.version() >= kept.version() {
                *kept = row.clone();
            }
        }
        self.trades.extend(rows.trades.iter().map(|row| (row.trade.id, row.trade)));
        let alerts = rows.alerts.iter().map(|row| ((row.time, row.up), row.clone()));
        self.alerts.extend(alerts);
    }
}

struct Copy {
    aggregate: Aggregate,
    position: usize,
    /// Whether all that it emitted is known to be in the store.
    acked: bool,
}

impl Copy {
    fn absorb(&mut self, log: &[(Source, Event)], count: usize) {
        for (source, event) in log.iter().skip(self.position).take(count) {
            let stored = Stored {
                offset: u64::try_from(self.position).unwrap(),
                record: Record {
                    key: symbol(),
                    value: Bytes::new(),
                    received_at: UnixNanos::from_millis(1),
                    source: *source,
                    feed: 0,
                },
            };
            self.aggregate.absorb(Topic::Trade, &stored, Ok(event.clone()));
            self.position += 1;
        }
    }

    fn positions(&self) -> Vec<(Topic, u64)> {
        vec![(Topic::Trade, u64::try_from(self.position).unwrap())]
    }
}

/// The rows as anybody would compute them from all the trades at once.
fn truth(trades: &[Trade]) -> Kept {
    let mut kept = Kept::default();
    kept.trades.extend(trades.iter().map(|trade| (trade.id, *trade)));
    let (first, last) = (trades[0].time, trades[trades.len() - 1].time);
    for interval in Interval::ALL {
        let mut windows: BTreeMap<i64, Vec<&Trade>> = BTreeMap::new();
        for trade in trades {
            windows.entry(interval.floor(trade.time)).or_default().push(trade);
        }
        for (open_time, trades) in windows {
            let sum = |of: &dyn Fn(&Trade) -> i128| trades.iter().map(|trade| of(trade)).sum();
            let bought = |trade: &Trade| i128::from(!trade.buyer_is_maker);
            let candle = Candle {
                open_time,
                open: trades[0].price,
                high: trades.iter().map(|trade| trade.price).max().unwrap(),
                low: trades.iter().map(|trade| trade.price).min().unwrap(),
                close: trades[trades.len() - 1].price,
                volume: Decimal(sum(&|trade| trade.quantity.0)),
                quote_volume: Notional(sum(&|trade| trade.price.0 * trade.quantity.0)),
                trade_count: i64::try_from(trades.len()).unwrap(),
                taker_buy_volume: Decimal(sum(&|trade| bought(trade) * trade.quantity.0)),
                taker_buy_quote_volume: Notional(sum(&|trade| {
                    bought(trade) * trade.price.0 * trade.quantity.0
                })),
                first_trade_id: trades[0].id,
                last_trade_id: trades[trades.len() - 1].id,
            };
            let complete = first < open_time && last >= open_time + interval.millis();
            let row = CandleRow { symbol: symbol(), interval, candle, complete };
            kept.candles.insert((interval, open_time), row);
        }
    }
    kept.alerts = alerts(trades);
    kept
}

fn alerts(trades: &[Trade]) -> BTreeMap<(i64, bool), AlertRow> {
    let price_at = |end: i64| trades.iter().rfind(|trade| trade.time < end);
    let change = |end: i64| {
        let (now, then) = (price_at(end)?.price, price_at(end - RULE.window_ms)?.price);
        Some((then, now, now.percent_from(then)?))
    };
    let (first, last) = (trades[0].time, trades[trades.len() - 1].time);
    let mut found = BTreeMap::new();
    let seconds: std::collections::BTreeSet<i64> =
        trades.iter().map(|trade| trade.time - trade.time % 1_000).collect();
    for second in seconds {
        let end = second + 1_000;
        if first >= second - 1_000 - RULE.window_ms || last < end {
            continue;
        }
        let Some((then, now, by)) = change(end) else { continue };
        let threshold = RULE.threshold_percent;
        for up in [true, false] {
            let reaches = |by: Decimal| if up { by >= threshold } else { by.0 <= -threshold.0 };
            if reaches(by) && !change(end - 1_000).is_some_and(|(_, _, by)| reaches(by)) {
                found.insert(
                    (second, up),
                    AlertRow {
                        symbol: symbol(),
                        time: second,
                        up,
                        window_ms: RULE.window_ms,
                        threshold_percent: threshold,
                        reference_price: then,
                        price: now,
                        change_percent: by,
                    },
                );
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_history_of_copies_and_crashes_gives_the_same_rows(
        trades in market(),
        dice in prop::collection::vec(any::<u8>(), 97..=97),
        steps in steps(),
    ) {
        let log = log(&trades, &dice);
        let fresh = || Copy { aggregate: Aggregate::new(0, RULE), position: 0, acked: true };
        let mut copies = [fresh(), fresh(), fresh()];
        let mut saved = Checkpoint { positions: vec![(Topic::Trade, 0)], ..Checkpoint::default() };
        let mut store = Kept::default();
        let mut under_way: Vec<(usize, Rows)> = Vec::new();
        let revive = |saved: &Checkpoint| Copy {
            aggregate: Aggregate::restore(0, RULE, saved),
            position: usize::try_from(saved.positions[0].1).unwrap(),
            acked: true,
        };
        for step in steps {
            match step {
                Step::Absorb(copy, count) => copies[copy].absorb(&log, count),
                Step::Deliver(copy) => {
                    // Whatever was sent before arrives no later than this.
                    under_way.drain(..).for_each(|(_, rows)| store.put(&rows));
                    store.put(&copies[copy].aggregate.take_rows(Scope::All));
                    copies[copy].acked = true;
                }
                Step::Send(copy) => {
                    let scope = if under_way.len().is_multiple_of(2) { Scope::Fast } else { Scope::All };
                    under_way.push((copy, copies[copy].aggregate.take_rows(scope)));
                    copies[copy].acked = false;
                }
                Step::Arrive(which) if !under_way.is_empty() => {
                    let (_, rows) = under_way.remove(which % under_way.len());
                    store.put(&rows);
                }
                Step::Arrive(_) => {}
                Step::Checkpoint(copy) => {
                    let copy = &copies[copy];
                    if copy.acked && !copy.aggregate.has_changes(Scope::All) {
                        saved = copy.aggregate.checkpoint(copy.positions());
                    }
                }
                Step::Crash(copy, lose) => {
                    under_way.retain(|(sender, _)| !lose || *sender != copy);
                    copies[copy] = revive(&saved);
                }
            }
        }
        let mut last = revive(&saved);
        last.absorb(&log, log.len());
        store.put(&last.aggregate.take_rows(Scope::All));
        under_way.iter().for_each(|(_, rows)| store.put(rows));

        let truth = truth(&trades);
        prop_assert_eq!(&store.trades, &truth.trades);
        for (key, row) in &truth.candles {
            prop_assert_eq!(store.candles.get(key), Some(row));
        }
        prop_assert_eq!(store.candles.len(), truth.candles.len());
        prop_assert_eq!(&store.alerts, &truth.alerts);
    }

    #[test]
    fn a_copy_forgets_what_is_finished(trades in market()) {
        let events: Vec<_> =
            trades.iter().map(|trade| (Source::Stream, Event::Trade(*trade))).collect();
        let mut copy = Copy { aggregate: Aggregate::new(0, RULE), position: 0, acked: true };
        while copy.position < events.len() {
            copy.absorb(&events, 1);
            copy.aggregate.take_rows(Scope::All);
        }
        // What the last trade finished is emitted with it, and forgotten with the next.
        let seconds = trades[trades.len() - 2].time / 1_000;
        let state = &copy.aggregate.symbols()[0];
        for (interval, candle) in state.windows() {
            // The window under way, those within the grace, and those before the record's floor.
            let recent = candle.open_time / 1_000 + interval.millis() / 1_000 >= seconds - 6;
            let first = interval.floor(trades[0].time) == candle.open_time;
            prop_assert!(recent || first, "{interval} {}", candle.open_time);
        }
    }
}

#[test]
fn a_record_that_can_not_be_understood_is_kept_with_its_reason() {
    let mut aggregate = Aggregate::new(7, RULE);
    let record = Record {
        key: symbol(),
        value: Bytes::from_static(b"{\"e\":\xff"),
        received_at: UnixNanos::from_millis(5),
        source: Source::Stream,
        feed: 0,
    };
    let stored = Stored { offset: 42, record };
    aggregate.absorb(Topic::Trade, &stored, Err("no json".to_owned()));
    let rows = aggregate.take_rows(Scope::All);
    let row = &rows.dead_letters[0];
    assert_eq!((row.partition, row.offset, row.received_at), (7, 42, 5));
    assert_eq!((row.reason.as_str(), row.payload.as_str()), ("no json", "{\"e\":\u{fffd}"));
}

#[test]
fn a_record_that_can_not_be_understood_makes_no_symbol() {
    let mut aggregate = Aggregate::new(7, RULE);
    let (received_at, source, feed) = (UnixNanos::from_millis(5), Source::Stream, 0);
    let value = Bytes::from_static(b"hola");
    let record = Record { key: symbol(), value, received_at, source, feed };
    aggregate.absorb(Topic::Trade, &Stored { offset: 1, record }, Err("no json".to_owned()));
    assert!(aggregate.symbols().is_empty(), "somebody would ask the exchange for it for ever");
    assert_eq!(aggregate.take_rows(Scope::All).dead_letters.len(), 1);
}

#[test]
fn a_gap_is_a_row_and_what_comes_after_all_shrinks_it() {
    let trade = |id, time| {
        let price = Decimal::from_units(1);
        Event::Trade(Trade { id, time, price, quantity: price, buyer_is_maker: false })
    };
    let events = [
        (Source::Stream, trade(1, 500)),
        (Source::Stream, trade(5, 2_500)),
        (Source::Control, Event::Gap(2, 4, "the exchange has no such trades".to_owned())),
        (Source::Backfill, trade(3, 1_500)),
        (Source::Backfill, trade(3, 1_500)),
    ];
    let mut copy = Copy { aggregate: Aggregate::new(0, RULE), position: 0, acked: true };
    copy.absorb(&events, 3);
    let rows = copy.aggregate.take_rows(Scope::All);
    assert_eq!((rows.gaps[0].first_trade_id, rows.gaps[0].missing), (2, 3));
    assert!(rows.candles.iter().all(|row| !row.complete));
    copy.absorb(&events, 2);
    let rows = copy.aggregate.take_rows(Scope::All);
    assert_eq!((rows.gaps.len(), rows.gaps[0].missing, rows.gaps[0].version()), (1, 2, 1));
    assert_eq!((rows.trades.len(), rows.candles.len()), (1, 0), "stored, but in no candle");
}

/// Which partition a record lies in follows from its key.
#[test]
fn a_transaction_under_another_key_than_its_stock_is_a_row_and_counts_as_a_stray() {
    let mut aggregate = Aggregate::new(0, RULE);
    for (offset, key) in (0..).zip(["TSLA", "UNKNOWN", "TSLA"]) {
        let price = Decimal::from_units(200);
        let transaction = Transaction {
            id: None,
            time: 1_723_161_255_000,
            timestamp: "2024-08-08 23:54:15".to_owned(),
            stock: Symbol::new("TSLA").unwrap(),
            kind: "COMPRA".to_owned(),
            quantity: 1,
            unit_price: price,
            total: price,
            state: "EXITOSO".to_owned(),
            error: None,
            extra: "{}".to_owned(),
        };
        let record = Record {
            key: Symbol::new(key).unwrap(),
            value: Bytes::new(),
            received_at: UnixNanos(0),
            source: Source::Stream,
            feed: 0,
        };
        let event = Ok(Event::Transaction(Box::new(transaction)));
        aggregate.absorb(Topic::Transactions, &Stored { offset, record }, event);
    }
    assert_eq!(aggregate.strays(), 1);
    assert_eq!(aggregate.take_rows(Scope::All).transactions.len(), 3);
}
