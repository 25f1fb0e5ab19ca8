//! The log in Kafka, on a real broker: `cargo xtask test servers`, or `FTS_TEST_KAFKA=host:port`.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "kafka/support.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use fts_adapters::kafka::{KafkaConfig, KafkaLog, KafkaOpenError, KafkaResults, Login, Security};
use fts_core::market::{Source, Symbol, Topic, Trade};
use fts_core::port::log::{Log, LogError, conformance};
use fts_core::port::store::Store as _;
use fts_core::row::{Rows, Table, TradeRow};
use fts_core::time::{Clock as _, SystemClock};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use self::support::{append, broker, config, read_all, skip};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    let Some(broker) = broker() else { return skip() };
    let config = config(&broker);
    conformance::log(async || {
        Arc::new(KafkaLog::open(config.clone()).await.unwrap()) as Arc<dyn Log>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_at_different_places_read_the_same() {
    let Some(broker) = broker() else { return skip() };
    // So little is kept in memory that every reader needs a place of its own.
    let log =
        Arc::new(KafkaLog::open(KafkaConfig { tail_bytes: 0, ..config(&broker) }).await.unwrap());
    let batch = (0..5_000).map(|at| append(Topic::Trade, 0, format!("{at:08}"))).collect();
    log.append(batch).await.unwrap();
    // More of them than there are lanes.
    let readers: Vec<_> = (0..7)
        .map(|at| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { (at, read_all(&*log, Topic::Trade, at * 600, 2_000).await) })
        })
        .collect();
    for reader in readers {
        let (at, found) = reader.await.unwrap();
        let expected: Vec<_> = (at * 600..5_000).map(|at| format!("{at:08}")).collect();
        assert_eq!(found, expected, "from {}", at * 600);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_is_woken_by_what_another_node_appends() {
    let Some(broker) = broker() else { return skip() };
    let config = config(&broker);
    let here = KafkaLog::open(config.clone()).await.unwrap();
    let there = KafkaLog::open(config).await.unwrap();
    assert_eq!(here.read(Topic::Ticker, 1, 0, 1_000).await, Ok(Vec::new()));
    let waiting = async {
        // It may be woken for nothing, and sleeps again. A patience that would hang the test.
        loop {
            here.changed(1, &[(Topic::Ticker, 0)], Duration::from_secs(3_600)).await;
            let found = here.read(Topic::Ticker, 1, 0, 1_000).await.unwrap();
            if !found.is_empty() {
                break found;
            }
        }
    };
    let waiting = tokio::time::timeout(Duration::from_secs(60), waiting);
    let sending = there.append(vec![append(Topic::Ticker, 1, "x".to_owned())]);
    let (found, sent) = tokio::join!(waiting, sending);
    assert_eq!(sent, Ok(()));
    assert_eq!(found.expect("a wake-up that came").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_is_the_newest_of_all_nodes_whoever_asks_and_however_many_at_once() {
    let Some(broker) = broker() else { return skip() };
    let config = config(&broker);
    let here = Arc::new(KafkaLog::open(config.clone()).await.unwrap());
    let there = KafkaLog::open(config.clone()).await.unwrap();
    assert_eq!(here.load_checkpoint("0").await, Ok(None));
    for round in 0..5 {
        for name in 0..20 {
            let value = format!("{name} {round}").repeat(1_000);
            there.save_checkpoint(&name.to_string(), value.into()).await.unwrap();
        }
        let asking: Vec<_> = (0..20)
            .map(|name| {
                let here = Arc::clone(&here);
                tokio::spawn(async move { here.load_checkpoint(&name.to_string()).await })
            })
            .collect();
        for (name, asked) in asking.into_iter().enumerate() {
            let expected = format!("{name} {round}").repeat(1_000);
            assert_eq!(asked.await.unwrap(), Ok(Some(expected.into())), "in round {round}");
        }
    }
    // One that comes later has them all to read.
    let late = KafkaLog::open(config).await.unwrap();
    assert_eq!(late.load_checkpoint("7").await, Ok(Some("7 4".repeat(1_000).into())));
}

/// How long something may take that comes at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the checkpoints and the cursors rely on: a client's places are changed again before the fetchers of
/// the last ones have ended, and the library does not abort the process for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_leaves_its_places_and_takes_them_again_at_once() {
    let Some(broker) = broker() else { return skip() };
    let config = config(&broker);
    let log = KafkaLog::open(config.clone()).await.unwrap();
    log.append(vec![append(Topic::Trade, 0, "once".to_owned())]).await.unwrap();
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &broker)
        .set("group.id", "nobody")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let topic = format!("{}{}", config.topic_prefix, Topic::Trade.name());
    let mut places = TopicPartitionList::new();
    places.add_partition_offset(&topic, 0, Offset::Beginning).unwrap();
    client.assign(&places).unwrap();
    assert!(client.poll(PATIENCE).unwrap().is_ok(), "it fetches");
    for _ in 0..2_000 {
        client.unassign().unwrap();
        client.assign(&places).unwrap();
    }
    assert!(client.poll(PATIENCE).unwrap().is_ok(), "it fetches again");
    client.unassign().unwrap();
    for _ in 0..2_000 {
        client.incremental_assign(&places).unwrap();
        client.incremental_unassign(&places).unwrap();
    }
    client.incremental_assign(&places).unwrap();
    assert!(client.poll(PATIENCE).unwrap().is_ok(), "it fetches still");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_write_is_read_without_headers_key_or_sense() {
    let Some(broker) = broker() else { return skip() };
    let config = config(&broker);
    let log = KafkaLog::open(config.clone()).await.unwrap();
    let topic = format!("{}{}", config.topic_prefix, Topic::Transactions.name());
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", &broker).create().unwrap();
    let long = Duration::from_secs(30);
    // Not older than the topic keeps records.
    let at = SystemClock.now().millis();
    let plain = FutureRecord::<str, str>::to(&topic).partition(0).payload("{}").timestamp(at);
    producer.send(plain, long).await.unwrap();
    let odd = rdkafka::message::Header { key: "feed", value: Some("many") };
    let odd = FutureRecord::to(&topic)
        .partition(0)
        .key("no symbol!")
        .payload("?")
        .timestamp(at)
        .headers(OwnedHeaders::new().insert(odd));
    producer.send(odd, long).await.unwrap();
    let found = log.read(Topic::Transactions, 0, 0, 1_000).await.unwrap();
    let all = if found.len() < 2 {
        let more = log.read(Topic::Transactions, 0, 1, 1_000).await.unwrap();
        [found, more].concat()
    } else {
        found
    };
    for stored in all {
        let record = stored.record;
        assert_eq!(record.key, Symbol::new("UNKNOWN").unwrap());
        assert_eq!((record.received_at.0, record.source), (at * 1_000_000, Source::Stream));
        assert_eq!(record.feed, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_contradicts_the_configuration_is_refused() {
    let Some(broker) = broker() else { return skip() };
    let config = config(&broker);
    drop(KafkaLog::open(config.clone()).await.unwrap());
    drop(KafkaLog::open(config.clone()).await.unwrap());
    let mut cases = Vec::new();
    let with = |change: fn(&mut KafkaConfig)| {
        let mut config = config.clone();
        change(&mut config);
        config
    };
    cases.push((with(|it| it.partitions = 3), "log.partitions"));
    cases.push((with(|it| it.replication = 2), "log.kafka.replication"));
    cases.push((with(|it| it.in_sync_min = 2), "min.insync.replicas"));
    cases.push((with(|it| it.retention_ms *= 2), "retention.ms"));
    for (config, place) in cases {
        let error = KafkaLog::open(config).await.unwrap_err();
        assert!(matches!(error, KafkaOpenError::Contradiction { .. }), "{error}");
        assert!(error.to_string().contains(place), "`{place}` is not in: {error}");
    }
    // What is stronger than configured is fine.
    KafkaLog::open(with(|it| it.retention_ms /= 2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_is_unavailable_and_says_so() {
    let Some(_) = broker() else { return skip() };
    // Bound and not listened on.
    let config = KafkaConfig { timeout: Duration::from_secs(2), ..config("127.0.0.1:9") };
    let error = KafkaLog::open(config).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:9"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_a_password_are_asked_for_and_given() {
    let Some(plain) = broker() else { return skip() };
    let variable = |name: &str| std::env::var(format!("FTS_TEST_KAFKA_{name}"));
    let Ok(broker) = variable("SECURE") else { return skip() };
    let security = |password: &str| Security {
        tls: true,
        ca_file: Some(variable("CA").unwrap().into()),
        certificate: None,
        login: Some(Login {
            mechanism: "SCRAM-SHA-512".to_owned(),
            username: variable("USER").unwrap(),
            password: password.to_owned(),
        }),
    };
    let prefix = config(&plain).topic_prefix;
    let secure = |password: &str| KafkaConfig {
        security: security(password),
        topic_prefix: prefix.clone(),
        timeout: Duration::from_secs(5),
        ..config(&broker)
    };
    let right =
        KafkaConfig { timeout: Duration::from_secs(60), ..secure(&variable("PASSWORD").unwrap()) };
    let log = KafkaLog::open(right).await.unwrap();
    log.append(vec![append(Topic::Trade, 0, "secret".to_owned())]).await.unwrap();
    assert_eq!(read_all(&log, Topic::Trade, 0, 1_000).await, ["secret"]);

    let error = KafkaLog::open(secure("not-this-one")).await.unwrap_err();
    let text = format!("{error} {error:?} {:?}", secure("not-this-one"));
    assert!(!text.contains("not-this-one"), "a password is never shown: {text}");
    let no_ca =
        KafkaConfig { security: Security { ca_file: None, ..security("x") }, ..secure("x") };
    assert!(KafkaLog::open(no_ca).await.is_err(), "a broker that nobody vouches for");
    let in_plain_text = KafkaConfig { security: Security::default(), ..secure("x") };
    assert!(KafkaLog::open(in_plain_text).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_retention_took_are_expired() {
    let Some(broker) = broker() else { return skip() };
    let config = config(&broker);
    let log = KafkaLog::open(config.clone()).await.unwrap();
    let batch = (0..10).map(|at| append(Topic::Trade, 0, at.to_string())).collect();
    log.append(batch).await.unwrap();
    let admin: rdkafka::admin::AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", &broker).create().unwrap();
    let topic = format!("{}{}", config.topic_prefix, Topic::Trade.name());
    let mut below = rdkafka::TopicPartitionList::new();
    below.add_partition_offset(&topic, 0, rdkafka::Offset::Offset(4)).unwrap();
    admin.delete_records(&below, &rdkafka::admin::AdminOptions::new()).await.unwrap();
    assert_eq!(log.bounds(Topic::Trade, 0).await, Ok((4, 10)));
    let other = KafkaLog::open(config).await.unwrap();
    for log in [&log, &other] {
        let outcome = log.read(Topic::Trade, 0, 0, 1_000).await;
        assert_eq!(outcome, Err(LogError::Expired { oldest: 4 }));
        assert_eq!(read_all(log, Topic::Trade, 4, 1_000).await.len(), 6);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_records_that_anybody_can_read() {
    let Some(broker) = broker() else { return skip() };
    let config = config(&broker);
    let results = KafkaResults::new(config.clone(), vec![Table::Trades, Table::Candles]).unwrap();
    let trade = |id| TradeRow {
        symbol: Symbol::new("BTCUSDT").unwrap(),
        trade: Trade {
            id,
            time: 1_723_161_255_000,
            price: "61837.63".parse().unwrap(),
            quantity: "0.5".parse().unwrap(),
            buyer_is_maker: true,
        },
        received_at: 1_723_161_255_017,
        source: Source::Stream,
    };
    let rows = |ids: &[i64]| {
        let trades = ids.iter().copied().map(trade).collect();
        Arc::new(Rows { trades, ..Rows::default() })
    };
    results.put(&[rows(&[1, 2]), rows(&[3])]).await.unwrap();
    results.put(&[rows(&[2])]).await.unwrap();

    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &broker)
        .set("group.id", &config.topic_prefix)
        .create()
        .unwrap();
    let topic = format!("{}trades", config.topic_prefix);
    let mut places = rdkafka::TopicPartitionList::new();
    for partition in 0..2 {
        places.add_partition_offset(&topic, partition, rdkafka::Offset::Beginning).unwrap();
    }
    consumer.assign(&places).unwrap();
    let mut found = Vec::new();
    while found.len() < 4 {
        let message = consumer.poll(Duration::from_secs(60)).expect("four records").unwrap();
        let row: serde_json::Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
        let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
        assert_eq!(key, format!("BTCUSDT-{}", row["trade_id"]));
        assert_eq!((&row["price"], &row["symbol"]), (&"61837.63000000".into(), &"BTCUSDT".into()));
        found.push((key, message.partition()));
    }
    found.sort();
    let keys: Vec<_> = found.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(keys, ["BTCUSDT-1", "BTCUSDT-2", "BTCUSDT-2", "BTCUSDT-3"]);
    assert_eq!(found[1].1, found[2].1, "one key, one partition");
}
