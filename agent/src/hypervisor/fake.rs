//! A hypervisor in memory, for tests of many hosts: domains have states, nothing runs.

use super::domain::{DomainReport, DomainState, HostDescription, JobProgress, LiveMigration};
use super::{Hypervisor, HypervisorError, LibvirtFailure};
use drover_agent_core::domain::{Attribute, DiskPart, NAMESPACE, read_back, with_element};
use drover_agent_core::inventory::CpuSample;
use drover_types::{HypervisorType, PowerState, ServerId};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;
use uuid::Uuid;

/// A host that exists only in memory. It accepts every definition and migrates nothing.
pub struct FakeHypervisor {
    host: HostDescription,
    domain_capabilities_xml: String,
    state: Mutex<FakeState>,
    /// Told when starts, or all calls, go on.
    released: Condvar,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct FakeState {
    domains: BTreeMap<Uuid, DomainReport>,
    away: bool,
    /// Why no domain starts, where none does.
    starts_refused: Option<String>,
    /// Guests do nothing when they are asked to shut down.
    shutdown_ignored: bool,
    turns: Vec<(Instant, PowerTurn)>,
    /// No start ends.
    starts_held: bool,
    /// No such call of an adoption ends.
    adoptions_held: Option<AdoptionCall>,
    /// How many calls are held there.
    held: usize,
    /// How often held calls were lost.
    lost: usize,
    /// No call ends.
    hung: bool,
    /// Domains that libvirt starts with the host.
    autostarts: BTreeSet<Uuid>,
    /// What its processors did.
    cpu: Option<CpuSample>,
    /// Its PCI devices.
    pci_devices: Vec<String>,
}

/// A call that an adoption makes, before and after it writes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdoptionCall {
    /// Reading the definition that is to be kept.
    Definition,
    /// Marking the domain, whose autostart is off by then.
    Mark,
}

/// What was asked of a guest's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerTurn {
    /// It was started.
    Started,
    /// It was asked to shut down.
    Asked,
    /// It was ended without being asked.
    Ended,
}

impl FakeHypervisor {
    /// A host without domains.
    #[must_use]
    pub fn new(host: HostDescription, domain_capabilities_xml: String) -> Self {
        Self {
            host,
            domain_capabilities_xml,
            state: Mutex::new(FakeState::default()),
            released: Condvar::new(),
            changed: watch::Sender::new(0),
        }
    }

