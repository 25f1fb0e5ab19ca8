//! Servers that are not there, hang, die, refuse, or have too much to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fts_adapters::elasticsearch::{ElasticsearchConfig, ElasticsearchStore, Secret};
use fts_core::port::store::conformance::Place as _;
use fts_core::port::store::{Store as _, StoreError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::counted::Counted;
use crate::outage::{Mortal, killed_in_the_middle, put_until_done};
use crate::place::{Indices, place};
use crate::rows::{batch, symbol};
use crate::server::Server;

impl Mortal for Server {
    fn kill(&mut self) {
        Self::kill(self);
    }

    async fn run(&mut self) {
        Self::run(self).await;
    }
}

/// A store on a server that answers each request by `answer`.
async fn store_on(
    answer: impl Fn(&str, &str) -> (u16, String) + Send + Sync + 'static,
) -> ElasticsearchStore {
    ElasticsearchStore::new(scripted(answer).await).unwrap()
}

/// A server that answers each request by `answer`: status and body, from the request's first line
/// and body; not at all where the status is 0.
pub(crate) async fn scripted(
    answer: impl Fn(&str, &str) -> (u16, String) + Send + Sync + 'static,
) -> ElasticsearchConfig {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let mut seen = Vec::new();
                loop {
                    let text = String::from_utf8_lossy(&seen).into_owned();
                    let whole = text.split_once("\r\n\r\n").filter(|(head, body)| {
                        let length = head.lines().find_map(|it| {
                            it.to_lowercase().strip_prefix("content-length: ")?.parse().ok()
                        });
                        body.len() >= length.unwrap_or(0)
                    });
                    if let Some((head, body)) = whole {
                        let (status, text) = answer(head.lines().next().unwrap(), body);
                        if status == 0 {
                            return std::future::pending().await;
                        }
                        let reply = format!(
                            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{text}",
                            text.len()
                        );
                        stream.write_all(reply.as_bytes()).await.unwrap();
                        seen.clear();
                        continue;
                    }
                    let mut more = [0; 65_536];
                    match stream.read(&mut more).await {
                        Ok(0) | Err(_) => return,
                        Ok(count) => seen.extend_from_slice(&more[..count]),
                    }
                }
            });
        }
    });
    ElasticsearchConfig {
        username: Some("fts".to_owned()),
        password: Some(Secret::new("hunter2".to_owned())),
        ..ElasticsearchConfig::new(vec![address])
    }
}

