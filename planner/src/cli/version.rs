//! `drover version`: which drover this is, and what it reads and writes.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::output::Output;
use clap::Args;
use drover_core::plan::{PLAN_FORMAT, json};
use drover_core::record::FORMAT;

/// Show which drover this is, and which forms of plans and records it reads
#[derive(Debug, Args)]
pub(super) struct VersionCommand {
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &VersionCommand, output: &mut Output) -> Result<ExitStatus, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let platform = format!("{}_{}", std::env::consts::OS, std::env::consts::ARCH);
    if command.json {
        output.json(&serde_json::json!({
            "drover_version": version,
            "platform": platform,
            "plan_file_format": PLAN_FORMAT,
            "plan_json_format": json::FORMAT_VERSION,
            "record_format": FORMAT,
        }))?;
    } else {
        output.line(&format!(
            "Drover {version} on {platform}\nPlan files: format {PLAN_FORMAT}. Plans as JSON: {}. Records: format {FORMAT}.",
            json::FORMAT_VERSION
        ))?;
    }
    Ok(ExitStatus::Done)
}
