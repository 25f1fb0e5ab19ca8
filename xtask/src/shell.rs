//! Other programs: started, shown, listened to, ended.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The cargo that runs this.
pub(crate) fn cargo() -> Command {
    let mut command = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // Who starts this by cargo hands down what package it is; build scripts that look at it (ring's)
    // would run again, and with them all that rests on them.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// A program that the caller's settings (`FTS__…`) don't reach: with them, tests and measurements
/// would mean something else.
pub(crate) fn program(path: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FTS__") {
            command.env_remove(name);
        }
    }
    command
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    let folder =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    // Relative to where cargo is called, which is the root here.
    root().join(folder)
}

/// A release binary of the workspace.
pub(crate) fn release_binary(name: &str) -> PathBuf {
    target().join("release").join(name)
}

/// Builds what users run, if need be.
pub(crate) fn build_release() -> Result<()> {
    let packages = ["--package", "fts-node", "--package", "fts-exchange"];
    run(cargo().args(["build", "--locked", "--release", "--bins"]).args(packages))
}

/// Whether this is a machine where nobody reads: what is skipped there has not been proven.
pub(crate) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false" && value != "0")
}

/// The files of a folder whose names end so, in order.
pub(crate) fn files(folder: &Path, end: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(end) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Shows the command, runs it, and fails if it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    show(command);
    let status = command.status().with_context(|| format!("{command:?} does not start"))?;
    ensure!(status.success(), "{} failed: {status}", name(command));
    Ok(())
}

/// Shows the command, runs it, hands each line of its standard output to `heed` and shows it.
/// Answers whether it succeeded.
pub(crate) fn listen(command: &mut Command, mut heed: impl FnMut(&str)) -> Result<bool> {
    show(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{command:?} does not start"))?;
    let output = child.stdout.take().context("the child has no standard output")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        heed(&line);
    }
    Ok(child.wait()?.success())
}

/// The standard output of a command, or `None` where it is not there or fails.
pub(crate) fn ask(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The standard output of a command; its error says what it complained of.
pub(crate) fn told(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?} does not start"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed: {}\n{said}", name(command), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where a program is installed, if it is.
pub(crate) fn which(program: &str) -> Option<String> {
    let path = ask(Command::new("sh").args(["-c", r#"command -v "$0""#, program]))?;
    Some(path.trim().to_owned())
}

fn show(command: &Command) {
    let arguments = command.get_args().map(|it| it.to_string_lossy());
    let words: Vec<_> = std::iter::once(name(command).into()).chain(arguments).collect();
    println!("+ {}", words.join(" "));
}

fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned()
}

/// Measures how long something takes.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "xtask measures, and knows no crate with a clock"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
