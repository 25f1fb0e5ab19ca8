//! Programs of Debian's packages.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::shell;

/// A program of a Debian package: installed, or unpacked below `target` without being installed.
pub(crate) fn program(program: &str, package: &str) -> Result<PathBuf> {
    if let Some(found) = shell::which(program) {
        return Ok(PathBuf::from(found));
    }
    let folder = shell::target().join("debian").join(package);
    let unpacked = folder.join("usr/bin").join(program);
    if unpacked.exists() {
        return Ok(unpacked);
    }
    let advice = || format!("`{program}` is not installed: it is in Debian's package {package}");
    fs::create_dir_all(&folder)?;
    let download = || {
        let mut apt = Command::new("apt-get");
        shell::run(apt.current_dir(&folder).args(["download", "-qq", package]))
    };
    if download().is_err() {
        // The list of packages may be old, or not there.
        shell::run(Command::new("apt-get").args(["update", "-qq"])).with_context(advice)?;
        download().with_context(advice)?;
    }
    for archive in shell::files(&folder, ".deb")? {
        shell::run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&folder))?;
        fs::remove_file(archive)?;
    }
    ensure!(unpacked.exists(), "{package} has no {program}");
    Ok(unpacked)
}
