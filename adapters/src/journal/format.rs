//! The bytes of a segment, and how they are recognised again. Little-endian; no input can panic.
//!
//! ```text
//! segment   = header unit*
//! header    = "FTSJRNL1" crc:4 length:4 seq:8 created_at:8 partitions:4 streams:4 (stream next:8)*
//! stream    = name_length:1 name partition:4
//! unit      = "FTSu" crc:4 runs:4 payload_length:4 appended_at:8 run* payload*
//! run       = stream:4 count:4 base:8 payload_length:4 payload_crc:4
//! payload   = record*
//! record    = value_length:4 key_length:2 source:1 feed:1 received_at:8 key value
//! ```
//!
//! A unit is what one commit wrote: it is there as a whole or it is torn. Its CRC also covers the
//! segment's number and the unit's position, so that bytes which merely look like a unit (a value
//! that holds one, a block that belonged elsewhere) are not taken for one. Each run has its own CRC,
//! so that one stream can be read, and verified, without the others.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes};
use fts_core::market::Source;
use fts_core::port::log::Record;
use fts_core::time::UnixNanos;

use super::stream::{PerStream, Slot, Streams};

const SEGMENT_MAGIC: &[u8; 8] = b"FTSJRNL1";
/// Before the CRC's own end nothing is covered by it.
const SEGMENT_UNCOVERED: usize = 12;
const UNIT_MAGIC: &[u8; 4] = b"FTSu";
const UNIT_UNCOVERED: usize = 8;
const UNIT_HEAD: usize = 24;
const RUN_HEAD: usize = 24;
const RECORD_HEAD: usize = 16;

/// The first bytes of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) seq: u64,
    pub(super) created_at: UnixNanos,
    pub(super) streams: Streams,
    /// What the stream numbers of this segment's runs mean.
    pub(super) slots: Vec<Slot>,
    /// The offset that each stream's next record got, or gets.
    pub(super) next: PerStream<u64>,
    /// Where the units begin.
    pub(super) length: usize,
}

/// Why bytes are no header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoHeader {
    Damaged,
    UnknownTopic(String),
}

impl Header {
    /// Lists all streams in the order of their slots.
    pub(super) fn encode(
        seq: u64,
        at: UnixNanos,
        streams: Streams,
        next: &PerStream<u64>,
    ) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_u64_le(seq);
        body.put_i64_le(at.0);
        body.put_u32_le(streams.partitions);
        body.put_u32_le(length(streams.len()));
        for (slot, next) in next.iter() {
            streams.put(slot, &mut body);
            body.put_u64_le(*next);
        }
        let mut covered = Vec::with_capacity(body.len() + 4);
        covered.put_u32_le(length(SEGMENT_UNCOVERED + 4 + body.len()));
        covered.append(&mut body);
        let mut out = Vec::with_capacity(SEGMENT_UNCOVERED + covered.len());
        out.put_slice(SEGMENT_MAGIC);
        out.put_u32_le(crc32fast::hash(&covered));
        out.append(&mut covered);
        out
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, NoHeader> {
        let (covered, length) = Self::covered(bytes).ok_or(NoHeader::Damaged)?;
        Self::parse_covered(covered, length).ok_or(NoHeader::Damaged)?
    }

    /// The part that the CRC covers, if it does, and the length of the whole.
    fn covered(bytes: &[u8]) -> Option<(&[u8], usize)> {
        let mut head = bytes.strip_prefix(SEGMENT_MAGIC)?;
        let crc = head.try_get_u32_le().ok()?;
        let length = head.try_get_u32_le().ok()? as usize;
        let covered = bytes.get(SEGMENT_UNCOVERED..length)?;
        (crc32fast::hash(covered) == crc).then_some((covered.get(4..)?, length))
    }

    fn parse_covered(mut body: &[u8], length: usize) -> Option<Result<Self, NoHeader>> {
        let seq = body.try_get_u64_le().ok()?;
        let created_at = UnixNanos(body.try_get_i64_le().ok()?);
        let streams = Streams { partitions: body.try_get_u32_le().ok()? };
        let count = body.try_get_u32_le().ok()?;
        let mut slots = Vec::new();
        let mut next = PerStream::of(streams, 0);
        for _ in 0..count {
            let (name, slot) = streams.take(&mut body)?;
            let Some(slot) = slot else { return Some(Err(NoHeader::UnknownTopic(name))) };
            next[slot] = body.try_get_u64_le().ok()?;
            slots.push(slot);
        }
        Some(Ok(Self { seq, created_at, streams, slots, next, length }))
    }
}

