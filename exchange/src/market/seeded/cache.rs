//! Summaries of a symbol's minutes, and of the seconds of those asked for last. All of them can be
//! made again: the bounds are about memory only.

use super::plan::SECONDS_PER_MINUTE;
use super::second::Line;
use crate::market::Bar;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// A day and a little more.
const MINUTES_KEPT: usize = 1_500;
/// The minute under way, the one that leaves the day's window, and two for other readers.
const DETAILED_KEPT: usize = 4;

/// What is known of one symbol.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<Summaries>);

#[derive(Debug, Default)]
struct Summaries {
    minutes: BTreeMap<u64, Option<Box<Bar>>>,
    /// Minutes with their seconds, the latest used last.
    detailed: Vec<(u64, Vec<Option<Bar>>)>,
    /// The last range of minutes that was asked for: the ticker asks again every second.
    range: Option<(Range<u64>, Option<Bar>)>,
}

impl Cache {
    /// The trades of these minutes since the epoch, folded.
    pub(crate) fn minutes(&self, line: &Line, range: Range<u64>) -> Option<Bar> {
        let same = self.with(|known| known.range.clone().filter(|(last, _)| *last == range));
        if let Some((_, bar)) = same {
            return bar;
        }
        let (mut at, mut folded) = (range.start, None);
        while at < range.end {
            self.with(|known| {
                while at < range.end
                    && let Some(bar) = known.minutes.get(&at)
                {
                    if let Some(bar) = bar {
                        Bar::join(&mut folded, bar);
                    }
                    at += 1;
                }
            });
            if at < range.end {
                if let Some(bar) = self.minute(line, at) {
                    Bar::join(&mut folded, &bar);
                }
                at += 1;
            }
        }
        self.with(|known| known.range = Some((range, folded)));
        folded
    }

    /// The trades of a minute since the epoch, folded.
    fn minute(&self, line: &Line, minute: u64) -> Option<Bar> {
        if let Some(known) = self.with(|known| known.minutes.get(&minute).cloned()) {
            return known.as_deref().copied();
        }
        let seconds = self.with(|known| known.detail(minute).cloned());
        let seconds = seconds.unwrap_or_else(|| seconds_of(line, minute));
        let mut bar = None;
        for second in seconds.iter().flatten() {
            Bar::join(&mut bar, second);
        }
        self.with(|known| {
            known.minutes.insert(minute, bar.map(Box::new));
            while known.minutes.len() > MINUTES_KEPT {
                // A reader of old minutes must not push the day out.
                known.minutes.pop_first();
            }
        });
        bar
    }

    /// The trades of a second (0–59) of a minute, folded.
    pub(crate) fn second(&self, line: &Line, minute: u64, second: u64) -> Option<Bar> {
        let at = usize::try_from(second).unwrap_or(0);
        let read = |seconds: &Vec<Option<Bar>>| seconds.get(at).copied().flatten();
        if let Some(bar) = self.with(|known| known.detail(minute).map(read)) {
            return bar;
        }
        let seconds = seconds_of(line, minute);
        let bar = read(&seconds);
        self.with(|known| {
            known.detailed.push((minute, seconds));
            if known.detailed.len() > DETAILED_KEPT {
                known.detailed.remove(0);
            }
        });
        bar
    }

    fn with<T>(&self, work: impl FnOnce(&mut Summaries) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Summaries {
    fn detail(&mut self, minute: u64) -> Option<&Vec<Option<Bar>>> {
        let position = self.detailed.iter().position(|(known, _)| *known == minute)?;
        let found = self.detailed.remove(position);
        self.detailed.push(found);
        self.detailed.last().map(|(_, seconds)| seconds)
    }
}

fn seconds_of(line: &Line, minute: u64) -> Vec<Option<Bar>> {
    let minute = line.activity.minute(minute);
    (0..SECONDS_PER_MINUTE)
        .map(|second| {
            let mut bar = None;
            line.second(&minute, second).takes(|take| {
                for trade in &take.trades {
                    Bar::join(&mut bar, &Bar::of(trade));
                }
            });
            bar
        })
        .collect()
}
