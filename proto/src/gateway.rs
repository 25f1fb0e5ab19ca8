//! What nodes ask of one another: calls on the log and the stores of the node that owns them.
//!
//! A stream of [`Envelope`]s, each behind its length. Either end asks; answers come in any order. An id
//! is the asker's own and counts up. `Cancel` says that nobody waits for an answer any more.

mod convert;

use bytes::Bytes;

pub use convert::{Malformed, failure, log_error, records, store_error, stored, unstored};

/// One message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Envelope {
    /// The call's, counted by who asks.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// What is said.
    #[prost(oneof = "Body", tags = "2, 3, 4")]
    pub body: Option<Body>,
}

/// What is said.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Body {
    /// Do this.
    #[prost(message, tag = "2")]
    Request(Request),
    /// It was done, or not.
    #[prost(message, tag = "3")]
    Reply(Reply),
    /// Never mind.
    #[prost(message, tag = "4")]
    Cancel(Nothing),
}

/// Nothing to say beside that it is so.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Nothing {}

/// What is asked for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// Which call.
    #[prost(oneof = "Call", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    pub call: Option<Call>,
}

/// The calls.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Call {
    /// What does this node serve?
    #[prost(message, tag = "1")]
    Describe(Nothing),
    /// `Log::append`
    #[prost(message, tag = "2")]
    Append(Records),
    /// `Log::read`
    #[prost(message, tag = "3")]
    Read(Read),
    /// `Log::bounds`
    #[prost(message, tag = "4")]
    Bounds(Place),
    /// `Log::changed`
    #[prost(message, tag = "5")]
    Changed(Changed),
    /// `Log::release`
    #[prost(message, tag = "6")]
    Release(Place),
    /// `Log::save_checkpoint`
    #[prost(message, tag = "7")]
    SaveCheckpoint(Checkpoint),
    /// `Log::load_checkpoint`
    #[prost(message, tag = "8")]
    LoadCheckpoint(Checkpoint),
    /// `Store::put`
    #[prost(message, tag = "9")]
    Put(Put),
    /// `Store::expire`
    #[prost(message, tag = "10")]
    Expire(Expire),
    /// What reads a store.
    #[prost(message, tag = "11")]
    Select(Select),
}

/// What is answered.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reply {
    /// The answer that fits the call.
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub answer: Option<Answer>,
}

/// The answers.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Answer {
    /// It was not done.
    #[prost(message, tag = "1")]
    Failure(Failure),
    /// It was done.
    #[prost(message, tag = "2")]
    Done(Nothing),
    /// To `Describe`.
    #[prost(message, tag = "3")]
    Described(Described),
    /// To `Read`.
    #[prost(message, tag = "4")]
    Records(Records),
    /// To `Bounds`.
    #[prost(message, tag = "5")]
    Bounds(Bounds),
    /// To `LoadCheckpoint`; one without bytes where there is none.
    #[prost(message, tag = "6")]
    Checkpoint(Checkpoint),
    /// To `Expire`: how many rows went.
    #[prost(uint64, tag = "7")]
    Count(u64),
    /// To `Select`: rows as [`crate::rows`] writes them.
    #[prost(bytes = "bytes", tag = "8")]
    Rows(Bytes),
}

/// What a node serves to others.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Described {
    /// Partitions of its log; 0 where it serves none.
    #[prost(uint32, tag = "1")]
    pub partitions: u32,
    /// The names of its stores.
    #[prost(string, repeated, tag = "2")]
    pub stores: Vec<String>,
}

/// Records, in order.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Records {
    /// Of what is read: the offset of the first; the others follow it.
    #[prost(uint64, tag = "1")]
    pub first_offset: u64,
    /// The records.
    #[prost(message, repeated, tag = "2")]
    pub records: Vec<Record>,
}

