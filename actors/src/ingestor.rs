//! Owns a socket of the exchange's streams and appends every frame to the log as it came.
//!
//! - Supervised by [`crate::supervisor`], restarted alone.
//! - Receives frames from its connection, and which symbols it shall have.
//! - Emits records to the log; among them, on a new connection, the word "connected" for each of its
//!   symbols: their backfills, on whatever node, look for what came just before.
//! - Loses, if it dies, what the exchange sends until it is back: trades come by backfill, changes
//!   of the book in between are gone (two feeds prevent that).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fts_core::backoff::Backoff;
use fts_core::market::{Source, Symbol, Topic};
use fts_core::port::feed::{Connection, Feed, FeedError, Frame};
use fts_core::port::log::{Append, Log, LogError, Record};
use fts_core::time::Clock;
use tokio::sync::{Notify, watch};

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
    /// Whose streams it shall own, and owns.
    pub subscription: Arc<Subscription>,
    /// Where frames come from.
    pub source: Arc<dyn Feed>,
    /// Where they go.
    pub log: Arc<dyn Log>,
    /// What the node shows.
    pub view: Arc<View>,
    /// The clock; also the source of chance for the backoff.
    pub clock: Arc<dyn Clock>,
    /// Bounds of the wait between attempts to connect.
    pub backoff: Backoff,
}

/// What a socket shall deliver and what it delivers, shared with whoever decides.
#[derive(Debug)]
pub struct Subscription {
    wanted: watch::Sender<Arc<Vec<Symbol>>>,
    confirmed: Mutex<Arc<Vec<Symbol>>>,
    changed: Arc<Notify>,
}

impl Subscription {
    /// Of `symbols`, none of them confirmed. `changed` hears of confirmations.
    pub fn new(symbols: Vec<Symbol>, changed: Arc<Notify>) -> Self {
        let wanted = watch::Sender::new(Arc::new(symbols));
        Self { wanted, confirmed: Mutex::default(), changed }
    }

    /// What it shall deliver.
    pub fn wanted(&self) -> Arc<Vec<Symbol>> {
        Arc::clone(&self.wanted.borrow())
    }

    /// It shall deliver these, at least one, from here on.
    pub fn change(&self, symbols: &[Symbol]) {
        self.wanted.send_if_modified(|wanted| {
            let is_other = ***wanted != *symbols;
            if is_other {
                *wanted = Arc::new(symbols.to_vec());
            }
            is_other
        });
    }

    /// Whether it was told by the exchange that it delivers what it shall.
    pub fn is_confirmed(&self) -> bool {
        *self.wanted() == **self.confirmed()
    }

    /// Takes note of what the exchange confirmed; returns what it did not deliver before.
    fn confirm(&self, symbols: &Arc<Vec<Symbol>>) -> Vec<Symbol> {
        let before = std::mem::replace(&mut *self.confirmed(), Arc::clone(symbols));
        self.changed.notify_one();
        difference(symbols, &before)
    }

