//! Opening a journal, and reading what is no longer in memory.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fts_core::market::Symbol;
use fts_core::metrics::LOG_TORN_BYTES_TOTAL;
use fts_core::port::log::{LogError, Record, Stored};

use super::format::{Header, NoHeader, Piece, Run, survey, take_record};
use super::shared::{Index, Place, Segment, Shared, State, segment_path};
use super::stream::{PerStream, Slot, Streams};
use super::{JournalConfig, JournalError, Recovery};

/// Verifies the newest segment, cuts a torn commit off it, and tells what there is.
pub(super) fn open(
    config: &JournalConfig,
    streams: Streams,
) -> Result<(State, Recovery), JournalError> {
    let mut recovery = Recovery::default();
    let mut seqs = segments(&config.dir)?;
    let mut segments = VecDeque::new();
    let mut active = PerStream::of(streams, Vec::new());
    let mut next = PerStream::of(streams, 0);
    while let Some(seq) = seqs.pop_front() {
        let path = segment_path(&config.dir, seq);
        let io = |source| JournalError::Io { path: path.clone(), source };
        let is_last = seqs.is_empty();
        let bytes = if is_last { fs::read(&path) } else { head(&path) }.map_err(io)?;
        let header = match Header::parse(&bytes) {
            Ok(header) => header,
            Err(NoHeader::UnknownTopic(name)) => {
                return Err(JournalError::Io {
                    path,
                    source: io::Error::other(format!("its topic {name} is of a later version")),
                });
            }
            // A segment takes commits only once its header is durable.
            Err(NoHeader::Damaged) if is_last && survey(seq, &bytes, 0).all(is_bad) => {
                recovery.torn_bytes = bytes.len() as u64;
                recovery.torn_at = Some((path.clone(), 0));
                fs::remove_file(&path).map_err(io)?;
                break;
            }
            Err(NoHeader::Damaged) => return Err(damaged(path, 0, "its header", 0)),
        };
        if header.streams.partitions != streams.partitions {
            return Err(JournalError::Partitions {
                dir: config.dir.clone(),
                found: header.streams.partitions,
                wanted: streams.partitions,
            });
        }
        next = header.next.clone();
        let mut length = fs::metadata(&path).map_err(io)?.len();
        if is_last {
            let (index, end) = verify(&path, &header, &bytes)?;
            for (slot, runs) in index.iter() {
                next[slot] = runs.last().map_or(next[slot], Run::end);
            }
            active = index;
            if end < length {
                recovery.torn_bytes = length - end;
                recovery.torn_at = Some((path.clone(), end));
                let file = OpenOptions::new().write(true).open(&path).map_err(io)?;
                file.set_len(end).and_then(|()| file.sync_all()).map_err(io)?;
                length = end;
            }
        }
        segments.push_back(Segment {
            seq,
            bytes: length,
            created_at: header.created_at,
            base: header.next,
        });
    }
    if let Some((path, at)) = &recovery.torn_at {
        tracing::warn!(
            path = %path.display(), at, bytes = recovery.torn_bytes,
            "cut off a commit that was torn and not acknowledged"
        );
        metrics::counter!(LOG_TORN_BYTES_TOTAL).increment(recovery.torn_bytes);
    }
    recovery.segments = segments.len();
    Ok((State::new(streams, segments, active, next), recovery))
}

