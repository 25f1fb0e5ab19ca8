//! The embedded log: the port's contract, and what it survives.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and a child process speaks by its output"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fts_adapters::journal::{FindingKind, Journal, JournalConfig, JournalError, Recovery, check};
use fts_core::market::{Source, Symbol, Topic};
use fts_core::port::log::{Append, Log, LogError, Record, conformance};
use fts_core::time::{ManualClock, SystemClock, UnixNanos};

fn config(dir: &Path) -> JournalConfig {
    JournalConfig {
        dir: dir.to_owned(),
        partitions: 2,
        segment_bytes: 64 << 20,
        retention_ms: 0,
        retention_bytes: u64::MAX,
        tail_bytes: 64 << 20,
        clock: Arc::new(SystemClock),
    }
}

fn open(config: JournalConfig) -> (Journal, Recovery) {
    Journal::open(config).unwrap()
}

fn record(value: u64) -> Append {
    let record = Record {
        key: Symbol::new("BTCUSDT").unwrap(),
        value: Bytes::copy_from_slice(format!("{{\"t\":{value}}}").as_bytes()),
        received_at: UnixNanos(7),
        source: Source::Stream,
        feed: 0,
    };
    Append { topic: Topic::Trade, partition: 0, record }
}

/// The values in the log from `from` on, in order; offsets must be dense.
async fn values(log: &Journal, from: u64) -> Vec<u64> {
    let mut found = Vec::new();
    let mut next = from;
    loop {
        let batch = log.read(Topic::Trade, 0, next, 1 << 12).await.unwrap();
        if batch.is_empty() {
            return found;
        }
        for stored in batch {
            assert_eq!(stored.offset, next);
            next += 1;
            let text = std::str::from_utf8(&stored.record.value).unwrap();
            found.push(text[5..text.len() - 1].parse().unwrap());
        }
    }
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "log"))
        .collect();
    paths.sort();
    paths
}

#[tokio::test]
async fn conforms() {
    let dir = tempfile::tempdir().unwrap();
    conformance::log(async || Arc::new(open(config(dir.path())).0) as Arc<dyn Log>).await;
}

#[tokio::test]
async fn conforms_with_nothing_in_memory_and_small_segments() {
    let dir = tempfile::tempdir().unwrap();
    let small = || JournalConfig { tail_bytes: 0, segment_bytes: 2_000, ..config(dir.path()) };
    conformance::log(async || Arc::new(open(small()).0) as Arc<dyn Log>).await;
}

#[tokio::test]
async fn a_commit_torn_at_any_byte_is_cut_and_reported() {
    let whole = tempfile::tempdir().unwrap();
    let (log, _) = open(config(whole.path()));
    log.append(vec![record(1), record(2)]).await.unwrap();
    let path = segments(whole.path())[0].clone();
    let kept = fs::metadata(&path).unwrap().len();
    log.append(vec![record(3)]).await.unwrap();
    drop(log);
    let bytes = fs::read(&path).unwrap();
    for length in usize::try_from(kept).unwrap()..bytes.len() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(path.file_name().unwrap()), &bytes[..length]).unwrap();
        let (log, recovery) = open(config(dir.path()));
        assert_eq!(recovery.torn_bytes, length as u64 - kept, "cut at {length}");
        assert_eq!(values(&log, 0).await, [1, 2]);
        log.append(vec![record(4)]).await.unwrap();
        drop(log);
        let (log, recovery) = open(config(dir.path()));
        assert_eq!((values(&log, 0).await, recovery.torn_bytes), (vec![1, 2, 4], 0));
    }
}

