//! What is wrong is refused before anything starts: exit code 2, and the place.

use std::process::{Output, Stdio};

use crate::support::process::{node_binary, program};

fn fts_node(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    program(node_binary()).current_dir(folder.path()).args(arguments).output().unwrap()
}

/// `arguments` must be refused with a message that names all of `places`.
#[track_caller]
fn refused(arguments: &[&str], places: &[&str]) {
    let output = fts_node(arguments);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    for place in places {
        assert!(message.contains(place), "{arguments:?} does not name `{place}`: {message}");
    }
}

#[test]
fn an_unknown_key_is_refused() {
    refused(&["config", "check", "--set", "ingest.fedes=2"], &["ingest.fedes"]);
    refused(&["config", "check", "--set", "nonsense=1"], &["nonsense"]);
    refused(&["run", "--set", "binance.stream_ulr=ws://127.0.0.1:1"], &["binance.stream_ulr"]);
}

#[test]
fn a_value_of_the_wrong_kind_is_refused() {
    refused(&["config", "check", "--set", "ingest.feeds=many"], &["ingest.feeds"]);
    refused(&["config", "check", "--set", "symbols=\"BTC USDT\""], &["symbols"]);
    refused(&["config", "check", "--set", "symbols=[]"], &["symbols"]);
    refused(&["config", "check", "--set", "ingest.feeds=0"], &["ingest.feeds"]);
}

#[test]
fn a_url_of_the_wrong_scheme_is_refused() {
    refused(
        &["config", "check", "--set", "binance.stream_url=http://h:1"],
        &["binance.stream_url"],
    );
    refused(&["config", "check", "--set", "binance.rest_url=ws://h:1"], &["binance.rest_url"]);
}

#[test]
fn a_setting_without_a_value_is_refused() {
    refused(&["config", "check", "--set", "ingest.feeds"], &["ingest.feeds"]);
}

#[test]
fn a_file_that_is_not_there_is_refused() {
    refused(&["config", "check", "--config", "nowhere.toml"], &["nowhere.toml"]);
}

#[test]
fn an_unknown_command_is_refused() {
    refused(&["sing"], &["sing"]);
}

#[test]
fn a_dump_is_a_configuration_that_dumps_itself() {
    let set = ["--set", "symbols=[\"BNBUSDT\"]", "--set", "ingest.feeds=2"];
    let first = fts_node(&[&["config", "dump"], &set[..]].concat());
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    assert!(String::from_utf8_lossy(&first.stdout).contains("BNBUSDT"));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dumped.toml");
    std::fs::write(&path, &first.stdout).unwrap();
    let second = fts_node(&["config", "dump", "--config", path.to_str().unwrap()]);
    assert!(second.status.success(), "{}", String::from_utf8_lossy(&second.stderr));
    assert_eq!(String::from_utf8_lossy(&first.stdout), String::from_utf8_lossy(&second.stdout));
}

#[test]
fn help_and_version_are_no_errors() {
    for argument in ["--help", "--version"] {
        let output = fts_node(&[argument]);
        assert_eq!(output.status.code(), Some(0), "{argument}");
        assert!(!output.stdout.is_empty(), "{argument}");
    }
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = program(node_binary());
    command.current_dir(folder.path()).args(["config", "dump"]);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*message), (Some(0), ""));
}
