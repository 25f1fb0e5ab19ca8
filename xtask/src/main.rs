//! The developer's door: `cargo xtask test | kill | chaos | stack | tidy | bench`.

#![expect(clippy::print_stdout, reason = "a command talks to whoever called it")]

mod bench;
mod debian;
mod shell;
mod stack;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about = "What proves, measures and tidies this project")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything that proves the project, or the named parts of it.
    Test(test::Arguments),
    /// The kill test alone, with other instants or more of them.
    Kill(test::KillArguments),
    /// Harm to a cluster of three nodes, with and without Kafka, and the exchange's truth afterwards.
    Chaos(test::ChaosArguments),
    /// Real servers on this machine, for tests and for trying things out.
    #[command(subcommand)]
    Stack(stack::Command),
    /// The project's own rules: layers, sizes, words, links, metrics, licences.
    Tidy,
    /// What it costs: micro benchmarks and the pipeline from socket to stored candle.
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Test(arguments) => test::run(&arguments),
        Command::Kill(arguments) => test::kill(&arguments),
        Command::Chaos(arguments) => test::chaos(&arguments),
        Command::Stack(command) => stack::run(&command),
        Command::Tidy => tidy::run(),
        Command::Bench(arguments) => bench::run(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