#[tokio::test]
async fn a_flipped_byte_in_the_middle_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(config(dir.path()));
    log.append(vec![record(1)]).await.unwrap();
    let path = segments(dir.path())[0].clone();
    let first = fs::metadata(&path).unwrap().len();
    log.append(vec![record(2), record(3)]).await.unwrap();
    drop(log);
    let mut bytes = fs::read(&path).unwrap();
    bytes[usize::try_from(first).unwrap() - 3] ^= 1;
    fs::write(&path, &bytes).unwrap();
    match Journal::open(config(dir.path())) {
        Err(error @ JournalError::Damaged { records_after: 2, .. }) => {
            assert!(error.to_string().contains("restore"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read(&path).unwrap(), bytes, "nothing is touched");
}

#[tokio::test]
async fn a_check_finds_every_damage_and_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert!(check(dir.path()).unwrap_err().to_string().contains("no log in it"));
    let small = || JournalConfig { segment_bytes: 2_000, ..config(dir.path()) };
    let (log, _) = open(small());
    for value in 0..100 {
        log.append(vec![record(value)]).await.unwrap();
    }
    assert!(matches!(check(dir.path()), Err(JournalError::InUse(_))));
    drop(log);
    let paths = segments(dir.path());
    assert!(paths.len() > 3, "{paths:?}");
    let whole = check(dir.path()).unwrap();
    assert_eq!((whole.segments, whole.records), (paths.len(), 100));
    assert_eq!(whole.findings, []);

    let kinds = || -> Vec<(PathBuf, FindingKind)> {
        let found = check(dir.path()).unwrap();
        found.findings.into_iter().map(|it| (it.path, it.kind)).collect()
    };
    let spoil = |path: &Path, change: &dyn Fn(&mut Vec<u8>)| {
        let before = fs::read(path).unwrap();
        let mut bytes = before.clone();
        change(&mut bytes);
        fs::write(path, &bytes).unwrap();
        let found = kinds();
        assert_eq!(fs::read(path).unwrap(), bytes, "a check changed {}", path.display());
        fs::write(path, &before).unwrap();
        found
    };
    let (first, middle, last) = (&paths[0], &paths[1], &paths[paths.len() - 1]);
    let flip = |bytes: &mut Vec<u8>| {
        let at = bytes.len() - 3;
        bytes[at] ^= 1;
    };
    // In the newest segment it can't be told from a commit that was torn.
    assert_eq!(spoil(last, &flip), [(last.clone(), FindingKind::Torn)]);
    assert_eq!(
        spoil(middle, &flip),
        [(middle.clone(), FindingKind::Damaged), (paths[2].clone(), FindingKind::Missing(1)),]
    );
    let found = spoil(middle, &|bytes| bytes[20] ^= 1);
    assert_eq!(found[0], (middle.clone(), FindingKind::Header));
    let found = spoil(first, &|bytes| bytes.truncate(bytes.len() - 70));
    assert!(
        matches!(found[..], [(_, FindingKind::Damaged), (_, FindingKind::Missing(1..))]),
        "{found:?}"
    );
    // Retention drops the oldest; nobody else drops any.
    let kept = fs::read(middle).unwrap();
    fs::remove_file(middle).unwrap();
    assert!(matches!(kinds()[..], [(_, FindingKind::Missing(2..))]));
    fs::write(middle, kept).unwrap();
    fs::remove_file(first).unwrap();
    assert_eq!(kinds(), []);
}

#[tokio::test]
async fn only_released_segments_go_and_offsets_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let tight = || JournalConfig {
        segment_bytes: 1_000,
        retention_bytes: 3_000,
        tail_bytes: 0,
        ..config(dir.path())
    };
    let (log, _) = open(tight());
    for value in 0..200 {
        log.append(vec![record(value)]).await.unwrap();
    }
    assert_eq!(log.bounds(Topic::Trade, 0).await, Ok((0, 200)), "nothing was released");
    release_all(&log).await;
    for value in 200..230 {
        log.append(vec![record(value)]).await.unwrap();
    }
    let (oldest, end) = log.bounds(Topic::Trade, 0).await.unwrap();
    assert!(oldest > 100 && end == 230, "{oldest} to {end}");
    assert_eq!(log.read(Topic::Trade, 0, 0, 1).await, Err(LogError::Expired { oldest }));
    drop(log);
    let (log, _) = open(tight());
    assert_eq!(log.bounds(Topic::Trade, 0).await, Ok((oldest, end)));
    assert_eq!(values(&log, oldest).await, (oldest..end).collect::<Vec<_>>());
}

#[tokio::test]
async fn released_segments_go_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::default());
    let aged = JournalConfig {
        segment_bytes: 500,
        retention_ms: 1_000,
        clock: clock.clone(),
        ..config(dir.path())
    };
    let (log, _) = open(aged);
    for value in 0..40 {
        log.append(vec![record(value)]).await.unwrap();
    }
    log.release(Topic::Trade, 0, 40).await.unwrap();
    clock.advance(Duration::from_secs(2));
    for value in 40..60 {
        log.append(vec![record(value)]).await.unwrap();
    }
    assert!(log.bounds(Topic::Trade, 0).await.unwrap().0 > 20);
}

async fn release_all(log: &Journal) {
    for topic in Topic::ALL {
        for partition in 0..2 {
            let (_, end) = log.bounds(topic, partition).await.unwrap();
            log.release(topic, partition, end).await.unwrap();
        }
    }
}

#[tokio::test]
async fn old_segments_make_room_before_a_further_one_is_begun() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) =
        open(JournalConfig { segment_bytes: 1_000, retention_bytes: 3_000, ..config(dir.path()) });
    for value in 0..200 {
        log.append(vec![record(value)]).await.unwrap();
    }
    release_all(&log).await;
    let before = segments(dir.path()).len();
    // A folder in its place: the next segment can't be begun.
    fs::create_dir(dir.path().join(format!("{:012}.log", before + 1))).unwrap();
    for value in 200.. {
        if log.append(vec![record(value)]).await.is_err() {
            break;
        }
    }
    let after = segments(dir.path()).len() - 1;
    assert!(before > 9 && after <= 4, "{before} and {after} segments");
}

