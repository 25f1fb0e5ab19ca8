//! Each write goes to a server that keeps the row: two servers, each with half of the ring and one copy
//! of each row, have nothing to pass on to one another.

use std::net::SocketAddr;
use std::sync::Arc;

use fts_adapters::scylla::{ScyllaConfig, ScyllaStore};
use fts_core::port::store::Store as _;
use fts_core::row::{Rows, TradeRow};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::policies::host_filter::AllowListHostFilter;

use crate::keyspace::PATIENCE_MS;
use crate::rows::{symbol, trade};
use crate::server::Server;

/// As many partitions.
const SYMBOLS: i64 = 1_000;

/// A session that asks this server only.
async fn pinned(server: &Server) -> Session {
    let address: SocketAddr = server.address().parse().unwrap();
    let filter = AllowListHostFilter::new([address]).unwrap();
    let builder = SessionBuilder::new().known_node_addr(address).host_filter(Arc::new(filter));
    builder.build().await.unwrap()
}

/// Messages that the servers have sent one another.
async fn passed_on(sessions: &[Session]) -> i64 {
    let mut sum = 0;
    for session in sessions {
        let cql = "SELECT sent_count FROM system_views.internode_outbound";
        let found = session.query_unpaged(cql, ()).await.unwrap().into_rows_result().unwrap();
        sum += found.rows::<(i64,)>().unwrap().map(|it| it.unwrap().0).sum::<i64>();
    }
    sum
}

/// Two servers take 2.5 GiB.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a scene to be watched: --ignored --nocapture"]
async fn what_is_written_goes_to_the_server_that_keeps_it() {
    let Some(servers) = Server::start_two().await else { return };
    let store = ScyllaStore::new(ScyllaConfig {
        replication_factor: 1,
        connect_timeout_ms: PATIENCE_MS,
        request_timeout_ms: PATIENCE_MS,
        ..ScyllaConfig::new(servers.iter().map(Server::address).collect())
    })
    .unwrap();
    store.connect().await.unwrap();
    let sessions = [pinned(&servers[0]).await, pinned(&servers[1]).await];
    // One row of some partitions, which is a statement; several of others, which are a batch.
    let rows = |number: i64| {
        (0..=2 * (number % 2))
            .map(move |id| TradeRow { symbol: symbol(&format!("SYM{number}")), ..trade(id) })
    };
    let trades: Vec<TradeRow> = (0..SYMBOLS).flat_map(rows).collect();
    let count = trades.len();
    let before = passed_on(&sessions).await;
    store.put(&[Arc::new(Rows { trades, ..Rows::default() })]).await.unwrap();
    let of_store = passed_on(&sessions).await - before;

    // Whoever asks any server has half of it passed on.
    let before = passed_on(&sessions).await;
    let strange = SessionBuilder::new().known_node(servers[0].address()).build().await.unwrap();
    for number in 0..SYMBOLS {
        let cql = format!(
            "INSERT INTO binance_stream.trades (symbol, bucket, time, trade_id) \
             VALUES ('OTHER{number}', 0, 0, 0)"
        );
        strange.query_unpaged(cql, ()).await.unwrap();
    }
    let of_stranger = passed_on(&sessions).await - before;
    eprintln!(
        "messages between the servers: {of_store} for {count} rows of {SYMBOLS} partitions, \
         {of_stranger} for {SYMBOLS} rows of somebody who does not know where they belong"
    );
    assert!(of_stranger > SYMBOLS / 4, "the servers' count counts");
    // Each partition is three requests: its rows, and two that announce it. The servers gossip, too.
    assert!(of_store < SYMBOLS / 4, "{of_store} messages");
    assert_eq!(store.trades(&symbol("SYM1"), 0, 9).await.unwrap().len(), 3);
}
