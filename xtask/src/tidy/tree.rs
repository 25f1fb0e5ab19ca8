//! The files of the repository, as text.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// A text file.
#[derive(Debug)]
pub(super) struct File {
    /// Relative to the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

impl File {
    /// The lines, numbered from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    /// Whether the name ends so.
    pub(super) fn is(&self, extension: &str) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, it)| it == extension)
    }

    /// Whether others wrote it.
    pub(super) fn is_foreign(&self) -> bool {
        self.path.contains("/vendor/") || self.is("lock") || self.path.ends_with("-lock.json")
    }
}

/// Every file that git keeps or would keep.
#[derive(Debug)]
pub(super) struct Tree {
    /// Those that are text.
    pub(super) files: Vec<File>,
    /// The paths of all, text or not.
    pub(super) paths: Vec<String>,
}

impl Tree {
    /// Reads the repository at `root`.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut git = Command::new("git");
        git.current_dir(root).args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]);
        let output = git.output().context("git does not start")?;
        ensure!(output.status.success(), "git ls-files failed: tidy runs in a clone");
        let names = String::from_utf8(output.stdout)?;
        let mut tree = Self { files: Vec::new(), paths: Vec::new() };
        for path in names.split('\0').filter(|path| root.join(path).is_file()) {
            tree.paths.push(path.to_owned());
            if let Ok(text) = std::fs::read_to_string(root.join(path)) {
                tree.files.push(File { path: path.to_owned(), text });
            }
        }
        Ok(tree)
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let file =
            |(path, text): &(&str, &str)| File { path: (*path).into(), text: (*text).into() };
        let paths = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        Self { files: files.iter().map(file).collect(), paths }
    }

    /// The file at `path`.
    pub(super) fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The project's own Rust files.
    pub(super) fn sources(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is("rs") && !file.is_foreign())
    }
}
