//! Where a server runs, as libvirt and the process list say it: what the tests of "at most one
//! running copy" stand on. Knows nothing of Drover.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use super::host::Host;
use super::process::Process;
use super::wait::{WAIT_LONG, poll_until};
use super::{Lab, LabError};

/// A watch over all hosts that is under way.
#[derive(Debug)]
pub struct CopyWatch {
    ended: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    thread: JoinHandle<Copies>,
}

/// What a watch saw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copies {
    /// How many times every host was asked.
    pub rounds: usize,
    /// How many times a host did not answer: it may have run anything then.
    pub unanswered: usize,
    /// Pairs of hosts that certainly ran the server at one moment, once for each time it was seen.
    pub doubles: Vec<(String, String)>,
}

impl Host {
    /// The domain's state by virsh, for example `running` or `shut off`; none where there is no
    /// such domain. An error where libvirtd does not answer.
    pub fn domain_state(&self, uuid: &str) -> Result<Option<String>, LabError> {
        if !self.uuids(&["--all"])?.iter().any(|found| found == uuid) {
            return Ok(None);
        }
        match self.virsh(&["domstate", uuid]) {
            Ok(state) => Ok(Some(state.trim().to_owned())),
            // Gone since it was listed.
            Err(LabError::Failed { stderr, .. }) if stderr.contains("failed to get domain") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The QEMU processes of a domain, in whatever state: also when libvirtd is dead.
    pub fn qemu_processes(&self, uuid: &str) -> Vec<Process> {
        let mut found = self.processes();
        found.retain(|process| {
            process.command.contains("qemu-system") && process.command.contains(&format!("-uuid {uuid}"))
        });
        found
    }

    fn uuids(&self, which: &[&str]) -> Result<Vec<String>, LabError> {
        let mut virsh = self.command("virsh");
        virsh
            .args(["--connect", "qemu:///system", "--quiet", "list", "--uuid"])
            .args(which);
        let text = super::node::output(virsh)?;
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }

    /// Running and not paused; none where libvirtd does not answer.
    fn runs_domain(&self, uuid: &str) -> Option<bool> {
        Some(
            self.uuids(&["--state-running"])
                .ok()?
                .iter()
                .any(|found| found == uuid),
        )
    }
}

impl Lab {
    /// The names of the hosts where the domain is running (not paused), in order.
    pub fn running_on(&self, uuid: &str) -> Result<Vec<String>, LabError> {
        let mut names = Vec::new();
        for host in self.hosts() {
            if host
                .uuids(&["--state-running"])?
                .iter()
                .any(|found| found == uuid)
            {
                names.push(host.name().to_owned());
            }
        }
        Ok(names)
    }

    /// Waits until the domain runs on exactly one host, and gives that host's name.
    pub fn wait_running_on_one(&self, uuid: &str) -> Result<String, LabError> {
        poll_until(format!("exactly one running copy of {uuid}"), WAIT_LONG, || {
            let names = self.running_on(uuid).ok()?;
            if let [only] = names.as_slice() {
                Some(only.clone())
            } else {
                None
            }
        })
    }

    /// Looks at all hosts again and again, until [`CopyWatch::finish`], for a second running copy.
    pub fn watch_copies(&self, uuid: &str) -> CopyWatch {
        let ended = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicUsize::new(0));
        let (hosts, uuid) = (self.hosts().to_vec(), uuid.to_owned());
        let (stop, done) = (Arc::clone(&ended), Arc::clone(&rounds));
        let thread = std::thread::spawn(move || {
            let mut seen = Copies::default();
            while !stop.load(Ordering::Relaxed) {
                look(&hosts, &uuid, &mut seen);
                done.store(seen.rounds, Ordering::Relaxed);
            }
            seen
        });
        CopyWatch {
            ended,
            rounds,
            thread,
        }
    }
}

/// Hosts are asked one after the other, so a server that moves may be seen twice without ever having
/// run twice. Only a first host that is still running it after the second was seen to counts.
fn look(hosts: &[Host], uuid: &str, seen: &mut Copies) {
    seen.rounds += 1;
    let mut running: Vec<&Host> = Vec::new();
    for host in hosts {
        match host.runs_domain(uuid) {
            None => seen.unanswered += 1,
            Some(false) => {}
            Some(true) => {
                for earlier in &running {
                    if earlier.runs_domain(uuid) == Some(true) {
                        seen.doubles
                            .push((earlier.name().to_owned(), host.name().to_owned()));
                    }
                }
                running.push(host);
            }
        }
    }
}

impl CopyWatch {
    /// How many times every host has been asked by now.
    pub fn rounds(&self) -> usize {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Ends the watch.
    ///
    /// # Panics
    /// Where the watching thread panicked.
    pub fn finish(self) -> Copies {
        self.ended.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