/// A server of which nothing but `_bulk` matters.
pub(crate) fn bulk_only(line: &str) -> Option<(u16, String)> {
    (!line.contains("/_bulk")).then(|| match line.split(' ').next() {
        Some("GET") => (404, "{}".to_owned()),
        _ => (200, "{}".to_owned()),
    })
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_is_told_at_once_to_who_asks_again() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = ElasticsearchConfig::new(vec![format!("127.0.0.1:{port}")]);
    let store = ElasticsearchStore::new(config).unwrap();
    for _ in 0..2 {
        let error = store.put(&[batch(0)]).await.unwrap_err();
        let StoreError::Unavailable(reason) = &error else { panic!("{error:?}") };
        assert!(reason.contains("is the server up"), "{reason}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_unavailable_within_its_time() {
    // Accepts connections, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = ElasticsearchConfig::new(vec![silent.local_addr().unwrap().to_string()]);
    config.request_timeout_ms = 300;
    let store = ElasticsearchStore::new(config).unwrap();
    let put = tokio::time::timeout(Duration::from_secs(60), store.put(&[batch(0)])).await;
    let Ok(Err(StoreError::Unavailable(reason))) = &put else { panic!("{put:?}") };
    assert!(reason.contains("300 ms"), "{reason}");
}

#[tokio::test]
async fn of_two_nodes_the_one_that_answers_is_used() {
    let Some(place) = place().await else { return };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut config = place.config();
    config.nodes.insert(0, format!("127.0.0.1:{port}"));
    let store = ElasticsearchStore::new(config).unwrap();
    for number in 0..4 {
        assert_eq!(store.put(&[batch(number)]).await, Ok(()));
    }
    assert_eq!(store.trades(&symbol("BTCUSDT"), 0, 99).await.unwrap().len(), 40);
    place.remove().await;
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_shown() {
    let store = store_on(|_, _| {
        let error = r#"{"error":{"type":"security_exception","reason":"unable to authenticate user [fts]"}}"#;
        (401, error.to_owned())
    })
    .await;
    let error = store.connect().await.unwrap_err();
    let StoreError::Refused(reason) = &error else { panic!("{error:?}") };
    assert!(reason.contains("correct the store's login"), "{reason}");
    assert!(!format!("{error:?} {store:?}").contains("hunter2"));
}

#[tokio::test]
async fn what_the_cluster_was_too_busy_for_is_sent_again_and_nothing_else() {
    let sent = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&sent);
    let store = store_on(move |line, body| {
        if let Some(other) = bulk_only(line) {
            return other;
        }
        let mut sent = log.lock().unwrap();
        let ids: Vec<String> = body
            .lines()
            .filter_map(|it| it.split_once("\"_id\":\"")?.1.split_once('"'))
            .map(|it| it.0.to_owned())
            .collect();
        sent.push(ids.clone());
        let round = sent.len();
        if round == 1 {
            return (429, r#"{"error":{"type":"es_rejected_execution_exception"}}"#.to_owned());
        }
        let items = ids.iter().enumerate().map(|(number, _)| match (round, number) {
            (2, 1 | 4) => {
                r#"{"index":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"full"}}}"#
            }
            (2, 2) => {
                r#"{"index":{"status":409,"error":{"type":"version_conflict_engine_exception"}}}"#
            }
            _ => r#"{"index":{"status":201}}"#,
        });
        let items: Vec<_> = items.collect();
        (200, format!("{{\"items\":[{}]}}", items.join(",")))
    })
    .await;
    let counted = Counted::default();
    let _guard = metrics::set_default_local_recorder(&counted);
    assert_eq!(store.put(&[batch(0)]).await, Ok(()));
    let sent = sent.lock().unwrap();
    let [all, again, failed] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((all.len(), all), (11, again));
    assert_eq!(failed[..], ["BTCUSDT:1", "BTCUSDT:4"]);
    // Each row once, however often it was sent.
    let rows = [("elasticsearch/candles", 1), ("elasticsearch/trades", 10)];
    assert_eq!(counted.rows(), rows.map(|(name, count)| (name.to_owned(), count)));
}

/// Each answer takes its time, so that others could come meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_requests_that_write_are_under_way_than_may_be() {
    let busy = Arc::new(std::sync::Mutex::new((0, 0)));
    let seen = Arc::clone(&busy);
    let mut config = scripted(move |line, body| {
        if let Some(other) = bulk_only(line) {
            return other;
        }
        let change = |by: i32| {
            let mut busy = seen.lock().unwrap();
            busy.0 += by;
            busy.1 = busy.1.max(busy.0);
        };
        change(1);
        tokio::task::block_in_place(|| std::thread::sleep(Duration::from_millis(20)));
        change(-1);
        let rows = body.lines().filter(|it| it.starts_with("{\"index\"")).count();
        let items = vec![r#"{"index":{"status":201}}"#; rows];
        (200, format!("{{\"items\":[{}]}}", items.join(",")))
    })
    .await;
    (config.concurrency, config.bulk_bytes) = (2, 1_024);
    let store = ElasticsearchStore::new(config).unwrap();
    let (one, other) = tokio::join!(async { store.put(&[batch(0), batch(1)]).await }, async {
        store.put(&[batch(2), batch(3)]).await
    },);
    assert_eq!((one, other), (Ok(()), Ok(())));
    let most = busy.lock().unwrap().1;
    assert!((1..=2).contains(&most), "{most} at once");
}

#[tokio::test]
async fn a_cluster_that_stays_too_busy_is_unavailable_after_a_bounded_time() {
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    let store = store_on(move |line, _| {
        bulk_only(line).unwrap_or_else(|| {
            counted.fetch_add(1, Ordering::Relaxed);
            (429, r#"{"error":{"type":"es_rejected_execution_exception"}}"#.to_owned())
        })
    })
    .await;
    let error = store.put(&[batch(0)]).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable(it) if it.contains("overloaded")),
        "{error:?}"
    );
    assert_eq!(count.load(Ordering::Relaxed), 8);
}

#[tokio::test]
async fn a_body_that_is_too_large_for_the_server_is_halved_down_to_the_row() {
    let store = store_on(|line, body| {
        if let Some(other) = bulk_only(line) {
            return other;
        }
        let rows = body.lines().filter(|it| it.starts_with("{\"index\"")).count();
        if rows > 3 || body.contains("BTCUSDT:6\"") {
            return (413, String::new());
        }
        let items = vec![r#"{"index":{"status":201}}"#; rows];
        (200, format!("{{\"items\":[{}]}}", items.join(",")))
    })
    .await;
    let counted = Counted::default();
    let _guard = metrics::set_default_local_recorder(&counted);
    let error = store.put(&[batch(0)]).await.unwrap_err();
    let StoreError::Rejected { table: "trades", reason } = &error else { panic!("{error:?}") };
    assert!(reason.contains("BTCUSDT:6") && reason.contains("`bulk_bytes`"), "{reason}");
    let rows = [("elasticsearch/candles", 1), ("elasticsearch/trades", 9)];
    assert_eq!(counted.rows(), rows.map(|(name, count)| (name.to_owned(), count)));
}

/// The rows come into the index only after the refresh of somebody who read meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_under_way_when_somebody_read_is_found_by_who_reads_once_it_is_done() {
    let (begun, mut has_begun) = tokio::sync::watch::channel(false);
    let refreshes = Arc::new(AtomicU32::new(0));
    let (counted, seen) = (Arc::clone(&refreshes), Arc::clone(&refreshes));
    let store = store_on(move |line, body| {
        if line.contains("/_refresh") {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        if line.contains("/_search") {
            let nothing = r#"{"timed_out":false,"_shards":{"failed":0},"hits":{"hits":[]}}"#;
            return (200, nothing.to_owned());
        }
        if let Some(other) = bulk_only(line) {
            return other;
        }
        begun.send_replace(true);
        // What else this thread had to serve goes to another one: the refresh may be among it.
        tokio::task::block_in_place(|| {
            for _ in 0..6_000 {
                if seen.load(Ordering::SeqCst) > 0 {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let rows = body.lines().filter(|it| it.starts_with("{\"index\"")).count();
        let items = vec![r#"{"index":{"status":201}}"#; rows];
        (200, format!("{{\"items\":[{}]}}", items.join(",")))
    })
    .await;
    let read = async || {
        assert_eq!(store.trades(&symbol("BTCUSDT"), 0, 99).await, Ok(Vec::new()));
        refreshes.load(Ordering::SeqCst)
    };
    let rows = [batch(0)];
    let meanwhile = async {
        has_begun.wait_for(|it| *it).await.unwrap();
        read().await
    };
    assert_eq!(tokio::join!(store.put(&rows), meanwhile), (Ok(()), 1));
    assert_eq!(read().await, 2, "the refresh before may have missed it");
    assert_eq!(read().await, 2, "nothing was written since");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_may_not_be_written_is_unavailable_until_it_may() {
    let Some(place) = place().await else { return };
    let store = place.store();
    store.put(&[batch(0)]).await.unwrap();
    for block in ["write", "read_only", "read_only_allow_delete"] {
        let set = |on: &str| format!("{{\"index.blocks.{block}\":{on}}}");
        place.ask("PUT", "/{p}trades/_settings", &set("true")).await;
        let error = store.put(&[batch(1)]).await.unwrap_err();
        let StoreError::Unavailable(reason) = &error else { panic!("{block}: {error:?}") };
        assert!(reason.contains("may not be written"), "{reason}");
        place.ask("PUT", "/{p}trades/_settings", &set("null")).await;
        assert_eq!(store.put(&[batch(1)]).await, Ok(()), "{block}");
    }
    place.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_closed_costs_no_row() {
    let Some(place) = place().await else { return };
    let store = place.store();
    store.put(&[batch(0)]).await.unwrap();
    assert_eq!(place.ask("POST", "/{p}trades/_close", "").await.0, 200);
    let error = store.put(&[batch(1)]).await.unwrap_err();
    let StoreError::Refused(reason) = &error else { panic!("{error:?}") };
    assert!(reason.contains("closed: open it"), "{reason}");
    assert_eq!(place.ask("POST", "/{p}trades/_open", "").await.0, 200);
    assert_eq!(store.put(&[batch(1)]).await, Ok(()));
    assert_eq!(store.trades(&symbol("BTCUSDT"), 0, 99).await.unwrap().len(), 20);
    place.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn indices_and_templates_that_somebody_removed_are_made_again() {
    let Some(place) = place().await else { return };
    let store = place.store();
    store.put(&[batch(0)]).await.unwrap();
    place.remove().await;
    // As after a server has come back with an empty disk: the connection was lost meanwhile.
    let store = place.store();
    store.put(&[batch(1)]).await.unwrap();
    let found = store.trades(&symbol("BTCUSDT"), 0, 99).await.unwrap();
    assert!(found.iter().map(|it| it.trade.id).eq(10..20), "{found:?}");
    place.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_and_started_again_it_has_all_that_was_acknowledged() {
    let Some(mut server) = Server::start().await else { return };
    let store = Arc::new(Indices::on(server.address()).store());
    store.connect().await.unwrap();
    killed_in_the_middle(store, &mut server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_fails_in_time_and_is_used_again_once_it_answers() {
    let Some(server) = Server::start().await else { return };
    let store = ElasticsearchStore::new(ElasticsearchConfig {
        request_timeout_ms: 5_000,
        ..Indices::on(server.address()).config()
    })
    .unwrap();
    put_until_done(&store, &batch(0)).await;
    server.signal("STOP");
    let put = tokio::time::timeout(Duration::from_secs(60), store.put(&[batch(1)])).await;
    let reason = match put {
        Ok(Err(StoreError::Unavailable(reason))) => reason,
        other => panic!("{other:?}"),
    };
    assert!(reason.contains("no answer within 5000 ms"), "{reason}");
    server.signal("CONT");
    put_until_done(&store, &batch(1)).await;
    assert_eq!(store.trades(&symbol("BTCUSDT"), 0, 99).await.unwrap().len(), 20);
}
