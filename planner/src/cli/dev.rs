//! `drover dev`: a whole Drover on this one machine.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::output::Output;
use crate::dev::{Environment, LibvirtState, Status};
use clap::{Args, Subcommand};
use drover_types::FleetName;
use std::path::Path;

/// Run a whole Drover on this one machine: embedded store, agent, the machine's own libvirt
#[derive(Debug, Subcommand)]
pub(super) enum DevCommand {
    /// Make certificates and start an agent for this machine
    Up(UpOptions),
    /// End the agent; guests go on
    Down(DownOptions),
    /// Show what of it runs, and where
    Status(StatusOptions),
}

#[derive(Debug, Args)]
pub(super) struct UpOptions {
    /// The fleet's name, as in the configuration's `drover` block
    #[arg(long, default_value = "dev")]
    fleet: FleetName,
    /// The port on 127.0.0.1 that the agent listens on
    #[arg(long, default_value_t = 7443, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
}

#[derive(Debug, Args)]
pub(super) struct DownOptions {
    /// Remove the embedded store, certificates and images too
    #[arg(long)]
    purge: bool,
}

#[derive(Debug, Args)]
pub(super) struct StatusOptions {
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &DevCommand, output: &mut Output) -> Result<ExitStatus, Failure> {
    let environment = Environment::of(Path::new("."))?;
    match command {
        DevCommand::Up(options) => {
            let status = environment.up(&options.fleet, options.port)?;
            output.line(&format!(
                "The agent of host \"{host}\" listens on {address} (log: {log}).\n\nIn the configuration:\n\n  drover {{\n    fleet = \"{fleet}\"\n  }}\n\n  host \"{host}\" {{\n    address = \"{address}\"\n  }}\n",
                host = Environment::HOST,
                address = status.address,
                log = status.log.display(),
                fleet = options.fleet,
            ))?;
            output.line("Next: drover plan")?;
            Ok(ExitStatus::Done)
        }
        DevCommand::Down(options) => {
            environment.down(options.purge)?;
            output.line(if options.purge {
                "Ended the agent and removed its files, the certificates and the embedded store."
            } else {
                "Ended the agent; guests go on. `drover dev up` starts it again."
            })?;
            Ok(ExitStatus::Done)
        }
        DevCommand::Status(options) => {
            let status = environment.status()?;
            if options.json {
                output.json(&status)?;
            } else {
                output.line(&describe(&status))?;
            }
            Ok(ExitStatus::Done)
        }
    }
}

fn describe(status: &Status) -> String {
    let Some(fleet) = &status.fleet else {
        return "Nothing here; `drover dev up` starts it.".to_owned();
    };
    let agent = match status.agent_pid {
        Some(pid) => format!("runs (process {pid}) on {}", status.address),
        None => "does not run".to_owned(),
    };
    let libvirt = match status.libvirt {
        LibvirtState::Machine => "the machine's own",
        LibvirtState::Ours => "started by drover dev",
        LibvirtState::Absent => "does not run",
    };
    format!(
        "fleet    {fleet}\nagent    {agent}\nlibvirt  {libvirt}\ndata     {}\nlog      {}",
        status.data_dir.display(),
        status.log.display()
    )
}
