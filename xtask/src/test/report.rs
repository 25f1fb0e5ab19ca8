//! What passed, what failed, what was skipped, and how long it took.

use std::time::Duration;

use anyhow::Result;

use crate::shell::Stopwatch;

/// The outcome of tests.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Tally {
    /// Tests that passed.
    pub(super) passed: u64,
    /// Tests that failed.
    pub(super) failed: u64,
    /// Tests that did not run, or said that they could not.
    pub(super) skipped: u64,
    /// Why, in the tests' own words.
    pub(super) reasons: Vec<String>,
    /// Tests that said that they could not run, of a binary whose result is not counted yet.
    pub(super) unproven: u64,
    /// Ignored tests, of the same, that are the body of a process which another test starts, or a
    /// scene that measures and asserts nothing.
    pub(super) helpers: u64,
}

impl Tally {
    /// Counts what another counted.
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.reasons.extend(other.reasons);
    }

    /// Counts what a line of a test's output says.
    pub(super) fn heed(&mut self, line: &str) {
        if let Some((_, reason)) = line.split_once("SKIPPED: ") {
            self.unproven += 1;
            self.reasons.push(reason.to_owned());
        }
        if line.contains(" ... ignored, a helper") || line.contains(" ... ignored, a scene") {
            self.helpers += 1;
        }
        let Some((_, counts)) = line.split_once("test result: ") else { return };
        for count in counts.split(['.', ';']) {
            let mut words = count.split_whitespace();
            let (Some(number), Some(what)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => {
                    // A test that said so ended as passed: it had nothing to fail with.
                    let unproven = std::mem::take(&mut self.unproven).min(number);
                    self.passed += number - unproven;
                    self.skipped += unproven;
                }
                "failed" => self.failed += number,
                "ignored" => {
                    let helpers = std::mem::take(&mut self.helpers).min(number);
                    self.skipped += number - helpers;
                }
                _ => {}
            }
        }
    }
}

/// The parts that ran, in order.
#[derive(Debug, Default)]
pub(super) struct Report {
    parts: Vec<(String, Duration, Tally)>,
}

impl Report {
    /// Runs a part; answers whether nothing failed.
    pub(super) fn run(&mut self, name: &str, part: impl FnOnce() -> Result<Tally>) -> bool {
        println!("\n=== {name}");
        let watch = Stopwatch::start();
        let tally = part().unwrap_or_else(|error| {
            println!("{name}: {error:#}");
            Tally { failed: 1, reasons: vec![format!("{error:#}")], ..Tally::default() }
        });
        let passed = tally.failed == 0;
        self.parts.push((name.to_owned(), watch.elapsed(), tally));
        passed
    }

    /// Puts a part down as failed without running it.
    pub(super) fn fail(&mut self, name: &str, reason: &str) {
        let tally = Tally { failed: 1, reasons: vec![reason.to_owned()], ..Tally::default() };
        self.parts.push((name.to_owned(), Duration::ZERO, tally));
    }

    /// Prints the summary; answers whether nothing failed.
    pub(super) fn finish(&self) -> bool {
        let mut total = Tally::default();
        println!("\n=== summary");
        for (name, elapsed, tally) in &self.parts {
            let seconds = elapsed.as_secs_f64();
            let Tally { passed, failed, skipped, reasons, .. } = tally;
            println!(
                "{name:<14} {seconds:>7.1} s  {passed} passed, {failed} failed, {skipped} skipped"
            );
            for reason in reasons {
                let what = if *failed > 0 { "FAILED" } else { "SKIPPED" };
                println!("  {what}: {reason}");
            }
            total.passed += passed;
            total.failed += failed;
            total.skipped += skipped;
        }
        println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
        total.failed == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], passed: u64, failed: u64, skipped: u64) {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.heed(line));
        assert_eq!((tally.passed, tally.failed, tally.skipped), (passed, failed, skipped));
    }

    #[test]
    fn results_of_all_binaries_add_up() {
        check(
            &[
                "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
                "noise: 7 passed",
                "test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.01s",
            ],
            5,
            4,
            1,
        );
    }

    #[test]
    fn a_helper_process_is_no_skipped_test() {
        let result = "test result: ok. 3 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        check(&["test body ... ignored, a helper: run by it", result], 3, 0, 1);
    }

    #[test]
    fn a_test_that_says_it_was_skipped_has_not_passed() {
        let result = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        check(&["test it ... SKIPPED: no tapes", result, result], 5, 0, 1);
    }
}
