//! What the hypervisor reports: the host, its domains, a job's progress.

use drover_types::PowerState;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The host as libvirt describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostDescription {
    /// Its name.
    pub hostname: String,
    /// Number of CPUs that are online.
    pub cpus: u32,
    /// Memory in KiB.
    pub memory_kib: u64,
    /// Processor sockets.
    pub sockets: u32,
    /// Cores per socket.
    pub cores: u32,
    /// Threads per core.
    pub threads: u32,
    /// Capabilities of the host and of its emulators, as XML.
    pub capabilities_xml: String,
    /// The hypervisor's version: major * 1,000,000 + minor * 1,000 + release.
    pub hypervisor_version: u64,
    /// libvirt's version, in the same form.
    pub libvirt_version: u64,
}

impl HostDescription {
    /// User and group that QEMU runs as, where libvirt's capabilities name them in numbers.
    #[must_use]
    pub fn qemu_owner(&self) -> Option<(u32, u32)> {
        let (_, dac) = self.capabilities_xml.split_once("<model>dac</model>")?;
        let (dac, _) = dac.split_once("</secmodel>")?;
        let (_, label) = dac.split_once("<baselabel")?;
        let (label, _) = label.split_once('>')?.1.split_once('<')?;
        let (user, group) = label.split_once(':')?;
        Some((
            user.strip_prefix('+')?.parse().ok()?,
            group.strip_prefix('+')?.parse().ok()?,
        ))
    }
}

/// A domain's state and why it is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DomainState {
    /// The state.
    pub power: PowerState,
    /// The reason, in the words of `virsh domstate --reason`.
    pub reason: &'static str,
}

impl DomainState {
    /// From libvirt's two numbers (`virDomainState` and the reason that belongs to it).
    #[must_use]
    pub fn from_libvirt(state: i32, reason: i32) -> Self {
        let (power, reasons): (PowerState, &[&str]) = match state {
            // Blocked on a resource is running to everybody but Xen.
            1 | 2 => (
                PowerState::Running,
                &[
                    "unknown",
                    "booted",
                    "migrated",
                    "restored",
                    "from snapshot",
                    "unpaused",
                    "migration canceled",
                    "save canceled",
                    "event wakeup",
                    "crashed",
                    "post-copy",
                    "post-copy failed",
                ],
            ),
            3 => (
                PowerState::Paused,
                &[
                    "unknown",
                    "user",
                    "migrating",
                    "saving",
                    "dumping",
                    "I/O error",
                    "watchdog",
                    "from snapshot",
                    "shutting down",
                    "creating snapshot",
                    "crashed",
                    "starting up",
                    "post-copy",
                    "post-copy failed",
                    "api error",
                ],
            ),
            4 => (PowerState::ShuttingDown, &["unknown", "user"]),
            5 => (
                PowerState::Shutdown,
                &[
                    "unknown",
                    "shutdown",
                    "destroyed",
                    "crashed",
                    "migrated",
                    "saved",
                    "failed",
                    "from snapshot",
                    "daemon",
                ],
            ),
            6 => (PowerState::Crashed, &["unknown", "panicked"]),
            7 => (PowerState::Suspended, &["unknown"]),
            _ => (PowerState::NoState, &["unknown"]),
        };
        let reason = usize::try_from(reason).ok().and_then(|place| reasons.get(place));
        Self {
            power,
            reason: reason.copied().unwrap_or("unknown"),
        }
    }

    /// Whether a QEMU process stands behind it.
    #[must_use]
    pub fn is_active(self) -> bool {
        match self.power {
            PowerState::Running | PowerState::Paused | PowerState::ShuttingDown | PowerState::Suspended => {
                true
            }
            PowerState::NoState | PowerState::Shutdown | PowerState::Crashed => false,
        }
    }
}

/// One domain of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainReport {
    /// Its UUID; the server's id where it is one of ours.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: DomainState,
    /// Whether it has a persistent definition.
    pub persistent: bool,
    /// Number of vCPUs.
    pub vcpus: u32,
    /// Memory it may use at most, in KiB.
    pub memory_kib: u64,
    /// Virtual size of each of its disks and media in bytes, by target; none that libvirt could not tell, and none
    /// when a single domain was asked for.
    pub disk_sizes: BTreeMap<String, u64>,
    /// The running configuration, where it is active; none of a guest that is still arriving, which counts
    /// no vCPUs and memory here either.
    pub live_xml: Option<String>,
    /// The persistent configuration, where there is one.
    pub persistent_xml: Option<String>,
}

impl DomainReport {
    /// What the guest has, or will have when it is started.
    #[must_use]
    pub fn xml(&self) -> &str {
        self.live_xml
            .as_deref()
            .or(self.persistent_xml.as_deref())
            .unwrap_or_default()
    }
}

/// A migration of a running guest to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveMigration {
    /// The peer's libvirtd, as seen from here.
    pub libvirt_uri: String,
    /// Where the guest's memory is sent.
    pub memory_uri: String,
    /// Where the guest's disks are sent.
    pub disks_uri: String,
    /// The disks to copy, by target name; never empty, since an empty list means every disk.
    pub disks: Vec<String>,
    /// The domain as it is to run at the peer.
    pub live_xml: String,
    /// The domain as it is to be defined at the peer.
    pub persistent_xml: String,
    /// Limit of the bandwidth in MiB/s, where there is one.
    pub bandwidth_mib_per_second: Option<u64>,
}

/// How far a job has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobProgress {
    /// Time so far, in milliseconds.
    pub elapsed_ms: u64,
    /// Bytes to move in all.
    pub total_bytes: u64,
    /// Bytes moved.
    pub processed_bytes: u64,
    /// Bytes left.
    pub remaining_bytes: u64,
    /// Bytes that the guest dirties per second.
    pub dirty_bytes_per_second: u64,
    /// How long the guest stood still, in milliseconds, once it is known.
    pub downtime_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libvirts_numbers_become_words() {
        for (state, reason, power, word) in [
            (1, 1, PowerState::Running, "booted"),
            (1, 5, PowerState::Running, "unpaused"),
            (3, 1, PowerState::Paused, "user"),
            (3, 2, PowerState::Paused, "migrating"),
            (5, 4, PowerState::Shutdown, "migrated"),
            (5, 99, PowerState::Shutdown, "unknown"),
            (5, -1, PowerState::Shutdown, "unknown"),
            (-1, -1, PowerState::NoState, "unknown"),
        ] {
            let found = DomainState::from_libvirt(state, reason);
            assert_eq!(
                found,
                DomainState { power, reason: word },
                "state {state}, reason {reason}"
            );
        }
    }
}
