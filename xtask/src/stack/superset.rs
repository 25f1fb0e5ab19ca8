//! Apache Superset, from Python's package registry, with tables of its own in SQLite.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::process::{Process, get};
use super::{Service, Site, Started, needed, quietly};
use crate::shell;

/// Rich and cachetools are missing from its own requirements.
const PACKAGES: [&str; 3] = ["apache-superset[trino]==6.1.0", "rich", "cachetools"];
/// What these packages ask for, to the last version: some later ones break it.
const CONSTRAINTS: &str = include_str!("superset/constraints.txt");
const CONFIGURATION: &str = include_str!("superset/superset_config.py");
/// The Python that the constraints were made for.
const PYTHON: &str = "python3.11";
const USER: &str = "admin";
/// Known to everybody on purpose, as the key: it serves this machine only, and only tests.
const PASSWORD: &str = "fts-test-password";
const KEY: &str = "known-to-everybody-on-purpose-it-serves-tests-only";
const PATIENCE: Duration = Duration::from_secs(600);

/// One process, with threads.
pub(super) struct Superset;

impl Service for Superset {
    fn name(&self) -> &'static str {
        "superset"
    }

    fn ports(&self) -> usize {
        1
    }

    fn fetch(&self, site: &Site) -> Result<()> {
        let folder = site.dist.join("superset");
        let asked = format!("{PACKAGES:?}\n{CONSTRAINTS}");
        let mark = folder.join("asked.txt");
        if fs::read_to_string(&mark).is_ok_and(|it| it == asked) {
            return Ok(());
        }
        let python = needed(PYTHON, "the packages python3.11 and python3.11-venv")?;
        println!("superset: fetching, with pip");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let constraints = folder.join("constraints.txt");
        fs::write(&constraints, CONSTRAINTS)?;
        quietly(Command::new(python).args(["-m", "venv"]).arg(folder.join("venv")))?;
        let mut pip = Command::new(folder.join("venv/bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "-c"]);
        quietly(pip.arg(&constraints).args(PACKAGES)).context("cannot fetch superset")?;
        // Last: it marks that all is there.
        fs::write(mark, asked)?;
        Ok(())
    }

    fn start(&self, site: &Site, ports: &[u16]) -> Result<Started> {
        let port = ports.first().copied().unwrap_or(0);
        fs::write(site.run.join("superset_config.py"), CONFIGURATION)?;
        quietly(program(site, "superset").args(["db", "upgrade"]))?;
        let mut admin = program(site, "superset");
        admin.args(["fab", "create-admin", "--username", USER, "--password", PASSWORD]);
        admin.args(["--firstname", "Local", "--lastname", "Admin"]);
        quietly(admin.args(["--email", "admin@example.invalid"]))?;
        quietly(program(site, "superset").arg("init"))?;
        let mut command = program(site, "gunicorn");
        command.args(["-b", &format!("127.0.0.1:{port}"), "-w", "1", "-k", "gthread"]);
        command.args(["--threads", "8", "--timeout", "120", "superset.app:create_app()"]);
        let mut process = Process::start("superset", &mut command, &site.run.join("log"))?;
        process.wait(PATIENCE, |_| is_healthy(port))?;
        Ok(Started {
            processes: vec![process],
            variables: vec![
                ("FTS_TEST_SUPERSET".to_owned(), format!("http://127.0.0.1:{port}")),
                ("FTS_TEST_SUPERSET_USER".to_owned(), USER.to_owned()),
                ("FTS_TEST_SUPERSET_PASSWORD".to_owned(), PASSWORD.to_owned()),
            ],
        })
    }
}

/// A program of Superset's environment, with its settings.
fn program(site: &Site, name: &str) -> Command {
    let mut command = shell::program(site.dist.join("superset/venv/bin").join(name));
    command.current_dir(&site.run);
    command.env("SUPERSET_HOME", &site.run).env("SUPERSET_SECRET_KEY", KEY);
    command.env("SUPERSET_CONFIG_PATH", site.run.join("superset_config.py"));
    command.env("FLASK_APP", "superset").env("TZ", "UTC");
    command
}

/// The Python that Superset runs on: it has what `superset/generate.py` needs.
pub(crate) fn python() -> PathBuf {
    super::folder().join("dist/superset/venv/bin/python")
}

fn is_healthy(port: u16) -> bool {
    get(port, "/health").is_some_and(|it| it.starts_with("HTTP/1.") && it.contains(" 200 "))
}
