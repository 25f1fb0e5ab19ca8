//! What happens to the messages of one connection on their way into its outbox.

use super::{Board, Faults, count};
use crate::market::seeded::noise::{hash, unit};
use crate::ws::frame;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A message that is held back to be overtaken goes out after this time at the latest.
const HOLD_MAX: Duration = Duration::from_secs(1);

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    Drop,
    Duplicate,
    /// Sent after so many later ones.
    Reorder(u64),
    /// Broken in the way that this number picks.
    Malformed(u64),
}

/// The fate of message `number` on connection `connection`.
fn fate(faults: &Faults, connection: u64, number: u64) -> Fate {
    let chance = hash(hash(faults.seed, connection), number);
    let (at, more) = (unit(chance), hash(chance, 1));
    let mut bound = faults.drop;
    if at < bound {
        return Fate::Drop;
    }
    bound += faults.duplicate;
    if at < bound {
        return Fate::Duplicate;
    }
    bound += faults.reorder;
    if at < bound {
        return Fate::Reorder(1 + more % u64::from(faults.reorder_window.max(1)));
    }
    bound += faults.malformed;
    if at < bound { Fate::Malformed(more) } else { Fate::Pass }
}

/// A frame that later ones overtake.
#[derive(Debug)]
struct Held {
    /// Sent after the message of this number.
    after: u64,
    /// Or at this time.
    deadline: Instant,
    frame: Vec<u8>,
}

/// The faults of one connection.
#[derive(Debug)]
pub(crate) struct Lane {
    board: Arc<Board>,
    faults: Arc<Faults>,
    generation: u64,
    connection: u64,
    held: Vec<Held>,
    /// Frames that wait for their time, in the order in which they go out.
    delayed: VecDeque<(Instant, Vec<u8>)>,
    /// How many bytes wait here.
    waiting: usize,
}

impl Lane {
    pub(crate) fn new(board: &Arc<Board>, connection: u64) -> Self {
        Self {
            generation: board.generation(),
            faults: board.current(),
            board: Arc::clone(board),
            connection,
            held: Vec::new(),
            delayed: VecDeque::new(),
            waiting: 0,
        }
    }

    /// Whether messages need not pass through here: none is touched, and none waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting == 0 && !self.board.touches_messages()
    }

    /// Forgets what waits.
    pub(crate) fn clear(&mut self) {
        self.held.clear();
        self.delayed.clear();
        self.waiting = 0;
    }

    /// Takes the message of this number in; what goes out at once is appended to `out`.
    pub(crate) fn push(&mut self, number: u64, parts: &[&[u8]], now: Instant, out: &mut Vec<u8>) {
        let generation = self.board.generation();
        if generation != self.generation {
            self.generation = generation;
            self.faults = self.board.current();
        }
        let counts = &self.board.counts;
        match fate(&self.faults, self.connection, number) {
            Fate::Drop => count(&counts.dropped),
            Fate::Pass => self.send(encoded(parts), number, now, out),
            Fate::Duplicate => {
                count(&counts.duplicated);
                let frame = encoded(parts);
                self.send(frame.clone(), number, now, out);
                self.send(frame, number, now, out);
            }
            Fate::Reorder(behind) => {
                count(&counts.reordered);
                let frame = encoded(parts);
                self.waiting += frame.len();
                self.held.push(Held { after: number + behind, deadline: now + HOLD_MAX, frame });
            }
            Fate::Malformed(way) => {
                count(&counts.malformed);
                self.send(encoded(&[&broken(&parts.concat(), way)]), number, now, out);
            }
        }
        self.let_go(|held| held.after <= number, number, now, out);
    }

    /// Moves what is due to `out`.
    pub(crate) fn release(&mut self, now: Instant, out: &mut Vec<u8>) {
        self.let_go(|held| held.deadline <= now, 0, now, out);
        while self.delayed.front().is_some_and(|(due, _)| *due <= now)
            && let Some((_, frame)) = self.delayed.pop_front()
        {
            self.waiting = self.waiting.saturating_sub(frame.len());
            out.extend_from_slice(&frame);
        }
    }

    /// When there is something to release.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let delayed = self.delayed.front().map(|(due, _)| *due);
        self.held.iter().map(|held| held.deadline).chain(delayed).min()
    }

    /// Bytes that wait here.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    fn let_go(
        &mut self,
        is_due: impl Fn(&Held) -> bool,
        number: u64,
        now: Instant,
        out: &mut Vec<u8>,
    ) {
        if !self.held.iter().any(&is_due) {
            return;
        }
        let (due, later): (Vec<Held>, Vec<Held>) =
            std::mem::take(&mut self.held).into_iter().partition(is_due);
        self.held = later;
        for held in due {
            self.waiting = self.waiting.saturating_sub(held.frame.len());
            self.send(held.frame, number, now, out);
        }
    }

    fn send(&mut self, frame: Vec<u8>, number: u64, now: Instant, out: &mut Vec<u8>) {
        let (delay, jitter) = (self.faults.delay_ms, self.faults.delay_jitter_ms);
        if delay == 0 && jitter == 0 && self.delayed.is_empty() {
            out.extend_from_slice(&frame);
            return;
        }
        let chance = hash(hash(self.faults.seed, self.connection), number);
        let more = (unit(hash(chance, 2)) * jitter as f64) as u64;
        let due = now + Duration::from_millis(delay + more);
        let due = self.delayed.back().map_or(due, |(last, _)| due.max(*last));
        self.waiting += frame.len();
        self.delayed.push_back((due, frame));
    }
}

