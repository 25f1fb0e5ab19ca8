//! Processes that go on when their starter has ended, and how exactly they are found again.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::shell::{self, Stopwatch};

/// How long a process may take to end on request.
const END: Duration = Duration::from_secs(20);
/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(25);
const POLL: Duration = Duration::from_millis(100);
/// Lines of its output that are shown of a server that did not come up.
const LINES_SHOWN: usize = 20;

/// How the file beside a process' log is called that has its number and its start.
const PID: &str = "pid";

/// A process under way. Ended when dropped, unless it is kept.
#[derive(Debug)]
pub(crate) struct Process {
    label: String,
    child: Option<Child>,
    log: PathBuf,
}

/// A process that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Which of a server's processes it is.
    pub(super) label: String,
    pub(super) pid: u32,
    /// When it started, as the kernel counts: a number that is used again is not taken for it.
    pub(super) started: Option<u64>,
}

impl Process {
    /// Starts it in a process group of its own; its output goes to `log`.
    pub(crate) fn start(label: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let child = command.spawn().with_context(|| format!("{label} does not start"))?;
        // Put on record at once: whoever ends its starter must be able to find it.
        let id = child.id();
        let process = Self { label: label.to_owned(), child: Some(child), log: log.to_owned() };
        fs::write(log.with_extension(PID), format!("{id} {}", started(id).unwrap_or(0)))?;
        Ok(process)
    }

    /// Its number; 0 once it is kept.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// What it has printed so far.
    pub(crate) fn printed(&self) -> String {
        fs::read(&self.log).map_or_else(|_| String::new(), |it| String::from_utf8_lossy(&it).into())
    }

    /// Waits until `is_up` says so. Fails when it ends or takes longer than `patience`.
    pub(crate) fn wait(
        &mut self,
        patience: Duration,
        mut is_up: impl FnMut(&Self) -> bool,
    ) -> Result<()> {
        let watch = Stopwatch::start();
        while !is_up(self) {
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("{} ended with {status}:\n{}", self.label, self.last_lines());
            }
            if watch.elapsed() > patience {
                bail!("{} does not serve after {patience:?}:\n{}", self.label, self.last_lines());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Lets it go on.
    pub(super) fn keep(mut self) -> Record {
        let pid = self.child.take().map_or(0, |child| child.id());
        Record { label: std::mem::take(&mut self.label), pid, started: started(pid) }
    }

    fn last_lines(&self) -> String {
        let printed = self.printed();
        let lines: Vec<_> = printed.lines().collect();
        let shown = lines.get(lines.len().saturating_sub(LINES_SHOWN)..).unwrap_or_default();
        format!("{}\n(all of it: {})", shown.join("\n"), self.log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Record {
    /// Whether it still runs, and is the same.
    pub(super) fn is_alive(&self) -> bool {
        let now = started(self.pid);
        now.is_some() && now == self.started
    }

    /// Resident memory, with that of the processes it started.
    pub(super) fn memory_mib(&self) -> u64 {
        let pids = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let kib = |pid: u32| -> Option<u64> {
            let group = stat(pid)?.split_whitespace().nth(2)?.parse::<u32>().ok()?;
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            let kib = line.split_whitespace().next()?.parse().ok()?;
            (group == self.pid).then_some(kib)
        };
        pids.filter_map(kib).sum::<u64>() / 1_024
    }

    /// SIGTERM.
    pub(super) fn ask_to_end(&self) {
        self.signal("TERM");
    }

    /// SIGTERM, and SIGKILL if that does not help; what it started ends with it.
    pub(super) fn end(&self) -> Result<()> {
        self.signal("TERM");
        self.wait_for_end();
        self.signal("KILL");
        self.wait_for_end();
        ensure!(!self.is_alive(), "process {} survives", self.pid);
        Ok(())
    }

    fn wait_for_end(&self) {
        let watch = Stopwatch::start();
        while self.is_alive() && watch.elapsed() < END {
            std::thread::sleep(POLL);
        }
    }

    /// To the whole group, of which it is the first: numbers of groups that exist are not given out.
    fn signal(&self, name: &str) {
        if self.is_alive() {
            let (script, group) = (r#"kill -s "$0" -- "$1""#, format!("-{}", self.pid));
            shell::ask(Command::new("sh").args(["-c", script, name, &group]));
        }
    }
}

/// Ends what runs of the processes that were ever started with their logs below this folder: a start that
/// was interrupted leaves them behind. Answers how many did.
pub(crate) fn sweep(folder: &Path) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            count += sweep(&entry.path())?;
        } else if entry.path().extension().is_some_and(|it| it == PID) {
            let text = fs::read_to_string(entry.path())?;
            let mut numbers = text.split_whitespace().map(str::parse::<u64>);
            let (Some(Ok(pid)), Some(Ok(started))) = (numbers.next(), numbers.next()) else {
                continue;
            };
            let label = entry.path().display().to_string();
            let record = Record { label, pid: u32::try_from(pid)?, started: Some(started) };
            if record.is_alive() {
                record.end()?;
                count += 1;
            }
        }
    }
    Ok(count)
}

/// When the process started, in the kernel's ticks since the machine did. `None`: it has ended.
fn started(pid: u32) -> Option<u64> {
    // Behind the name: state is field 3, start time is 22.
    let fields = stat(pid)?;
    let mut fields = fields.split_whitespace();
    // A zombie has ended; whoever started it has not looked yet.
    fields.next().filter(|state| *state != "Z")?;
    fields.nth(18)?.parse().ok()
}

/// What the kernel says of it, behind its name.
fn stat(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces.
    Some(stat.rsplit_once(')')?.1.to_owned())
}

/// Whether something listens there.
pub(super) fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// What it answers there, head and all; `None` where it doesn't.
pub(super) fn get(port: u16, path: &str) -> Option<String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(ANSWER))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interrupted_start_leaves_behind_is_found_and_ended() {
        let folder = std::env::temp_dir().join(format!("fts-xtask-swept-{}", std::process::id()));
        fs::create_dir_all(folder.join("deep")).unwrap();
        let mut sleep = Command::new("sleep");
        let log = folder.join("deep/log");
        let process = Process::start("a", sleep.arg("600"), &log).unwrap();
        let record =
            Record { label: "a".to_owned(), pid: process.id(), started: started(process.id()) };
        // As if its starter had been killed: nobody drops it.
        std::mem::forget(process);
        assert!(record.is_alive());
        assert_eq!(sweep(&folder).unwrap(), 1);
        assert!(!record.is_alive());
        assert_eq!(sweep(&folder).unwrap(), 0);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_kept_process_is_found_again_and_ended_and_no_other() {
        let folder = std::env::temp_dir().join(format!("fts-xtask-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut sleep = Command::new("sleep");
        let record = Process::start("a", sleep.arg("600"), &folder.join("log")).unwrap().keep();
        assert!(record.is_alive());
        let other = Record { started: record.started.map(|it| it + 1), ..record.clone() };
        assert!(!other.is_alive(), "a number that is used again");
        other.end().unwrap();
        assert!(record.is_alive());
        record.end().unwrap();
        assert!(!record.is_alive());
        fs::remove_dir_all(&folder).unwrap();
    }
}
