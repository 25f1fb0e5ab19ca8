//! The tree: failures are restarted within limits, and it ends when it is asked to.

#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails; clippy exempts only #[test] bodies"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fts_actors::supervisor::{Child, Setup, Supervisor};
use fts_actors::worker::{Job, JobError, Stop};
use fts_core::restart::Limits;
use ractor::Actor;
use tokio::sync::watch;

/// Fails so many times, one way or the other; then runs until it is asked to stop.
struct Frail {
    runs: Arc<AtomicUsize>,
    failures: usize,
    by_panic: bool,
}

#[async_trait]
impl Job for Frail {
    async fn run(&self, mut stop: Stop) -> Result<(), JobError> {
        let run = self.runs.fetch_add(1, Ordering::SeqCst);
        if run < self.failures {
            if self.by_panic {
                // A panic like any other, but without a word of it among the words of real failures.
                std::panic::resume_unwind(Box::new("a job that panics"));
            }
            return Err(JobError("a job that fails".to_owned()));
        }
        stop.requested().await;
        Ok(())
    }
}

struct Fixture {
    runs: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
    running: Arc<watch::Sender<usize>>,
    done: tokio::task::JoinHandle<()>,
}

async fn start(failures: usize, by_panic: bool) -> Fixture {
    let runs = Arc::new(AtomicUsize::new(0));
    let stop = watch::Sender::new(false);
    let running = Arc::new(watch::Sender::new(0));
    let child = Child {
        name: "frail".to_owned(),
        job: Arc::new(Frail { runs: Arc::clone(&runs), failures, by_panic }),
        stop: Stop::new(&stop),
        running: Arc::clone(&running),
    };
    let limits = Limits {
        restarts_max: 3,
        window: Duration::from_secs(60),
        delay_min: Duration::from_millis(10),
        delay_max: Duration::from_millis(100),
    };
    let setup = Setup { children: vec![child], limits, gave_up: Arc::default() };
    let (_, done) = Actor::spawn(None, Supervisor, setup).await.unwrap();
    Fixture { runs, stop, running, done }
}

#[tokio::test(start_paused = true)]
async fn a_child_that_fails_or_panics_is_started_again() {
    for by_panic in [false, true] {
        let it = start(3, by_panic).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(it.runs.load(Ordering::SeqCst), 4, "by panic: {by_panic}");
        assert_eq!(*it.running.borrow(), 1);
        assert!(!it.done.is_finished());
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_that_keeps_failing_takes_the_tree_with_it() {
    let it = start(usize::MAX, false).await;
    it.done.await.unwrap();
    assert_eq!(it.runs.load(Ordering::SeqCst), 4, "once, and three restarts");
}

#[tokio::test(start_paused = true)]
async fn a_child_that_was_asked_to_stop_is_not_started_again() {
    let it = start(0, false).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    it.stop.send_replace(true);
    it.running.subscribe().wait_for(|running| *running == 0).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(it.runs.load(Ordering::SeqCst), 1);
}
