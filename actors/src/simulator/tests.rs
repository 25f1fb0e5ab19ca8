//! The simulation against a log that does not always take what it makes.

use tokio::sync::watch;

use super::*;
use crate::testing::{Lines, MemoryLog, TokioClock};

const BEGIN: i64 = 1_723_200_000_000;

/// Runs a simulation for so long; what the log and the lines then have.
async fn simulated(rate: u32, refusals: u32, time: Duration) -> (Arc<MemoryLog>, Arc<Lines>) {
    let (log, lines) = (Arc::new(MemoryLog::default()), Arc::new(Lines::default()));
    log.refuse(refusals);
    let job = Simulation {
        simulator: Simulator { seed: 7, rate },
        log: Arc::clone(&log) as Arc<dyn Log>,
        lines: Arc::clone(&lines) as Arc<dyn LineLog>,
        clock: Arc::new(TokioClock::at(BEGIN)),
    };
    let (end, stop) = (watch::Sender::new(false), ());
    let running = job.run(Stop::new(&end));
    let stopping = async {
        tokio::time::sleep(time).await;
        end.send_replace(true);
        stop
    };
    let (ended, ()) = tokio::join!(running, stopping);
    assert_eq!(ended, Ok(()));
    (log, lines)
}

#[tokio::test(start_paused = true)]
async fn one_a_second_is_appended_and_said_once_the_log_has_it() {
    let (log, lines) = simulated(1, 0, Duration::from_millis(5_500)).await;
    let records = log.records();
    assert_eq!(records.len(), 6, "from the first second to the sixth");
    assert!(records.iter().all(|(topic, _)| *topic == Topic::Transactions));
    let lines = lines.all();
    assert_eq!(lines.len(), 6);
    for ((_, record), (_, line)) in records.iter().zip(&lines) {
        assert!(line.ends_with(std::str::from_utf8(&record.value).unwrap()), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_to_be_sent_that_the_log_did_not_take() {
    let (log, lines) = simulated(1, 8, Duration::from_millis(2_500)).await;
    assert_eq!(log.records().len(), 3, "what waited is sent, too");
    let lines = lines.all();
    let sent = lines.iter().filter(|(_, line)| line.starts_with("Transacción enviada")).count();
    assert_eq!(sent, 3);
    let refused: Vec<_> =
        lines.iter().filter(|(_, line)| line.starts_with("Transacciones sin enviar")).collect();
    assert_eq!(refused.len(), 8);
    assert!(refused.iter().all(|(level, _)| *level == LineLevel::Error));
}

#[tokio::test(start_paused = true)]
async fn high_rates_are_kept_and_said_in_batches() {
    let (log, lines) = simulated(100_000, 0, Duration::from_millis(995)).await;
    let count = log.records().len();
    assert!((99_000..=100_000).contains(&count), "{count}");
    assert!(lines.all().len() <= 200, "{}", lines.all().len());
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_away_for_long_is_not_flooded_when_it_returns() {
    let (log, _) = simulated(1_000, 600, Duration::from_millis(121_000)).await;
    let records = log.records();
    // Two minutes away, ten seconds made up for, and the rest as it happened.
    assert!((10_000..12_000).contains(&records.len()), "{}", records.len());
}
