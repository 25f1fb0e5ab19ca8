//! Prometheus with the configuration and the rules of deploy/prometheus, on the nodes of this stack.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::process::{Process, get};
use super::state::State;
use super::{Service, Site, Started, quietly};
use crate::{debian, shell};

const PATIENCE: Duration = Duration::from_secs(60);

/// One process.
pub(super) struct Prometheus;

impl Service for Prometheus {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    fn ports(&self) -> usize {
        1
    }

    fn needs(&self) -> &'static [&'static str] {
        &["nodes"]
    }

    fn fetch(&self, _: &Site) -> Result<()> {
        debian::program("prometheus", "prometheus").map(drop)
    }

    fn start(&self, site: &Site, ports: &[u16]) -> Result<Started> {
        let port = ports.first().copied().context("a port")?;
        let state = State::load(&super::folder())?;
        let mut variables = state.entries.iter().flat_map(|it| &it.variables);
        let nodes = variables.find(|it| it.0 == "FTS_TEST_NODES").context("no nodes run")?;
        configure(&site.run, port)?;
        targets(&site.run, &nodes.1.split(',').collect::<Vec<_>>())?;
        let process = serve(&site.run, port)?;
        let variables =
            vec![("FTS_TEST_PROMETHEUS".to_owned(), format!("http://127.0.0.1:{port}"))];
        Ok(Started { processes: vec![process], variables })
    }
}

/// The configuration as it is deployed, but for who is scraped; alerts go nowhere.
pub(crate) fn configure(folder: &Path, port: u16) -> Result<()> {
    let deployed = shell::root().join("deploy/prometheus");
    quietly(Command::new("cp").arg("-r").arg(deployed.join("rules")).arg(folder))?;
    let mut text = fs::read_to_string(deployed.join("prometheus.yml"))?;
    for (deployed, here) in
        [("localhost:9090", format!("127.0.0.1:{port}")), ("'alertmanager:9093'", String::new())]
    {
        ensure!(text.contains(deployed), "prometheus.yml does not name {deployed}");
        text = text.replace(deployed, &here);
    }
    fs::write(folder.join("prometheus.yml"), text)?;
    Ok(())
}

/// Says which nodes are scraped, also to a Prometheus that runs.
pub(crate) fn targets(folder: &Path, nodes: &[&str]) -> Result<()> {
    let folder = folder.join("targets");
    fs::create_dir_all(&folder)?;
    let beside = folder.join("fts-nodes.tmp");
    fs::write(&beside, format!("- targets: {}\n", serde_json::to_string(nodes)?))?;
    fs::rename(beside, folder.join("fts-nodes.yml"))?;
    Ok(())
}

/// Starts it in `folder`, and returns once it answers.
pub(crate) fn serve(folder: &Path, port: u16) -> Result<Process> {
    let mut command = Command::new(debian::program("prometheus", "prometheus")?);
    command.current_dir(folder).arg("--config.file=prometheus.yml");
    command.args(["--storage.tsdb.path=data", "--storage.tsdb.retention.time=1d"]);
    command.args(["--log.level=warn", &format!("--web.listen-address=127.0.0.1:{port}")]);
    let mut process = Process::start("prometheus", &mut command, &folder.join("log"))?;
    process.wait(PATIENCE, |_| get(port, "/-/ready").is_some_and(|it| it.contains(" 200 ")))?;
    Ok(process)
}
