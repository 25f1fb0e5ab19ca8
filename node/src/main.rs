//! `fts-node`: captures market data, proves that nothing is missing, aggregates and stores it.

use std::process::ExitCode;

fn main() -> ExitCode {
    fts_node::cli::main()
}
