//! Moves the write-ahead log into the file beside the writer, so that commits don't wait for it.
//!
//! A second connection moves the bulk while the writer goes on. What the writer has added
//! meanwhile is little, and the writer itself moves it between two commits: only then is the log
//! empty for an instant, and only then does its next commit start it over from the beginning.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::connection;

/// Pages of the log at which it is worth moving it: 8 MiB.
const PAGES_DUE: u64 = 2_048;

const IDLE: u8 = 0;
const MOVING: u8 = 1;
const MOVED: u8 = 2;

/// The writer's side.
pub(super) struct Checkpoints {
    phase: Arc<AtomicU8>,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    pace: Pace,
}

impl Checkpoints {
    /// Starts the thread.
    pub(super) fn start(path: &Path) -> Result<Self, std::io::Error> {
        let (wake, woken) = sync_channel(1);
        let phase = Arc::new(AtomicU8::new(IDLE));
        let (path, shared) = (path.to_owned(), Arc::clone(&phase));
        let thread = std::thread::Builder::new()
            .name("sqlite-checkpoint".to_owned())
            .spawn(move || run(&path, &shared, &woken))?;
        Ok(Self { phase, wake: Some(wake), thread: Some(thread), pace: Pace::default() })
    }

    /// To be called by the writer between two commits. `pages` is the length of the log.
    pub(super) fn step(&mut self, writer: &Connection, pages: u64) {
        match self.phase.load(Ordering::Acquire) {
            MOVED => {
                passive(writer);
                self.phase.store(IDLE, Ordering::Release);
            }
            IDLE if self.pace.is_due(pages) => {
                self.phase.store(MOVING, Ordering::Release);
                if let Some(wake) = &self.wake {
                    // The only place in the queue is free: the phase was idle.
                    let _ = wake.try_send(());
                }
            }
            _ => {}
        }
    }

    /// Waits until the thread has ended.
    pub(super) fn stop(mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that moves SQLite's write-ahead log panicked");
        }
    }
}

fn run(path: &Path, phase: &AtomicU8, woken: &Receiver<()>) {
    let mut connection = None;
    while woken.recv().is_ok() {
        if connection.is_none() {
            connection = connection::open_for_writing(path)
                .inspect_err(
                    |error| tracing::warn!(%error, "cannot open the file to checkpoint it"),
                )
                .ok();
        }
        if let Some(connection) = &connection {
            passive(connection);
        }
        phase.store(MOVED, Ordering::Release);
    }
}

/// Moves what no reader still needs to be left alone; waits for nobody.
fn passive(connection: &Connection) {
    let outcome = connection
        .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")
        .and_then(|mut statement| statement.query_row([], |_| Ok(())));
    if let Err(error) = outcome {
        // Nothing is lost: the log only grows until one succeeds.
        tracing::warn!(%error, "SQLite's write-ahead log was not moved into the file");
    }
}

/// Decides when moving the log is worth it.
#[derive(Debug, Default)]
struct Pace {
    /// Length of the log when it was last moved; shorter means that it has started over.
    mark: u64,
}

impl Pace {
    fn is_due(&mut self, pages: u64) -> bool {
        if pages < self.mark {
            self.mark = 0;
        }
        let due = pages - self.mark >= PAGES_DUE;
        if due {
            self.mark = pages;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_moved_once_every_so_many_pages_and_anew_once_it_has_started_over() {
        let mut pace = Pace::default();
        let due =
            [10, 2_047, 2_048, 2_050, 4_095, 4_096, 3, 2_047, 2_048].map(|at| pace.is_due(at));
        assert_eq!(due, [false, false, true, false, false, true, false, false, true]);
    }
}
