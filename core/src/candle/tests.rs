//! What becomes of a trade whose time lies in a window that is finished already, and what is held.

use super::*;

/// One symbol: its coverage, its windows, and what they emitted.
#[derive(Default)]
struct Fold {
    known: Coverage,
    candles: Candles,
}

impl Fold {
    /// Folds trades `(id, time)` of one unit at one price each; whether all came in time.
    fn trades(&mut self, trades: &[(i64, i64)]) -> bool {
        let mut in_time = true;
        for &(id, time) in trades {
            let price = Decimal::from_units(100 + id);
            let quantity = Decimal::from_units(1);
            let trade = Trade { id, time, price, quantity, buyer_is_maker: id % 2 == 0 };
            in_time &= self.candles.fold(&trade, &self.known);
            self.known.absorb(id, time);
        }
        in_time
    }

    /// What is emitted of an interval, as (open time, trades, complete).
    fn emit(&mut self, interval: Interval) -> Vec<(i64, i64, bool)> {
        let mut rows = Vec::new();
        let symbol = Symbol::new("BTCUSDT").unwrap();
        self.candles.emit(&symbol, &self.known, Interval::Day, &mut rows);
        rows.retain(|row| row.interval == interval);
        rows.iter()
            .map(|row| (row.candle.open_time, row.candle.trade_count, row.complete))
            .collect()
    }

    /// The open times of the seconds held.
    fn seconds(&self) -> Vec<i64> {
        let held = self.candles.windows().filter(|(interval, _)| *interval == Interval::Second);
        held.map(|(_, candle)| candle.open_time).collect()
    }
}

const SECOND: Interval = Interval::Second;

#[test]
fn within_the_grace_a_trade_out_of_order_amends_a_complete_window() {
    let mut it = Fold::default();
    assert!(it.trades(&[(1, 500), (2, 1_500), (3, 2_500)]));
    assert_eq!(it.emit(SECOND), [(0, 1, false), (1_000, 1, true), (2_000, 1, false)]);
    assert_eq!(it.emit(SECOND), [], "nothing changed");
    assert!(it.trades(&[(4, 1_999)]));
    assert_eq!(it.emit(SECOND), [(1_000, 2, true)]);
}

#[test]
fn within_the_grace_a_trade_out_of_order_begins_a_window_that_was_empty() {
    let mut it = Fold::default();
    assert!(it.trades(&[(1, 500), (2, 2_000), (3, 1_999)]), "by a millisecond");
    assert!(it.emit(SECOND).contains(&(1_000, 1, true)));
}

/// A trade comes so long after the end of a window; `flushed` says whether the window was emitted
/// and, if need be, forgotten before.
#[track_caller]
fn check_straggler(after_end: i64, flushed: bool, in_time: bool) {
    let mut it = Fold::default();
    it.trades(&[(1, 500), (2, 1_500), (3, 2_000 + after_end)]);
    if flushed {
        it.emit(SECOND);
        it.emit(SECOND);
        assert_eq!(it.seconds().contains(&1_000), in_time, "held");
    }
    assert_eq!(it.trades(&[(4, 1_600)]), in_time, "after {after_end} ms, flushed: {flushed}");
    let found: Vec<_> = it.emit(SECOND).into_iter().filter(|row| row.0 == 1_000).collect();
    let expected = match (in_time, flushed) {
        (true, _) => vec![(1_000, 2, true)],
        (false, false) => vec![(1_000, 1, true)],
        (false, true) => vec![],
    };
    assert_eq!(found, expected, "after {after_end} ms, flushed: {flushed}");
}

#[test]
fn after_the_grace_a_complete_window_is_left_as_it_is_emitted_or_not() {
    for flushed in [false, true] {
        check_straggler(0, flushed, true);
        check_straggler(GRACE_MS - 1, flushed, true);
        check_straggler(GRACE_MS, flushed, false);
        check_straggler(10 * GRACE_MS, flushed, false);
    }
}

#[test]
fn a_straggler_of_a_second_is_still_in_time_for_the_minute() {
    let mut it = Fold::default();
    it.trades(&[(1, 500), (2, 1_500), (3, 20_000)]);
    assert!(!it.trades(&[(4, 1_600)]));
    assert_eq!(it.emit(Interval::Minute), [(0, 4, false)]);
}