fn encoded(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + 10);
    frame::encode(&mut out, frame::TEXT, parts);
    out
}

/// A message as it should not be, in valid UTF-8.
fn broken(message: &[u8], way: u64) -> Vec<u8> {
    let cut = |at: usize| message.get(..at).unwrap_or_default().to_vec();
    match way % 4 {
        // Cut short.
        0 => cut(message.len() / 2),
        // A quote is missing.
        1 => {
            let at = message.iter().rposition(|byte| *byte == b'"').unwrap_or(0);
            let rest = message.get(at + 1..).unwrap_or_default();
            [cut(at).as_slice(), rest].concat()
        }
        // JSON, but of another shape.
        2 => {
            br#"{"e":"trade","E":"soon","s":null,"t":-1,"p":1.5,"q":[],"T":{},"m":"yes"}"#.to_vec()
        }
        // No JSON.
        _ => b"<html><body>502 Bad Gateway</body></html>".to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fts_core::time::ManualClock;

    /// Numbers 0 to 49 through a lane of connection 3; what came out, in order.
    fn through(faults: Faults) -> Vec<String> {
        let board = Board::new(faults, Arc::new(ManualClock::default()));
        let (mut lane, mut out) = (Lane::new(&board, 3), Vec::new());
        let now = Instant::now();
        for number in 0..50_u64 {
            lane.push(number, &[format!("\"{number}\"").as_bytes()], now, &mut out);
        }
        lane.release(now + Duration::from_secs(3600), &mut out);
        lane.release(now + Duration::from_secs(3600), &mut out);
        assert_eq!((lane.waiting(), lane.next_due()), (0, None));
        let mut found = Vec::new();
        let mut rest = out.as_slice();
        while let [0x81, length, tail @ ..] = rest {
            let (payload, after) = tail.split_at(usize::from(*length));
            found.push(String::from_utf8(payload.to_vec()).unwrap().trim_matches('"').to_owned());
            rest = after;
        }
        assert!(rest.is_empty());
        found
    }

    fn all() -> Vec<String> {
        (0..50).map(|number| number.to_string()).collect()
    }

    #[tokio::test]
    async fn without_faults_everything_passes() {
        assert_eq!(through(Faults::default()), all());
        assert_eq!(
            through(Faults { delay_ms: 50, delay_jitter_ms: 70, ..Faults::default() }),
            all()
        );
    }

    #[tokio::test]
    async fn the_same_seed_is_the_same_fate() {
        let faults = |seed| Faults {
            seed,
            drop: 0.2,
            duplicate: 0.2,
            reorder: 0.2,
            malformed: 0.2,
            ..Faults::default()
        };
        assert_eq!(through(faults(1)), through(faults(1)));
        assert_ne!(through(faults(1)), through(faults(2)));
    }

    #[tokio::test]
    async fn each_fault_does_what_it_says() {
        let dropped = through(Faults { drop: 0.3, ..Faults::default() });
        assert!((20..48).contains(&dropped.len()), "{dropped:?}");
        assert!(dropped.iter().all(|message| all().contains(message)));
        let doubled = through(Faults { duplicate: 1.0, ..Faults::default() });
        assert_eq!(doubled.len(), 100);
        assert!(doubled.chunks(2).zip(all()).all(|(pair, one)| pair == [one.clone(), one]));
        let mixed = through(Faults { reorder: 0.3, reorder_window: 4, ..Faults::default() });
        assert_ne!(mixed, all());
        for (at, message) in mixed.iter().enumerate() {
            let number: usize = message.parse().unwrap();
            assert!(number.abs_diff(at) <= 4, "{message} at {at}");
        }
        let mut sorted = mixed;
        sorted.sort_by_key(|message| message.parse::<u64>().unwrap());
        assert_eq!(sorted, all());
        let broken = through(Faults { malformed: 1.0, ..Faults::default() });
        assert_eq!(broken.len(), 50);
        assert!(broken.iter().any(|message| message.starts_with("<html>")));
    }

    #[tokio::test]
    async fn a_delayed_message_waits_and_one_that_is_held_is_not_forgotten() {
        let board = Board::new(
            Faults { delay_ms: 100, ..Faults::default() },
            Arc::new(ManualClock::default()),
        );
        let (mut lane, mut out) = (Lane::new(&board, 0), Vec::new());
        let now = Instant::now();
        lane.push(0, &[b"x"], now, &mut out);
        assert_eq!(lane.next_due(), Some(now + Duration::from_millis(100)));
        lane.release(now + Duration::from_millis(99), &mut out);
        assert!(out.is_empty());
        lane.release(now + Duration::from_millis(100), &mut out);
        assert_eq!(out, [0x81, 1, b'x']);
        out.clear();
        board.set(Faults { reorder: 1.0, ..Faults::default() });
        lane.push(1, &[b"y"], now, &mut out);
        assert!(out.is_empty());
        assert_eq!(lane.next_due(), Some(now + HOLD_MAX));
        lane.release(now + HOLD_MAX, &mut out);
        assert_eq!(out, [0x81, 1, b'y']);
    }
}