    /// From now on libvirt answers, or does not.
    pub fn set_away(&self, away: bool) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).away = away;
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// From now on the host's processors have done this; before that they are not counted.
    pub fn set_cpu(&self, sample: CpuSample) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).cpu = Some(sample);
    }

    /// From now on the host has these PCI devices, each as libvirt describes it. An agent asks once.
    pub fn set_pci_devices(&self, xml: Vec<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.pci_devices = xml;
    }

    /// From now on no domain starts, for this reason; `None`: they do again.
    pub fn refuse_starts(&self, why: Option<&str>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.starts_refused = why.map(str::to_owned);
    }

    /// From now on guests do nothing when they are asked to shut down, as one that is not up, or has no ACPI.
    pub fn ignore_shutdown(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.shutdown_ignored = true;
    }

    /// What was asked of the power of all guests, and when, in this order.
    #[must_use]
    pub fn turns(&self) -> Vec<(Instant, PowerTurn)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.turns.clone()
    }

    fn note(&self, turn: PowerTurn) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.turns.push((Instant::now(), turn));
    }

    /// From now on every start waits until this is taken back.
    pub fn hold_starts(&self, held: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.starts_held = held;
        self.released.notify_all();
    }

    /// From now on these calls wait; `None`: they go on.
    pub fn hold_adoptions(&self, at: Option<AdoptionCall>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.adoptions_held = at;
        self.released.notify_all();
    }

    /// How many calls [`Self::hold_adoptions`] holds now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).held
    }

    /// Calls that are held now never reach libvirt, as where their agent dies.
    pub fn lose_held(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.lost += 1;
        self.released.notify_all();
    }

    /// Waits as long as this call is held.
    fn pass(&self, call: AdoptionCall, attempt: &str) -> Result<(), HypervisorError> {
        let mut state = self.state(attempt)?;
        let lost = state.lost;
        state.held += 1;
        let mut state = self
            .released
            .wait_while(state, |state| {
                state.adoptions_held == Some(call) && state.lost == lost
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.held -= 1;
        if state.lost == lost {
            Ok(())
        } else {
            Err(Self::refused(attempt))
        }
    }

    /// From now on no call is answered until this is taken back, as by a libvirt that hangs.
    pub fn set_hung(&self, hung: bool) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).hung = hung;
        self.released.notify_all();
    }

    /// Every domain that is there, whether libvirt answers or not.
    #[must_use]
    pub fn all(&self) -> Vec<DomainReport> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.domains.values().cloned().collect()
    }

    /// Puts a domain there, as somebody else might.
    pub fn put(&self, domain: DomainReport) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.domains.insert(domain.uuid, domain);
        drop(state);
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn state(&self, attempt: &str) -> Result<MutexGuard<'_, FakeState>, HypervisorError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self
            .released
            .wait_while(state, |state| state.hung)
            .unwrap_or_else(PoisonError::into_inner);
        if state.away {
            let message = "failed to connect socket: no such file".to_owned();
            let source = LibvirtFailure {
                code: 38,
                domain: 7,
                message,
            };
            return Err(HypervisorError::Unavailable {
                attempt: attempt.to_owned(),
                source,
            });
        }
        Ok(state)
    }

    fn set(
        &self,
        attempt: &str,
        server: ServerId,
        to: (PowerState, &'static str),
    ) -> Result<(), HypervisorError> {
        let mut state = self.state(attempt)?;
        let domain = state
            .domains
            .get_mut(&server.uuid())
            .ok_or_else(|| HypervisorError::NoDomain {
                attempt: attempt.to_owned(),
                server,
            })?;
        domain.state = DomainState {
            power: to.0,
            reason: to.1,
        };
        domain.live_xml = if domain.state.is_active() {
            domain.persistent_xml.clone()
        } else {
            None
        };
        if !domain.state.is_active() && !domain.persistent {
            state.domains.remove(&server.uuid());
        }
        drop(state);
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }

    /// Writes a line to the console's log, as a guest that boots does.
    fn boot(&self, server: ServerId) {
        let xml = self
            .all()
            .into_iter()
            .find(|domain| domain.uuid == server.uuid())
            .and_then(|domain| domain.persistent_xml);
        let console = xml.as_deref().and_then(|xml| {
            let (_, rest) = xml.split_once("<log file=\"")?;
            Some(rest.split_once('"')?.0.to_owned())
        });
        if let Some(path) = console {
            // A console that cannot be written to stops no guest.
            let written = std::fs::OpenOptions::new()
                .append(true)
                .open(path)
                .and_then(|mut file| writeln!(file, "booted {server}"));
            drop(written);
        }
    }

    fn refused(attempt: &str) -> HypervisorError {
        let message = "not supported by the hypervisor in memory".to_owned();
        let source = LibvirtFailure {
            code: 3,
            domain: 0,
            message,
        };
        HypervisorError::Failed {
            attempt: attempt.to_owned(),
            source,
        }
    }
}

impl Hypervisor for FakeHypervisor {
    fn host(&self) -> Result<HostDescription, HypervisorError> {
        self.state("describing the host").map(|_| self.host.clone())
    }

    fn cpu_sample(&self) -> Result<Option<CpuSample>, HypervisorError> {
        self.state("reading processor times").map(|state| state.cpu)
    }

    fn pci_devices(&self) -> Result<Vec<String>, HypervisorError> {
        self.state("listing PCI devices")
            .map(|state| state.pci_devices.clone())
    }

