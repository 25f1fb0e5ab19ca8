//! Plays a tape: reads ahead on a thread of its own, sends each frame when it is due.

use super::history::Tape;
use super::line::{Facts, facts};
use super::merge::{Merge, Recorded};
use crate::config::{Speed, Start};
use crate::hub::{Hub, StreamId};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// After the first subscription others may still join for this long.
const SETTLE: Duration = Duration::from_millis(250);
/// Frames handed from the reader to the player at once, and how many such chunks may wait.
const CHUNK: usize = 256;
const CHUNKS_AHEAD: usize = 16;
/// At `max` speed: frames between two looks at whether the subscribers keep up.
const FRAMES_UNLOOKED: usize = 64;

/// A frame ready to be sent.
#[derive(Debug)]
struct Ready {
    frame: Recorded,
    stream: StreamId,
    symbol: Option<usize>,
    facts: Facts,
}

/// Everything that playing needs.
#[derive(Debug)]
pub(crate) struct Player {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) speed: Speed,
    pub(crate) start: Start,
    pub(crate) tape: Arc<Tape>,
    pub(crate) hub: Arc<Hub>,
    /// Told the number of frames when the tape has ended.
    pub(crate) ended: watch::Sender<Option<u64>>,
}

impl Player {
    /// Waits for its start, plays to the end, returns.
    pub(crate) async fn play(self) {
        if self.start == Start::First {
            self.hub.first_subscription().await;
            tokio::time::sleep(SETTLE).await;
        }
        let (sender, mut chunks) = mpsc::channel(CHUNKS_AHEAD);
        let reader = {
            let (files, tape, hub) = (self.files.clone(), self.tape.clone(), self.hub.clone());
            tokio::task::spawn_blocking(move || read(&files, &tape, &hub, &sender))
        };
        let begun = Instant::now();
        let mut first = None;
        let mut frames = 0_u64;
        while let Some(chunk) = chunks.recv().await {
            frames += chunk.len() as u64;
            match self.speed {
                Speed::Max => self.play_unhurried(&chunk).await,
                Speed::Times(speed) => {
                    let first = *first.get_or_insert_with(|| {
                        chunk.first().map_or(0, |ready: &Ready| ready.frame.received)
                    });
                    self.play_timed(&chunk, begun, first, speed).await;
                }
            }
        }
        match reader.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the tape broke off while it was played"),
            Err(error) => tracing::error!(%error, "the tape's reader failed"),
        }
        self.ended.send_replace(Some(frames));
    }

    async fn play_unhurried(&self, chunk: &[Ready]) {
        for part in chunk.chunks(FRAMES_UNLOOKED) {
            self.hub.room().await;
            self.send(part);
        }
    }

    async fn play_timed(&self, chunk: &[Ready], begun: Instant, first: i64, speed: f64) {
        let mut rest = chunk;
        while let Some(next) = rest.first() {
            tokio::time::sleep_until(begun + due(next.frame.received, first, speed)).await;
            let elapsed = begun.elapsed();
            let ready = rest
                .iter()
                .position(|ready| due(ready.frame.received, first, speed) > elapsed)
                .unwrap_or(rest.len())
                .max(1);
            let (now, later) = rest.split_at(ready);
            self.send(now);
            rest = later;
        }
    }

    /// REST learns of a trade before any subscriber does.
    fn send(&self, frames: &[Ready]) {
        let mut burst = self.hub.burst();
        for ready in frames {
            if let Some(symbol) = ready.symbol {
                self.tape.learn(symbol, &ready.facts);
            }
            let text = ready.frame.text.as_bytes();
            let data = text.get(ready.frame.data.clone()).unwrap_or_default();
            burst.send_recorded(ready.stream, text, data);
        }
    }
}

/// When a frame is due after the start of playing.
fn due(received: i64, first: i64, speed: f64) -> Duration {
    let gap = u64::try_from(received.saturating_sub(first)).unwrap_or(0);
    Duration::from_nanos(gap).div_f64(speed)
}

fn read(
    files: &[PathBuf],
    tape: &Tape,
    hub: &Hub,
    sender: &mpsc::Sender<Vec<Ready>>,
) -> Result<(), super::file::TapeError> {
    let mut merge = Merge::open(files, false)?;
    let mut chunk = Vec::with_capacity(CHUNK);
    while let Some(frame) = merge.next()? {
        // A stream that the first reading did not see: the file has grown since. Not played.
        let Some(stream) = hub.stream(&frame.stream) else { continue };
        let (symbol, facts) = understand(tape, &frame);
        chunk.push(Ready { frame, stream, symbol, facts });
        if chunk.len() == CHUNK {
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
            if sender.blocking_send(full).is_err() {
                return Ok(());
            }
        }
    }
    let _ = sender.blocking_send(chunk);
    Ok(())
}

fn understand(tape: &Tape, frame: &Recorded) -> (Option<usize>, Facts) {
    let Some((symbol, kind)) = frame.stream.split_once('@') else {
        return (None, Facts::default());
    };
    let data = frame.text.get(frame.data.clone()).unwrap_or_default();
    let facts = facts(kind, data).unwrap_or_else(|| {
        tracing::warn!(stream = frame.stream, "a frame is played that REST can't understand");
        Facts::default()
    });
    (tape.symbol(&symbol.to_uppercase()), facts)
}
