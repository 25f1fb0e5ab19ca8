//! The streams of the log – every topic of every partition – and how far each is known to reach.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fts_core::market::Topic;
use tokio::sync::watch;

/// An end that was not asked for yet.
const UNKNOWN: u64 = u64::MAX;

/// How many streams there are, what they are called, where they end.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) partitions: u32,
    names: Vec<String>,
    /// The offset of each stream's next record, as far as is known here.
    ends: Vec<AtomicU64>,
    /// Tells, by partition, that there may be records which there were not.
    news: Vec<News>,
}

/// Tells that something came. Nobody is woken twice before having looked.
#[derive(Debug, Default)]
struct News {
    told: AtomicBool,
    sender: watch::Sender<()>,
}

/// The place of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) topic: Topic,
    pub(super) partition: u32,
    pub(super) place: usize,
}

impl Slot {
    /// The partition as Kafka counts.
    pub(super) fn number(self) -> i32 {
        i32::try_from(self.partition).unwrap_or(i32::MAX)
    }
}

impl Streams {
    pub(super) fn new(prefix: &str, partitions: u32) -> Self {
        let count = Topic::ALL.len() * partitions as usize;
        Self {
            partitions,
            names: Topic::ALL.iter().map(|topic| format!("{prefix}{}", topic.name())).collect(),
            ends: (0..count).map(|_| AtomicU64::new(UNKNOWN)).collect(),
            news: (0..partitions).map(|_| News::default()).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The slot, unless there is no such partition.
    pub(super) fn slot(&self, topic: Topic, partition: u32) -> Option<Slot> {
        let place = topic as usize * self.partitions as usize + partition as usize;
        (partition < self.partitions).then_some(Slot { topic, partition, place })
    }

    /// What Kafka calls the topic.
    pub(super) fn name(&self, topic: Topic) -> &str {
        self.names.get(topic as usize).map_or("", String::as_str)
    }

    /// Where the stream ends, at least.
    pub(super) fn end(&self, slot: Slot) -> Option<u64> {
        let end = self.ends.get(slot.place)?.load(Ordering::Acquire);
        (end != UNKNOWN).then_some(end)
    }

    /// The stream reaches up to `end`, or farther.
    pub(super) fn reaches(&self, slot: Slot, end: u64) {
        let Some(known) = self.ends.get(slot.place) else { return };
        let farther = |known| (known == UNKNOWN || known < end).then_some(end);
        // Nothing to do where it is known already.
        let _ = known.fetch_update(Ordering::AcqRel, Ordering::Acquire, farther);
    }

    /// Wakes whoever waits for records of the partition.
    pub(super) fn wake(&self, partition: u32) {
        if let Some(news) = self.news.get(partition as usize)
            && !news.told.swap(true, Ordering::AcqRel)
        {
            news.sender.send_replace(());
        }
    }

    /// Hears of what is told from here on: look for what there is after this call, not before.
    pub(super) fn news(&self, partition: u32) -> Option<watch::Receiver<()>> {
        let news = self.news.get(partition as usize)?;
        let mut receiver = news.sender.subscribe();
        receiver.mark_unchanged();
        news.told.store(false, Ordering::Release);
        Some(receiver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_has_a_slot_of_its_own_and_an_end_that_only_rises() {
        let streams = Streams::new("a.", 3);
        let mut places: Vec<usize> = Topic::ALL
            .iter()
            .flat_map(|topic| (0..3).map(|it| streams.slot(*topic, it).unwrap().place))
            .collect();
        places.sort_unstable();
        assert_eq!(places, (0..streams.len()).collect::<Vec<_>>());
        assert_eq!(streams.slot(Topic::Trade, 3), None);
        assert_eq!(streams.name(Topic::Ticker), "a.binanceTicker");

        let slot = streams.slot(Topic::Kline, 1).unwrap();
        assert_eq!(streams.end(slot), None);
        for (end, expected) in [(0, 0), (7, 7), (3, 7)] {
            streams.reaches(slot, end);
            assert_eq!(streams.end(slot), Some(expected));
        }
    }
}
