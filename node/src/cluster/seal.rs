//! Sealed datagrams: what the gossip says is secret, and only members can say it.
//!
//! ```text
//! version 1 | salt 16 | counter 8 | time 8 | ChaCha20-Poly1305 of the message, tag 16
//! ```
//! A process draws a salt once, derives a key of its own from the cluster's secret and the salt, and
//! counts its datagrams: the counter is the nonce, so that no nonce is ever used twice under one key.
//!
//! **What a replay can do.** From a sender that is known here: nothing, a counter counts once. From a
//! sender that is not known (this process started after it sent, or has forgotten it): nothing, once the
//! datagram is older than [`TIME_SLACK_MS`]. Within that, the gossip itself stands in the way: heartbeats
//! and versions only rise, so old ones change nothing where newer ones are known. Machines whose clocks
//! differ by more than the slack can't join one another.

use std::collections::HashMap;

use fts_core::time::UnixNanos;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::key::Secret;

/// By how much the clocks of two machines may differ, and how old a stranger's datagram may be.
pub(super) const TIME_SLACK_MS: i64 = 30_000;
/// How many bytes longer a datagram is than its message.
pub(super) const OVERHEAD: usize = HEAD + TAG;

const VERSION: u8 = 1;
const SALT: usize = 16;
const HEAD: usize = 1 + SALT + 8 + 8;
const TAG: usize = 16;
/// Senders remembered; the one that was silent for longest is forgotten first.
const SENDERS_MAX: usize = 4_096;

/// Why a datagram is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is none of ours.
    Malformed,
    /// Its sender does not have the secret, or it was changed on its way.
    Unauthentic,
    /// It was seen before, or came too late to tell.
    Repeated,
    /// Its sender's clock and ours differ by too much, or somebody plays it back.
    Untimely,
}

impl Refusal {
    /// As the metrics say it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unauthentic => "unauthentic",
            Self::Repeated => "repeated",
            Self::Untimely => "untimely",
        }
    }
}

/// Seals what this process sends.
pub(super) struct Sealer {
    salt: [u8; SALT],
    key: LessSafeKey,
    counter: u64,
}

impl Sealer {
    pub(super) fn new(secret: &Secret) -> Self {
        let mut salt = [0; SALT];
        SystemRandom::new().fill(&mut salt).expect("the operating system gives random bytes");
        Self { salt, key: key_of(secret, &salt), counter: 0 }
    }

    /// Puts the sealed `message` into `out`, in place of what was there.
    pub(super) fn seal(&mut self, message: &[u8], now: UnixNanos, out: &mut Vec<u8>) {
        self.counter += 1;
        out.clear();
        out.push(VERSION);
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.counter.to_be_bytes());
        out.extend_from_slice(&now.millis().to_be_bytes());
        let mut body = message.to_vec();
        self.key
            .seal_in_place_append_tag(nonce(self.counter), Aad::from(&*out), &mut body)
            .expect("a datagram is far shorter than what the cipher can seal");
        out.extend_from_slice(&body);
    }
}

/// Opens what others send.
pub(super) struct Opener {
    secret: Secret,
    senders: HashMap<[u8; SALT], Sender>,
    opened: u64,
}

struct Sender {
    key: LessSafeKey,
    newest: u64,
    /// Bit n: `newest - n` was seen.
    seen: u128,
    /// Count of datagrams opened when this sender's last one came.
    last: u64,
}

impl Opener {
    pub(super) fn new(secret: Secret) -> Self {
        Self { secret, senders: HashMap::new(), opened: 0 }
    }

    /// The message in `datagram`, which is overwritten.
    pub(super) fn open<'a>(
        &mut self,
        datagram: &'a mut [u8],
        now: UnixNanos,
    ) -> Result<&'a [u8], Refusal> {
        let (head, body) = datagram.split_at_mut_checked(HEAD).ok_or(Refusal::Malformed)?;
        let (version, rest) = head.split_first().ok_or(Refusal::Malformed)?;
        let (salt, rest) = rest.split_first_chunk::<SALT>().ok_or(Refusal::Malformed)?;
        let (counter, rest) = rest.split_first_chunk::<8>().ok_or(Refusal::Malformed)?;
        let (time, _) = rest.split_first_chunk::<8>().ok_or(Refusal::Malformed)?;
        if *version != VERSION || body.len() < TAG {
            return Err(Refusal::Malformed);
        }
        let (counter, time) = (u64::from_be_bytes(*counter), i64::from_be_bytes(*time));
        let salt = *salt;
        let aad = Aad::from(&*head);
        if let Some(sender) = self.senders.get_mut(&salt) {
            let body = sender
                .key
                .open_in_place(nonce(counter), aad, body)
                .map_err(|_| Refusal::Unauthentic)?;
            if !sender.takes(counter) {
                return Err(Refusal::Repeated);
            }
            self.opened += 1;
            sender.last = self.opened;
            return Ok(body);
        }
        // Nothing is remembered of a sender before it has proven itself.
        let key = key_of(&self.secret, &salt);
        let body =
            key.open_in_place(nonce(counter), aad, body).map_err(|_| Refusal::Unauthentic)?;
        if now.millis().saturating_sub(time).saturating_abs() > TIME_SLACK_MS {
            return Err(Refusal::Untimely);
        }
        if self.senders.len() >= SENDERS_MAX
            && let Some(silent) = self.senders.iter().min_by_key(|it| it.1.last).map(|it| *it.0)
        {
            self.senders.remove(&silent);
        }
        self.opened += 1;
        self.senders.insert(salt, Sender { key, newest: counter, seen: 1, last: self.opened });
        Ok(body)
    }
}