    fn domain_capabilities(
        &self,
        _kind: HypervisorType,
        _arch: &str,
        _machine: Option<&str>,
    ) -> Result<String, HypervisorError> {
        self.state("reading capabilities")
            .map(|_| self.domain_capabilities_xml.clone())
    }

    fn domains(&self) -> Result<Vec<DomainReport>, HypervisorError> {
        self.state("listing the domains")
            .map(|state| state.domains.values().cloned().collect())
    }

    fn domain(&self, server: ServerId) -> Result<Option<DomainReport>, HypervisorError> {
        self.state("reading a domain")
            .map(|state| state.domains.get(&server.uuid()).cloned())
    }

    fn state(&self, server: ServerId) -> Result<Option<DomainState>, HypervisorError> {
        self.domain(server)
            .map(|domain| domain.map(|domain| domain.state))
    }

    fn is_persistent(&self, server: ServerId) -> Result<bool, HypervisorError> {
        self.domain(server)
            .map(|domain| domain.is_some_and(|domain| domain.persistent))
    }

    fn migratable_xml(&self, server: ServerId) -> Result<String, HypervisorError> {
        let attempt = "reading the migratable configuration of";
        self.domain(server)?
            .and_then(|domain| domain.live_xml)
            .ok_or_else(|| HypervisorError::NoDomain {
                attempt: attempt.to_owned(),
                server,
            })
    }

    fn define(&self, server: ServerId, xml: &str) -> Result<(), HypervisorError> {
        let mut state = self.state("defining a domain")?;
        let domain = state
            .domains
            .entry(server.uuid())
            .or_insert_with(|| DomainReport {
                uuid: server.uuid(),
                name: format!("drover-{server}"),
                state: DomainState {
                    power: PowerState::Shutdown,
                    reason: "unknown",
                },
                persistent: true,
                vcpus: 1,
                memory_kib: 0,
                disk_sizes: BTreeMap::new(),
                live_xml: None,
                persistent_xml: None,
            });
        let number = |tag: &str| -> Option<u64> {
            let (_, rest) = xml.split_once(tag)?;
            rest.split_once('>')?.1.split_once('<')?.0.parse().ok()
        };
        domain.vcpus = number("<vcpu").and_then(|n| n.try_into().ok()).unwrap_or(1);
        domain.memory_kib = number("<memory").unwrap_or(0);
        domain.persistent = true;
        domain.persistent_xml = Some(xml.to_owned());
        Ok(())
    }

    fn set_marks(&self, server: ServerId, element: &str) -> Result<(), HypervisorError> {
        let mut state = self.state("marking a domain")?;
        let live = state
            .domains
            .get_mut(&server.uuid())
            .and_then(|domain| domain.live_xml.as_mut());
        if let Some(xml) = live
            && let (Some(begin), Some(end)) = (xml.find("<drover:server"), xml.find("</drover:server>"))
        {
            xml.replace_range(begin..end + "</drover:server>".len(), &prefixed(element));
        }
        Ok(())
    }

    fn mark(&self, server: ServerId, element: &str) -> Result<(), HypervisorError> {
        let attempt = "marking a domain";
        self.pass(AdoptionCall::Mark, attempt)?;
        let mut state = self.state(attempt)?;
        let Some(domain) = state.domains.get_mut(&server.uuid()) else {
            return Err(HypervisorError::NoDomain {
                attempt: attempt.to_owned(),
                server,
            });
        };
        for xml in [&mut domain.live_xml, &mut domain.persistent_xml]
            .into_iter()
            .flatten()
        {
            *xml = with_element(xml, &prefixed(element)).map_err(|_| Self::refused(attempt))?;
        }
        Ok(())
    }

    fn definition(&self, server: ServerId) -> Result<Option<String>, HypervisorError> {
        let attempt = "reading the definition of a domain";
        self.pass(AdoptionCall::Definition, attempt)?;
        let domain = self.domain(server)?.ok_or_else(|| HypervisorError::NoDomain {
            attempt: attempt.to_owned(),
            server,
        })?;
        Ok(domain.persistent_xml)
    }

