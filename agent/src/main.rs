//! The command line of the agent.

#[cfg(feature = "failpoints")]
mod hold;

use clap::Parser;
use drover_agent::config::Config;
use drover_agent::daemon::Daemon;
use drover_agent::logging;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;
use tokio::signal::unix::{SignalKind, signal};

/// Gives memory back to the system soon after it was used; glibc's keeps what each of its arenas once had, and an agent
/// is idle most of the time.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Runs Drover's agent on this host.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The agent's configuration.
    #[arg(long, value_name = "FILE", default_value = "/etc/drover/agent.hcl")]
    config: PathBuf,
    /// Check configuration and certificates, then exit.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        // --help and --version end well; a wrong option is an error like any other.
        let code = u8::from(error.use_stderr());
        drop(error.print());
        std::process::exit(code.into())
    });
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("drover-agent: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let config = Config::load(&arguments.config)?;
    if arguments.check {
        drover_agent::tls::Reloader::load(config.tls.clone(), &config.fleet, &config.host)?;
        println!("{}: good", arguments.config.display());
        return Ok(());
    }
    logging::start(config.log_format);
    #[cfg(feature = "failpoints")]
    let _failpoints = fail::FailScenario::setup();
    #[cfg(feature = "failpoints")]
    hold::set_up()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let daemon = Box::pin(Daemon::start(config)).await?;
        daemon
            .serve(async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            })
            .await?;
        Ok(())
    });
    // libvirt calls that hang must not hold up the end.
    runtime.shutdown_background();
    result
}