impl Sender {
    /// Whether the datagram of this number was not seen before; from then on it was.
    fn takes(&mut self, counter: u64) -> bool {
        if counter > self.newest {
            let by = u32::try_from(counter - self.newest).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(by).unwrap_or(0) | 1;
            self.newest = counter;
            return true;
        }
        let bit = u32::try_from(self.newest - counter).ok().and_then(|by| 1_u128.checked_shl(by));
        let Some(bit) = bit else { return false };
        let is_first = self.seen & bit == 0;
        self.seen |= bit;
        is_first
    }
}

fn key_of(secret: &Secret, salt: &[u8]) -> LessSafeKey {
    let key = secret.derive("gossip", salt);
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).expect("a key of 32 bytes"))
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    let (_, tail) = bytes.split_at_mut(NONCE_LEN - 8);
    tail.copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixNanos = UnixNanos::from_millis(1_700_000_000_000);

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    fn pair() -> (Sealer, Opener) {
        let secret = secret("0123456789abcdef");
        (Sealer::new(&secret), Opener::new(secret))
    }

    fn sealed(sealer: &mut Sealer, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        sealer.seal(message, NOW, &mut out);
        assert_eq!(out.len(), message.len() + OVERHEAD);
        out
    }

    #[track_caller]
    fn check(opener: &mut Opener, datagram: &[u8], expected: Result<&[u8], Refusal>) {
        assert_eq!(opener.open(&mut datagram.to_vec(), NOW), expected);
    }

    #[test]
    fn a_member_understands_it_and_nobody_reads_along() {
        let (mut sealer, mut opener) = pair();
        let datagram = sealed(&mut sealer, b"who is alive");
        assert!(!datagram.windows(3).any(|part| part == b"who"));
        check(&mut opener, &datagram, Ok(b"who is alive"));
    }

    #[test]
    fn a_stranger_and_a_changed_byte_are_refused() {
        let (mut sealer, mut opener) = pair();
        let mut stranger = Sealer::new(&secret("0123456789abcdeF"));
        check(&mut opener, &sealed(&mut stranger, b"hello"), Err(Refusal::Unauthentic));
        let datagram = sealed(&mut sealer, b"hello");
        for at in 1..datagram.len() {
            let mut changed = datagram.clone();
            changed[at] ^= 1;
            check(&mut opener, &changed, Err(Refusal::Unauthentic));
        }
        for length in 0..OVERHEAD {
            check(&mut opener, &datagram[..length], Err(Refusal::Malformed));
        }
        check(&mut opener, &datagram, Ok(b"hello"));
    }

    #[test]
    fn what_was_seen_is_refused_in_any_order() {
        let (mut sealer, mut opener) = pair();
        let datagrams: Vec<_> =
            (0..300_u16).map(|n| sealed(&mut sealer, &n.to_be_bytes())).collect();
        for at in [5_usize, 3, 4, 131, 100] {
            let number = u16::try_from(at).unwrap().to_be_bytes();
            check(&mut opener, &datagrams[at], Ok(&number));
            check(&mut opener, &datagrams[at], Err(Refusal::Repeated));
        }
        check(&mut opener, &datagrams[3], Err(Refusal::Repeated));
        check(&mut opener, &datagrams[299], Ok(&299_u16.to_be_bytes()));
        check(&mut opener, &datagrams[131], Err(Refusal::Repeated));
        check(&mut opener, &datagrams[132], Err(Refusal::Repeated));
    }

    #[test]
    fn a_recording_is_of_no_use_once_it_is_old() {
        let (mut sealer, mut opener) = pair();
        let mut open_at = |shift: i64| {
            let now = UnixNanos::from_millis(NOW.millis() + shift);
            let mut datagram = sealed(&mut sealer, b"x");
            opener.senders.clear();
            opener.open(&mut datagram, now).map(<[u8]>::to_vec)
        };
        assert_eq!(open_at(TIME_SLACK_MS), Ok(b"x".to_vec()));
        assert_eq!(open_at(-TIME_SLACK_MS), Ok(b"x".to_vec()));
        assert_eq!(open_at(TIME_SLACK_MS + 1), Err(Refusal::Untimely));
        assert_eq!(open_at(-TIME_SLACK_MS - 1), Err(Refusal::Untimely));
    }
}
