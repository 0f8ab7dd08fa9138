//! `rillm completions`: the command line, told to a shell.

use super::terminal::Out;
use super::{Cli, CliError};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io::Write;

#[derive(Args, Debug)]
pub struct Arguments {
    /// The shell that reads the script
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Writes the script to stdout.
pub fn completions(arguments: &Arguments) -> Result<(), CliError> {
    // Made in memory first: the generator panics where its writer fails, as a closed pipe does.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "rillm", &mut script);
    let mut stdout = Out::new();
    stdout.write_all(&script)?;
    stdout.flush()?;
    Ok(())
}
