//! Chance as a pure function: hashes, and a price curve that can be read at any time without its
//! past. Written out here, so that a seed means the same market in every version.

/// SplitMix64's finalizer over a sequence of words.
pub(super) fn hash(words: &[u64]) -> u64 {
    words.iter().fold(0x9e37_79b9_7f4a_7c15, |state, word| {
        let mut mixed = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// A text as a word.
pub(super) fn hash_text(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A hash as a number from 0 to 1, without 1.
pub(super) fn unit(hash: u64) -> f64 {
    f64::from(u32::try_from(hash >> 32).unwrap_or(0)) / 4_294_967_296.0
}

/// Period in milliseconds and amplitude (of the logarithm of the price) of each octave.
const OCTAVES: [(i64, f64); 7] = [
    (21_600_000, 0.030),
    (3_600_000, 0.012),
    (900_000, 0.006),
    (180_000, 0.002_5),
    (45_000, 0.001),
    (9_000, 0.000_4),
    (1_500, 0.000_12),
];
/// In one cell of this length there is at most one abrupt move.
const CELL_MS: i64 = 600_000;
const JUMP_MS: f64 = 20_000.0;
const FADE_MS: f64 = 900_000.0;

/// The logarithm of the price at `time` (ms), relative to the level of the symbol.
pub(super) fn level(salt: u64, time: i64) -> f64 {
    let calm: f64 = OCTAVES
        .iter()
        .zip(0_u64..)
        .map(|((period, amplitude), octave)| {
            let cell = time.div_euclid(*period);
            let at = |cell: i64| 2.0 * unit(hash(&[salt, octave, cell.cast_unsigned()])) - 1.0;
            let within = fraction(time.rem_euclid(*period), *period);
            amplitude * (at(cell) + (at(cell + 1) - at(cell)) * smooth(within))
        })
        .sum();
    let cell = time.div_euclid(CELL_MS);
    let jumps: f64 = (cell - 2..=cell).map(|cell| jump(salt, cell, time)).sum();
    calm + jumps
}

/// An abrupt move of 1 to 3 % that fades within a quarter of an hour; most cells have none.
fn jump(salt: u64, cell: i64, time: i64) -> f64 {
    let dice = hash(&[salt, 0x6a75_6d70, cell.cast_unsigned()]);
    if !dice.is_multiple_of(4) {
        return 0.0;
    }
    let start = cell * CELL_MS + i64::try_from(dice / 4 % 500_000).unwrap_or(0);
    if time < start {
        return 0.0;
    }
    let since = fraction(time - start, 1);
    let size = (0.01 + 0.02 * unit(hash(&[dice, 1]))) * if dice & 4 == 0 { 1.0 } else { -1.0 };
    size * smooth((since / JUMP_MS).min(1.0)) * (1.0 - smooth((since / FADE_MS).min(1.0)))
}

/// `part` of `whole`, both far below 2³¹.
fn fraction(part: i64, whole: i64) -> f64 {
    let number = |value: i64| f64::from(i32::try_from(value).unwrap_or(i32::MAX));
    number(part) / number(whole)
}

fn smooth(t: f64) -> f64 {
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_has_no_gaps() {
        let mut before = level(7, 0);
        for time in (10..3_600_000).step_by(10) {
            let here = level(7, time);
            assert!((here - before).abs() < 0.000_3, "at {time}: {before} to {here}");
            before = here;
        }
    }

    #[test]
    fn order_matters_to_a_hash() {
        assert_eq!(hash(&[1, 2, 3]), hash(&[1, 2, 3]));
        assert_ne!(hash(&[1, 2, 3]), hash(&[1, 3, 2]));
    }
}
