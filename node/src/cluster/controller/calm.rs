//! What keeps a restless cluster from moving all the time: changes count once they stay, and a node that
//! comes and goes is given no work until it stays.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// A change counts once nothing else has changed for so long …
pub(super) const QUIET: Duration = Duration::from_millis(300);
/// … or for so long, if it is certain: two that end at once are one change.
pub(super) const QUIET_CERTAIN: Duration = Duration::from_millis(40);
/// … but no later than this after the first one.
const PATIENCE: Duration = Duration::from_secs(1);
/// A node that came or went so often within [`MEMORY`] comes and goes.
const CHANGES_MAX: usize = 3;
/// How long a coming or going counts.
const MEMORY: Duration = Duration::from_secs(60);

/// A value that is believed once it stays.
#[derive(Debug)]
pub(super) struct Debounced<T> {
    believed: T,
    offered: Option<Offered<T>>,
}

#[derive(Debug)]
struct Offered<T> {
    value: T,
    /// When the value was first as it is.
    since: Duration,
    /// When it was first another than what is believed.
    first: Duration,
    /// When it will be believed, if it stays.
    due: Duration,
}

impl<T: PartialEq + Clone> Debounced<T> {
    pub(super) fn new(believed: T) -> Self {
        Self { believed, offered: None }
    }

    pub(super) fn believed(&self) -> &T {
        &self.believed
    }

    /// When what was offered will be believed, if it stays.
    pub(super) fn due(&self) -> Option<Duration> {
        self.offered.as_ref().map(|it| it.due)
    }

    /// What is believed at `now` (since the start), `value` being what is seen, which must stay for `quiet`.
    pub(super) fn offer(&mut self, now: Duration, value: T, quiet: Duration) -> &T {
        if value == self.believed {
            self.offered = None;
            return &self.believed;
        }
        let (since, first) = match &self.offered {
            Some(offered) if offered.value == value => (offered.since, offered.first),
            Some(offered) => (now, offered.first),
            None => (now, now),
        };
        let due = (since + quiet).min(first + PATIENCE);
        if now >= due {
            self.believed = value;
            self.offered = None;
        } else {
            self.offered = Some(Offered { value, since, first, due });
        }
        &self.believed
    }
}

/// Who comes and goes.
#[derive(Debug, Default)]
pub(super) struct Flapping {
    alive: BTreeMap<Arc<str>, bool>,
    changes: BTreeMap<Arc<str>, VecDeque<Duration>>,
}

impl Flapping {
    /// Takes who is alive at `now` (since the start); tells who comes and goes.
    pub(super) fn look<'a>(
        &mut self,
        now: Duration,
        nodes: impl IntoIterator<Item = (&'a Arc<str>, bool)>,
    ) -> BTreeSet<Arc<str>> {
        let nodes: BTreeMap<&Arc<str>, bool> = nodes.into_iter().collect();
        self.alive.retain(|name, _| nodes.contains_key(name));
        for (name, is_alive) in nodes {
            // Whoever is seen for the first time has not come back.
            if !is_alive && !self.alive.contains_key(name) {
                continue;
            }
            let before = self.alive.insert(Arc::clone(name), is_alive);
            if before.is_some_and(|before| before != is_alive) {
                let changes = self.changes.entry(Arc::clone(name)).or_default();
                changes.push_back(now);
                if changes.len() > CHANGES_MAX {
                    changes.pop_front();
                }
            }
        }
        self.changes.retain(|_, changes| {
            changes.back().is_some_and(|last| now.saturating_sub(*last) < MEMORY)
        });
        let restless = |changes: &VecDeque<Duration>| {
            let (first, last) = (changes.front()?, changes.back()?);
            Some(changes.len() >= CHANGES_MAX && last.saturating_sub(*first) < MEMORY)
        };
        self.changes
            .iter()
            .filter(|(_, changes)| restless(changes) == Some(true))
            .map(|(name, _)| Arc::clone(name))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_change_counts_once_it_stays() {
        let mut it = Debounced::new('a');
        let steps = [(0, 'b', 'a'), (100, 'a', 'a'), (200, 'b', 'a'), (400, 'b', 'a')];
        for (at, seen, believed) in steps {
            assert_eq!(*it.offer(ms(at), seen, QUIET), believed, "at {at}");
        }
        assert_eq!(it.due(), Some(ms(500)));
        assert_eq!(*it.offer(ms(500), 'b', QUIET), 'b');
        assert_eq!(it.due(), None);
    }

    #[test]
    fn what_is_certain_counts_sooner_and_what_comes_with_it_too() {
        let mut it = Debounced::new('a');
        assert_eq!(*it.offer(ms(1_000), 'b', QUIET_CERTAIN), 'a');
        assert_eq!(*it.offer(ms(1_030), 'c', QUIET_CERTAIN), 'a');
        assert_eq!(it.due(), Some(ms(1_070)));
        assert_eq!(*it.offer(ms(1_069), 'c', QUIET_CERTAIN), 'a');
        assert_eq!(*it.offer(ms(1_070), 'c', QUIET_CERTAIN), 'c');
    }

    #[test]
    fn unrest_does_not_put_it_off_for_ever() {
        let mut it = Debounced::new(0);
        for step in 1..=10_u64 {
            assert_eq!(*it.offer(ms(100 * step), step, QUIET), 0);
        }
        assert_eq!(*it.offer(ms(1_100), 11, QUIET), 11);
    }

    /// Each step is when, whether the node is alive, and whether it then comes and goes.
    #[track_caller]
    fn check(steps: &[(u64, bool, bool)]) {
        let name: Arc<str> = "n".into();
        let mut flapping = Flapping::default();
        for (second, is_alive, expected) in steps {
            let restless = flapping.look(Duration::from_secs(*second), [(&name, *is_alive)]);
            assert_eq!(restless.contains(&name), *expected, "at {second} s");
        }
    }

    #[test]
    fn a_restart_is_no_flapping() {
        check(&[(0, false, false), (1, true, false), (5, false, false), (8, true, false)]);
    }

    #[test]
    fn a_node_that_comes_and_goes_waits_for_a_minute() {
        check(&[
            (0, true, false),
            (5, false, false),
            (8, true, false),
            (20, false, true),
            (22, true, true),
            (81, true, true),
            (82, true, false),
        ]);
    }

    #[test]
    fn comings_and_goings_far_apart_are_none() {
        check(&[(0, true, false), (40, false, false), (80, true, false), (120, false, false)]);
    }
}
