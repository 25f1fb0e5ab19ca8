//! Chance with random access: every value is a function of a seed and a position.
//!
//! Prices are floats only here, on their way to whole ticks, and only `+ − × ÷` are used on them:
//! the same seed gives the same bytes on every machine.

/// A well mixed function of a seed and a position.
pub(crate) fn hash(seed: u64, position: u64) -> u64 {
    let mut z = seed.wrapping_add(position.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A hash as a number in 0..1.
pub(crate) fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

/// A sequence of hashes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rng {
    seed: u64,
    drawn: u64,
}

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.drawn += 1;
        hash(self.seed, self.drawn)
    }

    /// A number in 0..1.
    pub(crate) fn unit(&mut self) -> f64 {
        unit(self.next())
    }
}

/// Smooth noise in −1..1 that takes a new direction every `period`.
pub(crate) fn smooth(seed: u64, position: u64, period: u64) -> f64 {
    // Lattices of different octaves must not meet at the epoch.
    let position = position + seed % period;
    let (cell, fraction) = (position / period, (position % period) as f64 / period as f64);
    let eased = fraction * fraction * (3.0 - 2.0 * fraction);
    let (from, to) = (unit(hash(seed, cell)), unit(hash(seed, cell + 1)));
    2.0 * (from + (to - from) * eased) - 1.0
}

/// Seconds between turns, and how far a price moves by them (in millionths, at Bitcoin's
/// volatility). Distances grow as the square root of time.
const OCTAVES: [(u64, f64); 10] = [
    (604_800, 55_000.0),
    (86_400, 22_000.0),
    (21_600, 11_000.0),
    (3_600, 4_600.0),
    (900, 2_300.0),
    (240, 1_200.0),
    (60, 600.0),
    (15, 300.0),
    (4, 150.0),
    (1, 70.0),
];

/// A slot holds at most one abrupt move.
const SLOT_S: u64 = 1_200;
const SLOTS_PER_MOVE: u64 = 6;
/// An abrupt move is given back within this time.
const MOVE_LASTS_S: u64 = 5_400;

/// Where a price is, by the second since the market's epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    seed: u64,
    /// 1 is Bitcoin.
    volatility: f64,
}

impl Path {
    pub(crate) fn new(seed: u64, volatility: f64) -> Self {
        Self { seed, volatility }
    }

    /// The price in that second, as a multiple of the price that it moves around.
    pub(crate) fn at(&self, second: u64) -> f64 {
        let mut millionths = 0.0;
        for (octave, (period, distance)) in (0_u64..).zip(OCTAVES) {
            millionths += smooth(hash(self.seed, octave), second, period) * distance;
        }
        let moved: f64 = self.moves(second).map(|abrupt| abrupt.share(second)).sum();
        (1.0 + millionths * self.volatility / 1e6 + moved).max(0.05)
    }

    /// Whether an abrupt move is under way.
    pub(crate) fn is_moving(&self, second: u64) -> bool {
        self.moves(second).any(|abrupt| (abrupt.at..abrupt.at + abrupt.rise).contains(&second))
    }

    /// The abrupt moves that may still be felt.
    fn moves(&self, second: u64) -> impl Iterator<Item = Abrupt> {
        let seed = hash(self.seed, 1 << 32);
        let slot = second / SLOT_S;
        (slot.saturating_sub(MOVE_LASTS_S / SLOT_S + 1)..=slot).filter_map(move |slot| {
            let chance = hash(seed, slot);
            chance.is_multiple_of(SLOTS_PER_MOVE).then(|| {
                let size = 0.01 + 0.02 * unit(hash(chance, 1));
                Abrupt {
                    at: slot * SLOT_S + (chance >> 8) % SLOT_S,
                    rise: 10 + (chance >> 24) % 40,
                    size: if chance >> 63 == 0 { size } else { -size },
                }
            })
        })
    }
}

/// A move of one to three percent within a minute.
#[derive(Debug, Clone, Copy)]
struct Abrupt {
    at: u64,
    rise: u64,
    size: f64,
}

impl Abrupt {
    fn share(&self, second: u64) -> f64 {
        let Some(age) = second.checked_sub(self.at) else { return 0.0 };
        let risen = (age as f64 / self.rise as f64).min(1.0);
        let kept = (1.0 - age as f64 / MOVE_LASTS_S as f64).max(0.0);
        self.size * risen * kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_trends_and_abrupt_moves() {
        let path = Path::new(7, 1.0);
        let day: Vec<f64> = (0..86_400).map(|second| path.at(second)).collect();
        let (low, high) = day.iter().fold((f64::MAX, 0.0_f64), |(l, h), p| (l.min(*p), h.max(*p)));
        assert!(high / low > 1.02 && high / low < 1.35, "{low}..{high}");
        let abrupt = day.windows(61).filter(|w| (w[60] / w[0] - 1.0).abs() > 0.01).count();
        assert!(abrupt > 0 && abrupt < 8_640, "{abrupt}");
        let step = day.windows(2).map(|w| (w[1] / w[0] - 1.0).abs()).fold(0.0, f64::max);
        assert!(step < 0.005, "a second moves the price by {step}");
    }

    #[test]
    fn noise_is_continuous_and_spread() {
        for position in 0..10_000 {
            let (a, b) = (smooth(3, position, 100), smooth(3, position + 1, 100));
            assert!((-1.0..=1.0).contains(&a) && (a - b).abs() < 0.05);
        }
        let mean = (0..10_000).map(|n| unit(hash(1, n))).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02);
    }
}