/// A record, and where it shall go.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Record {
    /// Whose record.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// When it was received, epoch nanoseconds.
    #[prost(sfixed64, tag = "3")]
    pub received_at: i64,
    /// 0 stream, 1 backfill, 2 control.
    #[prost(uint32, tag = "4")]
    pub source: u32,
    /// 0 is A, 1 is B.
    #[prost(uint32, tag = "5")]
    pub feed: u32,
    /// The topic's number; not in what is read.
    #[prost(uint32, tag = "6")]
    pub topic: u32,
    /// The partition; not in what is read.
    #[prost(uint32, tag = "7")]
    pub partition: u32,
}

/// Where to read, and how much.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Read {
    /// Where.
    #[prost(message, optional, tag = "1")]
    pub place: Option<Place>,
    /// About how many bytes of values at most.
    #[prost(uint64, tag = "2")]
    pub max_bytes: u64,
}

/// A place in the log.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Place {
    /// The topic's number: its position in `Topic::ALL`.
    #[prost(uint32, tag = "1")]
    pub topic: u32,
    /// The partition.
    #[prost(uint32, tag = "2")]
    pub partition: u32,
    /// Where it matters: the offset.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
}

/// A wait for records.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Changed {
    /// The ends as last seen; all of one partition.
    #[prost(message, repeated, tag = "1")]
    pub seen: Vec<Place>,
    /// The partition.
    #[prost(uint32, tag = "2")]
    pub partition: u32,
    /// For how long at most, milliseconds.
    #[prost(uint64, tag = "3")]
    pub patience_ms: u64,
}

/// The oldest offset that can be read, and the next to be appended.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Bounds {
    /// The oldest.
    #[prost(uint64, tag = "1")]
    pub oldest: u64,
    /// The next.
    #[prost(uint64, tag = "2")]
    pub next: u64,
}

/// A checkpoint, or its name alone.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Checkpoint {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What it holds.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub bytes: Option<Bytes>,
}

/// Rows for a store.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Put {
    /// Which store.
    #[prost(string, tag = "1")]
    pub store: String,
    /// Batches as [`crate::rows`] writes them.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub batches: Vec<Bytes>,
}

/// Rows to delete.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Expire {
    /// Which store.
    #[prost(string, tag = "1")]
    pub store: String,
    /// The table's public name.
    #[prost(string, tag = "2")]
    pub table: String,
    /// What to keep, milliseconds before the newest row.
    #[prost(int64, tag = "3")]
    pub keep_ms: i64,
}

/// Rows to read.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Select {
    /// Which store.
    #[prost(string, tag = "1")]
    pub store: String,
    /// The public name of the table; `latest` is its own question.
    #[prost(string, tag = "2")]
    pub table: String,
    /// Whose; empty where the question is about all.
    #[prost(string, tag = "3")]
    pub symbol: String,
    /// Of candles: `1m`.
    #[prost(string, tag = "4")]
    pub interval: String,
    /// First time, or first trade id, inclusive.
    #[prost(sint64, tag = "5")]
    pub from: i64,
    /// Last time, inclusive.
    #[prost(sint64, tag = "6")]
    pub to: i64,
    /// At most so many rows.
    #[prost(uint64, tag = "7")]
    pub limit: u64,
    /// If there are more: the newest, not the oldest.
    #[prost(bool, tag = "8")]
    pub newest: bool,
}

/// Why it was not done.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Failure {
    /// What the caller should do.
    #[prost(enumeration = "Kind", tag = "1")]
    pub kind: i32,
    /// What happened.
    #[prost(string, tag = "2")]
    pub text: String,
    /// Of `Expired`: the oldest offset that can be read.
    #[prost(uint64, tag = "3")]
    pub oldest: u64,
    /// Of `Rejected`: the table.
    #[prost(string, tag = "4")]
    pub table: String,
}

/// What the caller of what failed should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// Try again later.
    Unavailable = 0,
    /// Go on from the oldest.
    Expired = 1,
    /// Go no further.
    Broken = 2,
    /// Never try this again.
    Rejected = 3,
    /// Try again later, and tell somebody who can mend it.
    Refused = 4,
}