/// Reads records of `slot` from `from` on, out of one segment.
pub(super) fn read(
    shared: &Shared,
    slot: Slot,
    from: u64,
    max_bytes: usize,
    place: &Place,
) -> Result<Vec<Stored>, LogError> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let failed = |error: io::Error| {
        if gone(&error) {
            LogError::Expired { oldest: shared.bounds(slot).0 }
        } else {
            LogError::Unavailable(format!("cannot read {}: {error}", place.path.display()))
        }
    };
    let runs = match (&place.runs, &place.index) {
        (Some(runs), _) => runs.clone(),
        (None, Some(index)) => index[slot].clone(),
        (None, None) => {
            let index =
                Arc::new(load(shared.streams, &place.path).map_err(|error| match error {
                    JournalError::Io { source, .. } => failed(source),
                    other => LogError::Broken(other.to_string()),
                })?);
            shared.keep_index(place.seq, Arc::clone(&index));
            index[slot].clone()
        }
    };
    let mut file = File::open(&place.path).map_err(failed)?;
    let mut records = Vec::new();
    let mut bytes = 0;
    let first = runs.partition_point(|run| run.end() <= from);
    let mut key: Option<(Bytes, Symbol)> = None;
    for run in runs.iter().skip(first) {
        let mut payload = vec![0; run.bytes as usize];
        file.seek(SeekFrom::Start(u64::from(run.position))).map_err(failed)?;
        file.read_exact(&mut payload).map_err(failed)?;
        if crc32fast::hash(&payload) != run.crc {
            let what = format!("{} is damaged at byte {}", place.path.display(), run.position);
            return Err(LogError::Broken(what));
        }
        let mut payload = Bytes::from(payload);
        for offset in run.base..run.end() {
            let wrong = || {
                let path = place.path.display();
                LogError::Broken(format!("{path}: the record at byte {} is none", run.position))
            };
            let raw = take_record(&mut payload).ok_or_else(wrong)?;
            if offset < from {
                continue;
            }
            let symbol = match &key {
                Some((text, symbol)) if *text == raw.key => symbol.clone(),
                _ => {
                    let text = std::str::from_utf8(&raw.key).map_err(|_| wrong())?;
                    let symbol = Symbol::new(text).map_err(|_| wrong())?;
                    key = Some((raw.key.clone(), symbol.clone()));
                    symbol
                }
            };
            bytes += raw.value.len();
            if bytes > max_bytes && !records.is_empty() {
                return Ok(records);
            }
            records.push(Stored {
                offset,
                record: Record {
                    key: symbol,
                    value: raw.value,
                    received_at: raw.received_at,
                    source: raw.source,
                    feed: raw.feed,
                },
            });
        }
    }
    Ok(records)
}

/// The numbers of the segments, ascending.
pub(super) fn segments(dir: &Path) -> Result<VecDeque<u64>, JournalError> {
    let io = |source| JournalError::Io { path: dir.to_owned(), source };
    let mut seqs = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let seq = name.to_str().and_then(|name| name.strip_suffix(".log"));
        seqs.extend(seq.and_then(|seq| seq.parse::<u64>().ok()));
    }
    seqs.sort_unstable();
    Ok(seqs.into())
}

/// Enough of a file to hold its header.
fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(1 << 20).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The runs of a segment, and where its last whole unit ends. Bytes that are no unit are torn if
/// nothing valid follows them, and damage otherwise.
fn verify(path: &Path, header: &Header, bytes: &[u8]) -> Result<(Index, u64), JournalError> {
    let mut index = PerStream::of(header.streams, Vec::new());
    let mut end = header.length as u64;
    let mut bad = None;
    for piece in survey(header.seq, bytes, header.length) {
        match (piece, bad) {
            (Piece::Bad(at), _) => bad = Some(at.start as u64),
            (Piece::Unit(unit), Some(at)) => {
                let what = "bytes that are no commit, with commits behind them";
                return Err(damaged(path.to_owned(), at, what, unit.records()));
            }
            (Piece::Unit(unit), None) => {
                end = unit.at.end as u64;
                for (stream, run) in unit.runs {
                    let slot = usize::try_from(stream).ok().and_then(|at| header.slots.get(at));
                    if let Some(slot) = slot {
                        index[*slot].push(run);
                    }
                }
            }
        }
    }
    Ok((index, end))
}

/// The index of an older segment; all of it must be whole.
fn load(streams: Streams, path: &Path) -> Result<Index, JournalError> {
    let io = |source| JournalError::Io { path: path.to_owned(), source };
    let bytes = fs::read(path).map_err(io)?;
    let header = Header::parse(&bytes)
        .ok()
        .filter(|header| header.streams == streams)
        .ok_or_else(|| damaged(path.to_owned(), 0, "its header", 0))?;
    let (index, end) = verify(path, &header, &bytes)?;
    if end < bytes.len() as u64 {
        return Err(damaged(path.to_owned(), end, "bytes that are no commit at its end", 0));
    }
    Ok(index)
}

fn is_bad(piece: Piece) -> bool {
    matches!(piece, Piece::Bad(_))
}

fn damaged(path: PathBuf, at: u64, what: &'static str, records_after: u64) -> JournalError {
    JournalError::Damaged { path, at, what, records_after }
}
