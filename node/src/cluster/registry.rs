//! The symbols of the cluster: those of its configuration, and what was added and removed since.
//!
//! A map in which the last writer wins: symbol → (present or not, when, by whom). Merging two maps is
//! commutative, associative and idempotent, so that any nodes may change it at any time, and all end
//! with the same. Time is a hybrid clock's: milliseconds since the epoch, but always more than
//! whatever was seen before.
//!
//! Only changes are kept, a removal as well; the configured symbols are the ground they stand on. A
//! change takes about 40 bytes; the gossip carries them in [`BUCKETS`] values a node, so that one change
//! sends one bucket anew; the log's checkpoint [`CHECKPOINT`] keeps them over a restart of all nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fts_core::market::Symbol;

/// Where the log keeps the changes.
pub const CHECKPOINT: &str = "cluster-symbols";
/// Values by which the changes are gossiped.
pub const BUCKETS: u32 = 16;
/// Symbols, present or removed, that were ever changed; what is more is refused.
pub const CHANGES_MAX: usize = 10_000;

/// A hybrid time counts so many events a millisecond.
const TICKS_A_MS: u64 = 1_000;
/// A change from further ahead of our clock is some clock's mistake; it would win for ever.
const AHEAD_MS_MAX: u64 = 24 * 3_600_000;

/// What was done to a symbol last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// When, by the hybrid clock.
    pub at: u64,
    /// By which node.
    pub by: Arc<str>,
    /// Whether it was added; else it was removed.
    pub is_present: bool,
}

/// The symbols of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registry {
    configured: BTreeSet<Symbol>,
    changes: BTreeMap<Symbol, Change>,
}

/// Why a symbol can't be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{CHANGES_MAX} symbols were added or removed at run time: write them into `symbols` of the configuration"
)]
pub struct Full;

impl Registry {
    /// The configured symbols, unchanged.
    pub fn new(configured: impl IntoIterator<Item = Symbol>) -> Self {
        Self { configured: configured.into_iter().collect(), changes: BTreeMap::new() }
    }

