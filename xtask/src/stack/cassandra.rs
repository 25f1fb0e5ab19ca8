//! Apache Cassandra, one node. It stands in for ScyllaDB, whose server is in no package registry:
//! both speak CQL, and where they differ is said in the adapter's tests.
//!
//! A commit is on disk before it is acknowledged (`commitlog_sync: batch`): with `periodic`, the
//! default, a kill loses what was acknowledged.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::process::{Process, listens};
use super::{Service, Site, Started, certificates, java};

const POM: &str = include_str!("cassandra/pom.xml");
const LOGBACK: &str = "<configuration><appender name=\"O\" class=\"ch.qos.logback.core.ConsoleAppender\">\
    <encoder><pattern>%-5level %date{ISO8601} %F:%L - %msg%n</pattern></encoder></appender>\
    <root level=\"INFO\"><appender-ref ref=\"O\"/></root></configuration>\n";
const HEAP: &str = "896m";
const PATIENCE: Duration = Duration::from_secs(480);

/// Packages of Java itself that Cassandra reaches into.
const EXPORTS: [&str; 9] = [
    "java.base/jdk.internal.misc",
    "java.base/java.lang.ref",
    "java.management/com.sun.jmx.remote.security",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.attach/sun.tools.attach",
    "jdk.unsupported/sun.misc",
];
const OPENS: [&str; 14] = [
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.management/com.sun.management.internal",
];

/// One node; `secure`: TLS only, and a password (user and password `cassandra`).
pub(super) struct Cassandra {
    pub(super) name: &'static str,
    pub(super) secure: bool,
}

impl Service for Cassandra {
    fn name(&self) -> &'static str {
        self.name
    }

    /// CQL, other nodes, JMX.
    fn ports(&self) -> usize {
        3
    }

    fn fetch(&self, site: &Site) -> Result<()> {
        java::fetch_jars("cassandra", POM, &site.dist.join("cassandra"))
    }

    fn start(&self, site: &Site, ports: &[u16]) -> Result<Started> {
        let [cql, storage, jmx] = *<&[u16; 3]>::try_from(ports).context("three ports")?;
        let conf = site.run.join("conf");
        fs::create_dir_all(&conf)?;
        if self.secure {
            certificates::make(&site.run.join("tls"))?;
        }
        fs::write(conf.join("cassandra.yaml"), self.settings(site, cql, storage))?;
        fs::write(conf.join("logback.xml"), LOGBACK)?;

        let mut command = java::java(&site.run, HEAP)?;
        command.args(["-Xms512m", "-Xss384k", "-XX:MaxDirectMemorySize=512m"]);
        command.args(["-XX:+PerfDisableSharedMem", "-XX:+ExitOnOutOfMemoryError"]);
        for name in EXPORTS {
            command.args(["--add-exports", &format!("{name}=ALL-UNNAMED")]);
        }
        for name in OPENS {
            command.args(["--add-opens", &format!("{name}=ALL-UNNAMED")]);
        }
        let (conf, run) = (conf.display(), site.run.display());
        for (key, value) in [
            ("java.net.preferIPv4Stack", "true".to_owned()),
            ("jdk.attach.allowAttachSelf", "true".to_owned()),
            ("io.netty.tryReflectionSetAccessible", "true".to_owned()),
            ("cassandra.config", format!("file://{conf}/cassandra.yaml")),
            ("cassandra.storagedir", format!("{run}/data")),
            ("logback.configurationFile", format!("{conf}/logback.xml")),
            ("cassandra.jmx.local.port", jmx.to_string()),
            ("cassandra-foreground", "yes".to_owned()),
            // Alone: there is nobody to wait for.
            ("cassandra.ring_delay_ms", "0".to_owned()),
            ("cassandra.skip_wait_for_gossip_to_settle", "0".to_owned()),
            ("cassandra.superuser_setup_delay_ms", "0".to_owned()),
            ("cassandra.load_ring_state", "false".to_owned()),
        ] {
            command.arg(format!("-D{key}={value}"));
        }
        let jars = site.dist.join("cassandra/lib");
        command.args(["-cp", &format!("{conf}:{}/*", jars.display())]);
        command.arg("org.apache.cassandra.service.CassandraDaemon");
        let mut process = Process::start("node", &mut command, &site.run.join("log"))?;
        process.wait(PATIENCE, |it| {
            let has_user = !self.secure || it.printed().contains("Created default superuser role");
            listens(cql) && has_user
        })?;

        let name = if self.secure { "FTS_TEST_CASSANDRA_SECURE" } else { "FTS_TEST_CASSANDRA" };
        // By its number a test finds out how to start one of its own, which it may kill.
        let mut variables = vec![
            (name.to_owned(), format!("127.0.0.1:{cql}")),
            (format!("{name}_PID"), process.id().to_string()),
        ];
        if self.secure {
            variables.push((format!("{name}_USER"), "cassandra".to_owned()));
            variables.push((format!("{name}_PASSWORD"), "cassandra".to_owned()));
            variables.push((format!("{name}_CA"), format!("{run}/tls/ca.pem")));
        }
        Ok(Started { processes: vec![process], variables })
    }
}

/// Longer than requests take on a machine that has much else to do.
const PATIENT: &str = "read_request_timeout: 120s
range_request_timeout: 120s
write_request_timeout: 120s
request_timeout: 120s
native_transport_timeout: 180s
";

impl Cassandra {
    fn settings(&self, site: &Site, cql: u16, storage: u16) -> String {
        let run = site.run.display();
        let (authenticator, authorizer, encryption) = if self.secure {
            let encryption = format!(
                "client_encryption_options:
  enabled: true
  optional: false
  ssl_context_factory:
    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory
  keystore: {run}/tls/bundle.pem
  truststore: {run}/tls/ca.pem
  require_client_auth: false
"
            );
            ("PasswordAuthenticator", "CassandraAuthorizer", encryption)
        } else {
            ("AllowAllAuthenticator", "AllowAllAuthorizer", String::new())
        };
        format!(
            "cluster_name: fts-stack
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
seed_provider: [ {{ class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [ {{ seeds: \"127.0.0.1:{storage}\" }} ] }} ]
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
start_native_transport: true
native_transport_port: {cql}
storage_port: {storage}
auto_bootstrap: false
commitlog_sync: batch
commitlog_segment_size: 16MiB
commitlog_total_space: 512MiB
memtable_heap_space: 192MiB
memtable_offheap_space: 64MiB
memtable_allocation_type: heap_buffers
key_cache_size: 16MiB
counter_cache_size: 0MiB
networking_cache_size: 32MiB
concurrent_reads: 16
concurrent_writes: 128
concurrent_counter_writes: 4
hinted_handoff_enabled: false
{PATIENT}auto_snapshot: false
cdc_enabled: false
authenticator: {authenticator}
authorizer: {authorizer}
role_manager: CassandraRoleManager
credentials_validity: 2s
roles_validity: 2s
permissions_validity: 2s
storage_compatibility_mode: NONE
{encryption}"
        )
    }
}
