//! Log files for people and for programs that read them line by line, in the form
//! `2024-08-09 10:40:00,123 - INFO - message` (UTC). A file that has grown too long is moved to
//! `.1`, that one to `.2`, and so on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fts_core::port::report::{LineLevel, LineLog};
use fts_core::time::UnixNanos;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Lines in a file.
#[derive(Debug)]
pub struct FileLineLog {
    path: PathBuf,
    bytes_max: u64,
    files_max: u32,
    open: Mutex<Option<(File, u64)>>,
}

impl FileLineLog {
    /// Lines at the end of `path`. A file is moved away before it is longer than `bytes_max`;
    /// besides the one that is written, `files_max` older ones are kept.
    pub fn new(path: PathBuf, bytes_max: u64, files_max: u32) -> Self {
        Self { path, bytes_max, files_max, open: Mutex::new(None) }
    }

    fn write(&self, line: &str) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if open.is_none() {
            *open = Some(self.append()?);
        }
        if open.as_ref().is_some_and(|(_, size)| *size > 0 && size + length > self.bytes_max) {
            *open = None;
            self.rotate()?;
            *open = Some(self.append()?);
        }
        if let Some((file, size)) = open.as_mut() {
            file.write_all(line.as_bytes())?;
            *size += length;
        }
        Ok(())
    }

    fn append(&self) -> io::Result<(File, u64)> {
        let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        let size = file.metadata()?.len();
        Ok((file, size))
    }

    fn rotate(&self) -> io::Result<()> {
        for number in (0..self.files_max).rev() {
            let from = numbered(&self.path, number);
            if from.exists() {
                fs::rename(from, numbered(&self.path, number + 1))?;
            }
        }
        if self.files_max == 0 {
            fs::remove_file(&self.path)?;
        }
        Ok(())
    }
}

/// `path`, `path.1`, `path.2`, …
fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

impl LineLog for FileLineLog {
    fn line(&self, at: UnixNanos, level: LineLevel, message: &str) {
        let level = match level {
            LineLevel::Info => "INFO",
            LineLevel::Warning => "WARNING",
            LineLevel::Error => "ERROR",
        };
        let instant = Timestamp::from_millisecond(at.millis()).unwrap_or_default();
        let when = instant.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S");
        let millis = at.millis().rem_euclid(1_000);
        // A message is one line, whatever is in it.
        let message = message.replace(['\n', '\r'], " ");
        if let Err(error) = self.write(&format!("{when},{millis:03} - {level} - {message}\n")) {
            tracing::warn!(path = %self.path.display(), %error, "a line was not written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_known_form_and_files_are_moved_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs_transacciones.log");
        let at = UnixNanos::from_millis(1_723_200_000_007);
        for number in 0..5 {
            // A new one each time: it goes on where the file ends.
            let log = FileLineLog::new(path.clone(), 100, 2);
            log.line(at, LineLevel::Warning, &format!("número {number}\nde dos líneas"));
        }
        let read = |number| fs::read_to_string(numbered(&path, number)).unwrap_or_default();
        assert_eq!(read(0), "2024-08-09 10:40:00,007 - WARNING - número 4 de dos líneas\n",);
        assert!(read(1).contains("número 3") && read(2).contains("número 2"));
        assert_eq!(read(3), "", "older ones are gone");
    }
}
