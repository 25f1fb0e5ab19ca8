//! Reads frames whose fields stand where the exchange writes them, in one pass over the bytes.
//!
//! `None` says nothing about the frame: serde decides. Whatever is read here, serde reads alike
//! (a proptest over mutated frames holds it to that), so each step takes only the plainest form:
//! no white space, no escapes, no signs, no leading zeros.

use fts_core::decimal::Decimal;
use fts_core::market::{BookTicker, Trade};

use super::millis;

/// `{"stream":"…","data":{"e":"trade","E":1,"s":"…","t":1,"p":"1","q":"1","T":1,"m":true,"M":true}}`
pub(super) fn trade(frame: &[u8], symbol: &[u8]) -> Option<Trade> {
    let mut scan = Scan(frame);
    scan.stream()?;
    scan.literal(br#"{"e":"trade","E":"#)?;
    scan.integer()?;
    scan.literal(br#","s":""#)?;
    scan.literal(symbol)?;
    scan.literal(br#"","t":"#)?;
    let id = scan.integer()?;
    scan.literal(br#","p":""#)?;
    let price = scan.decimal()?;
    scan.literal(br#","q":""#)?;
    let quantity = scan.decimal()?;
    scan.literal(br#","T":"#)?;
    let time = millis(scan.integer()?)?;
    scan.literal(br#","m":"#)?;
    let buyer_is_maker = scan.boolean()?;
    scan.literal(br#","M":"#)?;
    scan.boolean()?;
    scan.end()?;
    Some(Trade { id, time, price, quantity, buyer_is_maker })
}

/// `{"stream":"…","data":{"u":1,"s":"…","b":"1","B":"1","a":"1","A":"1"}}`
pub(super) fn book(frame: &[u8], symbol: &[u8]) -> Option<BookTicker> {
    let mut scan = Scan(frame);
    scan.stream()?;
    scan.literal(br#"{"u":"#)?;
    let update_id = scan.integer()?;
    scan.literal(br#","s":""#)?;
    scan.literal(symbol)?;
    scan.literal(br#"","b":""#)?;
    let bid_price = scan.decimal()?;
    scan.literal(br#","B":""#)?;
    let bid_quantity = scan.decimal()?;
    scan.literal(br#","a":""#)?;
    let ask_price = scan.decimal()?;
    scan.literal(br#","A":""#)?;
    let ask_quantity = scan.decimal()?;
    scan.end()?;
    Some(BookTicker { update_id, bid_price, bid_quantity, ask_price, ask_quantity })
}

/// The rest of a frame.
struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    fn literal(&mut self, expected: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    /// The wrapper up to the payload. The name itself was read when the frame was routed.
    fn stream(&mut self) -> Option<()> {
        self.literal(br#"{"stream":""#)?;
        let plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'"' && *byte != b'\\';
        let length = self.0.iter().position(|byte| !plain(byte))?;
        self.0 = self.0.get(length..)?;
        self.literal(br#"","data":"#)
    }

    /// Digits, 18 at most: they can't overflow.
    fn integer(&mut self) -> Option<i64> {
        let mut value = 0;
        let mut digits = 0;
        for byte in self.0 {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            if digits == 18 {
                return None;
            }
            value = value * 10 + i64::from(digit);
            digits += 1;
        }
        let leading_zero = digits > 1 && self.0.first() == Some(&b'0');
        if digits == 0 || leading_zero {
            return None;
        }
        self.0 = self.0.get(digits..)?;
        Some(value)
    }

    /// A decimal and the quote behind it: at most 9 digits before the point and 8 behind it.
    fn decimal(&mut self) -> Option<Decimal> {
        let mut value = 0_u64;
        let mut whole = 0;
        let mut rest = self.0.iter();
        let pointed = loop {
            match rest.next()? {
                digit @ b'0'..=b'9' if whole < 9 => {
                    value = value * 10 + u64::from(digit - b'0');
                    whole += 1;
                }
                b'.' if whole > 0 => break true,
                b'"' if whole > 0 => break false,
                _ => return None,
            }
        };
        let mut places = 0;
        if pointed {
            loop {
                match rest.next()? {
                    digit @ b'0'..=b'9' if places < 8 => {
                        value = value * 10 + u64::from(digit - b'0');
                        places += 1;
                    }
                    b'"' if places > 0 => break,
                    _ => return None,
                }
            }
        }
        self.0 = rest.as_slice();
        // 17 digits: far from overflowing.
        Some(Decimal(i128::from(value * 10_u64.pow(8 - places))))
    }

    fn boolean(&mut self) -> Option<bool> {
        match self.literal(b"true") {
            Some(()) => Some(true),
            None => self.literal(b"false").map(|()| false),
        }
    }

    /// The end of payload and wrapper.
    fn end(&self) -> Option<()> {
        (self.0 == b"}}").then_some(())
    }
}
