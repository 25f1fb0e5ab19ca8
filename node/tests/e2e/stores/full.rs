//! Stores without room: Cassandra on a disk of its own that fills up, Elasticsearch with the block that
//! it puts on its indices at the flood stage. Only their own writers stand still, the reason is on show,
//! and all is there once there is room again.
//!
//! The disk is a small one in memory, which takes root to mount.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::runtime::Runtime;

use super::{Others, cassandra};
use crate::foreign::{clean, named};
use crate::support::dump::{self, TABLES, assert_same_rows, same};
use crate::support::node::{Exchange, NodeCommand};
use crate::support::store::Store;
use crate::support::{PATIENCE, http, until};

/// A disk in memory. Unmounted when dropped.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// `None`, said loudly, for who may not mount.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=512m", "fts-test"])
            .arg(folder.path())
            .status();
        if mounted.is_ok_and(|it| it.success()) {
            return Some(Self { folder });
        }
        println!("SKIPPED: a disk can't be mounted here: that takes root");
        None
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Leaves no byte free.
    fn fill(&self) {
        let mut file = fs::File::create(self.filler()).unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
    }

    /// There is room again.
    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.folder.path()).status());
    }
}

/// Its tables lie in indices with this before their names, which the test may block.
fn block(elastic: &str, own: &str, on: &str) {
    let body = format!(r#"{{"index.blocks.read_only_allow_delete":{on}}}"#);
    let status = http::send_json(elastic, "PUT", &format!("/{own}*/_settings"), &body);
    assert_eq!(status, Some(200));
}

#[test]
fn stores_without_room_stand_still_alone_say_why_and_have_it_all_in_the_end() {
    let Some(url) = named("FTS_TEST_ELASTICSEARCH") else { return };
    let Some(disk) = Disk::mount() else { return };
    let runtime = Runtime::new().unwrap();
    let started = runtime.block_on(cassandra::Server::start_in(disk.path()));
    let Some(mut server) = started else { return };
    let elastic = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let own = format!("full{}-", std::process::id());
    let folder = tempfile::tempdir().unwrap();
    let exchange = Exchange::seeded(folder.path());
    let command = NodeCommand::new(folder.path(), &exchange).with(format!(
        "stores=[{{kind=\"sqlite\"}}, \
         {{kind=\"scylla\", nodes=[\"{}\"], replication_factor=1, request_timeout_ms=5000}}, \
         {{kind=\"elasticsearch\", nodes=[\"{url}\"], replicas=0, index_prefix=\"{own}\", \
         tables={}}}]",
        server.address(),
        serde_json::to_string(&TABLES).unwrap()
    ));
    let mut node = command.start();
    let sqlite = Store::new(command.database());
    let others = Others::connect(&server.address(), elastic.clone());
    let there = |table: &str| dump::elasticsearch(&elastic, &format!("{own}{table}"));
    until("trades in all three", PATIENCE, || {
        node.check_alive();
        let has = |rows: Option<Vec<_>>| rows.is_some_and(|it| !it.is_empty());
        (has(others.cassandra("trades")) && has(there("trades"))).then_some(())
    });

    disk.fill();
    block(&elastic, &own, "true");
    let before = sqlite.count("trades");
    let said = until("what is wrong to be on show", PATIENCE, || {
        node.check_alive();
        let answer = http::get(&command.http, "/readyz")?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let says = |store: &str, word: &str| {
            text.lines().any(|line| line.contains(store) && line.contains(word))
        };
        (says("elasticsearch", "is a disk full") && says("scylla", "")).then_some(text)
    });
    println!("{said}");
    until("SQLite to go on", PATIENCE, || {
        node.check_alive();
        (sqlite.count("trades") > before + 200).then_some(())
    });
    let stored = there("trades").map_or(0, |it| it.len());
    assert!(stored < usize::try_from(sqlite.count("trades")).unwrap(), "the block was felt");

    disk.free();
    block(&elastic, &own, "null");
    // It serves nobody any more once its commit log can't be written.
    server.kill();
    runtime.block_on(server.run());
    // The market ends: what was said is what is stored.
    drop(exchange);
    let alike = |table: &&str| {
        let rows = dump::sqlite(&sqlite, table);
        others.cassandra(table).is_some_and(|it| same(table, &rows, &it))
            && there(table).is_some_and(|it| same(table, &rows, &it))
    };
    until("all to have the same", PATIENCE, || {
        node.check_alive();
        TABLES.iter().all(alike).then_some(())
    });
    until("all to be well", PATIENCE, || {
        let answer = http::get(&command.http, "/readyz")?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        (!text.contains("scylla") && !text.contains("elasticsearch")).then_some(())
    });
    node.terminate();
    assert!(sqlite.count("trades") > before + 200);
    for table in TABLES {
        let rows = dump::sqlite(&sqlite, table);
        let cassandra = others.cassandra(table).expect("Cassandra answers");
        assert_same_rows("SQLite and Cassandra", table, &rows, &cassandra);
        assert_same_rows("SQLite and Elasticsearch", table, &rows, &there(table).unwrap());
    }
    clean(&elastic, &own);
}
