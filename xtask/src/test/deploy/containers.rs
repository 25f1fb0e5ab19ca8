//! What containers and units run is run here, too: the same commands, environments and files, with this
//! machine's ports and folders in the place of theirs.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{ENVIRONMENT, checker, scratch};
use crate::shell;
use crate::stack::{self, Process};

const PATIENCE: Duration = Duration::from_secs(180);
/// Where the image and the unit keep what they write.
const DATA: &str = "/var/lib/fts-node";
/// What the demo's containers call each other, and listen on.
const EXCHANGE: &str = "fts-exchange:9443";
const ANY: [&str; 2] = ["0.0.0.0:8080", "0.0.0.0:9443"];

/// What a container runs.
#[derive(Debug, Default)]
struct Container {
    name: String,
    command: Vec<String>,
    environment: BTreeMap<String, String>,
    /// Text by the path at which it is seen.
    files: BTreeMap<String, String>,
    /// The command that asks whether it is well.
    health: Vec<String>,
}

/// Runs all of them as far as they go without the others.
pub(super) fn check(go: &Path) -> Result<()> {
    let image = Image::read()?;
    let folder = scratch("containers")?;
    let mut compose = list(go, "./compose", &[super::composed()?])?;
    let manifests = shell::files(&shell::root().join("deploy/kubernetes"), ".yaml")?;
    let pods = list(go, "./manifests", &manifests)?;
    for container in &mut compose {
        if container.command.is_empty() {
            container.command.clone_from(&image.command);
        }
    }
    for container in compose.iter().chain(&pods) {
        image.has(container)?;
    }
    let nodes = compose.iter().chain(&pods).filter(|it| it.is_node());
    let mut count = 0;
    for node in nodes {
        node.is_accepted(&folder)?;
        count += 1;
    }
    ensure!(count >= 6, "only {count} containers run a node");
    unit()?.is_accepted(&folder)?;
    println!("{count} containers and a unit start with what they are given");
    demo(&compose, &folder)
}

/// The demo as its containers run it: the exchange, then the node on it, each until its own health
/// check is content.
fn demo(compose: &[Container], folder: &Path) -> Result<()> {
    let ports = stack::free_ports(2)?;
    let [node, exchange] = ports.as_slice() else { bail!("two ports") };
    let mut running = Vec::new();
    for (name, port) in [("fts-exchange", exchange), ("fts-demo", node)] {
        let container = compose.iter().find(|it| it.name == name);
        let container = container.with_context(|| format!("no container is called {name}"))?;
        let here = |text: &str| {
            let at = |port: &u16| format!("127.0.0.1:{port}");
            text.replace(EXCHANGE, &at(exchange))
                .replace(ANY[0], &at(node))
                .replace(ANY[1], &at(exchange))
        };
        ensure!(!container.is_well(*port)?, "{name}: its health check is content before it runs");
        let log = folder.join(format!("{name}.log"));
        let mut process = Process::start(name, &mut container.program(folder, here)?, &log)?;
        process.wait(PATIENCE, |_| container.is_well(*port).unwrap_or(false))?;
        println!("{name} is well");
        running.push(process);
    }
    Ok(())
}

impl Container {
    fn read(value: &Value) -> Option<Self> {
        let words = |key: &str| -> Option<Vec<String>> {
            let list = value.get(key)?.as_array().cloned().unwrap_or_default();
            list.iter().map(|it| Some(it.as_str()?.to_owned())).collect()
        };
        let texts = |key: &str| -> Option<BTreeMap<String, String>> {
            let texts = value.get(key)?.as_object()?;
            texts.iter().map(|(name, it)| Some((name.clone(), it.as_str()?.to_owned()))).collect()
        };
        Some(Self {
            name: value.get("name")?.as_str()?.to_owned(),
            command: words("command")?,
            environment: texts("environment")?,
            files: texts("files")?,
            health: words("health")?,
        })
    }

    fn is_node(&self) -> bool {
        self.command.first().is_some_and(|it| it == "fts-node")
    }

    /// What it runs, with its files and its data in `folder`; `here` replaces addresses.
    fn program(&self, folder: &Path, here: impl Fn(&str) -> String) -> Result<Command> {
        let folder = folder.join(&self.name);
        fs::create_dir_all(&folder)?;
        let own =
            |text: &str| here(&text.replace(DATA, &folder.join("data").display().to_string()));
        let mut places = Vec::new();
        for (number, (path, text)) in self.files.iter().enumerate() {
            let place = folder.join(format!("file-{number}"));
            fs::write(&place, own(text))?;
            places.push((path.clone(), place.display().to_string()));
        }
        let seen = |text: &str| {
            let mut text = text.to_owned();
            for (path, place) in &places {
                text = text.replace(path.as_str(), place);
            }
            own(&text)
        };
        let (name, arguments) = self.command.split_first().context("it runs nothing")?;
        let mut command = Command::new(shell::release_binary(name));
        command.current_dir(&folder).args(arguments.iter().map(|it| seen(it)));
        command.env_clear().envs(self.environment.iter().map(|(name, it)| (name, seen(it))));
        Ok(command)
    }

