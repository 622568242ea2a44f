//! The seam to the hypervisor: what servers, inventory and migration need of libvirt, in Drover's own types.
//!
//! [`Hypervisor`] blocks, as libvirt does; [`HypervisorThreads`] runs its calls on blocking threads, a bounded
//! number at a time, each with a deadline. What to do with the answers is decided elsewhere. Calls that change
//! something take a [`ServerId`]: foreign domains are only ever reported.

mod disk_sizes;
mod domain;
mod error;
mod event;
mod fake;
mod ffi;
mod kvm_probe;
mod libvirt;
mod threads;

pub use domain::{DomainReport, DomainState, HostDescription, JobProgress, LiveMigration};
pub use error::{HypervisorError, LibvirtFailure};
pub use fake::{AdoptionCall, FakeHypervisor, PowerTurn};
pub use kvm_probe::{ProbeError, probe_kvm};
pub use libvirt::Libvirt;
pub use threads::HypervisorThreads;

use drover_agent_core::inventory::CpuSample;
use drover_types::{HypervisorType, ServerId};
use tokio::sync::watch;

/// What the agent asks of libvirt. Every call blocks; every answer is of this moment.
///
/// Calls that bring a domain into a state succeed where it is in that state already.
pub trait Hypervisor: Send + Sync + 'static {
    /// What the host is and can run. Cached for as long as the connection to libvirt lives.
    fn host(&self) -> Result<HostDescription, HypervisorError>;

    /// What the host's processors did so far; none where they are not counted.
    fn cpu_sample(&self) -> Result<Option<CpuSample>, HypervisorError>;

    /// libvirt's descriptions of the host's PCI devices, as XML.
    fn pci_devices(&self) -> Result<Vec<String>, HypervisorError>;

    /// libvirt's description of what a guest of this kind may use, as XML; empty `machine`: the default one.
    fn domain_capabilities(
        &self,
        kind: HypervisorType,
        arch: &str,
        machine: Option<&str>,
    ) -> Result<String, HypervisorError>;

    /// Every domain of this host, foreign ones too.
    fn domains(&self) -> Result<Vec<DomainReport>, HypervisorError>;

    /// One server's domain; none where libvirt answered that it has none.
    fn domain(&self, server: ServerId) -> Result<Option<DomainReport>, HypervisorError>;

    /// One server's state; none where libvirt answered that it has no such domain.
    fn state(&self, server: ServerId) -> Result<Option<DomainState>, HypervisorError>;

    /// Whether one server's domain has a persistent definition; false where there is no such domain.
    fn is_persistent(&self, server: ServerId) -> Result<bool, HypervisorError>;

    /// The running domain as another host can take it, as XML.
    fn migratable_xml(&self, server: ServerId) -> Result<String, HypervisorError>;

    /// Makes or replaces a persistent definition, with autostart off.
    fn define(&self, server: ServerId, xml: &str) -> Result<(), HypervisorError>;

    /// Replaces our metadata element of a running domain; `element` is written without prefix.
    fn set_marks(&self, server: ServerId, element: &str) -> Result<(), HypervisorError>;

    /// Writes our metadata element into a domain, running and defined, in place of any that is there; `element` is
    /// written without prefix.
    fn mark(&self, server: ServerId, element: &str) -> Result<(), HypervisorError>;

    /// The persistent definition with its secrets, as XML; none where the domain is transient.
    fn definition(&self, server: ServerId) -> Result<Option<String>, HypervisorError>;

    /// Whether libvirt starts the domain with the host.
    fn autostart(&self, server: ServerId) -> Result<bool, HypervisorError>;

    /// Has libvirt start the domain with the host, or not.
    fn set_autostart(&self, server: ServerId, autostart: bool) -> Result<(), HypervisorError>;

    /// Makes a disk of a running domain larger, which its guest sees at once; `size` is in bytes.
    fn grow_disk(&self, server: ServerId, target: &str, size: u64) -> Result<(), HypervisorError>;

    /// Takes our metadata element out of a domain, running and defined.
    fn clear_marks(&self, server: ServerId) -> Result<(), HypervisorError>;

    /// Removes a persistent definition; a domain that runs becomes transient.
    fn undefine(&self, server: ServerId) -> Result<(), HypervisorError>;

    /// The same, and what the firmware keeps in a file (NVRAM) stays.
    fn undefine_keeping_nvram(&self, server: ServerId) -> Result<(), HypervisorError>;

    /// Starts a defined domain.
    fn start(&self, server: ServerId) -> Result<(), HypervisorError>;

    /// Asks the guest to shut down, by ACPI.
    fn ask_shutdown(&self, server: ServerId) -> Result<(), HypervisorError>;

    /// Ends the guest at once.
    fn end(&self, server: ServerId) -> Result<(), HypervisorError>;

    /// Stops the guest's vCPUs.
    fn pause(&self, server: ServerId) -> Result<(), HypervisorError>;

    /// Lets the guest's vCPUs go on.
    fn resume(&self, server: ServerId) -> Result<(), HypervisorError>;

    /// The process that a running guest is in, where libvirt left its number and it is to be seen from here.
    fn process(&self, server: ServerId) -> Result<Option<i32>, HypervisorError>;

    /// Moves a running guest to the peer, where it stays paused. Returns with libvirt's final word.
    fn migrate(&self, server: ServerId, migration: &LiveMigration) -> Result<(), HypervisorError>;

    /// Sets the longest stall that a running migration may end with.
    fn set_max_downtime(&self, server: ServerId, milliseconds: u64) -> Result<(), HypervisorError>;

    /// How far the domain's running job has come; none where no job runs.
    fn job(&self, server: ServerId) -> Result<Option<JobProgress>, HypervisorError>;

    /// The figures of the domain's last finished job; none where libvirt has none.
    fn finished_job(&self, server: ServerId) -> Result<Option<JobProgress>, HypervisorError>;

    /// Asks for the end of the domain's running job; none running is a success.
    fn abort_job(&self, server: ServerId) -> Result<(), HypervisorError>;

    /// Whether guests with this CPU (a `<cpu>` element) can run here.
    fn can_run_cpu(
        &self,
        kind: HypervisorType,
        arch: &str,
        machine: &str,
        cpu_xml: &str,
    ) -> Result<bool, HypervisorError>;

    /// Changes whenever a domain's life-cycle changed or the connection was lost or made.
    fn changes(&self) -> watch::Receiver<u64>;
}
