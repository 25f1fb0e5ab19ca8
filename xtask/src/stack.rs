//! `cargo xtask stack`: real servers on this machine, without containers. What they run from comes
//! from package registries through the usual tools, into `target/stack/dist`; what they write lies
//! in `target/stack/run`, and is gone after `down`.
//!
//! A server is a [`Service`]; [`SERVICES`] lists them all: other people's, and the project's own on top
//! of them, three nodes on a simulated exchange. They listen on 127.0.0.1 only. Tests find them by
//! environment variables (`FTS_TEST_KAFKA=127.0.0.1:41233`), which [`ensure()`] hands over.

mod cassandra;
mod certificates;
mod dashboards;
mod elasticsearch;
mod exchange;
mod java;
mod kafka;
mod nodes;
mod pages;
mod ports;
mod process;
pub(crate) mod prometheus;
mod start;
mod state;
mod superset;
mod trino;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command as Program;

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;

pub(crate) use self::process::{Process, sweep};
use self::state::{Entry, State};
pub(crate) use self::superset::python as superset_python;
use crate::shell;

/// Every server there is. Its place in the list is its place behind `--base-port`.
const SERVICES: [&dyn Service; 11] = [
    &kafka::Kafka { name: "kafka", brokers: 1 },
    &kafka::Kafka { name: "kafka3", brokers: 3 },
    &cassandra::Cassandra { name: "cassandra", secure: false },
    &cassandra::Cassandra { name: "cassandra-secure", secure: true },
    &elasticsearch::Elasticsearch { name: "elasticsearch", secure: false },
    &elasticsearch::Elasticsearch { name: "elasticsearch-secure", secure: true },
    &superset::Superset,
    &trino::Trino,
    &exchange::Exchange,
    &nodes::Nodes,
    &prometheus::Prometheus,
];

/// What `up` starts where none is named, or this.
const EVERYTHING: &str = "all";

/// All that belongs together: the cluster, what it stands on, and what looks at it.
const TOGETHER: [&str; 8] =
    ["kafka", "cassandra", "elasticsearch", "exchange", "nodes", "prometheus", "trino", "superset"];

/// Ports that `--base-port` sets aside for each server.
const PORTS_EACH: u16 = 10;

/// A server, or several that belong together.
trait Service: Sync {
    /// What developers call it.
    fn name(&self) -> &'static str;

    /// How many ports it listens on; at most [`PORTS_EACH`].
    fn ports(&self) -> usize;

    /// What is started with it, and before it.
    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    /// What it waits for if that is to start, too.
    fn follows(&self) -> &'static [&'static str] {
        self.needs()
    }

    /// Downloads what it runs from. Does nothing where that is done.
    fn fetch(&self, site: &Site) -> Result<()>;

    /// Writes its configuration, starts it, and returns once it serves. The folder `site.run` is
    /// empty.
    fn start(&self, site: &Site, ports: &[u16]) -> Result<Started>;
}

/// Where a server lives.
struct Site {
    /// What is downloaded, shared by all servers; kept by `down`.
    dist: PathBuf,
    /// What this server writes; removed by `down`.
    run: PathBuf,
}

/// A server that serves.
struct Started {
    processes: Vec<Process>,
    /// How tests and people find it.
    variables: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Starts servers and waits until they serve: kafka (one broker), kafka3 (three), cassandra,
    /// elasticsearch, the last two also as cassandra-secure and elasticsearch-secure (TLS, password),
    /// superset, trino (on those of the stack that run), exchange (a simulated market), nodes (three,
    /// with all they need), prometheus (on those nodes).
    Up {
        /// Which; if none is named, or `all`: one of each, without TLS and passwords.
        services: Vec<String>,
        /// Listens from this port on, ten ports a server, instead of on ports that are free.
        #[arg(long)]
        base_port: Option<u16>,
    },
    /// Ends servers, exactly those that `up` started, and removes what they wrote.
    Down {
        /// Which; all if none is named.
        services: Vec<String>,
    },
    /// What runs, with how much memory, and where: addresses, and whom to log in as.
    Status,
    /// The addresses, for a shell: eval "$(cargo xtask stack env)".
    Env,
}

pub(crate) fn run(command: &Command) -> Result<bool> {
    match command {
        Command::Up { services, base_port } => {
            let names: Vec<&str> = services.iter().map(String::as_str).collect();
            let all = names.is_empty() || names == [EVERYTHING];
            let started = up(if all { &TOGETHER } else { &names }, *base_port)?;
            dashboards::load(&started)?;
            env()
        }
        Command::Down { services } => {
            let names: Vec<&str> = services.iter().map(String::as_str).collect();
            down(&names).map(|()| true)
        }
        Command::Status => status(),
        Command::Env => env(),
    }
}

/// Servers that a test run needs; those that it started end with it.
pub(crate) struct Ensured {
    started: Vec<&'static str>,
    variables: Vec<(String, String)>,
}

impl Ensured {
    /// Under which names tests find which addresses.
    pub(crate) fn variables(&self) -> &[(String, String)] {
        &self.variables
    }
}

impl Drop for Ensured {
    fn drop(&mut self) {
        if !self.started.is_empty()
            && let Err(error) = down(&self.started)
        {
            println!("stack: {error:#}; `cargo xtask stack down` tries again");
        }
    }
}

