//! What every [`Log`](super::Log) must do, whatever is behind it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Append, Log, LogError, Record, Stored};
use crate::market::{Source, Symbol, Topic};
use crate::time::UnixNanos;

/// Runs the whole contract. `open` opens the same log again each time: all that was acknowledged
/// must be there. It must begin empty and have at least two partitions.
pub async fn log<F, Fut>(open: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Log>>,
{
    let log = open().await;
    assert!(log.partitions() >= 2);
    assert_eq!(log.bounds(Topic::Trade, 0).await, Ok((0, 0)));
    assert_eq!(all(&*log, Topic::Trade, 0, 0).await, []);
    order_is_kept(&*log).await;
    streams_do_not_mix(&*log).await;
    values_are_kept(&*log).await;
    reads_are_bounded(&*log).await;
    readers_are_woken(&*log).await;
    checkpoints_are_replaced(&*log).await;
    let before = everything(&*log).await;
    drop(log);

    let log = open().await;
    assert_eq!(everything(&*log).await, before, "after a restart");
    assert_eq!(log.load_checkpoint("a").await, Ok(Some(Bytes::from_static(b"three"))));
    let (_, end) = log.bounds(Topic::Trade, 0).await.unwrap_or_default();
    assert_eq!(log.append(vec![append(Topic::Trade, 0, b"after")]).await, Ok(()));
    let last = all(&*log, Topic::Trade, 0, end).await;
    assert_eq!(last.len(), 1, "offsets go on where they ended");
    assert_eq!(log.release(Topic::Trade, 0, end).await, Ok(()));
}

async fn order_is_kept(log: &dyn Log) {
    for group in 0..3_u8 {
        let batch = (0..4).map(|at| append(Topic::Trade, 0, &[group, at])).collect();
        assert_eq!(log.append(batch).await, Ok(()));
    }
    let values: Vec<_> =
        all(log, Topic::Trade, 0, 0).await.iter().map(|it| it.record.value.to_vec()).collect();
    let expected: Vec<_> = (0..3).flat_map(|group| (0..4).map(move |at| vec![group, at])).collect();
    assert_eq!(values, expected);
    assert_eq!(all(log, Topic::Trade, 0, 5).await.len(), 7, "from the middle");
    assert_eq!(all(log, Topic::Trade, 0, 12).await, [], "from the end");
    assert_eq!(log.append(Vec::new()).await, Ok(()), "nothing is soon durable");
}

async fn streams_do_not_mix(log: &dyn Log) {
    let batch = vec![
        append(Topic::Ticker, 0, b"a"),
        append(Topic::Ticker, 1, b"b"),
        append(Topic::BookTicker, 0, b"c"),
        append(Topic::Ticker, 0, b"d"),
    ];
    assert_eq!(log.append(batch).await, Ok(()));
    let values = |found: Vec<Stored>| -> Vec<Bytes> {
        found.into_iter().map(|it| it.record.value).collect()
    };
    assert_eq!(values(all(log, Topic::Ticker, 0, 0).await), ["a", "d"]);
    assert_eq!(values(all(log, Topic::Ticker, 1, 0).await), ["b"]);
    assert_eq!(values(all(log, Topic::BookTicker, 0, 0).await), ["c"]);
    assert_eq!(values(all(log, Topic::BookTicker, 1, 0).await), Vec::<Bytes>::new());
}

async fn values_are_kept(log: &dyn Log) {
    let (_, from) = log.bounds(Topic::Trade, 1).await.unwrap_or_default();
    let values =
        [Vec::new(), vec![0xff, 0x00, 0xfe], vec![7; 1 << 20], b"{\"a\":\"\xc3\xb1\"}".to_vec()];
    let sources = [Source::Stream, Source::Backfill, Source::Control, Source::Stream];
    let batch: Vec<Append> = values
        .iter()
        .zip(sources)
        .map(|(value, source)| Append {
            topic: Topic::Trade,
            partition: 1,
            record: Record {
                key: symbol("这是测试币456"),
                value: Bytes::from(value.clone()),
                received_at: UnixNanos(i64::MAX),
                source,
                feed: 1,
            },
        })
        .collect();
    assert_eq!(log.append(batch.clone()).await, Ok(()));
    let found: Vec<_> =
        all(log, Topic::Trade, 1, from).await.into_iter().map(|it| it.record).collect();
    let expected: Vec<_> = batch.into_iter().map(|it| it.record).collect();
    assert!(found == expected, "keys, values and headers come back as they were");
}

async fn reads_are_bounded(log: &dyn Log) {
    let batch = (0..100).map(|_| append(Topic::AggTrade, 0, &[1; 100])).collect();
    assert_eq!(log.append(batch).await, Ok(()));
    let some = log.read(Topic::AggTrade, 0, 0, 1_000).await.unwrap_or_default();
    assert!((1..=10).contains(&some.len()), "{} records for 1,000 bytes", some.len());
    let one = log.read(Topic::AggTrade, 0, 0, 1).await.unwrap_or_default();
    assert_eq!(one.len(), 1, "never less than one");
    let beyond = log.read(Topic::AggTrade, 0, 1_000, 1_000).await;
    assert_eq!(beyond, Ok(Vec::new()));
    assert!(matches!(
        log.read(Topic::AggTrade, log.partitions(), 0, 1).await,
        Err(LogError::Broken(_))
    ));
}

async fn readers_are_woken(log: &dyn Log) {
    let short = Duration::from_millis(5);
    let (_, end) = log.bounds(Topic::Kline, 0).await.unwrap_or_default();
    log.changed(0, &[(Topic::Kline, end)], short).await;
    assert_eq!(log.append(vec![append(Topic::Kline, 0, b"x")]).await, Ok(()));
    // A patience that would hang the suite: there is something, so it does not count.
    log.changed(0, &[(Topic::Kline, end)], Duration::from_secs(3_600)).await;
}

async fn checkpoints_are_replaced(log: &dyn Log) {
    assert_eq!(log.load_checkpoint("a").await, Ok(None));
    for text in ["one", "", "three"] {
        assert_eq!(log.save_checkpoint("a", Bytes::from_static(text.as_bytes())).await, Ok(()));
        assert_eq!(log.load_checkpoint("a").await, Ok(Some(Bytes::from_static(text.as_bytes()))));
    }
    assert_eq!(log.load_checkpoint("b").await, Ok(None));
}

/// Every record there is.
async fn everything(log: &dyn Log) -> Vec<Vec<Stored>> {
    let mut everything = Vec::new();
    for topic in Topic::ALL {
        for partition in 0..log.partitions() {
            everything.push(all(log, topic, partition, 0).await);
        }
    }
    everything
}

/// All records from `from` on; offsets must be dense.
async fn all(log: &dyn Log, topic: Topic, partition: u32, from: u64) -> Vec<Stored> {
    let mut found: Vec<Stored> = Vec::new();
    let mut next = from;
    loop {
        let batch = log.read(topic, partition, next, 1 << 16).await.unwrap_or_default();
        if batch.is_empty() {
            let end = log.bounds(topic, partition).await.map(|it| it.1);
            assert!(end.is_ok_and(|end| next >= end), "all that is durable can be read");
            return found;
        }
        for stored in batch {
            assert_eq!(stored.offset, next, "offsets are dense");
            next += 1;
            found.push(stored);
        }
    }
}

fn append(topic: Topic, partition: u32, value: &[u8]) -> Append {
    let record = Record {
        key: symbol("BTCUSDT"),
        value: Bytes::copy_from_slice(value),
        received_at: UnixNanos(1_723_161_255_000_000_001),
        source: Source::Stream,
        feed: 0,
    };
    Append { topic, partition, record }
}

fn symbol(text: &str) -> Symbol {
    Symbol::new(text).expect("the suite writes symbols as they are written")
}
