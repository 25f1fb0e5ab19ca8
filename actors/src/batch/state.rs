//! What the batch remembers over restarts, as JSON in a checkpoint of the log.

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
    pub(super) fn of(now: i64, symbols: &[Symbol]) -> Self {
        Self {
            started_at: now,
            left: symbols.iter().map(ToString::to_string).collect(),
            fetched: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
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
