//! Three nodes of one cluster: Kafka is their log, Cassandra and Elasticsearch are their stores, the
//! simulated exchange is what they capture. Release builds.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::process::{Process, get};
use super::state::State;
use super::{Service, Site, Started, exchange};
use crate::shell;

const COUNT: usize = 3;
/// Topics and tables have to be made first.
const PATIENCE: Duration = Duration::from_secs(480);

/// One process a node.
pub(super) struct Nodes;

impl Service for Nodes {
    fn name(&self) -> &'static str {
        "nodes"
    }

    /// Of each: HTTP, the other nodes.
    fn ports(&self) -> usize {
        2 * COUNT
    }

    fn needs(&self) -> &'static [&'static str] {
        &["kafka", "cassandra", "elasticsearch", "exchange"]
    }

    fn fetch(&self, _: &Site) -> Result<()> {
        shell::build_release()
    }

    fn start(&self, site: &Site, ports: &[u16]) -> Result<Started> {
        let [http, cluster] = ports.as_chunks::<COUNT>().0 else {
            anyhow::bail!("six ports");
        };
        let file = site.run.join("cluster.toml");
        fs::write(&file, configuration(cluster)?)?;
        let mut processes = Vec::new();
        for (number, (http, cluster)) in (1..).zip(http.iter().zip(cluster)) {
            let name = format!("fts-node-{number}");
            let folder = site.run.join(&name);
            fs::create_dir_all(&folder)?;
            let mut command = shell::program(shell::release_binary("fts-node"));
            command.current_dir(&folder).arg("run").arg("--config").arg(&file);
            command.args(["--data-dir", "data", "--http", &format!("127.0.0.1:{http}")]);
            command.args(["--cluster-listen", &format!("127.0.0.1:{cluster}")]);
            command.args(["--set", &format!("name={name}")]);
            // The simulated provider takes any key but `demo`, which is for one symbol.
            command.env("FTS_BATCH_KEY", "simulated");
            processes.push(Process::start(&name, &mut command, &folder.join("log"))?);
        }
        for (process, http) in processes.iter_mut().zip(http) {
            process
                .wait(PATIENCE, |_| get(*http, "/readyz").is_some_and(|it| it.contains(" 200 ")))?;
        }
        let addresses: Vec<_> = http.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let variables = vec![("FTS_TEST_NODES".to_owned(), addresses.join(","))];
        Ok(Started { processes, variables })
    }
}

/// What all of them read: who they are to find, and the servers of this stack.
fn configuration(cluster: &[u16]) -> Result<String> {
    let state = State::load(&super::folder())?;
    let find = |name: &str| {
        let mut variables = state.entries.iter().flat_map(|it| &it.variables);
        let found = variables.find(|it| it.0 == name).map(|it| it.1.as_str());
        found.with_context(|| format!("{name} is not known: start what the nodes need first"))
    };
    let join: Vec<_> = cluster.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    Ok(format!(
        "symbols = {symbols:?}

[binance]
stream_url = \"ws://{exchange}\"
rest_url = \"http://{exchange}\"

[ingest]
feeds = 2

[log]
kind = \"kafka\"
partitions = 12

[log.kafka]
brokers = [{kafka:?}]
replication = 1
min_insync = 1

[batch]
enabled = true
symbols = [\"TSLA\", \"AAPL\", \"AMZN\", \"GOOGL\", \"MSFT\"]
url = \"http://{exchange}\"

[transactions]
simulate = true

[[stores]]
kind = \"scylla\"
nodes = [{cassandra:?}]
keyspace = \"binance_stream\"
replication_factor = 1

[[stores]]
kind = \"elasticsearch\"
nodes = [{elasticsearch:?}]
replicas = 0

[cluster]
join = {join:?}
",
        symbols = exchange::SYMBOLS,
        exchange = find("FTS_TEST_EXCHANGE")?,
        kafka = find("FTS_TEST_KAFKA")?,
        cassandra = find("FTS_TEST_CASSANDRA")?,
        elasticsearch = find("FTS_TEST_ELASTICSEARCH")?,
    ))
}
