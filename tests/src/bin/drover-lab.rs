//! `drover-lab`: a lab to explore by hand. Everything it does is in the library.

#![forbid(unsafe_code)]

use std::io::{IsTerminal, Read};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nix::sys::signal::Signal;

use drover_tests::lab::{Etcd, Lab, LabError, remove_abandoned, remove_all};

/// Real libvirt hosts, etcd and agents as namespaces of this one machine. Needs root.
#[derive(Debug, Parser)]
#[command(name = "drover-lab", version)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Brings a lab up and says how to use it; it stays until `drover-lab down`
    Up {
        /// How many hosts
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=50))]
        hosts: u8,
        /// How many members of etcd: 0, 1 or 3
        #[arg(long, default_value = "1", value_parser = etcd_members)]
        etcd: Etcd,
        /// Stay, and take the lab down at the end of standard input or of this process
        #[arg(long)]
        foreground: bool,
        /// Bring up the hosts alone: no certificates, agents or example configuration
        #[arg(long)]
        no_agents: bool,
    },
    /// Takes a lab down and removes every trace of it
    Down {
        /// Which; the only one unless given
        #[arg(conflicts_with = "all")]
        id: Option<String>,
        /// Every lab of this machine, also those that tests are using
        #[arg(long)]
        all: bool,
    },
    /// Lists the labs with their nodes, and what runs and listens in each
    Status,
    /// Runs a command inside a node
    Exec {
        /// The lab; the only one unless given
        #[arg(long, env = "DROVER_LAB")]
        lab: Option<String>,
        /// n1, n2…, etcd1…, client or switch
        node: String,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<std::ffi::OsString>,
    },
    /// Loses every packet between two nodes; both ends notice nothing but silence
    Cut {
        /// The lab; the only one unless given
        #[arg(long, env = "DROVER_LAB")]
        lab: Option<String>,
        /// n1, n2…, etcd1… or client
        one: String,
        /// n1, n2…, etcd1… or client
        other: String,
        /// Only what the first sends to the second is lost
        #[arg(long)]
        one_way: bool,
    },
    /// Undoes every cut between two nodes
    Heal {
        /// The lab; the only one unless given
        #[arg(long, env = "DROVER_LAB")]
        lab: Option<String>,
        /// n1, n2…, etcd1… or client
        one: String,
        /// n1, n2…, etcd1… or client
        other: String,
    },
    /// Kills a daemon of a node outright (SIGKILL)
    Kill {
        /// The lab; the only one unless given
        #[arg(long, env = "DROVER_LAB")]
        lab: Option<String>,
        /// n1, n2… or etcd1…
        node: String,
        /// agent, libvirtd, virtlogd or etcd: `drover-lab status` names those that run
        daemon: String,
    },
    /// Prints shell lines that make a lab's programs and files known: eval "$(drover-lab env)"
    Env {
        /// Which; the only one unless given
        id: Option<String>,
    },
}