    fn autostart(&self, server: ServerId) -> Result<bool, HypervisorError> {
        self.state("reading the autostart of a domain")
            .map(|state| state.autostarts.contains(&server.uuid()))
    }

    fn set_autostart(&self, server: ServerId, autostart: bool) -> Result<(), HypervisorError> {
        let mut state = self.state("setting the autostart of a domain")?;
        if autostart {
            state.autostarts.insert(server.uuid());
        } else {
            state.autostarts.remove(&server.uuid());
        }
        Ok(())
    }

    fn grow_disk(&self, server: ServerId, target: &str, size: u64) -> Result<(), HypervisorError> {
        let attempt = "growing a disk";
        let domain = self.domain(server)?;
        let xml = domain.and_then(|domain| domain.live_xml).unwrap_or_default();
        let found = read_back(&xml).unwrap_or_default();
        let file = Attribute::Disk {
            target: target.to_owned(),
            part: DiskPart::File,
        };
        let file = found.get(&file).ok_or_else(|| Self::refused(attempt))?;
        // No QEMU has it open.
        let grown = std::process::Command::new("qemu-img")
            .args(["resize", "-q", "-f", "qcow2", file, &size.to_string()])
            .status();
        match grown {
            Ok(status) if status.success() => Ok(()),
            Ok(_) | Err(_) => Err(Self::refused(attempt)),
        }
    }

    fn clear_marks(&self, server: ServerId) -> Result<(), HypervisorError> {
        let mut state = self.state("unmarking a domain")?;
        if let Some(domain) = state.domains.get_mut(&server.uuid()) {
            for xml in [&mut domain.live_xml, &mut domain.persistent_xml]
                .into_iter()
                .flatten()
            {
                *xml = with_marks_of(xml, "");
            }
        }
        Ok(())
    }

    fn undefine(&self, server: ServerId) -> Result<(), HypervisorError> {
        let mut state = self.state("undefining a domain")?;
        if let Some(domain) = state.domains.get_mut(&server.uuid()) {
            domain.persistent = false;
            domain.persistent_xml = None;
            if !domain.state.is_active() {
                state.domains.remove(&server.uuid());
            }
        }
        Ok(())
    }

    fn undefine_keeping_nvram(&self, server: ServerId) -> Result<(), HypervisorError> {
        self.undefine(server)
    }

    fn start(&self, server: ServerId) -> Result<(), HypervisorError> {
        let attempt = "starting domain";
        let refused = {
            let state = self.state(attempt)?;
            let state = self
                .released
                .wait_while(state, |state| state.starts_held)
                .unwrap_or_else(PoisonError::into_inner);
            state.starts_refused.clone()
        };
        if let Some(message) = refused {
            let source = LibvirtFailure {
                code: 1,
                domain: 10,
                message,
            };
            return Err(HypervisorError::Failed {
                attempt: attempt.to_owned(),
                source,
            });
        }
        self.set(attempt, server, (PowerState::Running, "booted"))?;
        self.note(PowerTurn::Started);
        self.boot(server);
        Ok(())
    }

    fn ask_shutdown(&self, server: ServerId) -> Result<(), HypervisorError> {
        let attempt = "asking the guest to shut down, domain";
        let ignored = self.state(attempt)?.shutdown_ignored;
        self.note(PowerTurn::Asked);
        if ignored {
            return Ok(());
        }
        self.set(attempt, server, (PowerState::Shutdown, "shutdown"))
    }

