//! The demo's page in a real Chromium: fetches what that needs, or says loudly what is missing.

use std::process::Command;

use anyhow::{Result, bail};

use super::report::Tally;
use crate::shell;

/// Names under which distributions install Chromium.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// Checks the page of `fts-node demo`.
pub(super) fn run() -> Result<Tally> {
    let folder = shell::root().join("node/tests/page");
    let browser = match prepare() {
        Ok(browser) => browser,
        Err(missing) if shell::in_ci() => bail!("{missing}: in CI the page must be looked at"),
        Err(missing) => {
            println!("SKIPPED: the page was NOT looked at: {missing}");
            return Ok(Tally {
                skipped: 1,
                reasons: vec![missing.to_string()],
                ..Tally::default()
            });
        }
    };
    // Without scripts: the driver needs none, and a test runs nobody else's.
    let mut npm = Command::new("npm");
    npm.current_dir(&folder).args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    shell::run(&mut npm)?;
    let mut check = shell::program("node");
    check.current_dir(&folder).arg("check.mjs");
    check.env("FTS_NODE_BIN", shell::release_binary("fts-node")).env("CHROMIUM", browser);
    let mut tally = Tally::default();
    let success = shell::listen(&mut check, |line| match line.split_whitespace().next() {
        Some("ok") => tally.passed += 1,
        Some("FAILED" | "not") => tally.failed += 1,
        _ => {}
    })?;
    if !success && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

/// The browser to use, installed where this may install it.
pub(super) fn prepare() -> Result<String> {
    need_npm()?;
    let found = || {
        let named = std::env::var("CHROMIUM").ok();
        named.or_else(|| BROWSERS.iter().find_map(|it| shell::which(it)))
    };
    if let Some(browser) = found() {
        return Ok(browser);
    }
    install(&["chromium"])?;
    match found() {
        Some(browser) => Ok(browser),
        None => bail!("chromium was installed and is not on the PATH"),
    }
}

/// Node and npm, installed where this may install them.
pub(super) fn need_npm() -> Result<()> {
    for program in ["node", "npm"] {
        if shell::which(program).is_none() {
            install(&["nodejs", "npm"])?;
        }
    }
    Ok(())
}

/// Installs Debian packages, as root in CI or in a container; nobody's own machine is touched.
fn install(packages: &[&str]) -> Result<()> {
    let missing = packages.join(" and ");
    let root = shell::ask(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0");
    if !root || shell::which("apt-get").is_none() {
        bail!("{missing} is not installed");
    }
    shell::run(Command::new("apt-get").args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages);
    shell::run(install.env("DEBIAN_FRONTEND", "noninteractive"))
}