fn etcd_members(text: &str) -> Result<Etcd, String> {
    match text {
        "0" => Ok(Etcd::None),
        "1" => Ok(Etcd::Single),
        "3" => Ok(Etcd::Three),
        _ => Err("etcd runs with 0, 1 or 3 members".to_owned()),
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("drover-lab: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(action: Action) -> Result<ExitCode, LabError> {
    match action {
        Action::Up {
            hosts,
            etcd,
            foreground,
            no_agents,
        } => {
            let agents = if no_agents { Agents::None } else { Agents::Started };
            up(hosts, etcd, agents, foreground)?;
        }
        Action::Down { id: _, all: true } => report(&remove_all()?),
        Action::Down { id, all: false } => {
            report(&remove_abandoned()?);
            if id.is_some() || !Lab::ids()?.is_empty() {
                let lab = open(id)?;
                let id = lab.id().to_owned();
                lab.down()?;
                println!("removed lab {id}");
            }
        }
        Action::Status => status()?,
        Action::Exec { lab, node, command } => return exec(lab, &node, &command),
        Action::Cut {
            lab,
            one,
            other,
            one_way: true,
        } => open(lab)?.cut_one_way(&one, &other)?,
        Action::Cut {
            lab,
            one,
            other,
            one_way: false,
        } => open(lab)?.cut(&one, &other)?,
        Action::Heal { lab, one, other } => open(lab)?.heal_between(&one, &other)?,
        Action::Kill { lab, node, daemon } => open(lab)?.node(&node)?.kill(&daemon, Signal::SIGKILL)?,
        Action::Env { id } => print!("{}", open(id)?.environment()?),
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Agents {
    None,
    Started,
}

fn up(hosts: u8, etcd: Etcd, agents: Agents, foreground: bool) -> Result<(), LabError> {
    let builder = Lab::builder().hosts(hosts).etcd(etcd);
    let lab = if foreground {
        builder.start()?
    } else {
        builder.detached().start()?
    };
    let example = match agents {
        Agents::None => None,
        Agents::Started => match lab.start_agents().and_then(|()| lab.write_example()) {
            Ok(directory) => Some(directory),
            Err(error) => {
                lab.down()?;
                return Err(error);
            }
        },
    };
    let id = lab.id();
    println!(
        "lab {id} is up: {hosts} hosts, files in {}",
        lab.directory().display()
    );
    println!("  eval \"$(drover-lab env {id})\"   puts its programs on PATH: drover, etcdctl, n1 virsh list");
    if let Some(directory) = example {
        println!("  drover -C {} plan", directory.display());
    }
    println!("  drover-lab exec n1 -- virsh list --all");
    println!("  drover-lab cut n1 client [--one-way]; drover-lab heal n1 client; drover-lab kill n1 agent");
    println!("  drover-lab down {id}");
    if foreground {
        if std::io::stdin().is_terminal() {
            println!("Ctrl-D ends it");
        }
        let mut rest = Vec::new();
        std::io::stdin()
            .read_to_end(&mut rest)
            .map_err(|source| LabError::Io {
                action: "read",
                path: "standard input".into(),
                source,
            })?;
        lab.down()?;
    }
    Ok(())
}

fn report(removed: &[drover_tests::lab::Removed]) {
    for lab in removed {
        println!("removed lab {}", lab.id);
    }
}

/// The lab asked for, or the only one there is.
fn open(id: Option<String>) -> Result<Lab, LabError> {
    match id {
        Some(id) => Lab::attach(&id),
        None => {
            let ids = Lab::ids()?;
            match ids.as_slice() {
                [only] => Lab::attach(only),
                [] => Err(LabError::NoSuchLab {
                    id: "running".to_owned(),
                }),
                several => Err(LabError::Ambiguous {
                    ids: several.to_vec(),
                }),
            }
        }
    }
}

fn status() -> Result<(), LabError> {
    for id in Lab::ids()? {
        let lab = Lab::attach(&id)?;
        match lab.owner() {
            Some(owner) => println!("lab {id}: of process {owner}, {}", lab.directory().display()),
            None => println!("lab {id}: {}", lab.directory().display()),
        }
        for node in lab.nodes() {
            if !node.is_up() {
                println!("  {:8} {:12} down", node.name(), node.ip());
                continue;
            }
            let ports: Vec<String> = node.listening_tcp_ports()?.iter().map(u16::to_string).collect();
            let daemons: Vec<String> = node.daemons().iter().map(|(name, _)| name.clone()).collect();
            println!(
                "  {:8} {:12} runs {}; listens on {}",
                node.name(),
                node.ip(),
                if daemons.is_empty() {
                    "nothing".to_owned()
                } else {
                    daemons.join(", ")
                },
                if ports.is_empty() {
                    "nothing".to_owned()
                } else {
                    ports.join(", ")
                },
            );
        }
    }
    Ok(())
}

fn exec(lab: Option<String>, node: &str, command: &[std::ffi::OsString]) -> Result<ExitCode, LabError> {
    let lab = open(lab)?;
    let (program, arguments) = command.split_first().expect("clap asks for at least one word");
    let mut command = lab.node(node)?.command(program);
    command.args(arguments);
    // Returns only when it could not be done: on success this process becomes the command.
    let source = command.exec();
    Err(LabError::Spawn {
        command: program.to_string_lossy().into_owned(),
        source,
    })
}
