//! What the batch remembers over restarts, as JSON in a checkpoint of the log.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use bytes::Bytes;
use fts_core::market::Symbol;
use serde::{Deserialize, Serialize};

use super::DAY_MS;

/// The checkpoint's name.
pub(super) const NAME: &str = "batch";

/// What is remembered. Times are epoch milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    /// When the newest run on schedule began: all that was due until then is done with it.
    pub(super) last_due: Option<i64>,
    /// The day (since the epoch, UTC) of which the requests are counted.
    pub(super) day: i64,
    /// How many there were.
    pub(super) used: u32,
    /// When the last one was.
    pub(super) last_request: i64,
    /// The node that is about to ask, or has asked last.
    pub(super) asking: Option<String>,
    /// The run that is under way.
    pub(super) run: Option<Run>,
    /// The run before it.
    pub(super) last_run: Option<Run>,
}

/// A run: for each symbol how many days came, or why none did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) started_at: i64,
    left: Vec<String>,
    fetched: BTreeMap<String, usize>,
    failed: BTreeMap<String, String>,
}

impl State {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    pub(super) fn written(&self) -> Bytes {
        serde_json::to_vec(self).expect("texts and numbers are always JSON").into()
    }

    /// Takes in what was written, by whomever: of everything, what knows more.
    pub(super) fn meet(&mut self, written: Self) {
        self.last_due = self.last_due.max(written.last_due);
        if self.day < written.day {
            (self.day, self.used) = (written.day, written.used);
        } else if self.day == written.day {
            self.used = self.used.max(written.used);
        }
        self.last_request = self.last_request.max(written.last_request);
        self.asking = written.asking;
        self.last_run = Run::of_both(self.last_run.take(), written.last_run);
        self.run = Run::of_both(self.run.take(), written.run);
        // A run that somebody has ended is over for all.
        let ended_at = self.last_run.as_ref().map(|it| it.started_at);
        self.run = self.run.take().filter(|it| Some(it.started_at) > ended_at);
    }

    /// Begins a run of `symbols`, after the last one whatever the clock says: it may be that of another node.
    pub(super) fn begin(&mut self, now: i64, symbols: &[Symbol]) {
        let after = self.last_run.as_ref().map_or(i64::MIN, |it| it.started_at.saturating_add(1));
        self.run = Some(Run::of(now.max(after), symbols));
    }

    /// Whether the run under way has not done this symbol yet.
    pub(super) fn is_left(&self, symbol: &Symbol) -> bool {
        let left = |run: &Run| run.left.iter().any(|text| text == symbol.as_str());
        self.run.as_ref().is_some_and(left)
    }

    /// Begins to count anew if another day has come.
    pub(super) fn turn_to(&mut self, now: i64) {
        let today = now.div_euclid(DAY_MS);
        if self.day < today {
            self.day = today;
            self.used = 0;
        }
    }

    /// Counts a request.
    pub(super) fn count(&mut self, now: i64) {
        self.used = self.used.saturating_add(1);
        self.last_request = now;
    }
}

