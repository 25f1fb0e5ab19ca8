//! A measured child process, by what the kernel says of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::shell::{self, Stopwatch};

/// The kernel counts CPU time in hundredths of a second, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// The size of a page on x86-64 and on arm64 as distributions build it.
const PAGE_BYTES: f64 = 4096.0;

/// A child that never outlives this measurement. What it prints goes to a file.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts it; its output goes to `<folder>/<name>.log`.
    pub(super) fn start(name: &str, folder: &Path, command: &mut Command) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = fs::File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{name} does not start"))?;
        Ok(Self { child, name: name.to_owned(), log })
    }

    /// Looks until `poll` has an answer.
    pub(super) fn until<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut poll: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let watch = Stopwatch::start();
        while watch.elapsed() < patience {
            let printed = String::from_utf8_lossy(&fs::read(&self.log)?).into_owned();
            if let Some(answer) = poll(&printed) {
                return Ok(answer);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}:\n{printed}", self.name);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("waited {patience:?} in vain for {what}; see {}", self.log.display())
    }

    /// CPU time used so far by all threads, in seconds.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.child.id())
    }

    /// CPU time used so far by the threads that live, in seconds, by what they are called.
    pub(super) fn cpu_seconds_by_thread(&self) -> Result<BTreeMap<String, f64>> {
        let mut found = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end while it is looked at.
            let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else { continue };
            let (name, seconds) = cpu_of(&stat).context("no CPU time in a thread's stat")?;
            *found.entry(name.to_owned()).or_insert(0.0) += seconds;
        }
        Ok(found)
    }

    /// Resident memory, in MiB.
    pub(super) fn rss_mib(&self) -> Result<f64> {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.child.id()))?;
        let pages = statm.split_whitespace().nth(1).and_then(|it| it.parse::<f64>().ok());
        Ok(pages.context("no resident pages in /proc/<pid>/statm")? * PAGE_BYTES / 1_048_576.0)
    }

    /// SIGTERM; answers how long it took to end.
    pub(super) fn end(mut self) -> Result<Duration> {
        let pid = self.child.id().to_string();
        shell::ask(Command::new("sh").args(["-c", r#"kill -TERM "$0""#, &pid]));
        let watch = Stopwatch::start();
        while watch.elapsed() < Duration::from_secs(30) {
            if self.child.try_wait()?.is_some() {
                return Ok(watch.elapsed());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("{} did not end within 30 s of SIGTERM", self.name)
    }
}

/// CPU time used so far by all threads of a process, in seconds.
pub(super) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    Ok(cpu_of(&stat).context("no CPU time in /proc/<pid>/stat")?.1)
}

/// The name and the CPU-seconds in a `stat` of /proc. The name, in parentheses, may hold spaces;
/// counted from the state behind it, which is field 3, utime is field 14.
fn cpu_of(stat: &str) -> Option<(&str, f64)> {
    let (front, fields) = stat.rsplit_once(')')?;
    let ticks = |at: usize| fields.split_whitespace().nth(at)?.parse::<f64>().ok();
    Some((front.split_once('(')?.1, (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND))
}

impl Drop for Process {
    fn drop(&mut self) {
        // For a child that was waited for, both do nothing.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_name_may_hold_anything() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 97 0 0 0 150 50 0 0 20 0 1 0";
        let (name, seconds) = cpu_of(stat).unwrap();
        assert_eq!(name, "a) b (c)");
        assert!((seconds - 2.0).abs() < 1e-9);
        assert!(cpu_of("7 nothing").is_none());
    }
}
