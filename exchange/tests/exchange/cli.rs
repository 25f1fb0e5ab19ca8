//! The binary: what it prints, how it ends, what it says of bad input.

use crate::support::{trade_line, write_tape};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

fn exchange() -> Command {
    Command::new(env!("CARGO_BIN_EXE_fts-exchange"))
}

#[track_caller]
fn check_refused(arguments: &[&str], expected: &str) {
    let mut child = exchange()
        .args(["--listen", "127.0.0.1:0"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut stdout).unwrap();
    if !stdout.is_empty() {
        // It runs, and would for ever.
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains(expected), "{errors}");
    assert_eq!(stdout, "");
}

#[test]
fn bad_input_is_refused_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let lines: Vec<String> = (0..500).map(|id| trade_line(id, 0)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let good = write_tape(folder.path(), "good.gz", &lines);
    let bytes = std::fs::read(&good).unwrap();
    std::fs::write(path("cut.gz"), &bytes[..bytes.len() / 2]).unwrap();
    std::fs::write(path("empty"), "").unwrap();
    let good = good.to_string_lossy().into_owned();
    check_refused(&["--tape", &path("none.gz")], "give the path of a recorded .gz file");
    check_refused(&["--tape", &path("cut.gz")], "damaged or cut short");
    check_refused(&["--tape", &path("empty")], "no frame to play");
    check_refused(&["--tape", &good, "--seed", "1"], "cannot be used with");
    check_refused(&["--tape", &good, "--speed", "0"], "give a positive number");
    check_refused(&["--seed", "1", "--speed", "2"], "cannot be used with");
    check_refused(&["--speed", "2"], "--tape <FILE>");
    check_refused(&["--symbols", "btcusdt"], "capital letters");
    check_refused(&["--symbols", "BTCUSDT,BTCUSDT"], "given twice");
    check_refused(&["--symbols", "0"], "between 1 and 5000");
    check_refused(&["--rate", "0"], "positive number of messages");
    check_refused(&["--epoch-ms", "17"], "a whole minute");
    check_refused(&["--faults", "drop=2"], "between 0 and 1");
    check_refused(&["--faults", "disconnect=often"], "give a time such as 250ms");
    check_refused(&["--av-today", "tomorrow"], "give a day such as 2026-05-15");
    check_refused(&["--tape", &good, "--steady"], "cannot be used with");
}

#[test]
fn it_says_where_it_listens_and_ends_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let tape = write_tape(folder.path(), "a.gz", &[&trade_line(1, 0)]);
    check_run(&["--seed", "5", "--symbols", "3"], "");
    let all = ["--limits", "--steady", "--faults", "drop=0.1", "--av-today", "2026-05-15"];
    check_run(&all, "");
    let played = ["--start", "now", "--speed", "max", "--tape", tape.to_str().unwrap()];
    check_run(&played, "the tape has ended: 1 frames were played\n");
}

#[track_caller]
fn check_run(arguments: &[&str], says: &str) {
    let mut child = exchange()
        .args(["--listen", "127.0.0.1:0"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let port = line.strip_prefix("listening on ws://127.0.0.1:").unwrap();
    let port = port.split(' ').next().unwrap();
    assert_eq!(line, format!("listening on ws://127.0.0.1:{port} and http://127.0.0.1:{port}\n"));
    assert!(Path::new("/proc").exists() && port != "0");
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.ends_with(says) {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert!(child.wait().unwrap().success());
    stdout.read_to_string(&mut line).unwrap();
    assert_eq!(line.lines().count(), 1);
}