impl Run {
    fn of(now: i64, symbols: &[Symbol]) -> Self {
        Self {
            started_at: now,
            left: symbols.iter().map(ToString::to_string).collect(),
            fetched: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
    }

    /// The later of two runs; of one run as two nodes know it, what both have done.
    fn of_both(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (mut one, other) = match (one, other) {
            (Some(one), Some(other)) => (one, other),
            (one, other) => return one.or(other),
        };
        match one.started_at.cmp(&other.started_at) {
            Ordering::Less => return Some(other),
            Ordering::Greater => return Some(one),
            Ordering::Equal => {}
        }
        one.left.retain(|text| other.left.contains(text));
        one.fetched.extend(other.fetched);
        one.failed.extend(other.failed);
        // Who has its days does not lack them because somebody else did not get them.
        one.failed.retain(|text, _| !one.fetched.contains_key(text));
        Some(one)
    }

    /// Who is next. Texts that are no symbol can't be in a state that this program wrote.
    pub(super) fn next(&self) -> Option<Symbol> {
        self.left.iter().find_map(|text| Symbol::new(text).ok())
    }

    pub(super) fn done(&mut self, symbol: &Symbol, outcome: Result<usize, String>) {
        self.left.retain(|text| text != symbol.as_str());
        match outcome {
            Ok(days) => drop(self.fetched.insert(symbol.to_string(), days)),
            Err(reason) => drop(self.failed.insert(symbol.to_string(), reason)),
        }
    }

    pub(super) fn failures(&self) -> usize {
        self.failed.len()
    }

    /// By symbol: `None` while it waits for its turn.
    pub(super) fn outcomes(&self) -> BTreeMap<String, Option<Result<usize, String>>> {
        let left = self.left.iter().map(|symbol| (symbol.clone(), None));
        let fetched = self.fetched.iter().map(|(symbol, days)| (symbol.clone(), Some(Ok(*days))));
        let failed =
            self.failed.iter().map(|(symbol, reason)| (symbol.clone(), Some(Err(reason.clone()))));
        left.chain(fetched).chain(failed).collect()
    }

    /// For people: `extracción terminada: 4 símbolos, 400 días; sin datos: IBM (…)`.
    pub(super) fn summary(&self) -> String {
        let days: usize = self.fetched.values().sum();
        let mut text =
            format!("extracción terminada: {} símbolos, {days} días", self.fetched.len());
        if !self.failed.is_empty() {
            let failed = self.failed.iter().map(|(symbol, reason)| format!("{symbol} ({reason})"));
            let failed: Vec<_> = failed.collect();
            text = format!("{text}; sin datos: {}", failed.join(", "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(names: &[&str]) -> Vec<Symbol> {
        names.iter().map(|it| Symbol::new(it).unwrap()).collect()
    }

    fn state(day: i64, used: u32, run: Option<Run>) -> State {
        State { day, used, run, last_request: i64::from(used), ..State::default() }
    }

    /// What `one` and `other` know together, whichever of them hears of the other.
    #[track_caller]
    fn check(one: &State, other: &State, expected: &State) {
        for (mut state, written) in [(one.clone(), other), (other.clone(), one)] {
            state.meet(written.clone());
            assert_eq!(state, *expected);
        }
    }

    #[test]
    fn the_greater_count_of_a_day_holds_and_a_later_day_begins_anew() {
        check(&state(7, 20, None), &state(7, 6, None), &state(7, 20, None));
        let later = State { last_request: 20, ..state(8, 1, None) };
        check(&state(7, 20, None), &state(8, 1, None), &later);
    }

    #[test]
    fn what_either_has_done_of_a_run_is_done() {
        let all = symbols(&["TSLA", "IBM", "AAPL"]);
        let (mut one, mut other) = (Run::of(5, &all), Run::of(5, &all));
        let mut both = one.clone();
        one.done(&all[0], Ok(100));
        one.done(&all[1], Err("busy".to_owned()));
        other.done(&all[1], Ok(99));
        both.done(&all[0], Ok(100));
        both.done(&all[1], Ok(99));
        check(&state(7, 1, Some(one)), &state(7, 1, Some(other)), &state(7, 1, Some(both)));
    }

    #[test]
    fn a_run_that_has_ended_does_not_come_back_and_a_later_one_holds() {
        let [early, late] = [5, 6].map(|at| Run::of(at, &symbols(&["TSLA"])));
        let ended = State { last_run: Some(early.clone()), ..state(7, 1, None) };
        check(&ended, &state(7, 1, Some(early.clone())), &ended);
        let under_way = State { last_run: Some(early.clone()), ..state(7, 1, Some(late.clone())) };
        check(&ended, &state(7, 1, Some(late.clone())), &under_way);
        let latest = state(7, 1, Some(late));
        check(&latest, &state(7, 1, Some(early)), &latest);
    }

    #[test]
    fn what_an_older_program_has_written_is_read() {
        let written =
            br#"{"last_due":1,"day":2,"used":3,"last_request":4,"run":null,"last_run":null}"#;
        assert_eq!(State::read(written).unwrap().asking, None);
    }
}