    /// That it gets as far as a node gets whose port is taken: beyond its arguments, its environment and
    /// its file.
    fn is_accepted(&self, folder: &Path) -> Result<()> {
        let taken = TcpListener::bind("127.0.0.1:0")?;
        let mut command = self.program(folder, str::to_owned)?;
        command.env("FTS__HTTP__LISTEN", taken.local_addr()?.to_string());
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(1) && said.contains("http.listen"),
            "{} does not start with what it is given: {command:?}: {}: {said}",
            self.name,
            output.status
        );
        Ok(())
    }

    /// What its own health check says, asked of this port here.
    fn is_well(&self, port: u16) -> Result<bool> {
        let [_, path, ..] = self.health.as_slice() else { bail!("{}: no health check", self.name) };
        let mut healthy = Command::new(shell::root().join("deploy/healthy"));
        healthy.args([path.as_str(), &port.to_string()]);
        Ok(healthy.output().context("deploy/healthy does not start")?.status.success())
    }
}

/// What the Dockerfile makes.
struct Image {
    programs: Vec<String>,
    /// Where nothing else is said.
    command: Vec<String>,
}

impl Image {
    fn read() -> Result<Self> {
        let root = shell::root();
        let text = fs::read_to_string(root.join("Dockerfile"))?;
        let ignored = fs::read_to_string(root.join(".dockerignore"))?;
        let toolchain: toml::Table =
            fs::read_to_string(root.join("rust-toolchain.toml"))?.parse()?;
        let channel = toolchain.get("toolchain").and_then(|it| it.get("channel")?.as_str());
        let channel = channel.context("rust-toolchain.toml names no channel")?;
        ensure!(
            text.contains(&format!("FROM rust:{channel}-")),
            "the Dockerfile builds with another Rust than {channel}"
        );
        let built = text.split_whitespace().filter_map(|it| it.strip_prefix("target/release/"));
        let mut programs: Vec<String> = built.map(str::to_owned).collect();
        let mut command = Vec::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["COPY", "." | "--from=build", ..] => {}
                ["COPY", source, target] => {
                    ensure!(
                        root.join(source).exists(),
                        "the Dockerfile copies {source}: it is not there"
                    );
                    let is_sent = ignored.lines().any(|it| it.strip_prefix('!') == Some(source));
                    ensure!(is_sent, ".dockerignore keeps {source} from the Dockerfile");
                    programs.extend(target.strip_prefix("/usr/local/bin/").map(str::to_owned));
                }
                ["CMD", ..] => {
                    let list = line.trim_start_matches("CMD");
                    command = serde_json::from_str(list).context("the Dockerfile's CMD")?;
                }
                _ => {}
            }
        }
        Ok(Self { programs, command })
    }

    /// That the image has what this container runs, and what asks whether it is well.
    fn has(&self, container: &Container) -> Result<()> {
        for name in [container.command.first(), container.health.first()].into_iter().flatten() {
            ensure!(
                self.programs.contains(name),
                "{}: the image has no {name}, only {:?}",
                container.name,
                self.programs
            );
        }
        Ok(())
    }
}

/// The systemd unit, as its own head says it is installed.
fn unit() -> Result<Container> {
    let root = shell::root();
    let text = fs::read_to_string(root.join("deploy/systemd/fts-node.service"))?;
    let line = text.lines().find_map(|it| it.strip_prefix("ExecStart=/usr/local/bin/"));
    let line = line.context("the unit starts nothing of /usr/local/bin")?;
    let configuration = fs::read_to_string(root.join("cluster.toml"))?;
    Ok(Container {
        name: "unit".to_owned(),
        command: line.split_whitespace().map(str::to_owned).collect(),
        files: [("/etc/fts-node/cluster.toml".to_owned(), configuration)].into(),
        ..Container::default()
    })
}

/// The containers of our own image that these files describe, with what the reader has to add.
fn list(go: &Path, program: &str, files: &[PathBuf]) -> Result<Vec<Container>> {
    let told = scratch("told")?.join("containers.json");
    checker(go, program, files, &told)?;
    let value: Value = serde_json::from_str(&fs::read_to_string(&told)?)?;
    let listed = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let containers: Option<Vec<Container>> = listed.iter().map(Container::read).collect();
    let mut containers = containers.context("a container cannot be read")?;
    ensure!(!containers.is_empty(), "{program} finds no container");
    for container in &mut containers {
        // Secrets come from elsewhere.
        for (name, value) in ENVIRONMENT.iter().filter(|it| !it.0.starts_with("FTS__")) {
            let of_container = container.environment.entry((*name).to_owned());
            of_container.or_insert_with(|| (*value).to_owned());
        }
    }
    Ok(containers)
}