/// Neighbouring records of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The offset of the first.
    pub(super) base: u64,
    pub(super) count: u32,
    /// Where the payload lies in the segment.
    pub(super) position: u32,
    /// Its length.
    pub(super) bytes: u32,
    pub(super) crc: u32,
}

impl Run {
    pub(super) fn end(&self) -> u64 {
        self.base.saturating_add(u64::from(self.count))
    }
}

/// What one commit wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) at: Range<usize>,
    pub(super) appended_at: UnixNanos,
    /// With the number of their stream in this segment.
    pub(super) runs: Vec<(u32, Run)>,
}

impl Unit {
    /// The unit at `position`, if all of it is there and its checksums hold.
    pub(super) fn parse(seq: u64, segment: &[u8], position: usize) -> Option<Self> {
        let bytes = segment.get(position..)?;
        let mut head = bytes.strip_prefix(UNIT_MAGIC)?;
        let crc = head.try_get_u32_le().ok()?;
        let count = head.try_get_u32_le().ok()? as usize;
        let payload_length = head.try_get_u32_le().ok()? as usize;
        let appended_at = UnixNanos(head.try_get_i64_le().ok()?);
        let head_length = count.checked_mul(RUN_HEAD)?.checked_add(UNIT_HEAD)?;
        if unit_crc(seq, position, bytes.get(UNIT_UNCOVERED..head_length)?) != crc {
            return None;
        }

        let mut directory = bytes.get(UNIT_HEAD..head_length)?;
        let mut payloads = bytes.get(head_length..head_length.checked_add(payload_length)?)?;
        let mut at = position + head_length;
        let mut runs = Vec::with_capacity(count);
        for _ in 0..count {
            let stream = directory.try_get_u32_le().ok()?;
            let count = directory.try_get_u32_le().ok()?;
            let base = directory.try_get_u64_le().ok()?;
            let bytes = directory.try_get_u32_le().ok()?;
            let crc = directory.try_get_u32_le().ok()?;
            let (payload, rest) = payloads.split_at_checked(bytes as usize)?;
            if crc32fast::hash(payload) != crc {
                return None;
            }
            payloads = rest;
            runs.push((stream, Run { base, count, position: u32::try_from(at).ok()?, bytes, crc }));
            at += bytes as usize;
        }
        payloads.is_empty().then_some(Self { at: position..at, appended_at, runs })
    }

    pub(super) fn records(&self) -> u64 {
        self.runs.iter().map(|(_, run)| u64::from(run.count)).sum()
    }
}

/// A unit, or bytes that are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Unit(Unit),
    /// Up to the next valid unit, or to the end where there is none.
    Bad(Range<usize>),
}

/// All of a segment, from `position` on, piece by piece.
pub(super) fn survey(seq: u64, segment: &[u8], mut position: usize) -> impl Iterator<Item = Piece> {
    let mut ahead = None;
    std::iter::from_fn(move || {
        if position >= segment.len() {
            return None;
        }
        if let Some(unit) = ahead.take().or_else(|| Unit::parse(seq, segment, position)) {
            position = unit.at.end;
            return Some(Piece::Unit(unit));
        }
        let bad = position;
        ahead = next_unit(seq, segment, position + 1);
        position = ahead.as_ref().map_or(segment.len(), |unit| unit.at.start);
        Some(Piece::Bad(bad..position))
    })
}

fn next_unit(seq: u64, segment: &[u8], from: usize) -> Option<Unit> {
    let candidates = segment.get(from..)?.windows(UNIT_MAGIC.len()).enumerate();
    candidates
        .filter(|(_, window)| window == UNIT_MAGIC)
        .find_map(|(ahead, _)| Unit::parse(seq, segment, from + ahead))
}

/// Records of one stream on their way into a unit.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    pub(super) slot: Slot,
    pub(super) base: u64,
    pub(super) records: &'a [Record],
}

