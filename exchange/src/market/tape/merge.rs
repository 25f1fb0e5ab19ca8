//! Several recordings as one market: their frames in the order of their receive times, read twice –
//! once at the start to know what is on the tape and that all of it can be read, and once to play it
//! – so that memory does not grow with the recording.

use super::file::{Lines, TapeError};
use super::line::{Line, facts};
use crate::market::Symbol;
use fts_core::decimal::Decimal;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

/// A frame that was read from a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// The recorder's clock, ns since 1970.
    pub(crate) received: i64,
    /// The stream's name.
    pub(crate) stream: String,
    /// The JSON as recorded.
    pub(crate) text: String,
    /// Where the payload lies.
    pub(crate) data: Range<usize>,
}

/// One file and the frame that it has to offer next.
#[derive(Debug)]
struct Source {
    lines: Lines,
    head: Option<Recorded>,
}

/// The frames of several files by receive time; among equals, by the order of the files.
#[derive(Debug)]
pub(crate) struct Merge {
    sources: Vec<Source>,
    scratch: Vec<u8>,
    /// Whether to warn of lines that are skipped: the first reading does, the second need not.
    warn: bool,
}

impl Merge {
    pub(crate) fn open(files: &[PathBuf], warn: bool) -> Result<Self, TapeError> {
        let mut merge = Self { sources: Vec::new(), scratch: Vec::new(), warn };
        for path in files {
            let mut source = Source { lines: Lines::open(path)?, head: None };
            source.advance(&mut merge.scratch, warn)?;
            merge.sources.push(source);
        }
        Ok(merge)
    }

    /// The next frame; `None` at the end of the tape.
    pub(crate) fn next(&mut self) -> Result<Option<Recorded>, TapeError> {
        let earliest = self
            .sources
            .iter_mut()
            .filter(|source| source.head.is_some())
            .min_by_key(|source| source.head.as_ref().map(|frame| frame.received));
        let Some(source) = earliest else { return Ok(None) };
        let frame = source.head.take();
        source.advance(&mut self.scratch, self.warn)?;
        Ok(frame)
    }
}

impl Source {
    fn advance(&mut self, scratch: &mut Vec<u8>, warn: bool) -> Result<(), TapeError> {
        while self.lines.next(scratch)? {
            match Line::parse(scratch) {
                Line::Frame(frame) => {
                    self.head = Some(Recorded {
                        received: frame.received,
                        stream: frame.stream.to_owned(),
                        text: frame.text.to_owned(),
                        data: frame.data,
                    });
                    return Ok(());
                }
                Line::Snapshot => {}
                Line::Malformed(reason) if warn => tracing::warn!(
                    "skipping line {} of {}: {reason}",
                    self.lines.number(),
                    self.lines.path().display(),
                ),
                Line::Malformed(_) => {}
            }
        }
        Ok(())
    }
}

/// What the first reading finds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The names of all streams.
    pub(crate) streams: Vec<String>,
    /// The symbols that they name.
    pub(crate) symbols: Vec<Symbol>,
    /// The market's time before anything was played, ms UTC: the first that a frame names, else the
    /// recorder's.
    pub(crate) begin: i64,
    /// How many frames there are.
    pub(crate) frames: u64,
}

/// Reads the whole tape once.
pub(crate) fn survey(files: &[PathBuf]) -> Result<Contents, TapeError> {
    let mut merge = Merge::open(files, true)?;
    let mut contents = Contents::default();
    let mut streams: BTreeSet<String> = BTreeSet::new();
    let mut scales: BTreeMap<String, Scale> = BTreeMap::new();
    let (mut begin, mut first_received) = (None, None);
    while let Some(frame) = merge.next()? {
        contents.frames += 1;
        first_received.get_or_insert(frame.received);
        let kind = frame.stream.split_once('@').map(|(symbol, kind)| (symbol.to_uppercase(), kind));
        if let Some((symbol, kind)) = kind {
            let scale = scales.entry(symbol).or_default();
            if kind == "trade" || begin.is_none() {
                let facts = frame.text.get(frame.data.clone()).and_then(|data| facts(kind, data));
                let facts = facts.unwrap_or_default();
                begin = begin.or(facts.time);
                if let Some(trade) = facts.trade {
                    scale.see(trade.price, trade.quantity);
                }
            }
        }
        streams.insert(frame.stream);
    }
    if contents.frames == 0 {
        let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
        return Err(TapeError::Empty { files: files.join(", ") });
    }
    contents.begin = begin.unwrap_or(first_received.unwrap_or(0) / 1_000_000);
    contents.streams = streams.into_iter().collect();
    contents.symbols = scales.into_iter().map(|(name, scale)| scale.symbol(name)).collect();
    Ok(contents)
}

/// The finest steps of price and quantity seen so far, in units of 10⁻⁸.
#[derive(Debug, Default)]
struct Scale {
    tick: Option<i128>,
    step: Option<i128>,
}

impl Scale {
    fn see(&mut self, price: Decimal, quantity: Decimal) {
        for (slot, value) in [(&mut self.tick, price.0), (&mut self.step, quantity.0)] {
            let mut unit = slot.unwrap_or(Decimal::from_units(1).0);
            while unit > 1 && value % unit != 0 {
                unit /= 10;
            }
            *slot = Some(unit);
        }
    }

    fn symbol(&self, name: String) -> Symbol {
        let (base, quote) = super::super::seeded::names::split(&name);
        Symbol {
            base: base.to_owned(),
            quote: quote.to_owned(),
            tick: Decimal(self.tick.unwrap_or(1)),
            step: Decimal(self.step.unwrap_or(1)),
            name,
        }
    }
}
