//! What Kafka and its client cost without anything of this project: one bare producer, one bare consumer,
//! as fast as they can. `cargo run --release -p fts-adapters --example reference_kafka --
//! host:port[,host:port…] [messages] [copies] [bytes]`; `cargo xtask bench cluster` runs it beside the
//! nodes. Its topic stays behind, under a name of its own.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::error::Error;
use std::time::Duration;

use fts_core::time::{Clock as _, SystemClock};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

const PARTITIONS: i32 = 12;
const PATIENCE: Duration = Duration::from_secs(60);

type Failed = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let brokers = arguments.next().ok_or("which broker? host:port")?;
    let messages: u64 = arguments.next().map_or(Ok(1_000_000), |it| it.parse())?;
    let copies: i32 = arguments.next().map_or(Ok(1), |it| it.parse())?;
    let bytes: usize = arguments.next().map_or(Ok(154), |it| it.parse())?;
    let topic = format!("reference-{}", SystemClock.now().0);
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &brokers);
    let admin: AdminClient<DefaultClientContext> = client.create()?;
    let new = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(copies));
    for outcome in admin.create_topics(&[new], &AdminOptions::new()).await? {
        outcome.map_err(|(name, code)| format!("cannot create {name}: {code}"))?;
    }
    let (begun, cpu) = (Instant::now(), cpu_seconds()?);
    let consuming = consume(client.clone(), topic.clone(), messages);
    let consuming = tokio::task::spawn_blocking(consuming);
    tokio::task::spawn_blocking(produce(client, topic, messages, bytes)).await??;
    consuming.await??;
    let (elapsed, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let millions = messages as f64 / 1e6;
    println!("messages_per_second {:.0}", millions * 1e6 / elapsed);
    println!("client_cpu_seconds_per_million {:.2}", cpu / millions);
    Ok(())
}

fn produce(
    mut client: ClientConfig,
    topic: String,
    messages: u64,
    bytes: usize,
) -> impl FnOnce() -> Result<(), Failed> {
    move || {
        // As the log of a node has them.
        client.set("acks", "all").set("enable.idempotence", "true");
        client.set("compression.type", "lz4").set("linger.ms", "2").set("batch.size", "1000000");
        let producer: ThreadedProducer<DefaultProducerContext> = client.create()?;
        for number in 0..messages {
            let mut value = format!(
                "{{\"stream\":\"coin@bookTicker\",\"data\":{{\"u\":{number},\"s\":\"COIN{}\",\"b\":\"61837.{:08}\"}}}}",
                number % 500,
                number * 7_919 % 100_000_000,
            );
            while value.len() < bytes {
                value.push_str(&number.to_string());
            }
            let partition = i32::try_from(number % 12)?;
            let mut record = BaseRecord::<(), str>::to(&topic).partition(partition).payload(&value);
            while let Err((error, back)) = producer.send(record) {
                if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                    return Err(error.into());
                }
                std::thread::sleep(Duration::from_millis(2));
                record = back;
            }
        }
        Ok(producer.flush(PATIENCE)?)
    }
}

fn consume(
    mut client: ClientConfig,
    topic: String,
    messages: u64,
) -> impl FnOnce() -> Result<(), Failed> {
    move || {
        client.set("group.id", &topic).set("enable.auto.commit", "false");
        let consumer: BaseConsumer = client.create()?;
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset(&topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&all)?;
        let mut left = messages;
        while left > 0 {
            match consumer.poll(PATIENCE).ok_or("no message for a minute")? {
                Ok(_) => left -= 1,
                // A partition that is as new as this may not be known everywhere yet.
                Err(KafkaError::MessageConsumption(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// CPU time of this process. The kernel counts in hundredths of a second.
fn cpu_seconds() -> Result<f64, Failed> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no stat")?;
    let ticks = |at: usize| fields.split_whitespace().nth(at).ok_or("no ticks");
    Ok((ticks(11)?.parse::<f64>()? + ticks(12)?.parse::<f64>()?) / 100.0)
}
