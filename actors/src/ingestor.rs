//! Owns a socket of the exchange's streams and appends every frame to the log as it came.
//!
//! - Supervised by [`crate::supervisor`], restarted alone.
//! - Receives frames from its connection.
//! - Emits records to the log, and the word "connected" to the backfills of its symbols.
//! - Loses, if it dies, what the exchange sends until it is back: trades come by backfill, changes
//!   of the book in between are gone (two feeds prevent that).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fts_core::backoff::Backoff;
use fts_core::market::{Source, Symbol};
use fts_core::port::feed::{Connection, Feed, FeedError, Frame};
use fts_core::port::log::{Append, Log, LogError, Record};
use fts_core::time::Clock;

use crate::partition::Partition;
use crate::view::View;
use crate::worker::{Job, JobError, Stop};

/// Frames taken from the socket at once: with frames of up to some kilobytes, a bound on memory.
const FRAMES_MAX: usize = 1_024;
/// How long to leave a log alone that is out of reach.
const LOG_RETRY: Duration = Duration::from_millis(200);

/// The job.
#[expect(missing_debug_implementations, reason = "a port has nothing to show")]
pub struct Ingestor {
    /// What operators call the feed: `A-0`.
    pub name: String,
    /// 0 is A, 1 is B.
    pub feed: u8,
    /// Whose streams it owns.
    pub symbols: Vec<Symbol>,
    /// Where frames come from.
    pub source: Arc<dyn Feed>,
    /// Where they go.
    pub log: Arc<dyn Log>,
    /// Who hears that it is connected, by number.
    pub partitions: Vec<Arc<Partition>>,
    /// What the node shows.
    pub view: Arc<View>,
    /// The clock; also the source of chance for the backoff.
    pub clock: Arc<dyn Clock>,
    /// Bounds of the wait between attempts to connect.
    pub backoff: Backoff,
}

#[async_trait]
impl Job for Ingestor {
    async fn run(&self, mut stop: Stop) -> Result<(), JobError> {
        let mut backoff = self.backoff;
        self.view.update(|picture| {
            let view = picture.feeds.entry(self.name.clone()).or_default();
            view.symbols = self.symbols.len();
        });
        let mut waiting = None;
        loop {
            let connection = match waiting.take() {
                Some(connection) => Ok(connection),
                None => tokio::select! {
                    () = stop.requested() => return Ok(()),
                    connection = self.source.connect(&self.symbols) => connection,
                },
            };
            let error = match connection {
                Ok(connection) => {
                    self.connected();
                    let (received, ended) = self.drive(connection, &mut stop).await?;
                    if received {
                        backoff.reset();
                    }
                    match ended {
                        Ended::Stopped => return Ok(()),
                        Ended::Replaced(next) => {
                            waiting = Some(next);
                            continue;
                        }
                        Ended::Lost(error) => error,
                    }
                }
                Err(error) => error,
            };
            self.disconnected(&error);
            let wait = backoff.next(chance(&*self.clock));
            tracing::info!(feed = self.name, %error, ?wait, "not connected; trying again");
            tokio::select! {
                () = stop.requested() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

/// How a connection ended.
enum Ended {
    Stopped,
    Lost(FeedError),
    Replaced(Box<dyn Connection>),
}

impl Ingestor {
    /// Reads a connection to its end. Also tells whether it delivered anything.
    async fn drive(
        &self,
        mut connection: Box<dyn Connection>,
        stop: &mut Stop,
    ) -> Result<(bool, Ended), JobError> {
        let mut received = false;
        loop {
            let frames = tokio::select! {
                () = stop.requested() => return Ok((received, Ended::Stopped)),
                frames = connection.next(FRAMES_MAX) => frames,
            };
            match frames {
                Ok(frames) => {
                    received = true;
                    self.append(frames, stop).await?;
                }
                Err(FeedError::Rollover) => {
                    let next = self.roll_over(connection, stop).await?;
                    return Ok((received, next));
                }
                Err(error) => return Ok((received, Ended::Lost(error))),
            }
        }
    }

    /// Opens the next connection while the old one goes on, as long as it does.
    async fn roll_over(
        &self,
        mut old: Box<dyn Connection>,
        stop: &mut Stop,
    ) -> Result<Ended, JobError> {
        tracing::info!(feed = self.name, "moving to another connection");
        let mut opening = self.source.connect(&self.symbols);
        let mut is_open = true;
        loop {
            tokio::select! {
                () = stop.requested() => return Ok(Ended::Stopped),
                next = &mut opening => return Ok(match next {
                    Ok(next) => Ended::Replaced(next),
                    Err(error) => Ended::Lost(error),
                }),
                frames = old.next(FRAMES_MAX), if is_open => match frames {
                    Ok(frames) => self.append(frames, stop).await?,
                    Err(FeedError::Rollover) => tokio::time::sleep(LOG_RETRY).await,
                    Err(_) => is_open = false,
                },
            }
        }
    }

    /// Appends until it is durable. While the log is out of reach nothing more is read from the
    /// socket: memory stays flat, and what the exchange then drops comes by backfill.
    async fn append(&self, frames: Vec<Frame>, stop: &Stop) -> Result<(), JobError> {
        let partitions = self.log.partitions();
        let batch: Vec<Append> = frames
            .into_iter()
            .map(|frame| Append {
                topic: frame.topic,
                partition: frame.symbol.partition(partitions),
                record: Record {
                    key: frame.symbol,
                    value: frame.value,
                    received_at: frame.received_at,
                    source: Source::Stream,
                    feed: self.feed,
                },
            })
            .collect();
        append(&*self.log, batch, &self.view, stop).await
    }

    fn connected(&self) {
        for symbol in &self.symbols {
            let partition = symbol.partition(self.log.partitions());
            let partition = usize::try_from(partition).ok().and_then(|it| self.partitions.get(it));
            if let Some(partition) = partition {
                partition.demand.connected([symbol.clone()]);
            }
        }
        tracing::info!(feed = self.name, symbols = self.symbols.len(), "connected");
        self.view.update(|picture| {
            let view = picture.feeds.entry(self.name.clone()).or_default();
            view.connected = true;
            view.connects += 1;
        });
        self.view.problem(&format!("feed {}", self.name), None);
    }

    fn disconnected(&self, error: &FeedError) {
        self.view.update(|picture| {
            let view = picture.feeds.entry(self.name.clone()).or_default();
            view.connected = false;
            view.last_error = Some(error.to_string());
        });
        let problem = format!("not connected: {error}");
        self.view.problem(&format!("feed {}", self.name), Some(problem));
    }
}

/// Appends `batch` until it is durable, or the job shall finish.
pub(crate) async fn append(
    log: &dyn Log,
    batch: Vec<Append>,
    view: &View,
    stop: &Stop,
) -> Result<(), JobError> {
    loop {
        match log.append(batch.clone()).await {
            Ok(()) => {
                return Ok(());
            }
            Err(LogError::Unavailable(reason)) => {
                tracing::warn!(reason, "the log takes nothing; trying again");
                view.problem("log", Some(reason));
                if stop.is_requested() {
                    return Ok(());
                }
                tokio::time::sleep(LOG_RETRY).await;
                view.problem("log", None);
            }
            Err(error) => return Err(JobError(error.to_string())),
        }
    }
}

/// A number that nobody can foresee and that means nothing.
pub(crate) fn chance(clock: &dyn Clock) -> u32 {
    let mixed = clock.now().0.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    u32::try_from(mixed >> 32).unwrap_or(0)
}
