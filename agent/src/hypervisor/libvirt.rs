//! The hypervisor as it is: libvirt's QEMU driver over one connection.

mod connection;

pub use connection::Libvirt;
use connection::{everywhere, find, is_active, report, unless_gone};

use super::disk_sizes::Told;
use super::domain::{DomainReport, DomainState, HostDescription, JobProgress, LiveMigration};
use super::ffi;
use super::{Hypervisor, HypervisorError};
use drover_agent_core::domain::NAMESPACE;
use drover_agent_core::inventory::CpuSample;
use drover_types::{HypervisorType, PowerState, ServerId};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::PoisonError;
use tokio::sync::watch;
use uuid::Uuid;
use virt::domain::{Domain, MigrateParameters};
use virt::error::ErrorNumber;
use virt_sys as sys;

/// Where libvirt's QEMU driver of the system leaves the numbers of its processes, as `<domain>.pid`.
const PROCESSES: &str = "/run/libvirt/qemu";

impl Hypervisor for Libvirt {
    fn host(&self) -> Result<HostDescription, HypervisorError> {
        self.call(|| "describing the host".to_owned(), |open| Ok(open.host.clone()))
    }

    fn pci_devices(&self) -> Result<Vec<String>, HypervisorError> {
        self.call(
            || "listing the PCI devices of the host".to_owned(),
            |open| {
                let devices = open
                    .libvirt
                    .list_all_node_devices(sys::VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV)?;
                let mut described = Vec::with_capacity(devices.len());
                for device in &devices {
                    match device.xml_desc(0) {
                        Ok(xml) => described.push(xml),
                        // It went since it was listed.
                        Err(error) if error.code().is(ErrorNumber::NoNodeDevice) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(described)
            },
        )
    }

    fn cpu_sample(&self) -> Result<Option<CpuSample>, HypervisorError> {
        self.call(
            || "reading the processor times of the host".to_owned(),
            |open| {
                let Some(times) = ffi::cpu_times(&open.libvirt)? else {
                    return Ok(None);
                };
                let node = open.libvirt.node_info()?;
                Ok(Some(CpuSample {
                    frequency_mhz: node.mhz,
                    processors: node.cpus,
                    times,
                }))
            },
        )
    }

    fn domain_capabilities(
        &self,
        kind: HypervisorType,
        arch: &str,
        machine: Option<&str>,
    ) -> Result<String, HypervisorError> {
        self.call(
            || format!("reading what {kind} guests of {arch} can use"),
            |open| {
                open.libvirt
                    .domain_capabilities(None, Some(arch), machine, Some(kind.as_str()), 0)
            },
        )
    }

    fn domains(&self) -> Result<Vec<DomainReport>, HypervisorError> {
        self.call(
            || "listing the domains".to_owned(),
            |open| {
                let statistics = ffi::all_statistics(&open.libvirt)?;
                let mut domains = BTreeMap::new();
                for domain in open.libvirt.list_all_domains(0)? {
                    domains.insert(domain.uuid()?, domain);
                }
                let told = |uuid: &Uuid| -> Told {
                    let values = statistics.get(uuid)?;
                    let disk = |disk| {
                        let name = ffi::text(values, &format!("block.{disk}.name"))?.to_owned();
                        Some((name, ffi::number(values, &format!("block.{disk}.capacity"))))
                    };
                    let disks = ffi::number(values, "block.count")?;
                    Some((0..disks).filter_map(disk).collect())
                };
                let told = domains.keys().map(|uuid| (*uuid, told(uuid))).collect();
                let mut sizes = self.disk_sizes.lock().unwrap_or_else(PoisonError::into_inner);
                let sizes = sizes.learn(told);
                let mut reports = Vec::with_capacity(domains.len());
                for (uuid, domain) in &domains {
                    reports.extend(report(domain, sizes.get(uuid).cloned().unwrap_or_default())?);
                }
                Ok(reports)
            },
        )
    }

    fn domain(&self, server: ServerId) -> Result<Option<DomainReport>, HypervisorError> {
        self.call(
            || format!("reading the domain {server}"),
            |open| match find(open, server)? {
                Some(domain) => report(&domain, BTreeMap::new()),
                None => Ok(None),
            },
        )
    }

    fn state(&self, server: ServerId) -> Result<Option<DomainState>, HypervisorError> {
        self.call(
            || format!("reading the state of domain {server}"),
            |open| match find(open, server)? {
                Some(domain) => unless_gone(ffi::state(&domain)),
                None => Ok(None),
            },
        )
    }

    fn is_persistent(&self, server: ServerId) -> Result<bool, HypervisorError> {
        self.call(
            || format!("reading the state of domain {server}"),
            |open| match find(open, server)? {
                Some(domain) => Ok(unless_gone(domain.is_persistent())?.unwrap_or(false)),
                None => Ok(false),
            },
        )
    }

    fn migratable_xml(&self, server: ServerId) -> Result<String, HypervisorError> {
        let flags = sys::VIR_DOMAIN_XML_SECURE | sys::VIR_DOMAIN_XML_MIGRATABLE;
        self.on_domain("reading the migratable configuration of", server, |domain| {
            domain.xml_desc(flags)
        })
    }

    fn define(&self, server: ServerId, xml: &str) -> Result<(), HypervisorError> {
        self.call(
            || format!("defining domain {server}"),
            |open| {
                let domain = open
                    .libvirt
                    .define_domain_xml_flags(xml, sys::VIR_DOMAIN_DEFINE_VALIDATE)?;
                if domain.autostart()? {
                    domain.set_autostart(false)?;
                }
                Ok(())
            },
        )
    }

    fn set_marks(&self, server: ServerId, element: &str) -> Result<(), HypervisorError> {
        let kind = i32::try_from(sys::VIR_DOMAIN_METADATA_ELEMENT).expect("it is 2");
        self.on_domain("marking domain", server, |domain| {
            domain
                .set_metadata(
                    kind,
                    Some(element),
                    Some("drover"),
                    Some(NAMESPACE),
                    sys::VIR_DOMAIN_AFFECT_LIVE,
                )
                .map(|_| ())
        })
    }

    fn mark(&self, server: ServerId, element: &str) -> Result<(), HypervisorError> {
        let kind = i32::try_from(sys::VIR_DOMAIN_METADATA_ELEMENT).expect("it is 2");
        self.on_domain("marking domain", server, |domain| {
            domain
                .set_metadata(
                    kind,
                    Some(element),
                    Some("drover"),
                    Some(NAMESPACE),
                    everywhere(domain)?,
                )
                .map(|_| ())
        })
    }

    fn definition(&self, server: ServerId) -> Result<Option<String>, HypervisorError> {
        let flags = sys::VIR_DOMAIN_XML_SECURE | sys::VIR_DOMAIN_XML_INACTIVE;
        self.on_domain("reading the definition of domain", server, |domain| {
            if domain.is_persistent()? {
                domain.xml_desc(flags).map(Some)
            } else {
                Ok(None)
            }
        })
    }

    fn autostart(&self, server: ServerId) -> Result<bool, HypervisorError> {
        self.on_domain("reading the autostart of domain", server, Domain::autostart)
    }

    fn set_autostart(&self, server: ServerId, autostart: bool) -> Result<(), HypervisorError> {
        self.on_domain("setting the autostart of domain", server, |domain| {
            domain.set_autostart(autostart).map(|_| ())
        })
    }

    fn grow_disk(&self, server: ServerId, target: &str, size: u64) -> Result<(), HypervisorError> {
        self.on_domain("growing the disk of domain", server, |domain| {
            domain.block_resize(target, size, sys::VIR_DOMAIN_BLOCK_RESIZE_BYTES)
        })
    }

    fn clear_marks(&self, server: ServerId) -> Result<(), HypervisorError> {
        let kind = i32::try_from(sys::VIR_DOMAIN_METADATA_ELEMENT).expect("it is 2");
        self.on_domain("unmarking domain", server, |domain| {
            domain
                .set_metadata(kind, None, None, Some(NAMESPACE), everywhere(domain)?)
                .map(|_| ())
        })
    }

    fn undefine(&self, server: ServerId) -> Result<(), HypervisorError> {
        self.undefine_with(server, sys::VIR_DOMAIN_UNDEFINE_NVRAM)
    }

    fn undefine_keeping_nvram(&self, server: ServerId) -> Result<(), HypervisorError> {
        self.undefine_with(server, sys::VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)
    }

    fn start(&self, server: ServerId) -> Result<(), HypervisorError> {
        self.on_domain("starting domain", server, |domain| {
            if is_active(domain)? {
                Ok(())
            } else {
                domain.create()
            }
        })
    }

    fn ask_shutdown(&self, server: ServerId) -> Result<(), HypervisorError> {
        self.on_domain("asking the guest to shut down, domain", server, |domain| {
            if is_active(domain)? {
                domain.shutdown_flags(sys::VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
            } else {
                Ok(())
            }
        })
    }

    fn end(&self, server: ServerId) -> Result<(), HypervisorError> {
        let ended = self.on_domain("ending domain", server, |domain| {
            if is_active(domain)? {
                domain.destroy()
            } else {
                Ok(())
            }
        });
        match ended {
            Ok(()) | Err(HypervisorError::NoDomain { .. }) => Ok(()),
            // It may have ended by itself between look and call.
            Err(error) => match self.state(server)? {
                Some(state) if state.is_active() => Err(error),
                Some(_) | None => Ok(()),
            },
        }
    }

    fn pause(&self, server: ServerId) -> Result<(), HypervisorError> {
        self.on_domain("pausing domain", server, |domain| {
            match ffi::state(domain)?.power {
                PowerState::Paused => Ok(()),
                PowerState::Running
                | PowerState::NoState
                | PowerState::ShuttingDown
                | PowerState::Shutdown
                | PowerState::Crashed
                | PowerState::Suspended => domain.suspend(),
            }
        })
    }

    fn resume(&self, server: ServerId) -> Result<(), HypervisorError> {
        self.on_domain("resuming domain", server, |domain| {
            match ffi::state(domain)?.power {
                PowerState::Running => Ok(()),
                PowerState::Paused
                | PowerState::NoState
                | PowerState::ShuttingDown
                | PowerState::Shutdown
                | PowerState::Crashed
                | PowerState::Suspended => domain.resume(),
            }
        })
    }

    fn process(&self, server: ServerId) -> Result<Option<i32>, HypervisorError> {
        let name = self.on_domain("naming domain", server, Domain::name)?;
        let file = std::fs::read_to_string(Path::new(PROCESSES).join(format!("{name}.pid")));
        let number: Option<i32> = file.ok().and_then(|number| number.trim().parse().ok());
        // A number that is left over, or of another PID namespace, is some other process's or nobody's.
        let is_its = |number: &i32| {
            std::fs::read_to_string(format!("/proc/{number}/cmdline"))
                .is_ok_and(|command| command.contains(&server.to_string()))
        };
        Ok(number.filter(is_its))
    }

    fn migrate(&self, server: ServerId, migration: &LiveMigration) -> Result<(), HypervisorError> {
        let flags = sys::VIR_MIGRATE_LIVE
            | sys::VIR_MIGRATE_PEER2PEER
            | sys::VIR_MIGRATE_PERSIST_DEST
            | sys::VIR_MIGRATE_ABORT_ON_ERROR
            | sys::VIR_MIGRATE_NON_SHARED_INC
            | sys::VIR_MIGRATE_PAUSED;
        let parameters = MigrateParameters {
            uri: Some(migration.memory_uri.clone()),
            disks_uri: Some(migration.disks_uri.clone()),
            migrate_disks: migration.disks.clone(),
            dest_xml: Some(migration.live_xml.clone()),
            persist_xml: Some(migration.persistent_xml.clone()),
            bandwidth: migration.bandwidth_mib_per_second,
            ..MigrateParameters::default()
        };
        self.on_domain("migrating domain", server, |domain| {
            domain.migrate_to_uri3(Some(&migration.libvirt_uri), parameters, flags)
        })
    }

    fn set_max_downtime(&self, server: ServerId, milliseconds: u64) -> Result<(), HypervisorError> {
        self.on_domain("limiting the downtime of domain", server, |domain| {
            domain.migrate_set_max_downtime(milliseconds, 0).map(|_| ())
        })
    }

    fn job(&self, server: ServerId) -> Result<Option<JobProgress>, HypervisorError> {
        self.on_domain("reading the job of domain", server, |domain| {
            if !is_active(domain)? {
                return Ok(None);
            }
            match ffi::job(domain, false) {
                // The figures of a migration are the source's; here it is only known that it goes on.
                Err(error) if error.code().is(ErrorNumber::OperationInvalid) => {
                    Ok(Some(JobProgress::default()))
                }
                answer => answer,
            }
        })
    }

    fn finished_job(&self, server: ServerId) -> Result<Option<JobProgress>, HypervisorError> {
        self.on_domain("reading the finished job of domain", server, |domain| {
            ffi::job(domain, true)
        })
    }

    fn abort_job(&self, server: ServerId) -> Result<(), HypervisorError> {
        self.on_domain(
            "aborting the job of domain",
            server,
            |domain| match ffi::abort_job(domain) {
                Err(error) if !error.code().is(ErrorNumber::OperationInvalid) => Err(error),
                Ok(()) | Err(_) => Ok(()),
            },
        )
    }

    fn can_run_cpu(
        &self,
        kind: HypervisorType,
        arch: &str,
        machine: &str,
        cpu_xml: &str,
    ) -> Result<bool, HypervisorError> {
        self.call(
            || format!("comparing a CPU with what {kind} guests of {arch} can have"),
            |open| ffi::can_run_cpu(&open.libvirt, arch, machine, kind.as_str(), cpu_xml),
        )
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