/// Set in the child process of the test below: where its small disk is.
const DISK: &str = "FTS_JOURNAL_TEST_DISK";

/// On a disk of 1 MiB, in memory, of which nobody else knows.
#[tokio::test]
async fn a_full_disk_is_freed_of_what_is_released_and_of_nothing_else() {
    if let Ok(dir) = std::env::var(DISK) {
        return fill(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let name = "a_full_disk_is_freed_of_what_is_released_and_of_nothing_else";
    let script = "mount -t tmpfs -o size=1m none \"$0\" && exec \"$@\"";
    let outcome = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(DISK, dir.path())
        .output();
    let told = outcome.map(|it| [it.stdout, it.stderr].concat()).unwrap_or_default();
    let told = String::from_utf8_lossy(&told);
    if told.contains("running 1 test") {
        assert!(told.contains("filled and freed"), "{told}");
    } else {
        println!("SKIPPED: a small disk can't be mounted here: that takes user namespaces");
    }
}

async fn fill(dir: &Path) {
    let small = JournalConfig {
        segment_bytes: 100_000,
        retention_bytes: 200_000,
        tail_bytes: 0,
        ..config(dir)
    };
    let (log, _) = open(small);
    let mut end = 0;
    let full = loop {
        // The disk is full in the middle of the eleventh segment.
        match log.append((end..end + 100).map(record).collect()).await {
            Ok(()) => end += 100,
            Err(error) => break error,
        }
    };
    let LogError::Unavailable(reason) = &full else { panic!("{full:?}") };
    assert!(reason.contains("the disk is full"), "{reason}");
    let held = (0..end).collect::<Vec<_>>();
    assert_eq!(values(&log, 0).await, held, "nothing was released");
    assert!(log.append((0..100).map(record).collect()).await.is_err(), "it is still full");
    assert_eq!(values(&log, 0).await, held, "nothing was released");

    release_all(&log).await;
    assert_eq!(log.append((end..end + 100).map(record).collect()).await, Ok(()));
    let (oldest, last) = log.bounds(Topic::Trade, 0).await.unwrap();
    assert!(oldest > 0 && last == end + 100, "{oldest} to {last}");
    assert_eq!(values(&log, oldest).await, (oldest..last).collect::<Vec<_>>());
    drop(log);
    println!("filled and freed");
}

#[test]
fn a_second_process_and_other_partitions_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(config(dir.path()));
    assert!(matches!(Journal::open(config(dir.path())), Err(JournalError::InUse(_))));
    drop(log);
    let more = JournalConfig { partitions: 3, ..config(dir.path()) };
    let error = Journal::open(more).unwrap_err().to_string();
    assert!(error.contains("log.partitions = 2"), "{error}");
}

#[tokio::test]
async fn a_damaged_checkpoint_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(config(dir.path()));
    log.save_checkpoint("a", Bytes::from_static(b"state")).await.unwrap();
    let path = dir.path().join("checkpoints/a");
    let mut bytes = fs::read(&path).unwrap();
    bytes[5] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(log.load_checkpoint("a").await, Ok(None));
}

/// Set in the child process of the test below: where to append until killed.
const CHILD: &str = "FTS_JOURNAL_TEST_CHILD";

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9_at_any_instant() {
    if let Ok(dir) = std::env::var(CHILD) {
        append_for_ever(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..25_u64 {
        let name = "what_was_acknowledged_survives_kill_9_at_any_instant";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let enough = acknowledged + 20 + round * 37 % 400;
        let mut last = acknowledged;
        while last < enough {
            let line = lines.next().expect("the child appends until it is killed").unwrap();
            last = line.strip_prefix("acknowledged ").map_or(last, |it| it.parse().unwrap());
        }
        child.kill().unwrap();
        // What it said before it died counts too.
        for line in lines.map_while(Result::ok) {
            last = line.strip_prefix("acknowledged ").map_or(last, |it| it.parse().unwrap());
        }
        child.wait().unwrap();
        acknowledged = last;
        let (log, _) = open(JournalConfig { segment_bytes: 20_000, ..config(dir.path()) });
        let found = values(&log, 0).await;
        assert!(found.len() as u64 >= acknowledged, "round {round}: acknowledged and gone");
        assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>(), "round {round}");
        acknowledged = found.len() as u64;
    }
}

/// Appends 1, 2, 3 … and says so, in batches of different sizes.
async fn append_for_ever(dir: &Path) {
    let (log, _) = open(JournalConfig { segment_bytes: 20_000, ..config(dir) });
    let (_, mut next) = log.bounds(Topic::Trade, 0).await.unwrap();
    loop {
        let batch: Vec<_> = (1..=next % 7 + 1).map(|at| record(next + at)).collect();
        next += batch.len() as u64;
        log.append(batch).await.unwrap();
        println!("acknowledged {next}");
    }
}
