//! `cargo xtask bench`: what it costs.

use anyhow::Result;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_arguments: &Arguments) -> Result<bool> {
    anyhow::bail!("nothing to measure yet")
}
