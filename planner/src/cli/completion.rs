//! `drover completion`: completions for the usual shells, made from the very options that are parsed.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::output::Output;
use clap::{Args, Command};
use clap_complete::Shell;

/// Print a shell's completions of commands and options
///
/// For bash: drover completion bash > /etc/bash_completion.d/drover
#[derive(Debug, Args)]
pub(super) struct CompletionCommand {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(
    command: &CompletionCommand,
    mut whole: Command,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut whole, "drover", &mut script);
    output.write(&script)?;
    Ok(ExitStatus::Done)
}
