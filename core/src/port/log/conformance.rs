//! What every [`Log`](super::Log) must do, whatever is behind it.
