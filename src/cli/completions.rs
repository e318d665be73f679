//! `hostmatch completions SHELL`: completion script on stdout.

use std::io::Write as _;

use clap::CommandFactory as _;

use super::{Cli, Exit, Failure};

/// Print the completion script of a shell, for example into ~/.local/share/bash-completion/completions/hostmatch
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    shell: clap_complete::Shell,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hostmatch", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(Exit::Done)
}
