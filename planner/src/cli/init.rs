//! `drover init`: a first configuration, with comments that say what to put where.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::output::Output;
use clap::Args;
use drover_types::FleetName;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// What is written; `FLEET` stands for the fleet's name.
const STARTER: &str = include_str!("init/starter.hcl");
/// The file that it becomes.
const FILE: &str = "drover.hcl";

/// Write a commented configuration to start from; nothing that is there is overwritten
#[derive(Debug, Args)]
pub(super) struct InitCommand {
    /// The fleet's name, as it will be in all certificates
    #[arg(long, value_name = "NAME", default_value = "prod")]
    fleet: FleetName,
}

pub(super) fn run(command: &InitCommand, output: &mut Output) -> Result<ExitStatus, Failure> {
    if let Some(there) = configuration_here()? {
        return Err(
            Failure::new(format!("there is a configuration here already: {there}"))
                .hint("run `drover init` in an empty directory, or name one with -C"),
        );
    }
    let text = STARTER.replace("FLEET", command.fleet.as_str());
    let failed = |error| Failure::because(format!("could not write {FILE}"), error);
    // Whatever came there meanwhile is kept.
    let mut file = File::create_new(FILE).map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    let fleet = &command.fleet;
    output.line(&format!(
        "Wrote {FILE}. What comes next:\n  1. drover pki init --fleet {fleet}          makes the fleet's certificate \
         authority\n  2. drover pki issue agent NAME             for each host, and for you:\n     drover pki issue \
         operator YOU --out .drover/tls\n  3. edit {FILE}: hosts, image, servers\n  4. drover validate, drover plan, \
         drover apply"
    ))?;
    Ok(ExitStatus::Done)
}

/// A file that drover would read here.
fn configuration_here() -> Result<Option<String>, Failure> {
    let failed = |error| Failure::because("could not read the directory", error);
    let mut found: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(Path::new(".")).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if let Some(name) = name.to_str().filter(|name| name.ends_with(".hcl")) {
            found.push(name.to_owned());
        }
    }
    found.sort();
    Ok(found.into_iter().next())
}
