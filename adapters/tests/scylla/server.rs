//! A server of the test's own, which it may kill: started like the one that the environment names,
//! with other ports and an empty folder.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

/// The variable that names the process of the server that is used as a pattern.
const PATTERN: &str = "FTS_TEST_CASSANDRA_PID";
/// How long a server may take until it serves.
const PATIENCE: Duration = Duration::from_secs(240);

/// The loopback address of a server that is alone.
const HOST: &str = "127.0.0.1";

/// Where a server listens, and of what cluster it is.
#[derive(Clone, Copy)]
struct Role {
    host: &'static str,
    port: u16,
    storage: u16,
    jmx: u16,
    /// Its place on the ring; chosen by itself where it is alone.
    token: Option<i64>,
}

/// A Cassandra server. Killed when dropped.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    host: &'static str,
    port: u16,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl Server {
    /// A running server; `None`, said loudly, where there is no pattern for it.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_in(&std::env::temp_dir()).await
    }

    /// Likewise, with all that it writes in `place`.
    pub(crate) async fn start_in(place: &Path) -> Option<Self> {
        let [port, storage, jmx] = free_ports();
        Self::start_as(place, Role { host: HOST, port, storage, jmx, token: None }).await
    }

    /// Two that are one cluster, each with half of the ring.
    #[allow(dead_code, reason = "not every test that has servers has two")]
    pub(crate) async fn start_two() -> Option<[Self; 2]> {
        let ([port, storage, jmx], [_, _, other]) = (free_ports(), free_ports());
        let place = std::env::temp_dir();
        let first = Role { host: HOST, port, storage, jmx, token: Some(i64::MIN / 2) };
        let second = Role { host: "127.0.0.2", jmx: other, token: Some(i64::MAX / 2), ..first };
        Some([Self::start_as(&place, first).await?, Self::start_as(&place, second).await?])
    }

    async fn start_as(place: &Path, role: Role) -> Option<Self> {
        let Ok(pattern) = std::env::var(PATTERN) else {
            eprintln!("SKIPPED: {PATTERN} does not name a running Cassandra on this machine");
            return None;
        };
        let folder = tempfile::tempdir_in(place).expect("a folder");
        let raw = fs::read(format!("/proc/{pattern}/cmdline")).expect("the pattern runs");
        let text = String::from_utf8(raw).expect("its command line is text");
        let arguments: Vec<String> = text.split_terminator('\0').map(str::to_owned).collect();
        let option = |name: &str| {
            let prefix = format!("-D{name}=");
            let found = arguments.iter().find_map(|it| it.strip_prefix(&prefix));
            found.unwrap_or_else(|| panic!("the pattern is started with {prefix}")).to_owned()
        };
        let settings = option("cassandra.config");
        let conf = Path::new(settings.trim_start_matches("file://")).parent().expect("a folder");
        let Role { host, port, jmx, .. } = role;
        copy_settings(conf, &folder.path().join("conf"), role);
        let (conf, own) = (conf.display().to_string(), folder.path().display());
        let data = option("cassandra.storagedir");
        let replaced = |argument: &String| {
            if argument.starts_with("-Dcassandra.jmx.local.port=") {
                return format!("-Dcassandra.jmx.local.port={jmx}");
            }
            if role.token.is_some() && argument.starts_with("-Dcassandra.ring_delay_ms=") {
                // The time in which one hears of the other.
                return "-Dcassandra.ring_delay_ms=10000".to_owned();
            }
            argument.replace(&data, &format!("{own}/data")).replace(&conf, &format!("{own}/conf"))
        };
        let arguments = arguments.iter().map(replaced).collect();
        let mut server = Self { folder, host, port, arguments, process: None };
        server.run().await;
        Some(server)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Starts it (again, on what it has written) and waits until it serves.
    pub(crate) async fn run(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log());
        let log = log.expect("a log file");
        let (program, arguments) = self.arguments.split_first().expect("a program");
        let process = Command::new(program)
            // Where its disk is full it crashes, and would leave what it has to say of that here.
            .args(["-XX:ErrorFile=/dev/null", "-XX:-CreateCoredumpOnCrash"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log file"))
            .stderr(log)
            .spawn();
        let process = self.process.insert(process.expect("java starts"));
        let give_up = Instant::now() + PATIENCE;
        while TcpStream::connect((self.host, self.port)).is_err() {
            let ended = process.try_wait().expect("its state");
            assert!(
                ended.is_none() && Instant::now() < give_up,
                "no server: {}",
                fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// As the machine would, without a word.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it is ours");
            process.wait().expect("it ends");
        }
    }

    /// Sends it a signal: `STOP` lets it hang, `CONT` go on.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.process.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.expect("kill").success());
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ports that nobody listens on.
fn free_ports() -> [u16; 3] {
    let sockets = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    sockets.map(|it| it.local_addr().expect("its address").port())
}

fn copy_settings(from: &Path, to: &Path, role: Role) {
    let Role { host, port, storage, token, .. } = role;
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the pattern's folder") {
        let entry = entry.expect("a file");
        let mut text = String::new();
        fs::File::open(entry.path())
            .and_then(|mut it| it.read_to_string(&mut text))
            .expect("settings are text");
        let lines = text.lines().map(|line| {
            if line.starts_with("native_transport_port:") {
                format!("native_transport_port: {port}")
            } else if line.starts_with("storage_port:") {
                format!("storage_port: {storage}")
            } else if line.starts_with("seed_provider:") {
                format!(
                    "seed_provider: [ {{ class_name: org.apache.cassandra.locator.SimpleSeedProvider, \
                     parameters: [ {{ seeds: \"{HOST}:{storage}\" }} ] }} ]"
                )
            } else if line.starts_with("listen_address:") {
                format!("listen_address: {host}")
            } else if line.starts_with("rpc_address:") {
                format!("rpc_address: {host}")
            } else if let (Some(token), true) = (token, line.starts_with("num_tokens:")) {
                format!("num_tokens: 1\ninitial_token: {token}")
            } else {
                line.to_owned()
            }
        });
        let text: Vec<String> = lines.collect();
        let copy = fs::File::create(to.join(entry.file_name()));
        copy.and_then(|mut it| it.write_all(text.join("\n").as_bytes())).expect("a copy");
    }
}
