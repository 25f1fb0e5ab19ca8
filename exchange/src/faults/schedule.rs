//! What happens to a whole connection, and when: cut off, fallen silent, said goodbye to.

use super::{Action, Board, Faults, count, wait};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

/// What happens to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is cut off.
    Cut,
    /// It falls silent.
    Silence,
    /// It speaks again.
    Speech,
    /// It is told that the exchange goes down.
    Announcement,
    /// It is closed as announced.
    Goodbye,
}

/// The troubles of one connection, one after the other.
#[derive(Debug)]
pub(crate) struct Schedule {
    board: Arc<Board>,
    connection: u64,
    changes: watch::Receiver<Arc<Faults>>,
    actions: broadcast::Receiver<Action>,
    /// How many waits were drawn.
    drawn: u64,
    cut_at: Option<Instant>,
    silence_at: Option<Instant>,
    speech_at: Option<Instant>,
    goodbye_at: Option<Instant>,
}

impl Schedule {
    pub(crate) fn new(board: &Arc<Board>, connection: u64) -> Self {
        let mut schedule = Self {
            board: Arc::clone(board),
            connection,
            changes: board.changes(),
            actions: board.actions(),
            drawn: 0,
            cut_at: None,
            silence_at: None,
            speech_at: None,
            goodbye_at: None,
        };
        schedule.draw();
        schedule
    }

    /// Waits for the next trouble. May be given up at any time: nothing is missed.
    pub(crate) async fn next(&mut self) -> Trouble {
        loop {
            let times = [self.cut_at, self.silence_at, self.speech_at, self.goodbye_at];
            let earliest = times.into_iter().flatten().min();
            tokio::select! {
                () = until(earliest) => if let Some(trouble) = self.due(Instant::now()) {
                    return trouble;
                },
                changed = self.changes.changed() => match changed {
                    Ok(()) => self.draw(),
                    // The board is gone, and so is the exchange.
                    Err(_) => std::future::pending().await,
                },
                action = self.actions.recv() => if let Some(trouble) = self.act(action) {
                    return trouble;
                },
            }
        }
    }

    fn act(&mut self, action: Result<Action, broadcast::error::RecvError>) -> Option<Trouble> {
        match action {
            Ok(Action::Disconnect) => Some(self.cut()),
            Ok(Action::Stall(lasts)) => Some(self.fall_silent(lasts)),
            Ok(Action::Shutdown(after)) => {
                self.goodbye_at = Some(Instant::now() + after);
                Some(Trouble::Announcement)
            }
            Err(_) => None,
        }
    }

    fn due(&mut self, now: Instant) -> Option<Trouble> {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.cut_at) {
            return Some(self.cut());
        }
        if is_due(self.goodbye_at) {
            self.goodbye_at = None;
            return Some(Trouble::Goodbye);
        }
        if is_due(self.silence_at) {
            let lasts = self.changes.borrow().stall_ms;
            return Some(self.fall_silent((lasts > 0).then(|| Duration::from_millis(lasts))));
        }
        if is_due(self.speech_at) {
            self.speech_at = None;
            self.draw();
            return Some(Trouble::Speech);
        }
        None
    }

    fn cut(&mut self) -> Trouble {
        self.cut_at = None;
        count(&self.board.counts.disconnected);
        Trouble::Cut
    }

    fn fall_silent(&mut self, lasts: Option<Duration>) -> Trouble {
        self.silence_at = None;
        self.speech_at = lasts.map(|lasts| Instant::now() + lasts);
        count(&self.board.counts.stalled);
        Trouble::Silence
    }

    /// Draws when the connection is cut off and when it falls silent, as the settings are.
    fn draw(&mut self) {
        let faults = Arc::clone(&self.changes.borrow_and_update());
        let mut at = |mean_ms: u64| {
            let number = self.drawn;
            self.drawn += 1;
            // The frames of the connection are numbered from 0: these waits from the other end.
            (mean_ms > 0).then(|| {
                Instant::now() + wait(faults.seed, self.connection, u64::MAX - number, mean_ms)
            })
        };
        self.cut_at = at(faults.disconnect_every_ms);
        let silence_at = at(faults.stall_every_ms);
        self.silence_at = silence_at.filter(|_| self.speech_at.is_none());
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fts_core::time::ManualClock;

    /// The first troubles of connection `connection`, and how many ms after the start they come.
    async fn troubles(faults: Faults, connection: u64, count: usize) -> Vec<(u128, Trouble)> {
        let board = Board::new(faults, Arc::new(ManualClock::default()));
        let begun = Instant::now();
        let mut schedule = Schedule::new(&board, connection);
        let mut found = Vec::new();
        for _ in 0..count {
            let trouble = schedule.next().await;
            found.push((begun.elapsed().as_millis(), trouble));
        }
        found
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_seed_and_connection_meet_the_same_troubles() {
        let faults = |seed| Faults {
            seed,
            disconnect_every_ms: 30_000,
            stall_every_ms: 5_000,
            stall_ms: 700,
            ..Faults::default()
        };
        let once = troubles(faults(1), 4, 5).await;
        assert_eq!(once, troubles(faults(1), 4, 5).await);
        assert_ne!(once, troubles(faults(2), 4, 5).await);
        assert_ne!(once, troubles(faults(1), 5, 5).await);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_after_its_time_and_comes_again() {
        let faults = Faults { stall_every_ms: 1_000, stall_ms: 700, ..Faults::default() };
        let found = troubles(faults, 0, 4).await;
        let kinds: Vec<Trouble> = found.iter().map(|(_, trouble)| *trouble).collect();
        let (silence, speech) = (Trouble::Silence, Trouble::Speech);
        assert_eq!(kinds, [silence, speech, silence, speech]);
        assert_eq!(found[1].0 - found[0].0, 700);
    }

    #[tokio::test(start_paused = true)]
    async fn what_all_connections_meet_comes_at_once_and_settings_take_hold_at_once() {
        let board = Board::new(Faults::default(), Arc::new(ManualClock::default()));
        let mut schedule = Schedule::new(&board, 0);
        board.act(Action::Shutdown(Duration::from_secs(2)));
        assert_eq!(schedule.next().await, Trouble::Announcement);
        let begun = Instant::now();
        assert_eq!(schedule.next().await, Trouble::Goodbye);
        assert_eq!(begun.elapsed().as_secs(), 2);
        board.set(Faults { disconnect_every_ms: 10, ..Faults::default() });
        assert_eq!(schedule.next().await, Trouble::Cut);
    }
}
