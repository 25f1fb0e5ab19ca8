//! A child process that never outlives its test, and says what it said when the test fails.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use super::until;

/// A running child. Killed when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    out: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints goes to `<folder>/<name>.log`, behind what is there.
    pub(crate) fn start(name: &str, folder: &Path, command: &mut Command) -> Self {
        let out = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&out).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name: name.to_owned(), child, out }
    }

    /// Everything that processes of this name have printed.
    pub(crate) fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.out).unwrap_or_default()).into_owned()
    }

    /// The file that it prints to.
    pub(crate) fn printed_to(&self) -> PathBuf {
        self.out.clone()
    }

    /// Waits for a line that `pick` makes something of.
    pub(crate) fn line<T>(&mut self, what: &str, mut pick: impl FnMut(&str) -> Option<T>) -> T {
        until(what, Duration::from_secs(60), || {
            let found = self.printed().lines().find_map(&mut pick);
            if found.is_none() {
                self.check_alive();
            }
            found
        })
    }

    /// # Panics
    /// If the process has ended.
    #[track_caller]
    pub(crate) fn check_alive(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("{} ended by itself: {status}", self.name);
        }
    }

    /// How much memory it has in use, KiB; 0 where that can't be read.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|it| it.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    }

    /// Sends a signal, such as `INT`.
    pub(crate) fn signal(&mut self, name: &str) {
        self.check_alive();
        let (flag, pid) = (format!("-{name}"), self.child.id().to_string());
        let sent = Command::new("sh").args(["-c", r#"kill "$0" "$1""#, &flag, &pid]).status();
        assert!(sent.unwrap().success(), "SIG{name} to {} failed", self.name);
    }

    /// Waits until it ends by itself; its exit code.
    #[track_caller]
    pub(crate) fn ended(mut self) -> Option<i32> {
        until("its end", Duration::from_secs(60), || self.child.try_wait().unwrap()).code()
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(mut self) {
        self.check_alive();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM: the process must end by itself, with 0. Alone it takes seconds; a member of a cluster waits
    /// for whoever takes over, and drains then.
    #[track_caller]
    pub(crate) fn terminate(mut self) {
        self.signal("TERM");
        let status: ExitStatus = until("the end after SIGTERM", Duration::from_secs(60), || {
            self.child.try_wait().unwrap()
        });
        assert!(status.success(), "{} ended with {status} after SIGTERM", self.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Of a process that has ended the pid is not ours: `kill` of a waited child does nothing.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let printed = self.printed();
            let lines: Vec<_> = printed.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            eprintln!("--- the last lines of {}:\n{tail}\n---", self.name);
        }
    }
}

/// A program that settings of the caller's environment (`FTS__…`) don't reach.
pub(crate) fn program(path: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FTS__") {
            command.env_remove(name);
        }
    }
    command
}

/// The node's binary.
pub(crate) fn node_binary() -> PathBuf {
    std::env::var_os("FTS_NODE_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_fts-node")), PathBuf::from)
}

/// The exchange's binary: cargo builds no binaries of other packages for a test, so this does.
pub(crate) fn exchange_binary() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = std::env::var_os("FTS_EXCHANGE_BIN") {
        return PathBuf::from(path);
    }
    BUILT
        .get_or_init(|| {
            let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
            let status = Command::new(env!("CARGO"))
                .args(["build", "--quiet", "--package", "fts-exchange", "--bin", "fts-exchange"])
                .args(["--profile", profile])
                .status()
                .unwrap();
            assert!(status.success(), "fts-exchange does not build");
            Path::new(env!("CARGO_BIN_EXE_fts-node")).with_file_name("fts-exchange")
        })
        .clone()
}

/// A port of 127.0.0.1 that is free, for a process that is told its address at every start.
///
/// Below the range from which the kernel hands out ports, so that no connection takes it between
/// this look and the use; each test process begins elsewhere.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 500).unwrap() * 20;
    (0..10_000)
        .map(|_| 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000)
        .find(|&port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("no free port between 20000 and 32000")
}