    fn end(&self, server: ServerId) -> Result<(), HypervisorError> {
        let was_active = Hypervisor::state(self, server)?.is_some_and(DomainState::is_active);
        match self.set("ending domain", server, (PowerState::Shutdown, "destroyed")) {
            Ok(()) => {
                if was_active {
                    self.note(PowerTurn::Ended);
                }
                Ok(())
            }
            Err(HypervisorError::NoDomain { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn pause(&self, server: ServerId) -> Result<(), HypervisorError> {
        self.set("pausing domain", server, (PowerState::Paused, "user"))
    }

    fn resume(&self, server: ServerId) -> Result<(), HypervisorError> {
        self.set("resuming domain", server, (PowerState::Running, "unpaused"))
    }

    fn process(&self, _server: ServerId) -> Result<Option<i32>, HypervisorError> {
        Ok(None)
    }

    fn migrate(&self, _server: ServerId, _migration: &LiveMigration) -> Result<(), HypervisorError> {
        Err(Self::refused("migrating domain"))
    }

    fn set_max_downtime(&self, _server: ServerId, _milliseconds: u64) -> Result<(), HypervisorError> {
        Err(Self::refused("limiting the downtime of domain"))
    }

    fn job(&self, _server: ServerId) -> Result<Option<JobProgress>, HypervisorError> {
        Ok(None)
    }

    fn finished_job(&self, _server: ServerId) -> Result<Option<JobProgress>, HypervisorError> {
        Ok(None)
    }

    fn abort_job(&self, _server: ServerId) -> Result<(), HypervisorError> {
        Ok(())
    }

    fn can_run_cpu(
        &self,
        _kind: HypervisorType,
        _arch: &str,
        _machine: &str,
        _cpu_xml: &str,
    ) -> Result<bool, HypervisorError> {
        Ok(true)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// The element as libvirt stores it: with the prefix in front of every name.
fn prefixed(element: &str) -> String {
    element
        .replace("</", "\u{0}")
        .replace('<', "<drover:")
        .replace('\u{0}', "</drover:")
        .replacen(
            "<drover:server",
            &format!("<drover:server xmlns:drover=\"{NAMESPACE}\""),
            1,
        )
}

/// Our element in a domain's XML, as it is rendered.
fn marks(xml: &str) -> Option<std::ops::Range<usize>> {
    const END: &str = "</drover:server>";
    let begin = xml.find("<drover:server")?;
    let end = xml.find(END)? + END.len();
    Some(begin..end)
}

/// The XML with the other's element in place of its own.
fn with_marks_of(xml: &str, other: &str) -> String {
    let theirs = marks(other).map_or("", |range| &other[range]);
    match marks(xml) {
        Some(range) => format!("{}{theirs}{}", &xml[..range.start], &xml[range.end..]),
        None => xml.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypervisor::HypervisorThreads;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_domain_lives_through_its_states_and_an_absent_libvirt_is_unavailable() {
        let host = HostDescription {
            hostname: "n1".to_owned(),
            cpus: 2,
            memory_kib: 1 << 20,
            sockets: 1,
            cores: 2,
            threads: 1,
            capabilities_xml: String::new(),
            hypervisor_version: 7_002_000,
            libvirt_version: 9_000_000,
        };
        let fake = Arc::new(FakeHypervisor::new(host, String::new()));
        let threads = HypervisorThreads::new(Arc::clone(&fake) as Arc<dyn Hypervisor>);
        let server = ServerId::from_uuid(Uuid::from_u128(7));
        let state = |threads: HypervisorThreads| async move {
            threads
                .run("looking", move |h| h.state(server))
                .await
                .map(|s| s.map(|s| s.power))
        };
        assert_eq!(state(threads.clone()).await.expect("an answer"), None);
        threads
            .run("defining", move |h| h.define(server, "<domain/>"))
            .await
            .expect("defined");
        threads
            .run("starting", move |h| h.start(server))
            .await
            .expect("started");
        assert_eq!(
            state(threads.clone()).await.expect("an answer"),
            Some(PowerState::Running)
        );
        threads
            .run("undefining", move |h| h.undefine(server))
            .await
            .expect("undefined");
        threads
            .run("ending", move |h| h.end(server))
            .await
            .expect("ended");
        assert_eq!(state(threads.clone()).await.expect("an answer"), None);
        fake.set_away(true);
        let error = state(threads).await.expect_err("libvirt is away");
        assert!(error.is_unavailable(), "{error}");
    }
}
