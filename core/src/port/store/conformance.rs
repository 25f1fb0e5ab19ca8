//! What every [`Store`](super::Store) must do, whatever is behind it.
