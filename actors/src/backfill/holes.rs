//! What is missing of a symbol: since when each hole is known, and what an answer proves lost.

use std::collections::BTreeMap;
use std::time::Duration;

use fts_core::port::history::PastTrade;
use tokio::time::Instant;

/// Holes by their first ids, and since when each is known.
#[derive(Default)]
pub(super) struct Holes(BTreeMap<i64, Instant>);

/// Ranges of ids that are missing, ascending, ends inclusive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// From the first that has waited long enough on: what an answer has of them is of use.
    pub(super) all: Vec<(i64, i64)>,
    /// Those of them that have: an answer that skips one of these proves that it can't be had. One that
    /// has just been seen may still be on its way, to the stream and to the exchange's history alike.
    pub(super) ripe: Vec<(i64, i64)>,
}

impl Holes {
    /// Takes in what is missing (ascending), and says what to ask for: holes known for `delay`; an
    /// error is how long there are none. `None` where nothing is missing.
    pub(super) fn due(
        &mut self,
        missing: Vec<(i64, i64)>,
        now: Instant,
        delay: Duration,
    ) -> Option<Result<Missing, Duration>> {
        let known = std::mem::take(&mut self.0);
        let since = |first: &i64| (*first, known.get(first).copied().unwrap_or(now));
        self.0 = missing.iter().map(|(first, _)| since(first)).collect();
        let ready = *self.0.values().min()? + delay;
        if ready > now {
            return Some(Err(ready - now));
        }
        let is_ripe =
            |(first, _): &&(i64, i64)| self.0.get(first).is_some_and(|since| *since + delay <= now);
        let ripe: Vec<_> = missing.iter().filter(is_ripe).copied().collect();
        let from = ripe.first().map_or(i64::MAX, |(first, _)| *first);
        let all = missing.into_iter().filter(|(first, _)| *first >= from).collect();
        Some(Ok(Missing { all, ripe }))
    }
}

/// Whether one of the ranges has `id`.
pub(super) fn is_in(missing: &[(i64, i64)], id: i64) -> bool {
    missing.iter().any(|(first, last)| (*first..=*last).contains(&id))
}

/// What of the ranges lies at `from` or above.
pub(super) fn above(missing: &[(i64, i64)], from: i64) -> Vec<(i64, i64)> {
    let reaching = missing.iter().filter(|(_, last)| *last >= from);
    reaching.map(|(first, last)| (from.max(*first), *last)).collect()
}

/// The ids from `first` to `last` that an ascending answer skips: below its last id, all that is
/// not in it does not exist.
pub(super) fn absent(trades: &[PastTrade], first: i64, last: i64) -> Vec<(i64, i64)> {
    let mut absent = Vec::new();
    let mut next = first;
    for trade in trades {
        if trade.id > next {
            absent.push((next, (trade.id - 1).min(last)));
        }
        next = next.max(trade.id.saturating_add(1));
        if next > last {
            break;
        }
    }
    absent
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[track_caller]
    fn check(ids: &[i64], first: i64, last: i64, expected: &[(i64, i64)]) {
        let trade = |id: &i64| PastTrade { id: *id, value: Bytes::new() };
        let trades: Vec<_> = ids.iter().map(trade).collect();
        assert_eq!(absent(&trades, first, last), expected, "{ids:?} for {first} to {last}");
    }

    #[test]
    fn only_what_an_answer_skips_is_absent() {
        check(&[], 5, 9, &[]);
        check(&[5, 6, 7], 5, 9, &[]);
        check(&[5, 6, 7, 8, 9, 10], 5, 9, &[]);
        check(&[7], 5, 9, &[(5, 6)]);
        check(&[5, 8], 5, 9, &[(6, 7)]);
        check(&[20, 21], 5, 9, &[(5, 9)]);
        check(&[6, 20], 5, 9, &[(5, 5), (7, 9)]);
        // Of a hole that the answer begins before, and of one that it does not reach.
        check(&[1, 2, 7, 8], 5, 9, &[(5, 6)]);
        check(&[1, 2, 3], 5, 9, &[]);
    }

    #[test]
    fn what_lies_above_is_cut_where_it_begins_below() {
        let missing = [(3, 4), (6, 9), (12, 12)];
        assert_eq!(above(&missing, 0), missing);
        assert_eq!(above(&missing, 7), [(7, 9), (12, 12)]);
        assert_eq!(above(&missing, 9), [(9, 9), (12, 12)]);
        assert_eq!(above(&missing, 13), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hole_is_asked_for_once_it_is_old_and_those_behind_it_are_filled_by_the_way() {
        const DELAY: Duration = Duration::from_millis(200);
        let half = DELAY / 2;
        let mut holes = Holes::default();
        let mut due = |missing: &[(i64, i64)]| holes.due(missing.to_vec(), Instant::now(), DELAY);
        assert_eq!(due(&[]), None);
        assert_eq!(due(&[(5, 9)]), Some(Err(DELAY)));
        tokio::time::advance(half).await;
        assert_eq!(due(&[(5, 9), (20, 20)]), Some(Err(half)));
        tokio::time::advance(half).await;
        // The second is not judged by an answer to the first.
        let both = Missing { all: vec![(5, 9), (20, 20)], ripe: vec![(5, 9)] };
        assert_eq!(due(&[(5, 9), (20, 20)]), Some(Ok(both)));
        tokio::time::advance(half).await;
        // The first has closed in part: what is left of it waits anew, the second does not.
        let second = Missing { all: vec![(20, 20)], ripe: vec![(20, 20)] };
        assert_eq!(due(&[(7, 9), (20, 20)]), Some(Ok(second)));
        assert_eq!(due(&[(7, 9)]), Some(Err(DELAY)));
        // One that was closed, and is there again, is another one.
        assert_eq!(due(&[]), None);
        assert_eq!(due(&[(7, 9)]), Some(Err(DELAY)));
    }
}
