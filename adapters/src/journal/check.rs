//! What is wrong with the files of a journal: reads all of them, changes none.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::disk::segments;
use super::format::{Header, NoHeader, Piece, Run, survey};
use super::shared::segment_path;
use super::{JournalError, Slot};

/// What a journal's files hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkup {
    /// Segments read.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Records whose checksums hold.
    pub records: u64,
    /// What is wrong, in the order of the files.
    pub findings: Vec<Finding>,
}

impl Checkup {
    /// Whether anything that was acknowledged is lost. A torn commit at the end was not.
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|it| it.kind != FindingKind::Torn)
    }
}

/// Something wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// In which file.
    pub path: PathBuf,
    /// From which byte on.
    pub at: u64,
    /// How many bytes of it.
    pub bytes: u64,
    /// What.
    pub kind: FindingKind,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// The end of the newest segment is no whole commit: the process died while it wrote it. It was
    /// not acknowledged, and is cut off at the next start.
    Torn,
    /// These bytes were acknowledged, and are not what they were.
    Damaged,
    /// The segment's header can't be read, and so nothing in it.
    Header,
    /// The segment is of a later version, or another journal's.
    Foreign,
    /// So many records that were acknowledged are not there: they lay in a segment that is gone, or
    /// was cut.
    Missing(u64),
}

impl std::fmt::Display for Finding {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, at, bytes, kind } = self;
        write!(out, "{} at byte {at}: ", path.display())?;
        match kind {
            FindingKind::Torn => write!(
                out,
                "{bytes} bytes of a commit that was not finished; it was not acknowledged, and is \
                 cut off at the next start"
            ),
            FindingKind::Damaged => write!(out, "{bytes} bytes are damaged"),
            FindingKind::Header => {
                write!(out, "the header is damaged: {bytes} bytes are unreadable")
            }
            FindingKind::Foreign => write!(out, "a segment of a later version, or another log's"),
            FindingKind::Missing(records) => write!(out, "{records} records before it are missing"),
        }
    }
}

/// Reads the journal in `dir`.
///
/// # Errors
/// If there is none, if it can't be read, or if a node has it open.
pub fn check(dir: &Path) -> Result<Checkup, JournalError> {
    let io = |path: &Path, source| JournalError::Io { path: path.to_owned(), source };
    let lock_path = dir.join("lock");
    let lock = OpenOptions::new().write(true).open(&lock_path);
    let lock = lock.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io(dir, io::Error::other("there is no log in it")),
        _ => io(&lock_path, error),
    })?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(JournalError::InUse(dir.to_owned())),
        Err(TryLockError::Error(source)) => return Err(io(&lock_path, source)),
    }
    let mut found = Checkup::default();
    let mut seqs = segments(dir)?;
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    while let Some(seq) = seqs.pop_front() {
        let path = segment_path(dir, seq);
        let bytes = fs::read(&path).map_err(|source| io(&path, source))?;
        found.segments += 1;
        found.bytes += bytes.len() as u64;
        segment(&mut found, &mut next, &path, &bytes, seqs.is_empty());
    }
    // As where a journal is dropped: a child process may share the lock.
    lock.unlock().map_err(|source| io(&lock_path, source))?;
    Ok(found)
}

/// Looks through one segment. `next` is the offset that follows what is known of each stream.
fn segment(
    found: &mut Checkup,
    next: &mut BTreeMap<u32, u64>,
    path: &Path,
    bytes: &[u8],
    is_last: bool,
) {
    let mut note = |at: u64, bytes: u64, kind| {
        found.findings.push(Finding { path: path.to_owned(), at, bytes, kind });
    };
    let length = bytes.len() as u64;
    let header = match Header::parse(bytes) {
        Ok(header) => header,
        Err(NoHeader::UnknownTopic(_)) => return note(0, length, FindingKind::Foreign),
        // A segment takes commits only once its header is durable.
        Err(NoHeader::Damaged) => {
            let kind = if is_last { FindingKind::Torn } else { FindingKind::Header };
            return note(0, length, kind);
        }
    };
    let known = |next: &BTreeMap<u32, u64>, slot: Slot| next.get(&slot.number()).copied();
    let missing: u64 = header
        .next
        .iter()
        .filter_map(|(slot, base)| Some(base.saturating_sub(known(next, slot)?)))
        .sum();
    if missing > 0 {
        note(0, 0, FindingKind::Missing(missing));
    }
    for (slot, base) in header.next.iter() {
        next.insert(slot.number(), *base);
    }
    let mut bad = None;
    let mut records = 0;
    for piece in survey(header.seq, bytes, header.length) {
        match piece {
            Piece::Bad(at) => bad = Some((at.start as u64, (at.end - at.start) as u64)),
            Piece::Unit(unit) => {
                if let Some((at, bytes)) = bad.take() {
                    note(at, bytes, FindingKind::Damaged);
                }
                records += unit.records();
                for (stream, run) in &unit.runs {
                    let slot = usize::try_from(*stream).ok().and_then(|at| header.slots.get(at));
                    if let Some(slot) = slot {
                        next.insert(slot.number(), Run::end(run));
                    }
                }
            }
        }
    }
    if let Some((at, bytes)) = bad {
        note(at, bytes, if is_last { FindingKind::Torn } else { FindingKind::Damaged });
    }
    found.records += records;
}
