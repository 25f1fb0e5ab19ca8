//! What runs on a Java machine: fetched by Maven, started by `java`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{needed, quietly};

/// Fetches the runtime dependencies that `pom` lists into `folder`, once.
pub(super) fn fetch_jars(what: &str, pom: &str, folder: &Path) -> Result<()> {
    fetch(what, pom, folder, |maven| {
        maven.arg("org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies");
        maven.args(["-DincludeScope=runtime", "-DoutputDirectory=lib"]);
    })
}

/// Fetches one artifact (`group:name:version:type`) into `folder`, once.
pub(super) fn fetch_artifact(what: &str, artifact: &str, folder: &Path) -> Result<()> {
    let pom = "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\
        <modelVersion>4.0.0</modelVersion><groupId>fts</groupId><artifactId>stack</artifactId>\
        <version>1</version><packaging>pom</packaging></project>";
    fetch(what, &format!("{pom}<!-- {artifact} -->"), folder, |maven| {
        maven.arg("org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy");
        maven.args([&format!("-Dartifact={artifact}"), "-DoutputDirectory=."]);
    })
}

/// The pom is written last: it marks that what it asks for is there.
fn fetch(what: &str, pom: &str, folder: &Path, goal: impl FnOnce(&mut Command)) -> Result<()> {
    let path = folder.join("pom.xml");
    if fs::read_to_string(&path).is_ok_and(|it| it == pom) {
        return Ok(());
    }
    let program = needed("mvn", "the package maven")?;
    println!("{what}: fetching, with Maven");
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let asked = folder.join("asked.xml");
    fs::write(&asked, pom)?;
    let mut maven = Command::new(program);
    maven.current_dir(folder).args(["-q", "-B", "-f", "asked.xml"]);
    goal(&mut maven);
    quietly(&mut maven).with_context(|| format!("cannot fetch {what}"))?;
    fs::rename(&asked, &path)?;
    Ok(())
}

/// `java`, with so much memory; what it unpacks for itself lies in `run`, and goes with it.
pub(super) fn java(run: &Path, heap: &str) -> Result<Command> {
    let unpacked = run.join("tmp");
    fs::create_dir_all(&unpacked)?;
    let mut command = Command::new(needed("java", "the package openjdk-17-jdk-headless")?);
    command.args([&format!("-Xmx{heap}"), "-Djava.awt.headless=true", "-XX:+UseG1GC"]);
    command.arg(format!("-Djava.io.tmpdir={}", unpacked.display()));
    Ok(command)
}

/// Where Java is installed.
pub(super) fn home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("JAVA_HOME") {
        return Ok(home.into());
    }
    let java = fs::canonicalize(needed("java", "the package openjdk-17-jdk-headless")?)?;
    let home = java.ancestors().nth(2).context("`java` does not lie in a folder `bin`")?;
    Ok(home.to_owned())
}
