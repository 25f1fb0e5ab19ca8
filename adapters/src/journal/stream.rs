//! The streams of a journal – every topic of every partition – and tables with one entry each.

use std::ops::{Index, IndexMut};

use bytes::{Buf, BufMut};
use fts_core::market::Topic;

/// How many streams there are, and which is which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Streams {
    pub(super) partitions: u32,
}

/// The place of one stream in a [`PerStream`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(usize);

impl Slot {
    /// How the stream is called inside of a segment that lists the streams in our order.
    pub(super) fn number(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl Streams {
    /// The slot, unless there is no such partition.
    pub(super) fn slot(self, topic: Topic, partition: u32) -> Option<Slot> {
        let first = topic as usize * self.partitions as usize;
        (partition < self.partitions).then_some(Slot(first + partition as usize))
    }

    pub(super) fn len(self) -> usize {
        Topic::ALL.len() * self.partitions as usize
    }

    pub(super) fn all(self) -> impl Iterator<Item = Slot> {
        (0..self.len()).map(Slot)
    }

    /// The partition that the stream belongs to.
    pub(super) fn partition(self, slot: Slot) -> u32 {
        slot.number() % self.partitions.max(1)
    }

    fn topic(self, slot: Slot) -> Option<Topic> {
        Topic::ALL.get(slot.0 / (self.partitions.max(1) as usize)).copied()
    }

    /// Names the stream in a file: numbers would change their meaning with the next topic.
    pub(super) fn put(self, slot: Slot, out: &mut Vec<u8>) {
        let name = self.topic(slot).map_or("", Topic::name);
        out.put_u8(u8::try_from(name.len()).unwrap_or(0));
        out.put_slice(name.as_bytes());
        out.put_u32_le(self.partition(slot));
    }

    /// Reads what [`Streams::put`] wrote: the name, and the slot if this program knows it.
    pub(super) fn take(self, from: &mut &[u8]) -> Option<(String, Option<Slot>)> {
        let length = usize::from(from.try_get_u8().ok()?);
        let (name, rest) = from.split_at_checked(length)?;
        *from = rest;
        let name = String::from_utf8(name.to_vec()).ok()?;
        let partition = from.try_get_u32_le().ok()?;
        let slot = Topic::from_name(&name).and_then(|topic| self.slot(topic, partition));
        Some((name, slot))
    }
}

/// One `T` a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PerStream<T>(Vec<T>);

impl<T: Clone> PerStream<T> {
    pub(super) fn of(streams: Streams, value: T) -> Self {
        Self(vec![value; streams.len()])
    }
}

impl<T> PerStream<T> {
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        self.0.iter().enumerate().map(|(place, value)| (Slot(place), value))
    }
}

#[expect(clippy::indexing_slicing, reason = "slots come from `Streams`, which bounds them")]
impl<T> Index<Slot> for PerStream<T> {
    type Output = T;

    fn index(&self, slot: Slot) -> &T {
        &self.0[slot.0]
    }
}

#[expect(clippy::indexing_slicing, reason = "slots come from `Streams`, which bounds them")]
impl<T> IndexMut<Slot> for PerStream<T> {
    fn index_mut(&mut self, slot: Slot) -> &mut T {
        &mut self.0[slot.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_has_a_slot_of_its_own_and_keeps_its_name() {
        let streams = Streams { partitions: 3 };
        let mut seen = Vec::new();
        for topic in Topic::ALL {
            for partition in 0..3 {
                let slot = streams.slot(topic, partition).unwrap();
                let mut name = Vec::new();
                streams.put(slot, &mut name);
                let mut rest = name.as_slice();
                assert_eq!(streams.take(&mut rest), Some((topic.name().to_owned(), Some(slot))));
                assert!(rest.is_empty());
                assert_eq!(streams.partition(slot), partition);
                seen.push(slot);
            }
        }
        assert_eq!(seen, streams.all().collect::<Vec<_>>());
        assert_eq!(streams.slot(Topic::Trade, 3), None);
    }
}
