//! The newest records of a stream in memory: what one reader fetched, the others need not.

use std::collections::VecDeque;

use fts_core::port::log::Stored;

/// Neighbouring records, the newest last.
#[derive(Debug)]
pub(super) struct Tail {
    records: VecDeque<Stored>,
    /// What the record behind the last one would have.
    next: u64,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { records: VecDeque::new(), next: 0, bytes: 0, bytes_max }
    }

    /// The records from `from` on, if that one is here: at least one, about `max_bytes`.
    pub(super) fn read(&self, from: u64, max_bytes: usize) -> Option<Vec<Stored>> {
        let first = self.records.front()?.offset;
        if from < first || from >= self.next {
            return None;
        }
        let skip = self.records.partition_point(|it| it.offset < from);
        let mut bytes = 0;
        let mut found = Vec::new();
        for stored in self.records.range(skip..) {
            bytes += stored.record.value.len();
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            found.push(stored.clone());
        }
        Some(found)
    }

    /// Takes in what was fetched from `from` on. What does not go on where the tail ends is left
    /// out, unless it is farther on: then the tail starts over with it.
    pub(super) fn extend(&mut self, from: u64, fetched: &[Stored]) {
        let Some(last) = fetched.last() else { return };
        if from != self.next {
            if last.offset < self.next {
                return;
            }
            self.records.clear();
            self.bytes = 0;
        }
        self.next = last.offset + 1;
        for stored in fetched {
            self.bytes += stored.record.value.len();
            self.records.push_back(stored.clone());
        }
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.records.pop_front()
        {
            self.bytes -= oldest.record.value.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use fts_core::market::{Source, Symbol};
    use fts_core::port::log::Record;
    use fts_core::time::UnixNanos;

    use super::*;

    fn stored(offset: u64) -> Stored {
        let record = Record {
            key: Symbol::new("A").unwrap(),
            value: Bytes::from_static(&[0; 10]),
            received_at: UnixNanos(0),
            source: Source::Stream,
            feed: 0,
        };
        Stored { offset, record }
    }

    #[track_caller]
    fn check(tail: &Tail, from: u64, max_bytes: usize, expected: Option<&[u64]>) {
        let offsets =
            tail.read(from, max_bytes).map(|it| it.iter().map(|it| it.offset).collect::<Vec<_>>());
        assert_eq!(offsets.as_deref(), expected, "from {from}");
    }

    fn records(offsets: std::ops::Range<u64>) -> Vec<Stored> {
        offsets.map(stored).collect()
    }

    #[test]
    fn a_tail_forgets_the_oldest() {
        let mut tail = Tail::new(50);
        check(&tail, 0, 100, None);
        tail.extend(0, &records(0..3));
        tail.extend(3, &records(3..8));
        check(&tail, 2, 100, None);
        check(&tail, 3, 100, Some(&[3, 4, 5, 6, 7]));
        check(&tail, 6, 15, Some(&[6]));
        check(&tail, 6, 1, Some(&[6]));
        check(&tail, 8, 100, None);
    }

    #[test]
    fn what_lies_elsewhere_does_not_mix() {
        let mut tail = Tail::new(1_000);
        tail.extend(10, &records(10..12));
        tail.extend(5, &records(5..8));
        check(&tail, 5, 100, None);
        check(&tail, 10, 100, Some(&[10, 11]));
        tail.extend(20, &records(20..22));
        check(&tail, 11, 100, None);
        check(&tail, 20, 100, Some(&[20, 21]));
    }

    #[test]
    fn an_offset_that_does_not_exist_is_passed_over() {
        let mut tail = Tail::new(1_000);
        tail.extend(0, &[stored(0), stored(1)]);
        tail.extend(2, &[stored(4), stored(5)]);
        check(&tail, 1, 100, Some(&[1, 4, 5]));
        check(&tail, 2, 100, Some(&[4, 5]));
    }
}
