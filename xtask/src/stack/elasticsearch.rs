//! Elasticsearch, one node: the distribution that its makers publish for integration tests, with a
//! small plugin for what that lacks. Not Apache-licensed: for tests, never shipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::process::{Process, get, listens};
use super::{Service, Site, Started, certificates, java, needed, quietly};
use crate::shell;

const VERSION: &str = "8.19.21";
const PLUGIN: &str = include_str!("elasticsearch/DevPlugin.java");
/// What was built of it, beside the download: the mark that all is there.
const BUILT: &str = "built.java";
const DESCRIPTOR: &str = "plugins/fts-dev/plugin-descriptor.properties";
const HEAP: &str = "640m";
/// Known to everybody on purpose: the server serves this machine only, and only tests.
const PASSWORD: &str = "fts-test-password";
const PATIENCE: Duration = Duration::from_secs(480);
/// It refuses to run as root, and runs as nobody then.
const NOBODY: &str = "65534";

/// One node; `secure`: TLS only, and a password (user `elastic`).
pub(super) struct Elasticsearch {
    pub(super) name: &'static str,
    pub(super) secure: bool,
}

impl Service for Elasticsearch {
    fn name(&self) -> &'static str {
        self.name
    }

    /// HTTP, other nodes.
    fn ports(&self) -> usize {
        2
    }

    fn fetch(&self, site: &Site) -> Result<()> {
        let folder = site.dist.join("elasticsearch");
        let artifact = "org.elasticsearch.distribution.integ-test-zip:elasticsearch";
        java::fetch_artifact("elasticsearch", &format!("{artifact}:{VERSION}:zip"), &folder)?;
        let home = home(site);
        let jar = needed("jar", "the package openjdk-17-jdk-headless")?;
        if fs::read_to_string(folder.join(BUILT)).is_ok_and(|it| it == PLUGIN) {
            return Ok(());
        }
        if home.join(DESCRIPTOR).exists() {
            return plugin(&folder, &home, &jar);
        }
        println!("elasticsearch: unpacking");
        quietly(
            Command::new(&jar)
                .current_dir(&folder)
                .args(["xf", &format!("elasticsearch-{VERSION}.zip")]),
        )?;
        for entry in fs::read_dir(home.join("bin"))? {
            let mut allow = Command::new("chmod");
            quietly(allow.arg("+x").arg(entry?.path()))?;
        }
        plugin(&folder, &home, &jar)
    }

    fn start(&self, site: &Site, ports: &[u16]) -> Result<Started> {
        let [http, transport] = *<&[u16; 2]>::try_from(ports).context("two ports")?;
        let (home, conf) = (home(site), site.run.join("conf"));
        quietly(Command::new("cp").arg("-r").arg(home.join("config")).arg(&conf))?;
        for folder in ["data", "logs", "tmp"] {
            fs::create_dir_all(site.run.join(folder))?;
        }
        let options = fs::read_to_string(conf.join("jvm.options"))?;
        let options: Vec<_> = options.lines().filter(|it| !it.contains("Xlog:gc")).collect();
        fs::write(conf.join("jvm.options"), options.join("\n"))?;
        if self.secure {
            certificates::make(&conf.join("certs"))?;
        }
        fs::write(conf.join("elasticsearch.yml"), self.settings(site, http, transport))?;
        let is_root = shell::ask(Command::new("id").arg("-u")).is_some_and(|it| it.trim() == "0");
        if is_root {
            let owner = format!("{NOBODY}:{NOBODY}");
            quietly(Command::new("chown").args(["-R", &owner]).arg(&site.run))?;
        }
        if self.secure {
            let tool = home.join("bin/elasticsearch-keystore");
            quietly(server(&tool, site, is_root)?.arg("create"))?;
            let script = r#"printf %s "$PASSWORD" | "$@""#;
            let mut add = server(Path::new("sh"), site, is_root)?;
            add.args(["-c", script, "sh"]).arg(&tool).args([
                "add",
                "-x",
                "-f",
                "bootstrap.password",
            ]);
            quietly(add.env("PASSWORD", PASSWORD))?;
        }
        let mut command = server(&home.join("bin/elasticsearch"), site, is_root)?;
        let mut process = Process::start("node", &mut command, &site.run.join("log"))?;
        process.wait(PATIENCE, |it| {
            if self.secure {
                listens(http) && it.printed().contains("] started {")
            } else {
                is_healthy(http)
            }
        })?;

        let (name, scheme) = if self.secure {
            ("FTS_TEST_ELASTICSEARCH_SECURE", "https")
        } else {
            ("FTS_TEST_ELASTICSEARCH", "http")
        };
        let mut variables = vec![
            (name.to_owned(), format!("{scheme}://127.0.0.1:{http}")),
            (format!("{name}_PID"), process.id().to_string()),
        ];
        if self.secure {
            variables.push((format!("{name}_USER"), "elastic".to_owned()));
            variables.push((format!("{name}_PASSWORD"), PASSWORD.to_owned()));
            variables.push((format!("{name}_CA"), conf.join("certs/ca.pem").display().to_string()));
        }
        Ok(Started { processes: vec![process], variables })
    }
}