#[test]
fn a_window_with_a_hole_waits_for_it_however_long() {
    let mut it = Fold::default();
    it.trades(&[(1, 500), (3, 1_700), (4, 90_000)]);
    it.emit(SECOND);
    it.emit(SECOND);
    assert_eq!(it.seconds(), [0, 1_000, 90_000]);
    assert!(it.trades(&[(2, 1_500)]));
    assert!(it.emit(SECOND).contains(&(1_000, 2, true)));
    assert_eq!(it.emit(SECOND), []);
    assert_eq!(it.seconds(), [0, 90_000], "the first one waits for the record's floor");
}

#[test]
fn a_window_whose_trades_are_lost_is_forgotten_and_not_begun_again() {
    let mut it = Fold::default();
    it.trades(&[(1, 500), (3, 1_700), (4, 90_000)]);
    it.known.declare_gap(2, 2, "gone");
    assert!(it.emit(SECOND).contains(&(1_000, 1, false)));
    assert_eq!(it.emit(SECOND), []);
    assert_eq!(it.seconds(), [0, 90_000]);
    assert!(!it.trades(&[(5, 1_800)]), "it would overwrite a row that knows as much");
    assert!(!it.emit(SECOND).iter().any(|row| row.0 == 1_000));
}

#[test]
fn the_horizon_does_not_go_back_with_a_trade_that_does() {
    let mut it = Fold::default();
    it.trades(&[(1, 500), (2, 1_500), (3, 90_000)]);
    it.emit(SECOND);
    it.emit(SECOND);
    assert!(!it.seconds().contains(&1_000));
    // A range of its own, with the highest id and an early time.
    it.trades(&[(9, 3_000)]);
    assert!(!it.trades(&[(4, 1_600)]));
}

#[test]
fn a_window_changes_hands_without_its_having_been_emitted() {
    let mut it = Fold::default();
    it.trades(&[(1, 500), (2, 1_500), (3, 2_500)]);
    it.emit(SECOND);
    let windows: Vec<_> = it.candles.windows().map(|(interval, it)| (interval, *it)).collect();
    let mut backwards = windows.clone();
    backwards.reverse();
    it.candles = Candles::from_windows(backwards);
    let found: Vec<_> = it.candles.windows().map(|(interval, it)| (interval, *it)).collect();
    assert_eq!(found, windows, "in order again");
    assert_eq!((it.candles.len(), it.candles.is_empty()), (3 + 5, false));
    assert_eq!(it.emit(SECOND), [(0, 1, false), (1_000, 1, true), (2_000, 1, false)]);
}

#[test]
fn only_the_intervals_asked_for_are_emitted() {
    let mut it = Fold::default();
    it.trades(&[(1, 500)]);
    let mut rows = Vec::new();
    let symbol = Symbol::new("BTCUSDT").unwrap();
    it.candles.emit(&symbol, &it.known, Interval::Minute, &mut rows);
    let intervals: Vec<_> = rows.iter().map(|row| row.interval).collect();
    assert_eq!(intervals, [Interval::Second, Interval::Minute]);
}

#[test]
fn a_candle_is_the_same_in_any_order_of_arrival() {
    let trades = [(3, 103, 30, true), (1, 105, 10, false), (4, 101, 40, false), (2, 109, 20, true)];
    let mut expected = None;
    for turn in 0..trades.len() {
        let mut order = trades;
        order.rotate_left(turn);
        let mut candles = Candles::default();
        let known = Coverage::default();
        for (id, price, quantity, buyer_is_maker) in order {
            let (price, quantity) = (Decimal::from_units(price), Decimal::from_units(quantity));
            let trade = Trade { id, time: 500, price, quantity, buyer_is_maker };
            assert!(candles.fold(&trade, &known));
        }
        let candle = *candles.windows().next().unwrap().1;
        assert_eq!(*expected.get_or_insert(candle), candle);
        let units = Decimal::from_units;
        assert_eq!((candle.open, candle.close), (units(105), units(101)));
        assert_eq!((candle.high, candle.low), (units(109), units(101)));
        assert_eq!((candle.volume, candle.taker_buy_volume), (units(100), units(50)));
        assert_eq!((candle.trade_count, candle.first_trade_id, candle.last_trade_id), (4, 1, 4));
        let quote = units(105).times(units(10)).plus(units(101).times(units(40)));
        assert_eq!(candle.taker_buy_quote_volume, quote);
    }
}
