//! `drover pki`: the fleet's certificates.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::output::Output;
use crate::pki::{Authority, summary};
use clap::{Args, Subcommand, ValueEnum};
use drover_types::{FleetName, HostName, Identity, Role};
use std::path::PathBuf;

/// Make the fleet's certificate authority and issue certificates
#[derive(Debug, Subcommand)]
pub(super) enum PkiCommand {
    /// Make a new authority: a root to keep offline and an intermediate that signs
    Init(InitOptions),
    /// Issue a certificate to an agent or a person
    Issue(IssueOptions),
    /// Show who a certificate speaks for, who signed it and until when it is valid
    Show(ShowOptions),
}

#[derive(Debug, Args)]
pub(super) struct InitOptions {
    /// The fleet that the certificates are for
    #[arg(long)]
    fleet: FleetName,
    /// Where to put the authority
    #[arg(long, value_name = "DIR", default_value = "pki")]
    dir: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum IssuedRole {
    /// A host's agent; NAME is the host's name
    Agent,
    /// Reads plans, records and consoles
    Reader,
    /// Plans and applies
    Operator,
    /// An operator who may also override
    Admin,
}

#[derive(Debug, Args)]
pub(super) struct IssueOptions {
    /// What the certificate's holder may be
    role: IssuedRole,
    /// Who holds it: the host's name for an agent
    name: HostName,
    /// Where the authority is
    #[arg(long, value_name = "DIR", default_value = "pki")]
    dir: PathBuf,
    /// Where to put ca.pem, cert.pem and key.pem [default: DIR/ROLE-NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How many days it is valid
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
}

#[derive(Debug, Args)]
pub(super) struct ShowOptions {
    /// The certificate's file
    file: PathBuf,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: PkiCommand, output: &mut Output) -> Result<ExitStatus, Failure> {
    match command {
        PkiCommand::Init(options) => init(&options, output),
        PkiCommand::Issue(options) => issue(options, output),
        PkiCommand::Show(options) => show(&options, output),
    }
}

fn init(options: &InitOptions, output: &mut Output) -> Result<ExitStatus, Failure> {
    let authority = Authority::create(&options.dir, &options.fleet)?;
    output.line(&format!(
        "Made the authority of fleet {} in {}.\n\nMove {} to a safe place: only making a new intermediate needs it.\nNext: drover pki issue agent HOST --dir {}",
        authority.fleet(),
        options.dir.display(),
        options.dir.join("root-key.pem").display(),
        options.dir.display(),
    ))?;
    Ok(ExitStatus::Done)
}

fn issue(options: IssueOptions, output: &mut Output) -> Result<ExitStatus, Failure> {
    let role = match options.role {
        IssuedRole::Agent => Role::Agent,
        IssuedRole::Reader => Role::Reader,
        IssuedRole::Operator => Role::Operator,
        IssuedRole::Admin => Role::Admin,
    };
    let authority = Authority::open(&options.dir)?;
    let identity = Identity {
        fleet: authority.fleet().clone(),
        role,
        name: options.name,
    };
    let out = options
        .out
        .unwrap_or_else(|| options.dir.join(format!("{role}-{}", identity.name)));
    let files = authority
        .issue(&options.dir, &identity, options.days)?
        .write_to(&out)?;
    output.line(&format!(
        "Issued {identity}, valid for {} days:\n  ca_file   = \"{}\"\n  cert_file = \"{}\"\n  key_file  = \"{}\"",
        options.days,
        files.ca_file.display(),
        files.cert_file.display(),
        files.key_file.display(),
    ))?;
    Ok(ExitStatus::Done)
}

fn show(options: &ShowOptions, output: &mut Output) -> Result<ExitStatus, Failure> {
    let shown = summary(&options.file)?;
    if options.json {
        output.json(&shown)?;
    } else {
        let who = shown.identity.as_deref().unwrap_or(&shown.subject);
        let state = if shown.valid { "valid" } else { "not valid now" };
        output.line(&format!(
            "{who}\n  signed by {}\n  {} until {} ({state})",
            shown.issuer, shown.not_before, shown.not_after
        ))?;
    }
    Ok(ExitStatus::Done)
}
