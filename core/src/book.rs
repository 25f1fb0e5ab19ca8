//! Best bid and ask: arbitration by update id, and the fold into seconds.
//!
//! Update ids rise with holes, so nothing can be proven missing; a repeat, though, can be told. The
//! exchange sends no time with them: seconds are those of the receive time that the log keeps.

use std::collections::VecDeque;

use crate::decimal::Decimal;
use crate::market::{BookTicker, Symbol};
use crate::row::{BookSecond, BookSecondRow, Extent};

/// At least so many of the newest update ids are remembered, and those of the seconds that may still
/// change, up to so many. Two feeds usually run apart by tens of milliseconds; while a node or the log has
/// too much to do, by seconds. The busiest second on record has 1,362 updates.
const SEEN_MIN: usize = 256;
const SEEN_MAX: usize = 16_384;
const SECOND_MS: i64 = 1_000;
/// How long a second may still change, for an update that comes to the log late.
const GRACE_MS: i64 = 30_000;

/// The book of one symbol.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Book {
    seen: Recent,
    seconds: VecDeque<OpenSecond>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OpenSecond {
    second: BookSecond,
    emitted: i64,
}

impl Book {
    /// Puts back together what [`Book::parts`] took apart. Everything counts as not emitted.
    pub fn from_parts(
        seen: impl IntoIterator<Item = i64>,
        seconds: impl IntoIterator<Item = BookSecond>,
    ) -> Self {
        let open = |second| OpenSecond { second, emitted: 0 };
        Self { seen: Recent::from_ids(seen), seconds: seconds.into_iter().map(open).collect() }
    }

    /// The newest update ids, and the seconds that may still change.
    pub fn parts(
        &self,
    ) -> (impl Iterator<Item = i64> + '_, impl Iterator<Item = &BookSecond> + '_) {
        (self.seen.ids(), self.seconds.iter().map(|open| &open.second))
    }

    /// Takes in a change, received at `received_at` (epoch milliseconds). False if it repeats what
    /// is known, or is too old to tell.
    pub fn absorb(&mut self, book: &BookTicker, received_at: i64) -> bool {
        if !self.seen.insert(book.update_id, SEEN_MIN) {
            return false;
        }
        let open_time = received_at - received_at.rem_euclid(SECOND_MS);
        if let Some(open) = self.seconds.back_mut()
            && open.second.open_time == open_time
        {
            open.second.add(book);
            return true;
        }
        // What is over stays as it is, be it still held here or not: two copies with the same past agree.
        if open_time > self.is_over() {
            let place = self.seconds.partition_point(|open| open.second.open_time < open_time);
            match self.seconds.get_mut(place) {
                Some(open) if open.second.open_time == open_time => open.second.add(book),
                _ => {
                    let second = BookSecond::of(book, open_time);
                    self.seconds.insert(place, OpenSecond { second, emitted: 0 });
                }
            }
        }
        // Of the second before the oldest that may change, too: a change may be older than all of its own.
        let past = self.is_over().saturating_sub(SECOND_MS);
        let first = self.seconds.iter().find(|open| open.second.open_time > past);
        let first = first.map_or(i64::MIN, |open| open.second.first_update_id);
        self.seen.forget(first, SEEN_MIN, SEEN_MAX);
        true
    }

    /// Seconds that begin at this time or before (epoch milliseconds) change no more.
    fn is_over(&self) -> i64 {
        let newest = self.seconds.back().map_or(i64::MIN, |open| open.second.open_time);
        newest.saturating_sub(GRACE_MS)
    }

    /// Appends to `rows` what changed; forgets the seconds that are over.
    pub fn emit(&mut self, symbol: &Symbol, rows: &mut Vec<BookSecondRow>) {
        let past = self.is_over().saturating_sub(SECOND_MS);
        self.seconds.retain_mut(|open| {
            if open.second.update_count > open.emitted {
                rows.push(BookSecondRow { symbol: symbol.clone(), second: open.second });
                open.emitted = open.second.update_count;
                return true;
            }
            open.second.open_time > past
        });
    }
}

