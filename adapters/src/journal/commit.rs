//! The one thread that writes: it takes all that waits as one commit, makes it durable, and only
//! then lets readers see it and tells the appenders.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use fts_core::metrics::{
    LOG_APPENDED_BYTES_TOTAL, LOG_APPENDED_RECORDS_TOTAL, LOG_COMMIT_SECONDS, LOG_DISK_BYTES,
    LOG_SEGMENTS,
};
use fts_core::port::log::{Append, LogError, Record};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;

use super::JournalConfig;
use super::format::{Batch, Header, encode_unit};
use super::shared::{Segment, Shared, segment_path};
use super::stream::{PerStream, Slot, Streams};

/// Requests taken into one commit.
const REQUESTS_MAX: usize = 4_096;
/// Bytes after which no further request is taken into a commit.
const COMMIT_BYTES: usize = 8 << 20;
/// The least time from the start of a commit to that of the next: a commit costs its write, its
/// fsync and the waking of whoever waits for it, whether it has one record or hundreds.
const COMMITS_APART: Duration = Duration::from_millis(4);

/// An append on its way to the disk.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) batch: Vec<Append>,
    pub(super) done: oneshot::Sender<Result<(), LogError>>,
    /// Its share of the queue's memory.
    pub(super) room: OwnedSemaphorePermit,
}

/// Starts the thread; it ends when the queue's other end is dropped.
pub(super) fn start(
    config: JournalConfig,
    streams: Streams,
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Request>,
) -> Result<JoinHandle<()>, (PathBuf, io::Error)> {
    let last = shared.state().segments.back().map(|segment| (segment.seq, segment.bytes));
    let (seq, position) = last.unwrap_or((0, 0));
    let mut writer =
        Writer { config, streams, shared, file: None, seq, position, buffer: Vec::new() };
    let opened = if last.is_some() { writer.reopen() } else { writer.roll() };
    opened.map_err(|error| (segment_path(&writer.config.dir, writer.seq), error))?;
    std::thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || writer.run(queue))
        .map_err(|error| (PathBuf::from("journal"), error))
}

