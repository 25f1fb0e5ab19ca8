//! Which trade ids of a symbol are known: arbitration and the proof of completeness.
//!
//! The exchange numbers the trades of a symbol without a hole. So what has been seen is a set of id
//! ranges; what lies between two of them is missing; and a window of time is complete exactly if one
//! range reaches from a trade before it to a trade at or after its end. No clock takes part.
//!
//! Rules
//! 1. A trade counts once, whoever delivers it and however often.
//! 2. A hole closes when its trades come, or when the exchange is proven not to have them: then it is
//!    a gap on record, and no window that it may touch ever calls itself complete.
//! 3. The record begins at the floor. Below it nothing is missing, because nothing is wanted.

/// The known trade ids of a symbol.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Ascending; disjoint; never adjacent.
    ranges: Vec<Range>,
    /// The id that the record begins with, once that is decided.
    floor: Option<i64>,
    /// Declared gaps, ascending.
    gaps: Vec<Gap>,
}

/// Contiguous trade ids, all of them seen (or declared lost). One without any trade has no times:
/// its first is after its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First id.
    pub first: i64,
    /// Last id.
    pub last: i64,
    /// Time of the earliest trade in it, epoch milliseconds.
    pub first_time: i64,
    /// Time of the latest trade in it.
    pub last_time: i64,
}

/// Ids that the exchange does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// First id.
    pub first: i64,
    /// Last id.
    pub last: i64,
    /// Time of the trade before it, as far as known; `None` where the record begins with the gap.
    pub after_time: Option<i64>,
    /// Time of the trade after it, as far as known.
    pub before_time: i64,
    /// Why.
    pub reason: String,
    /// The ids of it that came after all.
    pub recovered: Vec<i64>,
}

/// What a trade adds to what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not seen before: fold it.
    Fresh,
    /// Seen before: drop it.
    Duplicate,
    /// It was declared lost, and has come after all. Its candles were given up: only the trade
    /// itself is kept, and the gap at this index shrinks.
    Recovered(usize),
}

/// What can be said of a window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Trades of it may still come.
    Open,
    /// Every trade of it has been seen.
    Complete,
    /// No more trades will come, and it is known that some are missing.
    Lost,
}

/// As many gaps as are remembered; the store keeps them all.
const GAPS_MAX: usize = 1_024;

impl Coverage {
    /// Puts back together what [`Coverage::parts`] took apart.
    pub fn from_parts(ranges: Vec<Range>, floor: Option<i64>, gaps: Vec<Gap>) -> Self {
        Self { ranges, floor, gaps }
    }

    /// Ranges, floor and gaps.
    pub fn parts(&self) -> (&[Range], Option<i64>, &[Gap]) {
        (&self.ranges, self.floor, &self.gaps)
    }

    /// Whether `id` is in none of the ranges.
    pub fn is_fresh(&self, id: i64) -> bool {
        if self.ranges.last().is_none_or(|range| range.last < id) {
            return true;
        }
        let after = self.ranges.partition_point(|range| range.first <= id);
        let before = after.checked_sub(1).and_then(|index| self.ranges.get(index));
        before.is_none_or(|range| range.last < id)
    }

    /// Takes in a trade id with its time.
    pub fn absorb(&mut self, id: i64, time: i64) -> Verdict {
        // Nearly always the next trade of the last range.
        if let Some(range) = self.ranges.last_mut()
            && range.last.checked_add(1) == Some(id)
        {
            range.extend(id, time);
            return Verdict::Fresh;
        }
        let after = self.ranges.partition_point(|range| range.first <= id);
        let before = after.checked_sub(1);
        if let Some(range) = before.and_then(|index| self.ranges.get(index))
            && id <= range.last
        {
            return self.recover(id);
        }
        self.narrow_gaps(id, time);
        let joins_before = before
            .and_then(|index| self.ranges.get(index))
            .is_some_and(|range| range.last.checked_add(1) == Some(id));
        let joins_after =
            self.ranges.get(after).is_some_and(|range| id.checked_add(1) == Some(range.first));
        match (joins_before.then_some(before).flatten(), joins_after) {
            (Some(index), true) => {
                let upper = self.ranges.remove(after);
                if let Some(lower) = self.ranges.get_mut(index) {
                    lower.extend(id, time);
                    lower.merge(upper);
                }
            }
            (Some(index), false) => {
                if let Some(lower) = self.ranges.get_mut(index) {
                    lower.extend(id, time);
                }
            }
            (None, true) => {
                if let Some(upper) = self.ranges.get_mut(after) {
                    upper.extend(id, time);
                }
            }
            (None, false) => {
                let alone = Range { first: id, last: id, first_time: time, last_time: time };
                self.ranges.insert(after, alone);
            }
        }
        Verdict::Fresh
    }