impl BookSecond {
    fn of(book: &BookTicker, open_time: i64) -> Self {
        let at = |price| Extent { open: price, high: price, low: price, close: price };
        let mut second = Self {
            open_time,
            bid: at(book.bid_price),
            ask: at(book.ask_price),
            spread_sum: Decimal::ZERO,
            update_count: 0,
            first_update_id: book.update_id,
            last_update_id: book.update_id,
        };
        second.add(book);
        second
    }

    fn add(&mut self, book: &BookTicker) {
        let first = book.update_id <= self.first_update_id;
        let last = book.update_id >= self.last_update_id;
        self.bid.add(book.bid_price, first, last);
        self.ask.add(book.ask_price, first, last);
        self.spread_sum = self.spread_sum.plus(book.ask_price.minus(book.bid_price));
        self.update_count += 1;
        self.first_update_id = self.first_update_id.min(book.update_id);
        self.last_update_id = self.last_update_id.max(book.update_id);
    }
}

impl Extent {
    fn add(&mut self, price: Decimal, first: bool, last: bool) {
        if first {
            self.open = price;
        }
        if last {
            self.close = price;
        }
        self.high = self.high.max(price);
        self.low = self.low.min(price);
    }
}

/// The newest of a rising sequence of ids, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recent(VecDeque<i64>);

impl Recent {
    /// Of these ids.
    pub fn from_ids(ids: impl IntoIterator<Item = i64>) -> Self {
        let mut recent = Self::default();
        for id in ids {
            recent.insert(id, usize::MAX);
        }
        recent
    }

