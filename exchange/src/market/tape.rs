//! The market of a recording: played byte for byte, and known to REST as far as it was played.

pub(crate) mod file;
pub(crate) mod history;
pub(crate) mod line;
pub(crate) mod merge;
pub(crate) mod player;

pub(crate) use self::history::Tape;