/// Makes sure that these servers run, on free ports where they have to be started.
pub(crate) fn ensure(names: &[&str]) -> Result<Ensured> {
    let started = up(names, None)?;
    let state = State::load(&folder())?;
    let entries = state.entries.into_iter().filter(|it| names.contains(&it.service.as_str()));
    let variables = entries.flat_map(|it| it.variables).collect();
    Ok(Ensured { started, variables })
}

/// Starts what does not run yet, and what that needs, side by side; answers what that was.
fn up(names: &[&str], base_port: Option<u16>) -> Result<Vec<&'static str>> {
    let _lock = lock()?;
    let mut state = State::load(&folder())?;
    let mut wanted: Vec<&'static dyn Service> = Vec::new();
    for service in start::with_needs(names)? {
        let name = service.name();
        if let Some(at) = state.entries.iter().position(|it| it.service == name) {
            let is_whole = state.entries.get(at).is_some_and(Entry::is_whole);
            let is_founded = wanted.iter().all(|it| !service.needs().contains(&it.name()));
            if is_whole && is_founded {
                println!("{name}: is up");
                continue;
            }
            let gone = if is_whole { "what it stands on" } else { "a process of it" };
            println!("{name}: {gone} is gone; starting again");
            clear(&state.entries.remove(at))?;
            state.save(&folder())?;
        }
        wanted.push(service);
    }
    for service in &wanted {
        service.fetch(&site(*service))?;
    }
    start::all(&wanted, state, base_port)
}

fn down(names: &[&str]) -> Result<()> {
    let _lock = lock()?;
    for name in names {
        find(name)?;
    }
    let mut state = State::load(&folder())?;
    let is_meant = |entry: &Entry| names.is_empty() || names.contains(&entry.service.as_str());
    let (meant, rest) = std::mem::take(&mut state.entries).into_iter().partition(is_meant);
    state.entries = rest;
    let meant: Vec<Entry> = meant;
    for entry in &meant {
        entry.processes.iter().for_each(process::Record::ask_to_end);
    }
    for entry in &meant {
        clear(entry)?;
        println!("{}: down", entry.service);
    }
    // What an `up` that was interrupted did not put on record.
    for service in SERVICES {
        let is_meant = names.is_empty() || names.contains(&service.name());
        let runs = state.entries.iter().any(|it| it.service == service.name());
        let run = site(service).run;
        if is_meant && !runs && run.exists() {
            remove(&run)?;
            println!("{}: what a start left behind that was interrupted is gone", service.name());
        }
    }
    state.save(&folder())
}

/// Removes a folder, and ends the processes that log into it.
fn remove(folder: &Path) -> Result<()> {
    sweep(folder)?;
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// Ends what is left of a server and removes what it wrote.
fn clear(entry: &Entry) -> Result<()> {
    for record in &entry.processes {
        record.end().with_context(|| format!("{} does not end", entry.service))?;
    }
    let (_, service) = find(&entry.service)?;
    remove(&site(service).run)
}

fn status() -> Result<bool> {
    let state = State::load(&folder())?;
    if state.entries.is_empty() {
        println!("nothing runs");
        return Ok(true);
    }
    println!("{:<22} {:<10} {:>8} {:>9}  ports", "service", "process", "pid", "memory");
    let (mut all_run, mut total) = (true, 0);
    for entry in &state.entries {
        let ports: Vec<_> = entry.ports.iter().map(u16::to_string).collect();
        for (at, record) in entry.processes.iter().enumerate() {
            all_run &= record.is_alive();
            let memory = if record.is_alive() {
                let mib = record.memory_mib();
                total += mib;
                format!("{mib} MiB")
            } else {
                "GONE".to_owned()
            };
            let ports = if at == 0 { ports.join(" ") } else { String::new() };
            let (service, label, pid) = (&entry.service, &record.label, record.pid);
            println!("{service:<22} {label:<10} {pid:>8} {memory:>9}  {ports}");
        }
    }
    println!("{:<22} {:<10} {:>8} {:>9}", "all of it", "", "", format!("{total} MiB"));
    println!();
    pages::of(&state).iter().for_each(|line| println!("{line}"));
    Ok(all_run)
}

fn env() -> Result<bool> {
    for (name, value) in State::load(&folder())?.entries.iter().flat_map(|it| &it.variables) {
        println!("export {name}='{value}'");
    }
    Ok(true)
}

/// So many ports that nobody listens on.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>> {
    ports::choose(count, None, 0)
}

fn find(name: &str) -> Result<(usize, &'static dyn Service)> {
    let found = SERVICES.iter().enumerate().find(|(_, it)| it.name() == name);
    let Some((place, service)) = found else {
        let names: Vec<_> = SERVICES.iter().map(|it| it.name()).collect();
        bail!("there is no `{name}`: choose of {}", names.join(", "));
    };
    Ok((place, *service))
}

fn folder() -> PathBuf {
    shell::target().join("stack")
}

fn site(service: &dyn Service) -> Site {
    Site { dist: folder().join("dist"), run: folder().join("run").join(service.name()) }
}

/// One at a time.
fn lock() -> Result<File> {
    fs::create_dir_all(folder())?;
    let file = File::create(folder().join("lock"))?;
    file.lock()?;
    Ok(file)
}

/// A program that is needed, or what to do about it.
fn needed(program: &str, package: &str) -> Result<String> {
    shell::which(program).with_context(|| format!("`{program}` is not installed: try {package}"))
}

/// Runs a program whose output nobody wants to see unless it fails.
fn quietly(command: &mut Program) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?} does not start"))?;
    if !output.status.success() {
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("{:?} failed: {}\n{out}{err}", command.get_program(), output.status);
    }
    Ok(())
}