    /// The ids remembered, ascending.
    pub fn ids(&self) -> impl Iterator<Item = i64> + '_ {
        self.0.iter().copied()
    }

    /// Whether `id` is unheard of; remembers it. Where `enough` are remembered, what is older than all of
    /// them counts as heard: it may have been forgotten.
    pub fn insert(&mut self, id: i64, enough: usize) -> bool {
        if self.0.back().is_none_or(|newest| *newest < id) {
            self.0.push_back(id);
            return true;
        }
        match self.0.binary_search(&id) {
            Ok(_) => false,
            Err(0) if self.0.len() >= enough => false,
            Err(place) => {
                self.0.insert(place, id);
                true
            }
        }
    }

    /// Forgets the oldest: those below `id` as long as `min` are left, and all but `max`.
    pub fn forget(&mut self, id: i64, min: usize, max: usize) {
        let below = self.0.partition_point(|it| *it < id);
        let len = self.0.len();
        let surplus = below.min(len.saturating_sub(min)).max(len.saturating_sub(max));
        self.0.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(update_id: i64, bid: i64, ask: i64) -> BookTicker {
        let units = Decimal::from_units;
        BookTicker {
            update_id,
            bid_price: units(bid),
            bid_quantity: units(1),
            ask_price: units(ask),
            ask_quantity: units(1),
        }
    }

    #[test]
    fn a_second_is_the_same_in_any_order_of_arrival() {
        let updates = [update(1, 10, 12), update(2, 11, 15), update(3, 9, 10)];
        let fold = |order: &[usize]| {
            let mut book = Book::default();
            for &index in order {
                assert!(book.absorb(&updates[index], 1_500));
            }
            let mut rows = Vec::new();
            book.emit(&Symbol::new("BTCUSDT").unwrap(), &mut rows);
            rows
        };
        let rows = fold(&[0, 1, 2]);
        assert_eq!(rows, fold(&[2, 0, 1]));
        assert_eq!(rows, fold(&[1, 2, 0]));
        let second = rows[0].second;
        let units = Decimal::from_units;
        assert_eq!(second.open_time, 1_000);
        assert_eq!((second.bid.open, second.bid.high), (units(10), units(11)));
        assert_eq!((second.bid.low, second.bid.close), (units(9), units(9)));
        assert_eq!((second.ask.open, second.ask.close), (units(12), units(10)));
        assert_eq!(second.mean_spread().to_string(), "2.33333333");
    }

    /// Of changes that come one every `step` milliseconds, one that comes after `later` of those behind it.
    #[track_caller]
    fn check_lateness(step: i64, later: i64, is_told: bool) {
        let mut book = Book::default();
        let late = 1_000;
        for id in (0..late).chain(late + 1..=late + later) {
            assert!(book.absorb(&update(id, 1, 2), id * step));
            assert!(!book.absorb(&update(id, 1, 2), id * step), "a repeat");
        }
        let is_fresh = book.absorb(&update(late, 1, 2), late * step);
        assert_eq!(is_fresh, is_told, "{later} later, one every {step} ms");
        assert!(!book.absorb(&update(late, 1, 2), late * step), "a repeat, told or not");
    }

    #[test]
    fn what_comes_late_is_told_from_a_repeat_while_its_second_may_change() {
        check_lateness(10, 2_900, true);
        check_lateness(10, 3_200, false);
        check_lateness(1, 16_000, true);
        check_lateness(1, 18_000, false);
        check_lateness(1_000, 250, true);
        check_lateness(1_000, 260, false);
    }

    #[test]
    fn of_a_quiet_symbol_the_newest_changes_are_known_however_old() {
        let mut book = Book::default();
        let hour = 3_600_000;
        for id in 1..=300 {
            assert!(book.absorb(&update(2 * id, 1, 2), id * hour));
        }
        assert_eq!(book.parts().0.count(), SEEN_MIN);
        assert!(book.absorb(&update(599, 1, 2), 300 * hour), "between the newest two");
        assert!(!book.absorb(&update(1, 1, 2), 300 * hour), "older than all that is remembered");
    }

    #[test]
    fn memory_has_a_bound_however_busy_or_late() {
        let max = i64::try_from(SEEN_MAX).unwrap();
        let mut book = Book::default();
        for id in 1..=3 * max {
            assert!(book.absorb(&update(id, 1, 2), id));
        }
        assert!(book.parts().0.count() <= SEEN_MAX + 1_000, "of a second more at most");
        for id in 3 * max..6 * max {
            book.absorb(&update(1 + id, 1, 2), 0);
        }
        assert_eq!(book.parts().0.count(), SEEN_MAX, "by a clock that lags behind");
    }

    /// A change received so long after its second began to be over; whether it still counts.
    #[track_caller]
    fn check_late(newest: i64, flushed: bool, counts: bool) {
        let symbol = Symbol::new("BTCUSDT").unwrap();
        let mut book = Book::default();
        book.absorb(&update(1, 1, 2), 500);
        book.absorb(&update(2, 1, 2), newest);
        let mut rows = Vec::new();
        if flushed {
            book.emit(&symbol, &mut rows);
            book.emit(&symbol, &mut rows);
        }
        assert!(book.absorb(&update(3, 1, 2), 700), "it is a change of its own either way");
        rows.clear();
        book.emit(&symbol, &mut rows);
        let first: Vec<_> = rows
            .iter()
            .filter(|row| row.second.open_time == 0)
            .map(|row| row.second.update_count)
            .collect();
        let expected = match (counts, flushed) {
            (true, _) => vec![2],
            (false, false) => vec![1],
            (false, true) => vec![],
        };
        assert_eq!(first, expected, "newest {newest}, flushed: {flushed}");
    }

    #[test]
    fn a_second_that_is_over_is_left_as_it_is_emitted_or_not() {
        for flushed in [false, true] {
            check_late(1_000, flushed, true);
            check_late(GRACE_MS - 1, flushed, true);
            check_late(GRACE_MS, flushed, false);
            check_late(99_000, flushed, false);
        }
    }

    #[test]
    fn only_changes_are_emitted_and_only_what_is_over_is_forgotten() {
        let symbol = Symbol::new("BTCUSDT").unwrap();
        let mut book = Book::default();
        let emit = |book: &mut Book| {
            let mut rows = Vec::new();
            book.emit(&symbol, &mut rows);
            rows.len()
        };
        book.absorb(&update(1, 1, 2), 0);
        assert_eq!(emit(&mut book), 1);
        assert_eq!(emit(&mut book), 0, "nothing changed");
        book.absorb(&update(2, 1, 2), GRACE_MS);
        assert_eq!((emit(&mut book), book.parts().1.count()), (1, 2));
        book.absorb(&update(3, 1, 2), GRACE_MS + SECOND_MS);
        assert_eq!((emit(&mut book), book.parts().1.count()), (1, 2));
    }
}
