//! The exchange as a client meets it: over real sockets.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that fails may panic")]

mod alpha_vantage;
mod cli;
mod control;
mod faults;
mod life;
mod limits;
mod rest;
mod scale;
mod seeded;
mod support;
mod tape;
mod truth;
