//! Hashes and scores of placement: fixed for good, the same on every machine and in every version.
//!
//! A change here moves every shard of a running cluster while it is upgraded.

/// The first 64-bit prime and offset of FNV-1a.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a over texts and numbers, each with its length, finished by [`mix`].
#[derive(Debug)]
pub(super) struct Digest(u64);

impl Digest {
    pub(super) fn new(kind: &[u8]) -> Self {
        let mut digest = Self(OFFSET);
        digest.text(kind);
        digest
    }

    /// The hash of a `text` that means a `kind` of thing.
    pub(super) fn of(kind: &[u8], text: &[u8]) -> u64 {
        let mut digest = Self::new(kind);
        digest.text(text);
        digest.finish()
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.bytes(text);
    }

    pub(super) fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    pub(super) fn finish(&self) -> u64 {
        mix(self.0)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0 =
            bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    }
}

/// Makes every bit of the result depend on every bit of `word`: the finalizer of SplitMix64.
pub(super) const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// What a member draws for both copies of a shard: the higher, the better among equal weights. One
/// hash serves both, because that is most of the work of a placement.
pub(super) const fn draw(shard: u64, member: u64) -> (u32, u32) {
    let hash = mix(shard ^ member);
    ((hash >> 32) as u32, hash as u32)
}

/// Whether drawing `a` with weight `a_weight` beats drawing `b` with `b_weight`.
///
/// The winner of a race: -log(draw) / weight is a time of arrival, exponential with rate `weight`,
/// so that everybody wins in proportion to its weight, and a change of one weight moves shards only
/// from or to that member. Integers only: floating-point logarithms differ between platforms.
pub(super) fn beats((a, a_weight): (u32, u32), (b, b_weight): (u32, u32)) -> bool {
    if a_weight == b_weight {
        return a > b;
    }
    u128::from(distance(a)) * u128::from(b_weight) < u128::from(distance(b)) * u128::from(a_weight)
}

/// Binary digits of a logarithm's fraction.
const FRACTION: u32 = 32;
/// Binary digits that choose a step of [`LOGARITHMS`].
const STEPS: u32 = 10;

/// The binary logarithms of 1 + n/1024, scaled by 2^32.
static LOGARITHMS: [u64; (1 << STEPS) + 1] = logarithms();

const fn logarithms() -> [u64; (1 << STEPS) + 1] {
    let mut table = [0; (1 << STEPS) + 1];
    let mut step = 0;
    while step <= 1 << STEPS {
        // x in [1, 2], scaled by 2^62. Squaring it doubles its logarithm: each square past 2 is a
        // binary digit.
        let mut x = (((1 << STEPS) + step) as u64) << (62 - STEPS);
        let mut digits = 0;
        if x >= 1 << 63 {
            digits = 1 << FRACTION;
        } else {
            let mut digit = FRACTION;
            while digit > 0 {
                digit -= 1;
                let square = (x as u128 * x as u128) >> 62;
                if square >= 1 << 63 {
                    digits |= 1 << digit;
                    x = (square >> 1) as u64;
                } else {
                    x = square as u64;
                }
            }
        }
        #[expect(clippy::indexing_slicing, reason = "an iterator is not const")]
        {
            table[step] = digits;
        }
        step += 1;
    }
    table
}

/// -log2((draw + 1) / 2^32), scaled by 2^32, a straight line between the steps of the table.
fn distance(draw: u32) -> u64 {
    let word = u64::from(draw) + 1;
    let exponent = 63 - word.leading_zeros();
    // 1.xxx of the word, scaled by 2^32.
    let mantissa = word << (32 - exponent);
    let step = usize::try_from((mantissa >> (32 - STEPS)) & ((1 << STEPS) - 1)).unwrap_or(0);
    let rest = mantissa & ((1 << (32 - STEPS)) - 1);
    let at = |step: usize| LOGARITHMS.get(step).copied().unwrap_or(1 << FRACTION);
    let (low, high) = (at(step), at(step + 1));
    let logarithm = low + (((high - low) * rest) >> (32 - STEPS));
    (32_u64 << FRACTION).saturating_sub((u64::from(exponent) << FRACTION) + logarithm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_same_for_good() {
        let hash = Digest::of(b"symbol", b"BTCUSDT");
        assert_eq!(hash, 0x4297_e901_aeaa_c80e);
        assert_eq!(draw(hash, Digest::of(b"member", b"n1")), (3_650_321_078, 129_279_724));
    }

    #[test]
    fn the_integer_logarithm_is_one() {
        for draw in
            [0, 1, 2, 1_000, 65_535, 1 << 30, (1 << 31) - 1, 1 << 31, u32::MAX - 1, u32::MAX]
        {
            let exact = -((f64::from(draw) + 1.0) / 4_294_967_296.0).log2();
            let ours = distance(draw) as f64 / 4_294_967_296.0;
            assert!((exact - ours).abs() < 1e-6, "{draw}: {ours} for {exact}");
        }
    }

    #[test]
    fn a_better_draw_is_never_a_longer_distance() {
        let draws = (0..1_u64 << 32).step_by(9_973).map(|draw| u32::try_from(draw).unwrap());
        let distances: Vec<_> = draws.map(distance).collect();
        assert!(distances.is_sorted_by(|worse, better| worse >= better));
    }

    /// Of 100,000 races between two weights, how many the first wins.
    #[track_caller]
    fn check_race(weights: (u32, u32), expected: f64) {
        let wins = (0..100_000_u64)
            .filter(|race| {
                let shard = mix(*race);
                beats((draw(shard, 11).0, weights.0), (draw(shard, 22).0, weights.1))
            })
            .count();
        assert!((wins as f64 / 100_000.0 - expected).abs() < 0.01, "{weights:?}: {wins}");
    }

    #[test]
    fn everybody_wins_by_its_weight() {
        check_race((100, 100), 0.5);
        check_race((300, 100), 0.75);
        check_race((1, 9), 0.1);
        check_race((u32::MAX, 1), 1.0);
    }
}