/// Writes a unit that shall lie at `position` of segment `seq`, in place of what `out` held.
pub(super) fn encode_unit(
    out: &mut Vec<u8>,
    (seq, position): (u64, usize),
    appended_at: UnixNanos,
    batches: &[Batch<'_>],
) -> Vec<Run> {
    let head_length = UNIT_HEAD + batches.len() * RUN_HEAD;
    out.clear();
    out.resize(head_length, 0);
    let mut runs = Vec::with_capacity(batches.len());
    for batch in batches {
        let start = out.len();
        for record in batch.records {
            put_record(out, record);
        }
        let payload = out.get(start..).unwrap_or_default();
        runs.push(Run {
            base: batch.base,
            count: length(batch.records.len()),
            position: length(position + start),
            bytes: length(payload.len()),
            crc: crc32fast::hash(payload),
        });
    }
    let numbers = batches.iter().map(|batch| batch.slot.number());
    let head = unit_head((seq, position), appended_at, numbers.zip(&runs));
    out.splice(..head_length, head);
    runs
}

/// The head of a unit: all but the payloads.
fn unit_head<'a>(
    (seq, position): (u64, usize),
    appended_at: UnixNanos,
    runs: impl Iterator<Item = (u32, &'a Run)>,
) -> Vec<u8> {
    let mut directory = Vec::new();
    let mut payload = 0;
    for (stream, run) in runs {
        directory.put_u32_le(stream);
        directory.put_u32_le(run.count);
        directory.put_u64_le(run.base);
        directory.put_u32_le(run.bytes);
        directory.put_u32_le(run.crc);
        payload += run.bytes;
    }
    let mut covered = Vec::with_capacity(UNIT_HEAD - UNIT_UNCOVERED + directory.len());
    covered.put_u32_le(length(directory.len() / RUN_HEAD));
    covered.put_u32_le(payload);
    covered.put_i64_le(appended_at.0);
    covered.append(&mut directory);
    let mut out = Vec::with_capacity(UNIT_UNCOVERED + covered.len());
    out.put_slice(UNIT_MAGIC);
    out.put_u32_le(unit_crc(seq, position, &covered));
    out.append(&mut covered);
    out
}

fn unit_crc(seq: u64, position: usize, covered: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&seq.to_le_bytes());
    crc.update(&(position as u64).to_le_bytes());
    crc.update(covered);
    crc.finalize()
}

/// The length of a record in a segment.
pub(super) fn record_bytes(record: &Record) -> usize {
    RECORD_HEAD + record.key.as_str().len() + record.value.len()
}

fn put_record(out: &mut Vec<u8>, record: &Record) {
    let key = record.key.as_str().as_bytes();
    let mut head = [0; RECORD_HEAD];
    let mut rest = head.as_mut_slice();
    rest.put_u32_le(length(record.value.len()));
    rest.put_u16_le(u16::try_from(key.len()).unwrap_or(u16::MAX));
    rest.put_u8(match record.source {
        Source::Stream => 0,
        Source::Backfill => 1,
        Source::Control => 2,
    });
    rest.put_u8(record.feed);
    rest.put_i64_le(record.received_at.0);
    out.extend_from_slice(&head);
    out.extend_from_slice(key);
    out.extend_from_slice(&record.value);
}

/// A record whose key is still text.
#[derive(Debug)]
pub(super) struct RawRecord {
    pub(super) key: Bytes,
    pub(super) value: Bytes,
    pub(super) received_at: UnixNanos,
    pub(super) source: Source,
    pub(super) feed: u8,
}

/// Takes the next record off a payload whose CRC was checked. `None`: the writer was wrong.
pub(super) fn take_record(payload: &mut Bytes) -> Option<RawRecord> {
    let value_length = payload.try_get_u32_le().ok()? as usize;
    let key_length = usize::from(payload.try_get_u16_le().ok()?);
    let source = match payload.try_get_u8().ok()? {
        0 => Source::Stream,
        1 => Source::Backfill,
        2 => Source::Control,
        _ => return None,
    };
    let feed = payload.try_get_u8().ok()?;
    let received_at = UnixNanos(payload.try_get_i64_le().ok()?);
    if payload.len() < key_length.checked_add(value_length)? {
        return None;
    }
    let key = payload.split_to(key_length);
    let value = payload.split_to(value_length);
    Some(RawRecord { key, value, received_at, source, feed })
}

/// Lengths are bounded far below this by `Journal::append` and by the size of a segment.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