impl Elasticsearch {
    fn settings(&self, site: &Site, http: u16, transport: u16) -> String {
        let run = site.run.display();
        let security = if self.secure {
            let files = "key: certs/server.key, certificate: certs/server.pem, \
                certificate_authorities: [ certs/ca.pem ]";
            format!(
                "xpack.security.enabled: true
xpack.security.autoconfiguration.enabled: false
xpack.security.enrollment.enabled: false
xpack.security.authc.api_key.enabled: true
xpack.security.http.ssl: {{ enabled: true, {files} }}
xpack.security.transport.ssl: {{ enabled: true, verification_mode: certificate, {files} }}
"
            )
        } else {
            "xpack.security.enabled: false\n".to_owned()
        };
        format!(
            "cluster.name: fts-stack
node.name: n1
network.host: 127.0.0.1
http.port: {http}
transport.port: {transport}
discovery.type: single-node
path.data: {run}/data
path.logs: {run}/logs
cluster.routing.allocation.disk.threshold_enabled: false
{security}"
        )
    }
}

fn home(site: &Site) -> PathBuf {
    site.dist.join("elasticsearch").join(format!("elasticsearch-{VERSION}"))
}

/// A program of the server's, as the user it runs as.
fn server(program: &Path, site: &Site, is_root: bool) -> Result<Command> {
    let mut command = if is_root {
        let mut command = Command::new(needed("setpriv", "the package util-linux")?);
        command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}")]);
        command.arg("--clear-groups").arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env("ES_JAVA_HOME", java::home()?);
    command.env("ES_PATH_CONF", site.run.join("conf"));
    let unpacked = site.run.join("tmp");
    command.env("CLI_JAVA_OPTS", format!("-Djava.io.tmpdir={}", unpacked.display()));
    command.env("ES_TMPDIR", unpacked);
    command.env("ES_JAVA_OPTS", format!("-Xms{HEAP} -Xmx{HEAP}"));
    Ok(command)
}

fn plugin(folder: &Path, home: &Path, jar: &str) -> Result<()> {
    let javac = needed("javac", "the package openjdk-17-jdk-headless")?;
    let (source, classes) = (folder.join("DevPlugin.java"), folder.join("classes"));
    fs::create_dir_all(&classes)?;
    fs::write(&source, PLUGIN)?;
    let mut compile = Command::new(javac);
    compile.args(["--release", "17", "-nowarn", "-cp", &format!("{}/lib/*", home.display()), "-d"]);
    quietly(compile.arg(&classes).arg(&source))?;
    let target = home.join("plugins/fts-dev");
    fs::create_dir_all(&target)?;
    let packed = folder.join("fts-dev.jar");
    let mut pack = Command::new(jar);
    quietly(pack.arg("cf").arg(&packed).arg("-C").arg(&classes).arg("."))?;
    // A server that runs keeps the one that it has opened.
    fs::rename(packed, target.join("fts-dev.jar"))?;
    let descriptor = format!(
        "name=fts-dev\ndescription=what the distribution for tests lacks\nversion=1\n\
         elasticsearch.version={VERSION}\njava.version=17\nclassname=dev.fts.DevPlugin\n"
    );
    fs::write(home.join(DESCRIPTOR), descriptor)?;
    // Last: it marks that all is there.
    fs::write(folder.join(BUILT), PLUGIN)?;
    Ok(())
}

/// Whether it can take documents.
fn is_healthy(port: u16) -> bool {
    let path = "/_cluster/health?wait_for_status=yellow&wait_for_no_initializing_shards=true\
        &timeout=20s";
    get(port, path).is_some_and(|answer| {
        answer.starts_with("HTTP/1.")
            && answer.contains(" 200 ")
            && answer.contains("\"timed_out\":false")
    })
}
