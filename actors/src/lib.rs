//! The supervised tree: who runs, who restarts whom, and who may wait for whom.

pub mod view;