    /// What is to be captured, in order.
    pub fn symbols(&self) -> Vec<Symbol> {
        let is_removed = |it: &&Symbol| self.changes.get(*it).is_some_and(|it| !it.is_present);
        let kept = self.configured.iter().filter(|it| !is_removed(it));
        let added = self.changes.iter().filter(|(_, it)| it.is_present).map(|(symbol, _)| symbol);
        kept.chain(added).cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Whether `symbol` is to be captured.
    pub fn has(&self, symbol: &Symbol) -> bool {
        match self.changes.get(symbol) {
            Some(change) => change.is_present,
            None => self.configured.contains(symbol),
        }
    }

    /// When the last change was made, by the hybrid clock; 0 if none ever was.
    pub fn changed_at(&self) -> u64 {
        self.changes.values().map(|it| it.at).max().unwrap_or(0)
    }

    /// When that was, in milliseconds since the epoch.
    pub fn changed_at_ms(&self) -> u64 {
        self.changed_at() / TICKS_A_MS
    }

    /// Adds or removes a symbol. Tells whether that changed anything.
    ///
    /// # Errors
    /// Where there are too many changes already.
    pub fn set(
        &mut self,
        symbol: Symbol,
        is_present: bool,
        now_ms: u64,
        by: Arc<str>,
    ) -> Result<bool, Full> {
        if self.has(&symbol) == is_present {
            return Ok(false);
        }
        if self.changes.len() >= CHANGES_MAX && !self.changes.contains_key(&symbol) {
            return Err(Full);
        }
        let at = (now_ms * TICKS_A_MS).max(self.changed_at() + 1);
        self.changes.insert(symbol, Change { at, by, is_present });
        Ok(true)
    }

    /// Takes what another node or the log knows, as [`Self::bucket`] or [`Self::encode`] wrote it.
    /// Tells whether it was news. What can't be read is left out.
    pub fn merge(&mut self, text: &str, now_ms: u64) -> bool {
        let mut is_news = false;
        for line in text.lines() {
            let Some((symbol, change)) = read(line) else {
                tracing::warn!(line, "a change of the symbols that can't be read is left out");
                continue;
            };
            let is_ahead = change.at > now_ms.saturating_add(AHEAD_MS_MAX) * TICKS_A_MS;
            let has_room = self.changes.len() < CHANGES_MAX || self.changes.contains_key(&symbol);
            let is_newer = self.changes.get(&symbol).is_none_or(|known| change > *known);
            if is_newer && has_room && !is_ahead {
                self.changes.insert(symbol, change);
                is_news = true;
            }
        }
        is_news
    }

    /// All changes as text: a line each.
    pub fn encode(&self) -> String {
        self.changes.iter().map(|(symbol, change)| write(symbol, change)).collect()
    }

    /// The changes that the gossip carries in its value `number`, below [`BUCKETS`].
    pub fn bucket(&self, number: u32) -> String {
        let ours = self.changes.iter().filter(|(symbol, _)| symbol.partition(BUCKETS) == number);
        ours.map(|(symbol, change)| write(symbol, change)).collect()
    }
}

fn write(symbol: &Symbol, change: &Change) -> String {
    let sign = if change.is_present { '+' } else { '-' };
    format!("{symbol} {sign} {} {}\n", change.at, change.by)
}

fn read(line: &str) -> Option<(Symbol, Change)> {
    let mut words = line.splitn(4, ' ');
    let symbol = Symbol::new(words.next()?).ok()?;
    let is_present = match words.next()? {
        "+" => true,
        "-" => false,
        _ => return None,
    };
    let at = words.next()?.parse().ok()?;
    Some((symbol, Change { at, by: words.next()?.into(), is_present }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_763_700_000_000;

    fn symbol(text: &str) -> Symbol {
        Symbol::new(text).unwrap()
    }

    fn registry(configured: &[&str]) -> Registry {
        Registry::new(configured.iter().map(|it| symbol(it)))
    }

    fn set(registry: &mut Registry, text: &str, now: u64, by: &str) {
        let (sign, name) = text.split_at(1);
        registry.set(symbol(name), sign == "+", now, by.into()).unwrap();
    }

    #[track_caller]
    fn check(registry: &Registry, expected: &str) {
        let symbols: Vec<_> = registry.symbols().iter().map(ToString::to_string).collect();
        assert_eq!(symbols.join(" "), expected);
    }

    #[test]
    fn symbols_come_and_go_over_those_configured() {
        let mut it = registry(&["B", "A"]);
        check(&it, "A B");
        set(&mut it, "+C", NOW, "n");
        set(&mut it, "-A", NOW, "n");
        check(&it, "B C");
        set(&mut it, "+A", NOW, "n");
        set(&mut it, "-C", NOW - 1_000, "n");
        check(&it, "A B");
        assert_eq!(it.set(symbol("A"), true, NOW, "n".into()), Ok(false));
    }

    #[test]
    fn all_nodes_end_with_the_same_whatever_they_hear_first() {
        let mut nodes = [registry(&["A"]), registry(&["A"]), registry(&["A"])];
        set(&mut nodes[0], "+B", NOW, "0");
        set(&mut nodes[1], "+B", NOW + 5, "1");
        set(&mut nodes[1], "-B", NOW + 5, "1");
        set(&mut nodes[2], "-A", NOW + 1, "2");
        let texts: Vec<String> = nodes.iter().map(Registry::encode).collect();
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
            for node in &nodes {
                let mut node = node.clone();
                for from in order {
                    node.merge(&texts[from], NOW);
                    node.merge(&texts[from], NOW);
                }
                check(&node, "");
                assert!(!node.merge(&texts[0], NOW));
            }
        }
    }

    #[test]
    fn a_change_after_one_that_was_seen_wins_though_its_clock_is_behind() {
        let (mut ahead, mut behind) = (registry(&[]), registry(&[]));
        set(&mut ahead, "+A", NOW + 60_000, "ahead");
        behind.merge(&ahead.encode(), NOW);
        set(&mut behind, "-A", NOW, "behind");
        ahead.merge(&behind.encode(), NOW);
        check(&ahead, "");
    }

    #[test]
    fn buckets_hold_all_and_stay_short() {
        let mut it = registry(&[]);
        for number in 0..2_000 {
            set(&mut it, &format!("+SYMBOL{number}USDT"), NOW, "a-node-with-a-name");
        }
        let mut other = registry(&[]);
        for number in 0..BUCKETS {
            let bucket = it.bucket(number);
            assert!(bucket.len() < 20_000, "{}", bucket.len());
            assert!(other.merge(&bucket, NOW));
        }
        assert_eq!(other, it);
    }

    #[test]
    fn nonsense_and_clocks_gone_mad_are_left_out() {
        let mut it = registry(&["A"]);
        for text in ["A", "A -", "A - x n", "A * 5 n", "? - 5 n", "", "A - 99999999999999999 n"] {
            assert!(!it.merge(text, NOW), "{text}");
        }
        check(&it, "A");
    }

    #[test]
    fn it_is_bounded() {
        let mut it = registry(&["A"]);
        for number in 0..CHANGES_MAX {
            it.changes.insert(
                symbol(&format!("S{number}")),
                Change { at: NOW, by: "n".into(), is_present: false },
            );
        }
        assert_eq!(it.set(symbol("A"), false, NOW, "n".into()), Err(Full));
        assert!(!it.merge("B + 5 n", NOW));
        assert_eq!(it.set(symbol("S1"), true, NOW, "n".into()), Ok(true));
    }
}
