//! Trino, with the Cassandra and the Elasticsearch of this stack as catalogs, as far as they run.
//!
//! Needs a Java of version 24 or later: that of `JAVA_HOME_TRINO`, or a 25 below /usr/lib/jvm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::process::{Process, get};
use super::state::State;
use super::{Service, Site, Started, java, quietly};

/// The last one that Maven has.
const ARTIFACT: &str = "io.trino:trino-server:476:tar.gz";
const ARCHIVE: &str = "trino-server-476.tar.gz";
/// Kept of some fifty.
const PLUGINS: [&str; 2] = ["cassandra", "elasticsearch"];
const PATIENCE: Duration = Duration::from_secs(600);
/// The catalogs of the cluster.
const SCYLLA: &str = include_str!("../../../deploy/trino/catalog/scylla.properties");
const ELASTICSEARCH: &str = include_str!("../../../deploy/trino/catalog/elasticsearch.properties");
const JVM: &str = "-server
-Xmx1g
-XX:InitialRAMPercentage=5
-XX:+UseSerialGC
-XX:+ExitOnOutOfMemoryError
-XX:ReservedCodeCacheSize=128M
-Djdk.attach.allowAttachSelf=true
-Dfile.encoding=UTF-8
--enable-native-access=ALL-UNNAMED
--sun-misc-unsafe-memory-access=allow
--add-modules=jdk.incubator.vector
";

/// One process, coordinator and worker.
pub(super) struct Trino;

impl Service for Trino {
    fn name(&self) -> &'static str {
        "trino"
    }

    fn ports(&self) -> usize {
        1
    }

    fn follows(&self) -> &'static [&'static str] {
        &["cassandra", "elasticsearch"]
    }

    fn fetch(&self, site: &Site) -> Result<()> {
        let home = site.dist.join("trino-server");
        if home.join("plugin").join("only").is_file() {
            return Ok(());
        }
        java_home()?;
        let packed = site.dist.join("trino");
        java::fetch_artifact("trino", ARTIFACT, &packed)?;
        if home.exists() {
            fs::remove_dir_all(&home)?;
        }
        fs::create_dir_all(&home)?;
        // All of it: plugins share files by links into one another.
        let mut unpack = Command::new("tar");
        unpack.args(["--strip-components=1", "-xzf"]).arg(packed.join(ARCHIVE));
        quietly(unpack.arg("-C").arg(&home))?;
        for entry in fs::read_dir(home.join("plugin"))? {
            let entry = entry?;
            if PLUGINS.iter().all(|it| entry.file_name() != *it) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        fs::remove_dir_all(packed)?;
        // Last: it marks that all is there.
        fs::write(home.join("plugin").join("only"), PLUGINS.join(" "))?;
        Ok(())
    }

    fn start(&self, site: &Site, ports: &[u16]) -> Result<Started> {
        let port = ports.first().copied().unwrap_or(0);
        let etc = site.run.join("etc");
        fs::create_dir_all(etc.join("catalog"))?;
        let unpacked = site.run.join("tmp");
        fs::create_dir_all(&unpacked)?;
        let own = format!("{JVM}-Djava.io.tmpdir={}\n", unpacked.display());
        fs::write(etc.join("jvm.config"), own)?;
        let node = format!(
            "node.environment=fts\nnode.id=fts\nnode.data-dir={}\nnode.bind-ip=127.0.0.1\n\
             node.internal-address=127.0.0.1\n",
            site.run.join("data").display()
        );
        fs::write(etc.join("node.properties"), node)?;
        let config = format!(
            "coordinator=true\nnode-scheduler.include-coordinator=true\n\
             http-server.http.port={port}\ndiscovery.uri=http://127.0.0.1:{port}\n\
             query.max-memory=300MB\nquery.max-memory-per-node=300MB\n\
             memory.heap-headroom-per-node=200MB\nweb-ui.enabled=false\n"
        );
        fs::write(etc.join("config.properties"), config)?;
        catalogs(&etc.join("catalog"))?;
        let home = java_home()?;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(site.dist.join("trino-server/bin/launcher"));
        command.arg("--etc-dir").arg(&etc).arg("run").current_dir(&site.run);
        command.env("PATH", format!("{}:{path}", home.join("bin").display()));
        command.env("JAVA_HOME", home);
        let mut process = Process::start("trino", &mut command, &site.run.join("log"))?;
        process.wait(PATIENCE, |_| {
            get(port, "/v1/info").is_some_and(|it| it.contains("\"starting\":false"))
        })?;
        let url = format!("trino://superset@127.0.0.1:{port}/scylla/binance_stream");
        let variables = vec![("FTS_TEST_TRINO".to_owned(), url)];
        Ok(Started { processes: vec![process], variables })
    }
}

/// A catalog for each server that runs: that which is shipped, on the server's port.
fn catalogs(folder: &Path) -> Result<()> {
    let state = State::load(&super::folder())?;
    let mut written = 0;
    for (name, value) in state.entries.iter().flat_map(|it| &it.variables) {
        let (file, shipped) = match name.as_str() {
            "FTS_TEST_CASSANDRA" => ("scylla.properties", SCYLLA),
            "FTS_TEST_ELASTICSEARCH" => ("elasticsearch.properties", ELASTICSEARCH),
            _ => continue,
        };
        let port = value.rsplit_once(':').context("an address without a port")?.1;
        fs::write(folder.join(file), catalog(shipped, port))?;
        written += 1;
    }
    ensure!(written > 0, "there is nothing to read: start cassandra or elasticsearch first");
    Ok(())
}

/// On this machine nobody logs in.
fn catalog(shipped: &str, port: &str) -> String {
    let mut text = String::new();
    for line in shipped.lines() {
        let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let value = match key.rsplit('.').next().unwrap_or(key) {
            "host" | "contact-points" => "127.0.0.1",
            "port" | "native-protocol-port" => port,
            "security" | "user" | "username" | "password" => continue,
            _ => value,
        };
        text += &format!("{key}={value}\n");
    }
    text
}

/// A Java that is young enough.
fn java_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("JAVA_HOME_TRINO") {
        return Ok(home.into());
    }
    let installed = fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    let found = installed.map(|it| it.path()).find(|it| {
        it.file_name().is_some_and(|name| name.to_string_lossy().contains("-25-"))
            && it.join("bin/java").is_file()
    });
    found.context("Trino needs a Java 25, such as Temurin's: name its home in JAVA_HOME_TRINO")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_is_the_shipped_one_but_for_its_place_and_password() {
        assert_eq!(
            catalog("# a\nconnector.name=x\nx.host=far\nx.port=1\nx.auth.user=u\nx.other=y", "7"),
            "connector.name=x\nx.host=127.0.0.1\nx.port=7\nx.other=y\n"
        );
        for shipped in [SCYLLA, ELASTICSEARCH] {
            let text = catalog(shipped, "7");
            assert!(text.contains("=127.0.0.1\n") && text.contains("port=7\n"), "{text}");
            assert!(!text.contains("ENV:"), "{text}");
        }
    }
}
