//! Who is alive: whose heartbeat has risen lately.
//!
//! chitchat has a detector of its own, by phi: silence in units of the mean time between heartbeats.
//! That mean depends on how many nodes pass a heartbeat on, so that with every node that joins the
//! same silence counts for more. Here it is a time. And a node that was itself held up (a loaded
//! machine, SIGSTOP) has heard nobody through no fault of theirs: it adds that time to what it grants.
//!
//! Of a process that has died the kernel tells more: its connections end, and nobody listens where it
//! did. Who is buried for that is dead at once; what others still pass on of its last heartbeats does not
//! raise it.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Looks further apart than this are ones of a node that was held up.
const HELD_UP: Duration = Duration::from_millis(300);

/// What was heard of whom.
#[derive(Debug)]
pub(super) struct Silence<Id> {
    limit: Duration,
    heard: HashMap<Id, Heard>,
    looked: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    heartbeat: u64,
    /// When it rose, since the start; `None` until it rises: what others tell of a dead node is old.
    rose: Option<Duration>,
    /// Until when what is heard of it is old in any case, if it was buried and has not risen since.
    buried_until: Option<Duration>,
}

impl<Id: Eq + Hash + Clone> Silence<Id> {
    /// Who is silent for longer than `limit` is dead.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, heard: HashMap::new(), looked: None }
    }

    /// Takes all heartbeats as they are at `now` (since the start); tells who is alive.
    pub(super) fn look(
        &mut self,
        now: Duration,
        heartbeats: impl IntoIterator<Item = (Id, u64)>,
    ) -> Vec<(Id, bool)> {
        let since = self.looked.map_or(Duration::ZERO, |looked| now.saturating_sub(looked));
        self.looked = Some(now);
        let granted = if since > HELD_UP { since } else { Duration::ZERO };
        let mut heard = HashMap::new();
        let mut verdicts = Vec::new();
        for (id, heartbeat) in heartbeats {
            let before = self.heard.get(&id).copied();
            let buried_until = before.and_then(|it| it.buried_until);
            let rose = match before {
                _ if buried_until.is_some_and(|until| now < until) => None,
                Some(before) if heartbeat > before.heartbeat => Some(now),
                Some(before) => before.rose.map(|rose| rose + granted),
                None => None,
            };
            let buried_until = buried_until.filter(|_| rose.is_none());
            heard.insert(id.clone(), Heard { heartbeat, rose, buried_until });
            let is_alive = rose.is_some_and(|rose| now.saturating_sub(rose) <= self.limit);
            verdicts.push((id, is_alive));
        }
        self.heard = heard;
        verdicts
    }

    /// Its process has ended: it is dead at `now`, whatever is still passed on of it.
    pub(super) fn bury(&mut self, now: Duration, id: &Id) {
        if let Some(heard) = self.heard.get_mut(id) {
            heard.rose = None;
            heard.buried_until = Some(now + self.limit);
        }
    }

    /// Whether it was buried and has not been heard of since.
    pub(super) fn is_buried(&self, id: &Id) -> bool {
        self.heard.get(id).is_some_and(|it| it.buried_until.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every 100 ms; each step is the heartbeat and whether its node then counts as alive.
    #[track_caller]
    fn check(steps: &[(u64, u64, bool)]) {
        let mut silence = Silence::new(Duration::from_millis(1_000));
        for (at_ms, heartbeat, expected) in steps {
            let verdicts = silence.look(Duration::from_millis(*at_ms), [("n", *heartbeat)]);
            assert_eq!(verdicts, [("n", *expected)], "at {at_ms} ms");
        }
    }

    #[test]
    fn a_heartbeat_that_does_not_rise_is_one_of_a_dead_node() {
        check(&[(0, 700, false), (100, 700, false), (200, 701, true), (300, 701, true)]);
    }

    #[test]
    fn silence_kills_and_a_word_revives() {
        let mut steps = vec![(0, 1, false), (100, 2, true)];
        steps.extend((2..=11).map(|n| (100 * n, 2, true)));
        steps.extend([(1_200, 2, false), (1_300, 2, false), (1_400, 3, true)]);
        check(&steps);
    }

    #[test]
    fn who_is_buried_is_dead_at_once_and_rises_only_by_what_it_says_later() {
        let mut silence = Silence::new(Duration::from_millis(1_000));
        let ms = Duration::from_millis;
        let alive = |silence: &mut Silence<&'static str>, at, heartbeat| {
            silence.look(ms(at), [("n", heartbeat)]) == [("n", true)]
        };
        assert!(!alive(&mut silence, 0, 1) && alive(&mut silence, 100, 2));
        silence.bury(ms(110), &"n");
        assert!(!alive(&mut silence, 111, 2) && silence.is_buried(&"n"));
        // The last of its heartbeats are on their way from node to node.
        assert!(!alive(&mut silence, 300, 3) && !alive(&mut silence, 1_109, 4));
        assert!(!alive(&mut silence, 1_200, 4) && silence.is_buried(&"n"));
        assert!(alive(&mut silence, 1_300, 5), "it was not dead after all");
        assert!(!silence.is_buried(&"n"));
    }

    #[test]
    fn who_was_held_up_does_not_blame_the_others() {
        check(&[
            (0, 1, false),
            (100, 2, true),
            (900, 2, true),
            (30_900, 2, true),
            (31_000, 2, true),
            (31_200, 2, true),
            (31_500, 2, true),
            (31_800, 2, true),
            (32_000, 2, false),
        ]);
    }
}
