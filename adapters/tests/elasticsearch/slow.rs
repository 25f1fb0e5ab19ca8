//! Servers that are too slow for what they are sent at once, or that take no more than so much: what
//! did not get through is not sent again as it was, for ever.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fts_adapters::elasticsearch::{ElasticsearchConfig, ElasticsearchStore};
use fts_core::port::store::conformance::Place as _;
use fts_core::port::store::{Store as _, StoreError};
use fts_core::row::{Rows, Table};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::faults::{bulk_only, scripted};
use crate::outage::put_until_done;
use crate::place::place;
use crate::rows::{batch, trade};

/// The ids of a body, in order.
fn ids(body: &str) -> Vec<String> {
    let ids = body.lines().filter_map(|it| it.split_once("\"_id\":\"")?.1.split_once('"'));
    ids.map(|it| it.0.to_owned()).collect()
}

fn all_done(rows: usize) -> (u16, String) {
    (200, format!("{{\"items\":[{}]}}", vec![r#"{"index":{"status":201}}"#; rows].join(",")))
}

/// A server that does bodies of up to `most` rows and answers others as `otherwise`, and a store on it;
/// the rows of each body that came, and the ids of what was done.
async fn narrow(
    most: usize,
    otherwise: u16,
) -> (ElasticsearchStore, Arc<Mutex<Vec<usize>>>, Arc<Mutex<BTreeSet<String>>>) {
    let (came, done) = (Arc::<Mutex<Vec<usize>>>::default(), Arc::<Mutex<BTreeSet<_>>>::default());
    let (log, acted) = (Arc::clone(&came), Arc::clone(&done));
    let config = scripted(move |line, body| {
        if let Some(other) = bulk_only(line) {
            return other;
        }
        let ids = ids(body);
        let count = ids.len();
        log.lock().unwrap().push(count);
        if count > most {
            return (otherwise, String::new());
        }
        acted.lock().unwrap().extend(ids);
        all_done(count)
    })
    .await;
    let config = ElasticsearchConfig { request_timeout_ms: 1_000, ..config };
    (ElasticsearchStore::new(config).unwrap(), came, done)
}

/// Two puts of 11 rows each to a server that does at most 3 at once: all is done, and the second one
/// does not begin where the first one began.
async fn check(otherwise: u16) {
    let (store, came, done) = narrow(3, otherwise).await;
    put_until_done(&store, &batch(0)).await;
    assert_eq!(came.lock().unwrap()[0], 11);
    came.lock().unwrap().clear();
    put_until_done(&store, &batch(1)).await;
    let came = came.lock().unwrap();
    assert!(came.iter().all(|it| *it < 11), "{came:?}");
    // The candle is the same one.
    assert_eq!(done.lock().unwrap().len(), 21);
}

#[tokio::test]
async fn what_is_not_answered_in_time_is_sent_in_halves_and_the_next_is_smaller() {
    check(0).await;
}

#[tokio::test]
async fn what_is_too_large_is_sent_in_halves_and_the_next_is_smaller() {
    check(413).await;
}

#[tokio::test]
async fn what_somebody_on_the_way_gives_up_is_sent_in_halves_and_the_next_is_smaller() {
    check(504).await;
}

/// As of a server whose memory for requests is smaller than one of them.
#[tokio::test]
async fn what_is_refused_for_want_of_memory_is_sent_in_halves_and_the_next_is_smaller() {
    check(429).await;
}

#[tokio::test]
async fn a_server_that_does_nothing_in_time_is_unavailable_after_a_few_requests() {
    let (store, came, _) = narrow(0, 0).await;
    let error = store.put(&[batch(0)]).await.unwrap_err();
    let StoreError::Unavailable(reason) = &error else { panic!("{error:?}") };
    assert!(reason.contains("no answer within 1000 ms"), "{reason}");
    assert_eq!(*came.lock().unwrap(), [11, 5, 2]);
}

/// What a connection through the proxy carries in a second, towards the server.
const BYTES_A_SECOND: usize = 32 * 1_024;
/// How often it does so: a fraction of that each time.
const TURNS: usize = 20;

/// A proxy before `server` that is as slow as said. It goes on carrying what its client has given up,
/// as slow lines do. Ends with the runtime.
async fn throttled(server: SocketAddr) -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    // What the proxy has not carried shall wait at the client.
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener: TcpListener = socket.listen(64).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(server).await else { continue };
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move {
                let mut part = vec![0; BYTES_A_SECOND / TURNS];
                let turn = Duration::from_secs(1) / u32::try_from(TURNS).unwrap();
                while let Ok(count @ 1..) = from_client.read(&mut part).await {
                    if to_server.write_all(&part[..count]).await.is_err() {
                        break;
                    }
                    tokio::time::sleep(turn).await;
                }
            });
            tokio::spawn(async move {
                drop(tokio::io::copy(&mut from_server, &mut to_client).await);
            });
        }
    });
    address
}

/// A body as large as it may be takes twice the time that a request has.
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_line_that_is_too_slow_for_its_bodies_a_store_gets_all_of_its_rows() {
    const ROWS: i64 = 700;
    let Some(place) = place().await else { return };
    // Indices are made at once, beside the slow line.
    place.store().put(&[batch(0)]).await.unwrap();
    let server = place.server.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
    let config = ElasticsearchConfig {
        nodes: vec![throttled(server).await.to_string()],
        request_timeout_ms: 3_000,
        bulk_bytes: 6 * BYTES_A_SECOND,
        concurrency: 2,
        ..place.config()
    };
    let store = ElasticsearchStore::new(config).unwrap();
    let rows = Arc::new(Rows { trades: (0..ROWS).map(trade).collect(), ..Rows::default() });
    let mut failures = Vec::new();
    // Sent as it was it would fail each time.
    while let Err(error) = store.put(std::slice::from_ref(&rows)).await {
        failures.push(error);
        assert!(failures.len() < 20, "no progress: {failures:?}");
    }
    eprintln!("puts that failed: {failures:?}");
    let found = place.documents(Table::Trades).await;
    assert_eq!(found.len(), usize::try_from(ROWS).unwrap());
    place.remove().await;
}