    fn confirmed(&self) -> MutexGuard<'_, Arc<Vec<Symbol>>> {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is in `these` and not in `those`.
fn difference(these: &[Symbol], those: &[Symbol]) -> Vec<Symbol> {
    let those: HashSet<&Symbol> = those.iter().collect();
    these.iter().filter(|it| !those.contains(it)).cloned().collect()
}

#[async_trait]
impl Job for Ingestor {
    async fn run(&self, mut stop: Stop) -> Result<(), JobError> {
        let mut backoff = self.backoff;
        let mut wanted = self.subscription.wanted.subscribe();
        let mut waiting = None;
        loop {
            let connection = match waiting.take() {
                Some(link) => Ok(link),
                None => {
                    let symbols = Arc::clone(&wanted.borrow_and_update());
                    tokio::select! {
                        () = stop.requested() => return Ok(()),
                        connection = self.source.connect(&symbols) => {
                            connection.map(|connection| Link { connection, symbols })
                        }
                    }
                }
            };
            let error = match connection {
                Ok(link) => {
                    self.connected(&link.symbols, &stop).await?;
                    let (received, ended) = self.drive(link, &mut wanted, &mut stop).await?;
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

/// A connection and the symbols that were asked of it.
struct Link {
    connection: Box<dyn Connection>,
    symbols: Arc<Vec<Symbol>>,
}

/// How a connection ended.
enum Ended {
    Stopped,
    Lost(FeedError),
    Replaced(Link),
}

type Wanted = watch::Receiver<Arc<Vec<Symbol>>>;

impl Ingestor {
    /// Reads a connection to its end. Also tells whether it delivered anything.
    async fn drive(
        &self,
        mut link: Link,
        wanted: &mut Wanted,
        stop: &mut Stop,
    ) -> Result<(bool, Ended), JobError> {
        let mut received = false;
        let mut is_confirmed = true;
        loop {
            // What changed while it connected, too.
            let symbols = Arc::clone(&wanted.borrow_and_update());
            if *symbols != *link.symbols {
                let add = difference(&symbols, &link.symbols);
                let remove = difference(&link.symbols, &symbols);
                if !link.connection.change(&add, &remove) {
                    return Ok((received, self.roll_over(link, wanted, stop).await?));
                }
                link.symbols = symbols;
                is_confirmed = false;
            }
            if !is_confirmed && link.connection.is_settled() {
                is_confirmed = true;
                self.confirmed(&link.symbols, stop).await?;
            }
            let frames = tokio::select! {
                // In this order: while frames are always there, a stop must not wait for its luck.
                biased;
                () = stop.requested() => return Ok((received, Ended::Stopped)),
                Ok(()) = wanted.changed() => continue,
                frames = link.connection.next(FRAMES_MAX) => frames,
            };
            match frames {
                Ok(frames) if frames.is_empty() => {}
                Ok(frames) => {
                    received = true;
                    self.append(frames, stop).await?;
                }
                Err(FeedError::Rollover) => {
                    return Ok((received, self.roll_over(link, wanted, stop).await?));
                }
                Err(error) => return Ok((received, Ended::Lost(error))),
            }
        }
    }

    /// Opens the next connection while the old one goes on, as long as it does: no attempt that fails ends it.
    async fn roll_over(
        &self,
        mut old: Link,
        wanted: &mut Wanted,
        stop: &mut Stop,
    ) -> Result<Ended, JobError> {
        tracing::info!(feed = self.name, "moving to another connection");
        wanted.mark_unchanged();
        let open = async |wait| {
            tokio::time::sleep(wait).await;
            let symbols = self.subscription.wanted();
            let connection = self.source.connect(&symbols).await;
            connection.map(|connection| Link { connection, symbols })
        };
        let mut backoff = self.backoff;
        let mut opening = Box::pin(open(Duration::ZERO));
        let mut is_open = true;
        loop {
            tokio::select! {
                biased;
                () = stop.requested() => return Ok(Ended::Stopped),
                next = &mut opening => match next {
                    Ok(next) => return Ok(Ended::Replaced(next)),
                    Err(error) if is_open => {
                        let wait = backoff.next(chance(&*self.clock));
                        tracing::info!(feed = self.name, %error, ?wait, "no other connection yet");
                        opening = Box::pin(open(wait));
                    }
                    Err(error) => return Ok(Ended::Lost(error)),
                },
                frames = old.connection.next(FRAMES_MAX), if is_open => match frames {
                    Ok(frames) if frames.is_empty() => {}
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

    async fn connected(&self, symbols: &Arc<Vec<Symbol>>, stop: &Stop) -> Result<(), JobError> {
        tracing::info!(feed = self.name, symbols = symbols.len(), "connected");
        self.view.update(|picture| {
            let view = picture.feeds.entry(self.name.clone()).or_default();
            view.connected = true;
            view.connects += 1;
        });
        self.view.problem(&format!("feed {}", self.name), None);
        self.confirm(symbols);
        // What came before this connection may be missing, whoever had it.
        self.tell(symbols, stop).await
    }

    /// The exchange delivers these from here on.
    async fn confirmed(&self, symbols: &Arc<Vec<Symbol>>, stop: &Stop) -> Result<(), JobError> {
        let added = self.confirm(symbols);
        self.tell(&added, stop).await
    }

    /// Shows what the exchange delivers; returns what it did not deliver before.
    fn confirm(&self, symbols: &Arc<Vec<Symbol>>) -> Vec<Symbol> {
        self.view.update(|picture| {
            picture.feeds.entry(self.name.clone()).or_default().symbols = symbols.len();
        });
        self.subscription.confirm(symbols)
    }

    async fn tell(&self, symbols: &[Symbol], stop: &Stop) -> Result<(), JobError> {
        if symbols.is_empty() {
            return Ok(());
        }
        let (partitions, received_at) = (self.log.partitions(), self.clock.now());
        let word = |symbol: &Symbol| Append {
            topic: Topic::Trade,
            partition: symbol.partition(partitions),
            record: Record {
                key: symbol.clone(),
                value: fts_proto::control::connected(symbol),
                received_at,
                source: Source::Control,
                feed: self.feed,
            },
        };
        append(&*self.log, symbols.iter().map(word).collect(), &self.view, stop).await
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
    let mut was_away = false;
    loop {
        match log.append(batch.clone()).await {
            Ok(()) => {
                // Not before: nobody may see the log as well in between two refusals.
                if was_away {
                    view.problem("log", None);
                }
                return Ok(());
            }
            Err(LogError::Unavailable(reason)) => {
                tracing::warn!(reason, "the log takes nothing; trying again");
                view.problem("log", Some(reason));
                if stop.is_requested() {
                    // Who goes on appending says it again.
                    view.problem("log", None);
                    return Ok(());
                }
                was_away = true;
                tokio::time::sleep(LOG_RETRY).await;
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

#[cfg(test)]
mod tests;
