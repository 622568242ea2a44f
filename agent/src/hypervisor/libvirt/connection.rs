//! The connection to libvirt: made at the first call and again when libvirtd was restarted; and how domains are found
//! and read over it.

use super::super::disk_sizes::DiskSizes;
use super::super::domain::{DomainReport, DomainState, HostDescription};
use super::super::event::{self, WatchedConnection};
use super::super::ffi;
use super::super::{HypervisorError, LibvirtFailure};
use drover_agent_core::domain::{Attribute, read_back};
use drover_types::{PowerState, ServerId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use virt::domain::Domain;
use virt::error::{Error, ErrorNumber};
use virt_sys as sys;

/// libvirt's QEMU driver at a URI.
pub struct Libvirt {
    uri: String,
    connection: Mutex<Option<Arc<Connection>>>,
    pub(super) disk_sizes: Mutex<DiskSizes>,
    pub(super) changed: watch::Sender<u64>,
}

/// One connection, and what libvirt said of the host when it was made.
pub(super) struct Connection {
    pub(super) libvirt: WatchedConnection,
    pub(super) host: HostDescription,
}

impl Libvirt {
    /// Will connect to `uri` (for example `qemu:///system`) at the first call.
    #[must_use]
    pub fn new(uri: String) -> Self {
        event::start();
        Self {
            uri,
            connection: Mutex::new(None),
            disk_sizes: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }

    pub(super) fn connection(&self, attempt: &str) -> Result<Arc<Connection>, HypervisorError> {
        let mut slot = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = slot.as_ref()
            && open.libvirt.is_alive().unwrap_or(false)
        {
            return Ok(Arc::clone(open));
        }
        *slot = None;
        let open = self.open().map_err(|error| HypervisorError::Unavailable {
            attempt: attempt.to_owned(),
            source: failure(&error),
        })?;
        let open = Arc::new(open);
        *slot = Some(Arc::clone(&open));
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
        Ok(open)
    }

    fn open(&self) -> Result<Connection, Error> {
        let libvirt = WatchedConnection::open(&self.uri, &self.changed)?;
        let node = libvirt.node_info()?;
        let host = HostDescription {
            hostname: libvirt.hostname()?,
            cpus: node.cpus,
            memory_kib: node.memory,
            sockets: node.sockets.saturating_mul(node.nodes.max(1)),
            cores: node.cores,
            threads: node.threads,
            capabilities_xml: libvirt.capabilities()?,
            hypervisor_version: u64::from(libvirt.hyp_version()?),
            libvirt_version: u64::from(libvirt.lib_version()?),
        };
        Ok(Connection { libvirt, host })
    }

    pub(super) fn call<T>(
        &self,
        attempt: impl FnOnce() -> String,
        call: impl FnOnce(&Connection) -> Result<T, Error>,
    ) -> Result<T, HypervisorError> {
        let attempt = attempt();
        let open = self.connection(&attempt)?;
        call(&open).map_err(|error| {
            let source = failure(&error);
            // An error of the RPC layer may be the peer's, of a migration: only the connection tells.
            if open.libvirt.is_alive().unwrap_or(false) {
                return HypervisorError::Failed { attempt, source };
            }
            let mut slot = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
            if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, &open)) {
                *slot = None;
            }
            HypervisorError::Unavailable { attempt, source }
        })
    }

    pub(super) fn undefine_with(
        &self,
        server: ServerId,
        nvram: sys::virDomainUndefineFlagsValues,
    ) -> Result<(), HypervisorError> {
        let flags = sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
            | sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
            | nvram;
        self.call(
            || format!("undefining domain {server}"),
            |open| match find(open, server)? {
                Some(domain) if domain.is_persistent()? => {
                    unless_gone(domain.undefine_flags(flags)).map(|_| ())
                }
                Some(_) | None => Ok(()),
            },
        )
    }

    pub(super) fn on_domain<T>(
        &self,
        attempt: &str,
        server: ServerId,
        call: impl FnOnce(&Domain) -> Result<T, Error>,
    ) -> Result<T, HypervisorError> {
        let found = self.call(
            || format!("{attempt} {server}"),
            |open| match find(open, server)? {
                Some(domain) => unless_gone(call(&domain)),
                None => Ok(None),
            },
        )?;
        found.ok_or_else(|| HypervisorError::NoDomain {
            attempt: attempt.to_owned(),
            server,
        })
    }
}

/// The running configuration and the persistent one, as far as they are there.
pub(super) fn everywhere(domain: &Domain) -> Result<sys::virDomainModificationImpact, Error> {
    let mut places = 0;
    if is_active(domain)? {
        places |= sys::VIR_DOMAIN_AFFECT_LIVE;
    }
    if domain.is_persistent()? {
        places |= sys::VIR_DOMAIN_AFFECT_CONFIG;
    }
    Ok(places)
}

fn failure(error: &Error) -> LibvirtFailure {
    LibvirtFailure {
        code: error.code().to_raw(),
        domain: error.domain().to_raw(),
        message: error.message().to_owned(),
    }
}

/// A domain that went away during a call is no failure of libvirt.
pub(super) fn unless_gone<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code().is(ErrorNumber::NoDomain) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn find(open: &Connection, server: ServerId) -> Result<Option<Domain>, Error> {
    unless_gone(open.libvirt.lookup_domain_by_uuid(server.uuid()))
}

/// `None` where the domain went away meanwhile.
pub(super) fn report(
    domain: &Domain,
    disk_sizes: BTreeMap<String, u64>,
) -> Result<Option<DomainReport>, Error> {
    let read = || -> Result<DomainReport, Error> {
        let state = ffi::state(domain)?;
        let persistent = domain.is_persistent()?;
        // libvirt describes an incoming guest only when all of it is there, and waits up to 30 s for that.
        let incoming = state.power == PowerState::Paused && state.reason == "migrating" && !persistent;
        let live_xml = if state.is_active() && !incoming {
            Some(domain.xml_desc(0)?)
        } else {
            None
        };
        let persistent_xml = if persistent {
            Some(domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?)
        } else {
            None
        };
        // virDomainGetInfo may wait for a job as well; the XML says the same.
        let shown = live_xml
            .as_deref()
            .or(persistent_xml.as_deref())
            .unwrap_or_default();
        let shown = read_back(shown).unwrap_or_default();
        let value = |attribute| shown.get(&attribute).map_or("", String::as_str);
        Ok(DomainReport {
            uuid: domain.uuid()?,
            name: domain.name()?,
            state,
            persistent,
            vcpus: value(Attribute::Vcpus).parse().unwrap_or(0),
            memory_kib: value(Attribute::MemoryKib).parse().unwrap_or(0),
            disk_sizes,
            live_xml,
            persistent_xml,
        })
    };
    unless_gone(read())
}

pub(super) fn is_active(domain: &Domain) -> Result<bool, Error> {
    ffi::state(domain).map(DomainState::is_active)
}
