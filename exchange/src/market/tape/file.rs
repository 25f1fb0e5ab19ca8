//! A recording on disk: gzip (also of several members) or plain text, read line by line.

use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Longer lines are not frames; they would only eat memory.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Why a recording can't be played.
#[derive(Debug, thiserror::Error)]
pub enum TapeError {
    /// The file is not there or not readable.
    #[error("cannot open the tape {path}: {source}; give the path of a recorded .gz file")]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file breaks off or is damaged.
    #[error(
        "cannot read the tape {path} after line {line}: {source}; the file is damaged or cut short: \
         check it with `gzip -t` and copy it again"
    )]
    Read {
        /// Which file.
        path: PathBuf,
        /// The last line that could be read.
        line: u64,
        /// What the decoder says.
        source: std::io::Error,
    },
    /// There is nothing to play.
    #[error(
        "the tape has no frame to play ({files}); a line is `<receive time in ns> <json>`, the json \
         in the combined wrapper {{\"stream\":…,\"data\":…}}"
    )]
    Empty {
        /// The files given.
        files: String,
    },
}

/// The lines of one file.
pub(crate) struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    number: u64,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}:{}", self.path.display(), self.number)
    }
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self, TapeError> {
        let failed = |source| TapeError::Open { path: path.to_owned(), source };
        let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
        let gzip = file.fill_buf().map_err(failed)?.starts_with(&GZIP_MAGIC);
        let reader: Box<dyn BufRead + Send> = if gzip {
            Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        };
        Ok(Self { path: path.to_owned(), reader, number: 0 })
    }

    /// Reads the next line into `line`, without its end; `false` at the end of the file.
    pub(crate) fn next(&mut self, line: &mut Vec<u8>) -> Result<bool, TapeError> {
        line.clear();
        let mut limited = (&mut self.reader).take(LINE_BYTES_MAX);
        let read = limited.read_until(b'\n', line).map_err(|source| TapeError::Read {
            path: self.path.clone(),
            line: self.number,
            source,
        })?;
        if read == 0 {
            return Ok(false);
        }
        self.number += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        Ok(true)
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the line last read, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}