    /// The record begins with `id`. Only the first such word counts.
    pub fn set_floor(&mut self, id: i64) {
        self.floor.get_or_insert(id);
    }

    /// The id that the record begins with, once that is decided.
    pub fn floor(&self) -> Option<i64> {
        self.floor
    }

    /// The ids that are missing, ascending, both ends inclusive.
    pub fn holes(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        let floor = self.floor.unwrap_or(i64::MIN);
        let bottom = match (self.floor, self.ranges.first()) {
            (Some(floor), Some(range)) if floor < range.first => Some((floor, range.first - 1)),
            _ => None,
        };
        let between = self.ranges.windows(2).filter_map(move |pair| match pair {
            [lower, upper] if upper.first > floor => Some((lower.last + 1, upper.first - 1)),
            _ => None,
        });
        bottom.into_iter().chain(between)
    }

    /// Declares that the exchange does not have the ids from `first` to `last`. Ids that were seen,
    /// and ids above the newest trade, are not touched. Returns the indices of the gaps added.
    pub fn declare_gap(&mut self, first: i64, last: i64, reason: &str) -> Vec<usize> {
        let holes: Vec<_> = self.holes().filter(|hole| hole.0 <= last && first <= hole.1).collect();
        let mut added = Vec::new();
        for hole in holes {
            let (lost_first, lost_last) = (hole.0.max(first), hole.1.min(last));
            // Contiguity is restored hole by hole: a part of a hole becomes known as lost.
            let below = || self.ranges.iter().rev().filter(|range| range.last < lost_first);
            let above = || self.ranges.iter().filter(|range| range.first > lost_last);
            let (lower, Some(upper)) = (below().next().copied(), above().next().copied()) else {
                continue;
            };
            // The newest range always has a trade.
            let Some(next) = above().find(|range| range.has_trade()) else { continue };
            let gap = Gap {
                first: lost_first,
                last: lost_last,
                after_time: below().find(|range| range.has_trade()).map(|range| range.last_time),
                before_time: next.first_time,
                reason: reason.to_owned(),
                recovered: Vec::new(),
            };
            self.join(gap.first, gap.last, lower, upper);
            let index = self.gaps.partition_point(|other| other.first < gap.first);
            self.gaps.insert(index, gap);
            added.iter_mut().filter(|other| **other >= index).for_each(|other| *other += 1);
            added.push(index);
        }
        added
    }

    /// Forgets the oldest gaps beyond the bound. Call when no index from above is held.
    pub fn prune(&mut self) {
        let excess = self.gaps.len().saturating_sub(GAPS_MAX);
        self.gaps.drain(..excess);
    }

    /// A gap by its index.
    pub fn gap(&self, index: usize) -> Option<&Gap> {
        self.gaps.get(index)
    }

    /// Whether the window from `open` (inclusive) to `end` (exclusive) is complete.
    pub fn judge(&self, open: i64, end: i64) -> Window {
        let Some(range) =
            self.ranges.iter().rev().find(|range| range.last_time >= end && range.first_time < end)
        else {
            // The window before the record's first trade: nothing of it will come.
            let begun = self
                .ranges
                .first()
                .is_some_and(|range| range.has_trade() && range.first_time >= end);
            return if begun && self.is_settled() { Window::Lost } else { Window::Open };
        };
        if range.first_time < open || range.first == 0 {
            let lost = self.gaps.iter().any(|gap| gap.may_touch(open, end));
            return if lost { Window::Lost } else { Window::Complete };
        }
        let lowest = self.ranges.first() == Some(range);
        if lowest && self.is_settled() { Window::Lost } else { Window::Open }
    }

