//! The exchange's limits on connection attempts and request weight: pure rules, and the queue
//! in which callers wait for them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fts_core::metrics::BINANCE_THROTTLE_WAIT_SECONDS;
use fts_core::time::UnixNanos;
use tokio::time::Instant;

/// What a rule says to a caller that wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go.
    Go,
    /// Ask again after so long.
    Wait(Duration),
    /// Nobody goes for so long: the exchange itself said so.
    Closed(Duration),
}

/// At most so many attempts in any `span`.
///
/// Exact, where a token bucket lets twice its size through in the first span.
#[derive(Debug)]
pub(super) struct Attempts {
    span: Duration,
    made: VecDeque<Instant>,
}

impl Attempts {
    pub(super) fn new(span: Duration) -> Self {
        Self { span, made: VecDeque::new() }
    }

    /// Takes a place for an attempt at `now`, if there is one among `limit`, which is at least one.
    pub(super) fn take(&mut self, now: Instant, limit: u32) -> Verdict {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        while self.made.front().is_some_and(|made| *made + self.span <= now) {
            self.made.pop_front();
        }
        match self.made.front() {
            Some(oldest) if self.made.len() >= limit => Verdict::Wait(*oldest + self.span - now),
            _ => {
                self.made.push_back(now);
                Verdict::Go
            }
        }
    }
}

/// Request weight: a budget for each minute of the wall clock, as the exchange counts it.
///
/// The budget is the address's. A process keeps to its part of it, and to the whole as the exchange
/// tells what all have used.
#[derive(Debug)]
pub(super) struct Weight {
    budget: u32,
    minute: i64,
    /// Of the running minute, by this process.
    own: u32,
    /// Of the running minute, by all behind the address, as far as this process knows.
    all: u32,
    closed_until: UnixNanos,
}

const MINUTE: i64 = 60_000_000_000;
/// How long who waits does so before it asks again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Weight {
    pub(super) fn new(budget: u32) -> Self {
        Self { budget, minute: i64::MIN, own: 0, all: 0, closed_until: UnixNanos(i64::MIN) }
    }

    /// Takes `weight` out of `part` of the budget of the minute of `now`. What is beyond all of it
    /// goes alone, as it would never go otherwise.
    pub(super) fn take(&mut self, now: UnixNanos, weight: u32, part: u32) -> Verdict {
        if now < self.closed_until {
            return Verdict::Closed(self.closed_until.since(now));
        }
        self.turn_to(now);
        let (own, all) = (self.own.saturating_add(weight), self.all.saturating_add(weight));
        if (own > part && self.own > 0) || (all > self.budget && self.all > 0) {
            let next_minute = UnixNanos((self.minute + 1).saturating_mul(MINUTE));
            return Verdict::Wait(next_minute.since(now));
        }
        (self.own, self.all) = (own, all);
        Verdict::Go
    }

    /// The exchange says that `used` of the minute are gone, in its answer to a request that was
    /// sent at `sent`. Only ever corrects upwards: requests under way are not in its count.
    pub(super) fn observe(&mut self, sent: UnixNanos, now: UnixNanos, used: u32) {
        self.turn_to(now);
        if sent.0.div_euclid(MINUTE) == self.minute {
            self.all = self.all.max(used);
        }
    }

    /// The exchange wants to be left alone for so long.
    pub(super) fn close(&mut self, now: UnixNanos, wait: Duration) {
        let wait = i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX);
        self.closed_until = self.closed_until.max(UnixNanos(now.0.saturating_add(wait)));
    }

    /// What is used of the running minute, by all behind the address.
    pub(super) fn used(&self) -> u32 {
        self.all
    }

    fn turn_to(&mut self, now: UnixNanos) {
        let minute = now.0.div_euclid(MINUTE);
        if minute != self.minute {
            self.minute = minute;
            (self.own, self.all) = (0, 0);
        }
    }
}

/// Callers wait for a rule one after another, first come, first served. Cancel-safe: who gives up
/// has used nothing.
#[derive(Debug)]
pub(super) struct Turnstile<R> {
    queue: tokio::sync::Mutex<()>,
    rule: Mutex<R>,
    name: &'static str,
}

impl<R> Turnstile<R> {
    pub(super) fn new(name: &'static str, rule: R) -> Self {
        Self { queue: tokio::sync::Mutex::new(()), rule: Mutex::new(rule), name }
    }

    /// Waits until `ask` lets the caller go; `Err` tells how long nobody goes.
    pub(super) async fn pass(&self, ask: impl Fn(&mut R) -> Verdict) -> Result<(), Duration> {
        let _first = self.queue.lock().await;
        let mut waited = Duration::ZERO;
        loop {
            let verdict = ask(&mut self.rule());
            match verdict {
                Verdict::Go => break,
                Verdict::Closed(wait) => return Err(wait),
                // At least a tick: a clock that stands still must not make this spin. And not all of
                // it at once: meanwhile the caller may be allowed more.
                Verdict::Wait(wait) => {
                    let wait = wait.clamp(Duration::from_millis(1), LOOK_AGAIN);
                    tokio::time::sleep(wait).await;
                    waited += wait;
                }
            }
        }
        if !waited.is_zero() {
            metrics::histogram!(BINANCE_THROTTLE_WAIT_SECONDS, "limit" => self.name)
                .record(waited.as_secs_f64());
        }
        Ok(())
    }

    /// The rule itself.
    pub(super) fn rule(&self) -> MutexGuard<'_, R> {
        self.rule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(300);

