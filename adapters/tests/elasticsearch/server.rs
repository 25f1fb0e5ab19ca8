//! A server of the test's own, which it may kill: started like the one that the environment names,
//! with other ports and an empty folder.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

/// The variable that names the process of the server that is used as a pattern.
const PATTERN: &str = "FTS_TEST_ELASTICSEARCH_PID";
/// How long a server may take until it serves.
const PATIENCE: Duration = Duration::from_secs(240);
/// It refuses to run as root, and runs as nobody then.
const NOBODY: &str = "65534";

/// An Elasticsearch server. Killed when dropped.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    port: u16,
    home: PathBuf,
    java: String,
    process: Option<Child>,
}

impl Server {
    /// A running server; `None`, said loudly, where there is no pattern for it.
    pub(crate) async fn start() -> Option<Self> {
        let Ok(pattern) = std::env::var(PATTERN) else {
            eprintln!("SKIPPED: {PATTERN} does not name a running Elasticsearch on this machine");
            return None;
        };
        let words = |file: &str| {
            let raw = fs::read(format!("/proc/{pattern}/{file}")).expect("the pattern runs");
            let text = String::from_utf8(raw).expect("it is text");
            text.split_terminator('\0').map(str::to_owned).collect::<Vec<_>>()
        };
        let find = |words: &[String], prefix: &str| {
            let found = words.iter().find_map(|it| it.strip_prefix(prefix));
            found.unwrap_or_else(|| panic!("the pattern is started with {prefix}")).to_owned()
        };
        let (arguments, environment) = (words("cmdline"), words("environ"));
        let conf = find(&environment, "ES_PATH_CONF=");
        let folder = tempfile::tempdir().expect("a folder");
        let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let [port, transport] = sockets.map(|it| it.local_addr().expect("its address").port());
        copy_settings(Path::new(&conf), folder.path(), port, transport);
        let mut server = Self {
            folder,
            port,
            home: find(&arguments, "-Des.path.home=").into(),
            java: find(&environment, "ES_JAVA_HOME="),
            process: None,
        };
        server.run().await;
        Some(server)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts it (again, on what it has written) and waits until it serves.
    pub(crate) async fn run(&mut self) {
        let own = self.folder.path();
        let log = fs::OpenOptions::new().create(true).append(true).open(own.join("log"));
        let log = log.expect("a log file");
        let program = self.home.join("bin/elasticsearch");
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}")]);
            command.arg("--clear-groups").arg(program);
            command
        } else {
            Command::new(program)
        };
        let process = command
            .env("ES_JAVA_HOME", &self.java)
            .env("ES_PATH_CONF", own.join("conf"))
            .env("ES_TMPDIR", own.join("tmp"))
            .env("ES_JAVA_OPTS", "-Xms384m -Xmx384m")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log file"))
            .stderr(log)
            .spawn();
        let mut process = process.expect("the server's program");
        let give_up = Instant::now() + PATIENCE;
        loop {
            let ended = process.try_wait().expect("its state");
            let is_late = ended.is_some() || Instant::now() > give_up;
            let said = || fs::read_to_string(own.join("log")).unwrap_or_default();
            assert!(!is_late, "no server: {}", said());
            if health(self.port).is_ok_and(|it| it.contains("\"timed_out\":false")) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.process = Some(process);
    }

    /// As the machine would, without a word: the server, and the program that has started it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let server = children(process.id());
            // Before the program that started it: of its end the server would hear.
            send("KILL", &server);
            process.kill().expect("it is ours");
            process.wait().expect("it ends");
            // The one that remains is nobody's child: it is gone once its files are.
            while server.iter().any(|pid| runs(pid)) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Sends it a signal: `STOP` lets it hang, `CONT` go on.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.process.as_ref().expect("it runs");
        send(name, &children(process.id()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The processes that `starter` has started.
fn children(starter: u32) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for task in fs::read_dir(format!("/proc/{starter}/task")).expect("it runs").flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(text.split_whitespace().map(str::to_owned));
    }
    assert!(!found.is_empty(), "the server is a child of its program");
    found
}

/// What it says of its health, once it can take documents.
fn health(port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(25)))?;
    let path = "/_cluster/health?wait_for_status=yellow&wait_for_no_initializing_shards=true\
                &timeout=20s";
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn send(signal: &str, pids: &[String]) {
    let sent = Command::new("kill").arg(format!("-{signal}")).args(pids).status();
    assert!(sent.expect("kill").success());
}

/// Whether it is there, and no corpse.
fn runs(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|it| !it.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|it| it.starts_with("Uid:\t0\t"))
}

fn copy_settings(from: &Path, own: &Path, port: u16, transport: u16) {
    let conf = own.join("conf");
    for folder in ["data", "logs", "tmp"] {
        fs::create_dir_all(own.join(folder)).expect("a folder");
    }
    let copied = Command::new("cp").arg("-r").arg(from).arg(&conf).status();
    assert!(copied.expect("cp").success());
    let path = conf.join("elasticsearch.yml");
    let text = fs::read_to_string(&path).expect("its settings");
    let own_text = own.display();
    let lines = text.lines().map(|line| match line.split_once(": ").map_or(line, |it| it.0) {
        "http.port" => format!("http.port: {port}"),
        "transport.port" => format!("transport.port: {transport}"),
        "path.data" => format!("path.data: {own_text}/data"),
        "path.logs" => format!("path.logs: {own_text}/logs"),
        _ => line.to_owned(),
    });
    fs::write(&path, lines.collect::<Vec<_>>().join("\n")).expect("its settings");
    if is_root() {
        let owner = format!("{NOBODY}:{NOBODY}");
        let given = Command::new("chown").arg("-R").arg(owner).arg(own).status();
        assert!(given.expect("chown").success());
    }
}