    /// The newest contiguous id of the record: everything from the floor to it is known.
    pub fn contiguous(&self) -> Option<i64> {
        self.ranges.first().map(|range| range.last)
    }

    /// The highest id seen.
    pub fn last(&self) -> Option<i64> {
        self.ranges.last().map(|range| range.last)
    }

    /// The lowest id seen.
    pub fn first(&self) -> Option<i64> {
        self.ranges.first().map(|range| range.first)
    }

    /// The latest time of a trade. It never goes back.
    pub fn latest_time(&self) -> Option<i64> {
        self.ranges.iter().map(|range| range.last_time).max()
    }

    /// Whether the record has reached its floor.
    fn is_settled(&self) -> bool {
        match (self.floor, self.ranges.first()) {
            (Some(floor), Some(range)) => range.first <= floor,
            _ => false,
        }
    }

    fn recover(&mut self, id: i64) -> Verdict {
        let index = self.gaps.partition_point(|gap| gap.first <= id);
        let Some(index) = index.checked_sub(1) else { return Verdict::Duplicate };
        match self.gaps.get_mut(index) {
            Some(gap) if id <= gap.last => match gap.recovered.binary_search(&id) {
                Ok(_) => Verdict::Duplicate,
                Err(place) => {
                    gap.recovered.insert(place, id);
                    Verdict::Recovered(index)
                }
            },
            _ => Verdict::Duplicate,
        }
    }

    /// A trade right beside a gap tells when the gap was, if that had to be guessed.
    fn narrow_gaps(&mut self, id: i64, time: i64) {
        let after = self.gaps.partition_point(|gap| gap.first <= id);
        if let Some(gap) = self.gaps.get_mut(after)
            && id.checked_add(1) == Some(gap.first)
        {
            gap.after_time = Some(time);
        }
        if let Some(gap) = after.checked_sub(1).and_then(|index| self.gaps.get_mut(index))
            && gap.last.checked_add(1) == Some(id)
        {
            gap.before_time = time;
        }
    }

    /// Makes the ids from `first` to `last` part of the ranges beside them.
    fn join(&mut self, first: i64, last: i64, lower: Option<Range>, upper: Range) {
        // What is lost has no time: a guess would close windows between it and trades to come.
        let mut joined = Range { first, last, first_time: i64::MAX, last_time: i64::MIN };
        if let Some(range) = lower
            && range.last + 1 == first
        {
            joined = range;
            joined.last = last;
            self.ranges.retain(|other| other.first != range.first);
        }
        if upper.first == last + 1 {
            joined.merge(upper);
            self.ranges.retain(|other| other.first != upper.first);
        }
        let place = self.ranges.partition_point(|range| range.first < joined.first);
        self.ranges.insert(place, joined);
    }
}

impl Gap {
    /// How many ids of it are still missing.
    pub fn missing(&self) -> i64 {
        self.last - self.first + 1 - i64::try_from(self.recovered.len()).unwrap_or(i64::MAX)
    }

    fn may_touch(&self, open: i64, end: i64) -> bool {
        self.after_time.is_none_or(|after| after < end) && open <= self.before_time
    }
}

impl Range {
    fn extend(&mut self, id: i64, time: i64) {
        self.first = self.first.min(id);
        self.last = self.last.max(id);
        self.first_time = self.first_time.min(time);
        self.last_time = self.last_time.max(time);
    }

    fn merge(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.first_time = self.first_time.min(other.first_time);
        self.last_time = self.last_time.max(other.last_time);
    }

    fn has_trade(&self) -> bool {
        self.first_time <= self.last_time
    }
}

#[cfg(test)]
mod tests;