    #[test]
    fn attempts_never_exceed_the_limit_in_any_span() {
        #[track_caller]
        fn check(limit: u32, at: &[u64], expected: &[u64]) {
            let mut rule = Attempts::new(SPAN);
            let start = Instant::now();
            let found = at.iter().map(|second| {
                match rule.take(start + Duration::from_secs(*second), limit) {
                    Verdict::Go => 0,
                    Verdict::Wait(wait) => wait.as_secs(),
                    Verdict::Closed(_) => u64::MAX,
                }
            });
            assert_eq!(found.collect::<Vec<_>>(), expected, "limit {limit}, at {at:?}");
        }
        check(3, &[0, 0, 0], &[0, 0, 0]);
        check(3, &[0, 0, 0, 0, 299, 300], &[0, 0, 0, 300, 1, 0]);
        // A place comes back for each attempt that is a span old, not all at once.
        check(2, &[0, 100, 200, 300, 300, 400], &[0, 0, 100, 0, 100, 0]);
        check(0, &[0, 1, 300], &[0, 299, 0]);
    }

    #[test]
    fn weight_is_budgeted_by_the_minute_of_the_wall_clock() {
        enum Step {
            /// second, weight, seconds to wait; all of the budget is this process's
            Take(u64, u32, u64),
            /// second, weight, seconds to wait; of so much of the budget
            TakeOf(u32, u64, u32, u64),
            /// sent at, answered at, used by the exchange's count
            Observe(u64, u64, u32),
            /// second, for so long
            Close(u64, u64),
            /// second, seconds that nobody goes
            Closed(u64, u64),
        }
        use Step::*;
        #[track_caller]
        fn check(budget: u32, steps: &[Step]) {
            let at = |second: u64| UnixNanos(i64::try_from(second).unwrap() * 1_000_000_000);
            let after = |wait| match wait {
                0 => Verdict::Go,
                wait => Verdict::Wait(Duration::from_secs(wait)),
            };
            let mut rule = Weight::new(budget);
            for (number, step) in steps.iter().enumerate() {
                match *step {
                    Take(now, weight, wait) => {
                        let verdict = rule.take(at(now), weight, budget);
                        assert_eq!(verdict, after(wait), "step {number}");
                    }
                    TakeOf(part, now, weight, wait) => {
                        let verdict = rule.take(at(now), weight, part);
                        assert_eq!(verdict, after(wait), "step {number}");
                    }
                    Observe(sent, now, used) => rule.observe(at(sent), at(now), used),
                    Close(now, wait) => rule.close(at(now), Duration::from_secs(wait)),
                    Closed(now, wait) => {
                        let expected = Verdict::Closed(Duration::from_secs(wait));
                        assert_eq!(rule.take(at(now), 1, budget), expected, "step {number}");
                    }
                }
            }
        }
        // Aligned to the minute, not to the first request.
        check(50, &[Take(59, 25, 0), Take(59, 25, 0), Take(59, 25, 1), Take(60, 25, 0)]);
        // What fits goes, though what asked before it did not.
        check(50, &[Take(0, 40, 0), Take(1, 25, 59), Take(2, 10, 0), Take(3, 1, 57)]);
        // Corrected upwards only, and only within the minute in which the request was sent.
        check(50, &[Take(0, 10, 0), Observe(0, 1, 45), Take(1, 10, 59), Take(1, 5, 0)]);
        check(50, &[Take(0, 40, 0), Observe(0, 1, 5), Take(1, 25, 59)]);
        check(50, &[Take(59, 10, 0), Observe(59, 61, 50), Take(61, 50, 0)]);
        // What the budget can never hold goes alone.
        check(20, &[Take(0, 25, 0), Take(1, 25, 59), Take(60, 25, 0)]);
        // A process keeps to its part, whatever others leave; and to the whole, whatever its part.
        check(90, &[TakeOf(30, 0, 25, 0), TakeOf(30, 1, 5, 0), TakeOf(30, 2, 5, 58)]);
        check(
            90,
            &[TakeOf(30, 0, 5, 0), Observe(0, 1, 80), TakeOf(30, 2, 25, 58), TakeOf(30, 2, 10, 0)],
        );
        // What others use is not its own; a part that grows counts at once.
        check(90, &[TakeOf(30, 0, 5, 0), Observe(0, 1, 40), TakeOf(30, 2, 25, 0)]);
        check(90, &[TakeOf(30, 0, 25, 0), TakeOf(30, 1, 25, 59), TakeOf(60, 2, 25, 0)]);
        // A part that can never hold it lets one go alone.
        check(90, &[TakeOf(0, 0, 25, 0), TakeOf(0, 1, 25, 59), TakeOf(0, 60, 25, 0)]);
        // Left alone for as long as the exchange wants, the longest request counts.
        check(50, &[Close(10, 30), Close(11, 5), Closed(12, 28), Take(40, 25, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn callers_go_in_the_order_in_which_they_came() {
        let gate = Turnstile::new("connects", Attempts::new(SPAN));
        let order = Mutex::new(Vec::new());
        let caller = |name: u32| {
            let (gate, order) = (&gate, &order);
            async move {
                gate.pass(|rule| rule.take(Instant::now(), 1)).await.unwrap();
                order.lock().unwrap().push(name);
            }
        };
        tokio::join!(caller(1), caller(2), caller(3));
        assert_eq!(*order.lock().unwrap(), [1, 2, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_gives_up_uses_nothing() {
        let gate = Turnstile::new("connects", Attempts::new(SPAN));
        let start = Instant::now();
        gate.pass(|rule| rule.take(Instant::now(), 1)).await.unwrap();
        let gives_up = gate.pass(|rule| rule.take(Instant::now(), 1));
        assert!(tokio::time::timeout(SPAN / 2, gives_up).await.is_err());
        gate.pass(|rule| rule.take(Instant::now(), 1)).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), SPAN.as_secs());
    }
}
