//! The command line: one file per command; doc comments are the help text.

mod adopt;
mod apply;
mod capacity;
mod completion;
mod console;
mod dev;
mod drift;
mod events;
mod exit;
mod failure;
mod fleet;
mod fmt;
mod force_unlock;
mod generated;
mod graph;
mod guard;
mod hidden;
mod host;
mod image;
mod import;
mod init;
mod inventory;
mod log;
mod options;
mod output;
mod outputs;
mod pki;
mod plan;
mod planning;
mod progress;
mod project;
mod readmit;
mod rebalance;
mod refresh;
mod report;
mod scheduler;
mod server;
mod show;
mod state;
mod state_edit;
mod table;
mod test;
mod validate;
mod version;

pub use exit::ExitStatus;
pub use failure::Failure;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use drover_types::RequestId;
use options::GlobalOptions;
use output::Output;

/// Runs a fleet of libvirt hosts from HCL
#[derive(Debug, Parser)]
#[command(name = "drover", version, after_help = ExitStatus::TABLE, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: GlobalOptions,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::InitCommand),
    Validate(validate::ValidateOptions),
    Fmt(fmt::FmtCommand),
    Console(console::ConsoleCommand),
    Test(test::TestCommand),
    Plan(Box<plan::PlanCommand>),
    Apply(Box<apply::ApplyCommand>),
    Destroy(Box<apply::DestroyCommand>),
    Refresh(Box<refresh::RefreshCommand>),
    Drift(drift::DriftCommand),
    Rebalance(Box<rebalance::RebalanceCommand>),
    Capacity(capacity::CapacityCommand),
    Import(Box<import::ImportCommand>),
    Adopt(adopt::AdoptCommand),
    Show(show::ShowCommand),
    Output(outputs::OutputCommand),
    #[command(subcommand)]
    State(state::StateCommand),
    ForceUnlock(force_unlock::ForceUnlockCommand),
    #[command(subcommand)]
    Host(host::HostCommand),
    #[command(subcommand)]
    Server(server::ServerCommand),
    #[command(subcommand)]
    Image(image::ImageCommand),
    #[command(subcommand)]
    Scheduler(scheduler::SchedulerCommand),
    #[command(subcommand)]
    Pki(pki::PkiCommand),
    #[command(subcommand)]
    Dev(dev::DevCommand),
    Graph(graph::GraphCommand),
    Completion(completion::CompletionCommand),
    Version(version::VersionCommand),
}

/// Reads the arguments, runs the command, and prints what went wrong.
pub fn run() -> ExitStatus {
    let parsed = Cli::command().try_get_matches().and_then(|matches| {
        let form = if asks_for_json(&matches) {
            Told::Json
        } else {
            Told::Text
        };
        Cli::from_arg_matches(&matches).map(|cli| (cli, form))
    });
    let (cli, told) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            let asked_for_help = !error.use_stderr();
            // Where even this cannot be printed there is nobody to tell.
            drop(error.print());
            return if asked_for_help {
                ExitStatus::Done
            } else {
                ExitStatus::Error
            };
        }
    };
    if let Err(error) = std::env::set_current_dir(&cli.global.directory) {
        let directory = cli.global.directory.display();
        eprintln!(
            "{}",
            Failure::because(format!("could not enter the directory {directory}"), error)
        );
        return ExitStatus::Error;
    }
    let request = RequestId::from_uuid(uuid::Uuid::new_v4());
    log::start(request.clone());
    let mut output = Output::new(cli.global.no_color);
    match dispatch(cli, &request, &mut output) {
        Ok(status) => status,
        Err(failure) => {
            if !failure.is_shown() {
                let heard = output.has_readers();
                output.event_if_heard(|| failure.to_event());
                match told {
                    Told::Text => eprintln!("{failure}"),
                    Told::Json if heard => {}
                    Told::Json => println!("{}", failure.to_event()),
                }
            }
            failure.status()
        }
    }
}

/// How a failure is told.
enum Told {
    /// To people, on stderr.
    Text,
    /// To programs, as an event on stdout.
    Json,
}

/// Whether the command, however deep, was given its option `--json`.
fn asks_for_json(matches: &ArgMatches) -> bool {
    let own = matches.try_get_one::<bool>("json").ok().flatten();
    own.copied().unwrap_or_default()
        || matches
            .subcommand()
            .is_some_and(|(_, of_command)| asks_for_json(of_command))
}

fn dispatch(cli: Cli, request: &RequestId, output: &mut Output) -> Result<ExitStatus, Failure> {
    let no_color = cli.global.no_color;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::because("could not start the runtime", error))?;
    runtime.block_on(async {
        match cli.command {
            Command::Plan(command) => plan::run(&command, no_color, request, output).await,
            Command::Apply(command) => Box::pin(apply::run(*command, no_color, request, output)).await,
            Command::Destroy(command) => apply::destroy(*command, no_color, request, output).await,
            Command::Refresh(command) => Box::pin(refresh::run(*command, no_color, request, output)).await,
            Command::Drift(command) => Box::pin(drift::run(&command, no_color, request, output)).await,
            Command::Import(command) => Box::pin(import::run(*command, no_color, request, output)).await,
            Command::Adopt(command) => adopt::run(&command, no_color, request, output).await,
            Command::ForceUnlock(command) => force_unlock::run(&command, no_color, request, output).await,
            Command::Rebalance(command) => {
                Box::pin(rebalance::run(*command, no_color, request, output)).await
            }
            Command::Capacity(command) => capacity::run(&command, no_color, request, output).await,
            Command::Show(command) => show::run(&command, no_color, request, output).await,
            Command::Output(command) => outputs::run(&command, no_color, request, output).await,
            Command::State(command) => Box::pin(state::run(&command, no_color, request, output)).await,
            Command::Host(command) => host::run(&command, no_color, request, output).await,
            Command::Server(command) => server::run(command, no_color, request, output).await,
            Command::Image(command) => image::run(&command, no_color, request, output).await,
            Command::Scheduler(command) => scheduler::run(&command, no_color, request, output).await,
            Command::Pki(command) => pki::run(command, output),
            Command::Init(command) => init::run(&command, output),
            Command::Graph(command) => graph::run(&command, no_color, output),
            Command::Completion(command) => completion::run(&command, Cli::command(), output),
            Command::Version(command) => version::run(&command, output),
            Command::Validate(options) => validate::run(&options, no_color, output),
            Command::Fmt(command) => fmt::run(&command, no_color, output),
            Command::Console(command) => console::run(&command, no_color, request, output).await,
            Command::Test(command) => test::run(&command, no_color, output),
            Command::Dev(command) => dev::run(&command, output),
        }
    })
}