struct Writer {
    config: JournalConfig,
    streams: Streams,
    shared: Arc<Shared>,
    file: Option<File>,
    seq: u64,
    position: u64,
    buffer: Vec<u8>,
}

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut broken = None;
        let mut not_before = Instant::now();
        while let Some(first) = queue.blocking_recv() {
            std::thread::sleep(not_before.saturating_duration_since(Instant::now()));
            not_before = Instant::now() + COMMITS_APART;
            let mut requests = vec![first];
            let mut bytes = weigh(&requests);
            while requests.len() < REQUESTS_MAX
                && bytes < COMMIT_BYTES
                && let Ok(request) = queue.try_recv()
            {
                requests.push(request);
                bytes += requests.last().map_or(0, |it| weigh(std::slice::from_ref(it)));
            }
            let mut answers = Vec::with_capacity(requests.len());
            let mut batches = PerStream::of(self.streams, Vec::new());
            for Request { batch, done, room } in requests {
                answers.push((done, room));
                for Append { topic, partition, record } in batch {
                    if let Some(slot) = self.streams.slot(topic, partition) {
                        batches[slot].push(record);
                    }
                }
            }
            let outcome = match &broken {
                Some(error) => Err(LogError::clone(error)),
                None => self.commit(batches),
            };
            if let Err(error @ LogError::Broken(_)) = &outcome {
                tracing::error!(%error, "the log takes nothing any more");
                broken = Some(error.clone());
            }
            for (done, _room) in answers {
                // An appender that gave up needs no answer.
                let _ = done.send(outcome.clone());
            }
        }
    }

    fn commit(&mut self, batches: PerStream<Vec<Record>>) -> Result<(), LogError> {
        let started = Instant::now();
        if self.position >= self.config.segment_bytes {
            // Before it, too: on a full disk there is room for it only once others are gone.
            self.sweep();
            self.roll().map_err(|error| self.refuse(&error))?;
            self.sweep();
        }
        let slots: Vec<Slot> = self.streams.all().filter(|it| !batches[*it].is_empty()).collect();
        let next = self.shared.state().next.clone();
        let units: Vec<Batch<'_>> = slots
            .iter()
            .map(|slot| Batch { slot: *slot, base: next[*slot], records: &batches[*slot] })
            .collect();
        let position = usize::try_from(self.position).unwrap_or(usize::MAX);
        let at = (self.seq, position);
        let runs = encode_unit(&mut self.buffer, at, self.config.clock.now(), &units);
        drop(units);
        if let Err(error) = self.write() {
            let refused = self.refuse(&error);
            if matches!(refused, LogError::Broken(_)) || !self.sweep() {
                return Err(refused);
            }
            self.write().map_err(|error| self.refuse(&error))?;
        }
        self.position += self.buffer.len() as u64;
        let records: u64 = runs.iter().map(|run| u64::from(run.count)).sum();
        let mut batches = batches;
        let committed =
            slots.into_iter().map(|slot| (slot, std::mem::take(&mut batches[slot]))).collect();
        self.shared.publish(committed, &runs, self.position);
        metrics::counter!(LOG_APPENDED_RECORDS_TOTAL).increment(records);
        metrics::counter!(LOG_APPENDED_BYTES_TOTAL).increment(self.buffer.len() as u64);
        metrics::histogram!(LOG_COMMIT_SECONDS).record(started.elapsed().as_secs_f64());
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        let file = self.file.as_mut().ok_or_else(|| io::Error::other("no segment is open"))?;
        file.write_all(&self.buffer).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => error,
            // Told apart from a full disk, whose half-written commit can be taken back.
            _ => io::Error::other(error),
        })?;
        // After a failed fsync nobody knows what is on disk: never try again.
        file.sync_data().map_err(io::Error::other)
    }

    /// What a failed write means. A full disk is cut back to the last commit and may be tried again.
    fn refuse(&mut self, error: &io::Error) -> LogError {
        let path = segment_path(&self.config.dir, self.seq);
        let is_full =
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        if is_full {
            let back = self.file.as_mut().map(|file| {
                file.set_len(self.position)?;
                file.seek(SeekFrom::Start(self.position)).map(drop)
            });
            if let Some(Ok(())) = back {
                let what = "the disk is full: make room, or lower log.retention_bytes";
                return LogError::Unavailable(format!("{}: {what}", path.display()));
            }
        }
        LogError::Broken(format!("cannot write {}: {error}", path.display()))
    }

    fn reopen(&mut self) -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).open(segment_path(&self.config.dir, self.seq))?;
        file.seek(SeekFrom::Start(self.position))?;
        self.file = Some(file);
        Ok(())
    }

    /// Goes on in a further segment. Its header is durable before it takes a commit.
    fn roll(&mut self) -> io::Result<()> {
        let seq = self.seq + 1;
        let now = self.config.clock.now();
        let next = self.shared.state().next.clone();
        let header = Header::encode(seq, now, self.streams, &next);
        let path = segment_path(&self.config.dir, seq);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
        let written = file.write_all(&header).and_then(|()| file.sync_all());
        if let Err(error) = written.and_then(|()| File::open(&self.config.dir)?.sync_all()) {
            // Without it the last segment still takes commits.
            drop(fs::remove_file(&path));
            return Err(error);
        }
        (self.seq, self.position, self.file) = (seq, header.len() as u64, Some(file));
        let mut state = self.shared.state();
        state.active = PerStream::of(self.streams, Vec::new());
        let bytes = self.position;
        state.segments.push_back(Segment { seq, bytes, created_at: now, base: next });
        Ok(())
    }

    /// Drops the oldest segments that are too old or too many, as far as nobody needs them. Whether
    /// there were any.
    fn sweep(&self) -> bool {
        let now = self.config.clock.now();
        let mut is_freed = false;
        loop {
            let mut state = self.shared.state();
            let (count, bytes) = (state.segments.len(), state.bytes());
            metrics::gauge!(LOG_SEGMENTS).set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
            metrics::gauge!(LOG_DISK_BYTES)
                .set(f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) * 1_024.0);
            // A segment is as old as its last record, which is older than the next one's first.
            let ended_at = state.segments.get(1).map(|second| second.created_at);
            let is_old = self.config.retention_ms > 0
                && ended_at.is_some_and(|at| now.millis() - at.millis() > self.config.retention_ms);
            let is_much = bytes > self.config.retention_bytes;
            if !(is_old || is_much) || !state.is_oldest_released() {
                return is_freed;
            }
            let Some(oldest) = state.segments.pop_front() else { return is_freed };
            drop(state);
            is_freed = true;
            let path = segment_path(&self.config.dir, oldest.seq);
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove an old segment");
            }
        }
    }
}

fn weigh(requests: &[Request]) -> usize {
    requests.iter().flat_map(|it| &it.batch).map(|it| it.record.value.len()).sum()
}
