//! Apache Kafka in KRaft mode: one broker, or three (replication 3, two in sync are enough).
//!
//! Each broker listens in plain text and, for who wants to see SASL and TLS at work, on a second
//! port with SCRAM-SHA-512 over TLS. Topics are not created by themselves.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::process::{Process, listens};
use super::{Service, Site, Started, certificates, java, quietly};

const POM: &str = include_str!("kafka/pom.xml");
const LOG4J: &str = include_str!("kafka/log4j2.properties");
/// Any will do: sixteen bytes in base64.
const CLUSTER_ID: &str = "ZnRzLW5vZGUtdGVzdHMtMQ";
const USER: &str = "fts";
/// Known to everybody on purpose: the broker serves this machine only, and only tests.
const PASSWORD: &str = "fts-test-password";
const HEAP: &str = "320m";
const PATIENCE: Duration = Duration::from_secs(300);

/// Ports of a broker: plain text, SASL and TLS, controller.
const PORTS: usize = 3;

/// So many brokers.
pub(super) struct Kafka {
    pub(super) name: &'static str,
    pub(super) brokers: usize,
}

impl Service for Kafka {
    fn name(&self) -> &'static str {
        self.name
    }

    fn ports(&self) -> usize {
        self.brokers * PORTS
    }

    fn fetch(&self, site: &Site) -> Result<()> {
        java::fetch_jars("kafka", POM, &site.dist.join("kafka"))
    }

    fn start(&self, site: &Site, ports: &[u16]) -> Result<Started> {
        let brokers: Vec<&[u16]> = ports.chunks_exact(PORTS).collect();
        certificates::make(&site.run.join("tls"))?;
        fs::write(site.run.join("log4j2.properties"), LOG4J)?;
        let mut folders = Vec::new();
        for id in 1..=brokers.len() {
            let folder = site.run.join(id.to_string());
            fs::create_dir_all(&folder)?;
            fs::write(folder.join("server.properties"), properties(site, &brokers, id)?)?;
            folders.push(folder);
        }
        std::thread::scope(|scope| {
            let formats: Vec<_> =
                folders.iter().map(|it| scope.spawn(|| format(site, it))).collect();
            formats.into_iter().try_for_each(|it| match it.join() {
                Ok(outcome) => outcome,
                Err(_) => anyhow::bail!("formatting panicked"),
            })
        })?;
        let mut processes = Vec::new();
        for (id, folder) in (1..).zip(&folders) {
            let mut command = jvm(site, HEAP)?;
            command.args(["-Xms128m", "-XX:MaxGCPauseMillis=20", "kafka.Kafka"]);
            command.arg(folder.join("server.properties"));
            let log = folder.join("log");
            processes.push(Process::start(&format!("broker {id}"), &mut command, &log)?);
        }
        let port_at = |broker: &&[u16], at: usize| broker.get(at).copied().unwrap_or(0);
        for (process, broker) in processes.iter_mut().zip(&brokers) {
            let (plain, secure) = (port_at(broker, 0), port_at(broker, 1));
            process.wait(PATIENCE, |it| {
                it.printed().contains("Kafka Server started") && listens(plain) && listens(secure)
            })?;
        }
        let addresses = |at: usize| {
            let each = brokers.iter().map(|it| format!("127.0.0.1:{}", port_at(it, at)));
            each.collect::<Vec<_>>().join(",")
        };
        let name = format!("FTS_TEST_{}", self.name.to_uppercase());
        let ca = site.run.join("tls/ca.pem").display().to_string();
        let pids: Vec<_> = processes.iter().map(|it| it.id().to_string()).collect();
        Ok(Started {
            processes,
            variables: vec![
                (name.clone(), addresses(0)),
                (format!("{name}_SECURE"), addresses(1)),
                (format!("{name}_USER"), USER.to_owned()),
                (format!("{name}_PASSWORD"), PASSWORD.to_owned()),
                (format!("{name}_CA"), ca),
                (format!("{name}_PIDS"), pids.join(",")),
            ],
        })
    }
}

fn jvm(site: &Site, heap: &str) -> Result<std::process::Command> {
    let mut command = java::java(&site.run, heap)?;
    command.arg(format!(
        "-Dlog4j2.configurationFile={}",
        site.run.join("log4j2.properties").display()
    ));
    command.args(["-cp", &format!("{}/*", site.dist.join("kafka/lib").display())]);
    Ok(command)
}

/// Prepares a broker's folder, and makes the user known.
fn format(site: &Site, folder: &Path) -> Result<()> {
    let mut command = jvm(site, "128m")?;
    command.args(["-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format"]);
    command.args(["-t", CLUSTER_ID, "-c"]).arg(folder.join("server.properties"));
    command.arg("--add-scram");
    command.arg(format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]"));
    quietly(&mut command)
}

fn properties(site: &Site, brokers: &[&[u16]], id: usize) -> Result<String> {
    let broker = brokers.get(id - 1).context("no such broker")?;
    let [plain, secure, controller] = *<&[u16; PORTS]>::try_from(*broker)?;
    let voters: Vec<_> = (1..)
        .zip(brokers)
        .map(|(id, it)| format!("{id}@127.0.0.1:{}", it.get(2).copied().unwrap_or(0)))
        .collect();
    let replicas = brokers.len();
    let in_sync = replicas.div_ceil(2);
    let run = site.run.display();
    Ok(format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{secure},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{secure}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={run}/{id}/data
ssl.keystore.type=PEM
ssl.keystore.location={run}/tls/bundle.pem
ssl.truststore.type=PEM
ssl.truststore.location={run}/tls/ca.pem
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=6000
replica.lag.time.max.ms=5000
log.segment.bytes=67108864
",
        voters = voters.join(","),
    ))
}
