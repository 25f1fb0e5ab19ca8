//! What users try wrongly, or what goes wrong around them: each is answered with what to do.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::support::http;
use crate::support::node::{Exchange, NodeCommand};
use crate::support::process::{free_port, node_binary, program};
use crate::support::store::Store;
use crate::support::{PATIENCE, until};

/// Runs the node to its end: its exit code, and all that it printed.
fn run(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = program(node_binary());
    command.current_dir(folder).args(arguments).envs(environment.iter().copied());
    let output = command.output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&printed).into_owned())
}

#[track_caller]
fn check(
    folder: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
    code: i32,
    words: &[&str],
) {
    let (found, printed) = run(folder, arguments, environment);
    assert_eq!(found, Some(code), "{arguments:?} {environment:?}: {printed}");
    for words in words {
        assert!(
            printed.contains(words),
            "{arguments:?} {environment:?}: no `{words}` in {printed}"
        );
    }
    assert!(!printed.contains("panicked"), "{printed}");
}

#[test]
fn a_typo_in_the_file_or_the_environment_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.toml");
    for (text, words) in [
        ("[ingest]\nfedes = 2\n", ["cluster.toml", "line 2", "fedes"]),
        ("[ingset]\nfeeds = 2\n", ["cluster.toml", "line 1", "ingset"]),
        ("symbols = [\"BTCUSDT\"\n", ["cluster.toml", "line", "symbols"]),
        ("[log]\npartitions = \"four\"\n", ["cluster.toml", "line 2", "partitions"]),
    ] {
        fs::write(&file, text).unwrap();
        check(folder.path(), &["run"], &[], 2, &words);
    }
    fs::remove_file(&file).unwrap();
    for (name, value, words) in [
        ("FTS__INGEST__FEEDS", "many", ["FTS__INGEST__FEEDS", "ingest.feeds"]),
        ("FTS__INGEST__FEDES", "2", ["FTS__INGEST__FEDES", "ingest.fedes"]),
    ] {
        check(folder.path(), &["config", "check"], &[(name, value)], 2, &words);
    }
}

#[test]
fn a_port_that_is_taken_is_named_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for command in ["run", "demo"] {
        let words = ["cannot listen on", &address, "choose another"];
        check(folder.path(), &[command, "--http", &address], &[], 1, &words);
    }
}

#[test]
fn a_data_directory_that_cannot_be_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let words = ["cannot create", "file/data"];
    for command in ["run", "demo"] {
        let arguments = [command, "--data-dir", "file/data", "--http", "127.0.0.1:0"];
        check(folder.path(), &arguments, &[], 1, &words);
    }
    let words = ["nothing", "there is no log in it"];
    check(folder.path(), &["log", "check", "--data-dir", "nothing"], &[], 1, &words);
}

#[test]
fn nobody_who_answers_is_said_with_the_address() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let words = ["no node answers at", &address, "--http"];
    check(folder.path(), &["status", "--http", &address], &[], 1, &words);
}

#[test]
fn a_data_directory_in_use_or_made_otherwise_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let exchange = Exchange::seeded(folder.path());
    let command = NodeCommand::new(folder.path(), &exchange);
    let store = Store::new(command.database());
    let mut node = command.start();
    command.await_ready(&mut node);
    until("trades in the store", PATIENCE, || (store.count("trades") > 50).then_some(()));
    let data_dir = command.data_dir.to_str().unwrap();
    let again = ["run", "--data-dir", data_dir, "--http", "127.0.0.1:0"];
    check(folder.path(), &again, &[], 1, &["in use by another process"]);
    let log = ["log", "check", "--data-dir", data_dir];
    check(folder.path(), &log, &[], 1, &["in use by another process"]);
    node.terminate();

    check(folder.path(), &log, &[], 0, &["records in", "are whole"]);
    let other = [&again[..], &["--set", "log.partitions=7"]].concat();
    check(folder.path(), &other, &[], 1, &["made with 4 partitions, not 7"]);

    // A byte that was acknowledged is not what it was: nothing starts on it, and both say where.
    // Only what a later commit follows is known to have been acknowledged, so there is a later run.
    let segment = fs::read_dir(command.data_dir.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|it| it == "log"))
        .unwrap();
    let first_run = fs::metadata(&segment).unwrap().len();
    let mut node = command.start();
    until("commits of a second run", PATIENCE, || {
        node.check_alive();
        (fs::metadata(&segment).unwrap().len() > first_run).then_some(())
    });
    node.terminate();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[usize::try_from(first_run / 2).unwrap()] ^= 1;
    fs::write(&segment, bytes).unwrap();
    check(folder.path(), &log, &[], 1, &["bytes are damaged", "restore the files from a copy"]);
    check(folder.path(), &again, &[], 1, &["is damaged at byte", "fts-node log check"]);
}

#[test]
fn a_symbol_that_the_exchange_does_not_list_is_told_and_the_others_are_captured() {
    let folder = tempfile::tempdir().unwrap();
    let exchange = Exchange::seeded(folder.path());
    let command = NodeCommand::new(folder.path(), &exchange);
    let store = Store::new(command.database());
    let mut node = command.start_with(&["--set", r#"symbols=["BTCUSDT","NOPEUSDT"]"#]);
    until("the complaint", PATIENCE, || {
        node.check_alive();
        let answer = http::get(&command.http, "/readyz")?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        (answer.status == 503 && text.contains("does not list NOPEUSDT")).then_some(())
    });
    until("trades of the other", PATIENCE, || (store.count("trades") > 50).then_some(()));
    node.terminate();
}

#[test]
fn without_a_network_the_node_says_so_waits_and_ends_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let exchange = Exchange::seeded(folder.path());
    let command = NodeCommand::new(folder.path(), &exchange);
    let nowhere = format!("127.0.0.1:{}", free_port());
    let stream = format!("binance.stream_url=ws://{nowhere}");
    let rest = format!("binance.rest_url=http://{nowhere}");
    let mut node = command.start_with(&["--set", &stream, "--set", &rest]);
    until("the complaint", PATIENCE, || {
        node.check_alive();
        let answer = http::get(&command.http, "/readyz")?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        (answer.status == 503 && text.contains("not connected") && text.contains(&nowhere))
            .then_some(())
    });
    assert_eq!(http::get(&command.http, "/livez").unwrap().status, 200);
    node.terminate();
}

#[test]
fn the_second_ctrl_c_ends_a_node_that_cannot_finish_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let exchange = Exchange::seeded(folder.path());
    let command = NodeCommand::new(folder.path(), &exchange);
    let store = Store::new(command.database());
    let mut node = command.start();
    until("trades in the store", PATIENCE, || {
        node.check_alive();
        (store.count("trades") > 50).then_some(())
    });
    // With the store locked by somebody else, the node can't store what it has.
    let other = rusqlite::Connection::open(command.database()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    node.signal("INT");
    until("its farewell", PATIENCE, || node.printed().contains("ending").then_some(()));
    node.signal("INT");
    let folder = node.printed_to();
    assert_eq!(node.ended(), Some(1));
    assert!(fs::read_to_string(folder).unwrap().contains("at the second signal"));
    drop(other);
    let before = store.count("trades");
    let mut node = command.start();
    until("more trades in the store", PATIENCE, || {
        node.check_alive();
        (store.count("trades") > before).then_some(())
    });
    node.terminate();
}
