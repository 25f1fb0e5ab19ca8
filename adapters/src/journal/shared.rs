//! What readers and the writing thread share: where segments are, and the newest records in memory.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fts_core::port::log::{Record, Stored};
use fts_core::time::UnixNanos;
use tokio::sync::watch;

use super::format::{Run, record_bytes};
use super::stream::{PerStream, Slot, Streams};

/// Runs of one segment, by stream, in the order of their offsets.
pub(super) type Index = PerStream<Vec<Run>>;

/// As many indices of older segments are kept: for readers that catch up.
const INDICES_MAX: usize = 4;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) streams: Streams,
    tail_bytes_max: usize,
    state: Mutex<State>,
    commits: Vec<watch::Sender<u64>>,
}

/// The journal as it stands.
#[derive(Debug)]
pub(super) struct State {
    /// Oldest first; the last one is written to.
    pub(super) segments: VecDeque<Segment>,
    /// Runs of the last segment.
    pub(super) active: Index,
    /// The offset of each stream's next record.
    pub(super) next: PerStream<u64>,
    /// Below this, nobody will ask again.
    released: PerStream<u64>,
    tail: PerStream<Tail>,
    /// What came into memory in which order: stream, records, bytes.
    order: VecDeque<(Slot, usize, usize)>,
    tail_bytes: usize,
    /// Indices of older segments, the last used at the back.
    indices: VecDeque<(u64, Arc<Index>)>,
}

/// A segment file.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) seq: u64,
    pub(super) bytes: u64,
    pub(super) created_at: UnixNanos,
    /// The first offsets in it.
    pub(super) base: PerStream<u64>,
}

/// The newest records of a stream.
#[derive(Debug, Clone, Default)]
struct Tail {
    first: u64,
    records: VecDeque<Record>,
}

/// Where records are.
pub(super) enum Found {
    /// At the end.
    Nothing,
    /// Gone; the oldest there is.
    Expired(u64),
    /// In memory.
    Records(Vec<Stored>),
    /// In this segment.
    OnDisk(Place),
}

/// Where on disk.
pub(super) struct Place {
    pub(super) seq: u64,
    pub(super) path: PathBuf,
    /// The runs of the stream, where the segment is the last one.
    pub(super) runs: Option<Vec<Run>>,
    /// The index of the segment, if it is in memory.
    pub(super) index: Option<Arc<Index>>,
}

impl State {
    pub(super) fn new(
        streams: Streams,
        segments: VecDeque<Segment>,
        active: Index,
        next: PerStream<u64>,
    ) -> Self {
        let mut tail = PerStream::of(streams, Tail::default());
        for (slot, next) in next.iter() {
            tail[slot].first = *next;
        }
        Self {
            segments,
            active,
            next,
            released: PerStream::of(streams, 0),
            tail,
            order: VecDeque::new(),
            tail_bytes: 0,
            indices: VecDeque::new(),
        }
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Whether every record of the oldest segment was released, and it is not the only one.
    pub(super) fn is_oldest_released(&self) -> bool {
        self.segments.get(1).is_some_and(|second| {
            second.base.iter().all(|(slot, base)| *base <= self.released[slot])
        })
    }
}

pub(super) fn segment_path(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("{seq:012}.log"))
}

impl Shared {
    pub(super) fn new(dir: PathBuf, streams: Streams, tail_bytes_max: usize, state: State) -> Self {
        let commits = (0..streams.partitions).map(|_| watch::Sender::new(0)).collect();
        Self { dir, streams, tail_bytes_max, state: Mutex::new(state), commits }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of commits to a partition.
    pub(super) fn commits(&self, partition: u32) -> Option<watch::Receiver<u64>> {
        let sender = self.commits.get(usize::try_from(partition).ok()?)?;
        Some(sender.subscribe())
    }

    pub(super) fn release(&self, slot: Slot, below: u64) {
        let mut state = self.state();
        state.released[slot] = state.released[slot].max(below);
    }

    pub(super) fn bounds(&self, slot: Slot) -> (u64, u64) {
        let state = self.state();
        let oldest = state.segments.front().map_or(0, |segment| segment.base[slot]);
        (oldest, state.next[slot])
    }

    /// Where the records of `slot` from `from` on are.
    pub(super) fn find(&self, slot: Slot, from: u64, max_bytes: usize) -> Found {
        let mut state = self.state();
        if from >= state.next[slot] {
            return Found::Nothing;
        }
        let oldest = state.segments.front().map_or(0, |segment| segment.base[slot]);
        if from < oldest {
            return Found::Expired(oldest);
        }
        let tail = &state.tail[slot];
        if from >= tail.first {
            let skip = usize::try_from(from - tail.first).unwrap_or(usize::MAX);
            let mut bytes = 0;
            let mut records = Vec::new();
            for (offset, record) in (from..).zip(tail.records.iter().skip(skip)) {
                bytes += record.value.len();
                if bytes > max_bytes && !records.is_empty() {
                    break;
                }
                records.push(Stored { offset, record: record.clone() });
            }
            return Found::Records(records);
        }
        // The last segment that begins at or before it holds it.
        let Some(place) = state.segments.iter().rposition(|it| it.base[slot] <= from) else {
            return Found::Expired(oldest);
        };
        let is_active = place + 1 == state.segments.len();
        let Some(seq) = state.segments.get(place).map(|it| it.seq) else { return Found::Nothing };
        let runs = is_active.then(|| {
            let runs = &state.active[slot];
            let first = runs.partition_point(|run| run.end() <= from);
            // As many as a read can want: each has a record at least.
            runs.iter().skip(first).take(max_bytes / 64 + 1).copied().collect()
        });
        let index = state.indices.iter().position(|(it, _)| *it == seq).and_then(|at| {
            let used = state.indices.remove(at)?;
            let index = Arc::clone(&used.1);
            state.indices.push_back(used);
            Some(index)
        });
        Found::OnDisk(Place { seq, path: segment_path(&self.dir, seq), runs, index })
    }

    /// Keeps the index of an older segment for the next reads.
    pub(super) fn keep_index(&self, seq: u64, index: Arc<Index>) {
        let mut state = self.state();
        state.indices.retain(|(it, _)| *it != seq);
        state.indices.push_back((seq, index));
        while state.indices.len() > INDICES_MAX {
            state.indices.pop_front();
        }
    }

    /// Makes a commit visible: it is durable.
    pub(super) fn publish(&self, batches: Vec<(Slot, Vec<Record>)>, runs: &[Run], bytes: u64) {
        let mut touched = Vec::new();
        {
            let mut state = self.state();
            let state = &mut *state;
            for ((slot, records), run) in batches.into_iter().zip(runs) {
                state.active[slot].push(*run);
                state.next[slot] = run.end();
                let bytes = records.iter().map(record_bytes).sum();
                state.order.push_back((slot, records.len(), bytes));
                state.tail_bytes += bytes;
                state.tail[slot].records.extend(records);
                touched.push(self.streams.partition(slot));
            }
            if let Some(segment) = state.segments.back_mut() {
                segment.bytes = bytes;
            }
            while state.tail_bytes > self.tail_bytes_max
                && let Some((slot, count, bytes)) = state.order.pop_front()
            {
                let tail = &mut state.tail[slot];
                tail.records.drain(..count.min(tail.records.len()));
                tail.first += count as u64;
                state.tail_bytes -= bytes;
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for partition in touched {
            let sender = usize::try_from(partition).ok().and_then(|at| self.commits.get(at));
            if let Some(sender) = sender {
                sender.send_modify(|commits| *commits += 1);
            }
        }
    }
}
