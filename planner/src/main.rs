//! The `drover` command.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

fn main() -> std::process::ExitCode {
    allow_a_socket_per_host();
    #[cfg(feature = "failpoints")]
    let _failpoints = fail::FailScenario::setup();
    drover::cli::run().into()
}

/// Shells allow 1,024 open files so that old programs with `select` keep working, and leave it to others to raise
/// that to what is permitted; a large fleet needs a connection per host.
fn allow_a_socket_per_host() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, permitted)| setrlimit(Resource::RLIMIT_NOFILE, permitted, permitted));
    if let Err(error) = raised {
        eprintln!("Warning: the number of files that may be open could not be raised: {error}");
    }
}
