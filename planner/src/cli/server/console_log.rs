//! `drover server console-log`.

use super::super::exit::ExitStatus;
use super::super::failure::Failure;
use super::super::fleet::endpoints;
use super::super::options::VariableOptions;
use super::super::output::Output;
use super::{open, placed};
use clap::Args;
use drover_proto::v1;
use drover_types::{Address, RequestId};
use std::io::Write as _;

#[derive(Debug, Args)]
pub(in super::super) struct ConsoleLogOptions {
    /// For example server.web[0]
    address: Address,
    /// Stay, and print what comes
    #[arg(long, short)]
    follow: bool,
    /// Only the last N bytes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    tail: Option<i64>,
    #[command(flatten)]
    variables: VariableOptions,
}

pub(super) async fn run(
    options: &ConsoleLogOptions,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let (fleet, recorded) = open(&options.variables, no_color, request, output).await?;
    let (record, host) = placed(&recorded, &options.address)?;
    let agents = fleet.agents(endpoints(None, &recorded))?;
    let asked = v1::GetConsoleLogRequest {
        server_id: record.id.to_string(),
        offset: options.tail.map_or(0, |bytes| -bytes),
        follow: options.follow,
    };
    // As the guest wrote it: a console is bytes, escape sequences included.
    agents
        .console_log(host, asked, |bytes| {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(bytes).and_then(|()| stdout.flush())
        })
        .await?;
    Ok(ExitStatus::Done)
}
