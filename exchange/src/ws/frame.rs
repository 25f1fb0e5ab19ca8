//! WebSocket frames (RFC 6455), the server's half: what it sends is not masked, what it gets is.
//!
//! Written here because the load generator encodes each frame straight into the outboxes of its
//! subscribers, and because a simulated exchange has to be able to break the rules on purpose.

/// A piece of a message that began in an earlier frame.
pub(crate) const CONTINUATION: u8 = 0x0;
/// A text message.
pub(crate) const TEXT: u8 = 0x1;
/// A binary message.
pub(crate) const BINARY: u8 = 0x2;
/// The end of the connection.
pub(crate) const CLOSE: u8 = 0x8;
/// A sign of life is asked for.
pub(crate) const PING: u8 = 0x9;
/// A sign of life.
pub(crate) const PONG: u8 = 0xa;

/// A client has nothing longer to say.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
const CONTROL_BYTES_MAX: usize = 125;

/// Appends one final frame whose payload is all `parts` in a row.
pub(crate) fn encode(out: &mut Vec<u8>, opcode: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.push(0x80 | opcode);
    match length {
        0..=125 => out.push(u8::try_from(length).unwrap_or(0)),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&u16::try_from(length).unwrap_or(0).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// A whole text message.
    Text(String),
    /// A whole binary message.
    Binary,
    /// A ping with its payload.
    Ping(Vec<u8>),
    /// A pong with its payload.
    Pong(Vec<u8>),
    /// The client ends the connection, with this code if it gave one.
    Close(Option<u16>),
}

/// The client broke the protocol: the close code to answer with, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

const fn violation(reason: &'static str) -> Violation {
    Violation { code: 1002, reason }
}

/// Puts messages together from the bytes that arrive.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The message under way: its opcode and what has come of it.
    partial: Option<(u8, Vec<u8>)>,
}

impl Decoder {
    /// Takes one message off the front of `bytes`; `None` until one is complete.
    pub(crate) fn next(&mut self, bytes: &mut Vec<u8>) -> Result<Option<Message>, Violation> {
        while let Some((head, length)) = split(bytes)? {
            let payload = bytes.drain(..length).skip(head.bytes);
            let payload: Vec<u8> =
                payload.zip(head.mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            if let Some(message) = self.absorb(&head, payload)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    fn absorb(&mut self, head: &Head, payload: Vec<u8>) -> Result<Option<Message>, Violation> {
        match head.opcode {
            PING => return Ok(Some(Message::Ping(payload))),
            PONG => return Ok(Some(Message::Pong(payload))),
            CLOSE => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                return Ok(Some(Message::Close(code)));
            }
            TEXT | BINARY if self.partial.is_none() => self.partial = Some((head.opcode, payload)),
            CONTINUATION => match &mut self.partial {
                Some((_, sofar)) => sofar.extend_from_slice(&payload),
                None => return Err(violation("continuation of nothing")),
            },
            _ => return Err(violation("unexpected opcode")),
        }
        if self.partial.as_ref().is_some_and(|(_, sofar)| sofar.len() > MESSAGE_BYTES_MAX) {
            return Err(Violation { code: 1009, reason: "message too big" });
        }
        if !head.fin {
            return Ok(None);
        }
        match self.partial.take() {
            Some((TEXT, payload)) => match String::from_utf8(payload) {
                Ok(text) => Ok(Some(Message::Text(text))),
                Err(_) => Err(Violation { code: 1007, reason: "text is not UTF-8" }),
            },
            _ => Ok(Some(Message::Binary)),
        }
    }
}

#[derive(Debug)]
struct Head {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    /// How long the head itself is.
    bytes: usize,
}

/// Reads a head; with it the length of the whole frame, once all of it is there.
fn split(bytes: &[u8]) -> Result<Option<(Head, usize)>, Violation> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
    if first & 0x70 != 0 {
        return Err(violation("reserved bits are set"));
    }
    if second & 0x80 == 0 {
        return Err(violation("client frames must be masked"));
    }
    let (length, rest, extra) = match second & 0x7f {
        126 => match rest.split_first_chunk::<2>() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest, 2),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest, 8),
            None => return Ok(None),
        },
        short => (u64::from(short), rest, 0),
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if opcode >= CLOSE && (length > CONTROL_BYTES_MAX || !fin) {
        return Err(violation("control frame too long or fragmented"));
    }
    if length > MESSAGE_BYTES_MAX {
        return Err(Violation { code: 1009, reason: "message too big" });
    }
    let Some((mask, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    if rest.len() < length {
        return Ok(None);
    }
    let head = Head { fin, opcode, mask: *mask, bytes: 2 + extra + 4 };
    let total = head.bytes + length;
    Ok(Some((head, total)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, 0, &[]);
        out[0] = first;
        let mut plain = Vec::new();
        encode(&mut plain, TEXT, &[payload]);
        let head = plain.len() - payload.len();
        out.truncate(1);
        out.extend_from_slice(&plain[1..head]);
        out[1] |= 0x80;
        let mask = [7, 77, 177, 255];
        out.extend_from_slice(&mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        out
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: &[Result<Message, Violation>]) {
        // Byte by byte: a frame may arrive in any pieces.
        let (mut decoder, mut pending, mut found) = (Decoder::default(), Vec::new(), Vec::new());
        for byte in bytes {
            pending.push(*byte);
            match decoder.next(&mut pending) {
                Ok(None) => {}
                Ok(Some(message)) => found.push(Ok(message)),
                Err(error) => {
                    found.push(Err(error));
                    break;
                }
            }
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn messages_come_out_whole() {
        for length in [0, 5, 125, 126, 70_000] {
            let text = "x".repeat(length);
            check(&client(0x81, text.as_bytes()), &[Ok(Message::Text(text.clone()))]);
        }
        let pieces =
            [client(0x01, b"ab"), client(0x89, b"p"), client(0x00, b"c"), client(0x80, b"d")];
        let expected = [Ok(Message::Ping(b"p".to_vec())), Ok(Message::Text("abcd".into()))];
        check(&pieces.concat(), &expected);
        check(&client(0x88, &[3, 232]), &[Ok(Message::Close(Some(1000)))]);
        check(&client(0x8a, b"17"), &[Ok(Message::Pong(b"17".to_vec()))]);
    }

    #[test]
    fn violations_are_named() {
        check(&[0x81, 0x01, b'x'], &[Err(violation("client frames must be masked"))]);
        check(&client(0xc1, b"x"), &[Err(violation("reserved bits are set"))]);
        check(&client(0x80, b"x"), &[Err(violation("continuation of nothing"))]);
        check(&client(0x09, b"x"), &[Err(violation("control frame too long or fragmented"))]);
        let utf8 = Violation { code: 1007, reason: "text is not UTF-8" };
        check(&client(0x81, &[0xff]), &[Err(utf8)]);
    }
}
