//! Taking over a domain that somebody else made, as it is; and bringing it back to that.
//!
//! What is changed in libvirt is our mark and autostart, in this order after our own record of them, so that every
//! step can be taken again or taken back.

use super::change::{RESIZE_GRACE, Restart, apply_power, is_renamed};
use super::domain::ServerHere;
use super::failure::WorkError;
use super::found::{FoundServer, FoundSize, Kept};
use super::request::WantedServer;
use crate::agent::Agent;
use crate::hypervisor::DomainReport;
use crate::operations::OperationHandle;
use drover_agent_core::domain::{
    Attribute, DomainMetadata, found_disks, read_metadata, runs_otherwise, without_mark,
};
use drover_agent_core::oplog::Record;
use drover_agent_core::power::WantedPower;
use drover_proto::field::{self, FieldError};
use drover_proto::v1;
use drover_types::{Epoch, FleetName, Generation, PowerState, ProjectName};

/// What is to be taken over.
#[derive(Debug, Clone)]
pub(crate) struct Adoption {
    /// Whose it will be.
    pub(crate) mark: DomainMetadata,
    /// As it was planned with; its disks in whole MiB.
    size: FoundSize,
}

impl Adoption {
    /// Parses a request.
    ///
    /// # Errors
    /// The first field that does not hold what it must.
    pub(crate) fn parse(
        fleet: FleetName,
        project: ProjectName,
        message: &v1::AdoptServerRequest,
    ) -> Result<Self, FieldError> {
        Ok(Self {
            mark: DomainMetadata {
                fleet,
                project,
                id: field::parse("server_id", &message.server_id)?,
                address: field::parse("address", &message.address)?,
                epoch: Epoch::new(message.epoch),
                generation: Generation::new(message.generation),
            },
            size: FoundSize {
                vcpus: message.vcpus,
                ram_mib: message.ram_mib,
                disk_bytes: message.disk_mib.saturating_mul(1 << 20),
            },
        })
    }
}

/// Takes the domain over. The epoch's grant is in the log already. Repeated after a restart it goes on.
pub(crate) async fn adopt(
    agent: &Agent,
    wanted: Adoption,
    operation: &OperationHandle,
) -> Result<v1::ServerResult, WorkError> {
    let here = ServerHere::new(agent, wanted.mark.id);
    match take(agent, &here, &wanted, operation).await {
        Ok(result) => Ok(result),
        Err(error) => {
            // Half taken over it would be nobody's and not to be asked for again.
            here.until_libvirt_answers(operation).await;
            give_back(&here, wanted.mark.epoch).await?;
            let server = here.id();
            operation
                .log()
                .append(vec![Record::Gone { server }])
                .await
                .map_err(WorkError::Log)?;
            Err(error)
        }
    }
}

/// Takes back what an adoption under this epoch did.
async fn give_back(here: &ServerHere<'_>, epoch: Epoch) -> Result<(), WorkError> {
    match here.kept().await? {
        Some(Kept::Found(found)) if found.mark.epoch == epoch => {
            here.release_found(&found).await?;
            here.forget_found().await
        }
        Some(Kept::Found(_) | Kept::Made(_)) | None => Ok(()),
    }
}

async fn take(
    agent: &Agent,
    here: &ServerHere<'_>,
    wanted: &Adoption,
    operation: &OperationHandle,
) -> Result<v1::ServerResult, WorkError> {
    let server = here.id();
    let conflict = |expected: &'static str, found: String| WorkError::Conflict {
        server,
        expected,
        found,
    };
    operation.phase("looking at the domain");
    let domains = agent
        .hypervisor
        .run("listing the domains", |hypervisor| hypervisor.domains())
        .await
        .map_err(|source| WorkError::Domains { source })?;
    let domain = domains
        .into_iter()
        .find(|domain| domain.uuid == server.uuid())
        .ok_or_else(|| conflict("a domain of this id", "none".to_owned()))?;
    check(&domain, wanted)?;
    let xml = here
        .definition()
        .await?
        .and_then(|xml| without_mark(&xml).ok())
        .ok_or_else(|| conflict("a definition that can be read", "none".to_owned()))?;
    // After a restart in the middle autostart may be off already: then it is known from before.
    let before = match here.kept().await? {
        Some(Kept::Found(found)) if found.mark == wanted.mark => Some(found.autostart),
        Some(Kept::Found(_) | Kept::Made(_)) | None => None,
    };
    let autostart = match before {
        Some(autostart) => autostart,
        None => here.autostart().await?,
    };
    let found = FoundServer::new(wanted.mark.clone(), xml, size(&domain), autostart);
    operation.phase("marking the domain");
    here.write_found(found.clone()).await?;
    if autostart {
        here.set_autostart(false).await?;
    }
    here.mark(&found.mark).await?;
    let power = match domain.state.power {
        PowerState::Running | PowerState::ShuttingDown | PowerState::Suspended | PowerState::NoState => {
            WantedPower::On
        }
        PowerState::Paused => WantedPower::Paused,
        PowerState::Shutdown | PowerState::Crashed => WantedPower::Off,
    };
    operation
        .log()
        .append(vec![Record::PowerWanted { server, power }])
        .await
        .map_err(WorkError::Log)?;
    here.result(wanted.mark.epoch).await
}

/// Whether the domain may be taken over.
fn check(domain: &DomainReport, wanted: &Adoption) -> Result<(), WorkError> {
    let server = wanted.mark.id;
    let conflict = |expected: &'static str, found: String| {
        Err(WorkError::Conflict {
            server,
            expected,
            found,
        })
    };
    let Some(defined) = &domain.persistent_xml else {
        return conflict(
            "a persistent domain",
            "a transient one, which nobody could start again; define it with virsh first".to_owned(),
        );
    };
    for xml in [Some(defined), domain.live_xml.as_ref()].into_iter().flatten() {
        match read_metadata(xml) {
            Ok(None) => {}
            Ok(Some(mark)) if mark == wanted.mark => {}
            Ok(Some(mark)) => {
                return conflict(
                    "a domain that is nobody's",
                    format!("{} of fleet {}, server {}", mark.address, mark.fleet, mark.id),
                );
            }
            Err(_) => {
                return conflict(
                    "a domain that is nobody's",
                    "one with a mark of Drover that does not read".to_owned(),
                );
            }
        }
    }
    let found = size(domain);
    let same = found.vcpus == wanted.size.vcpus
        && found.ram_mib == wanted.size.ram_mib
        && found.disk_mib() == wanted.size.disk_mib();
    if !same {
        return conflict(
            "a domain of the size that was planned with",
            format!("{}, not {}", found.words(), wanted.size.words()),
        );
    }
    let live = domain.live_xml.as_deref().unwrap_or(defined);
    let marks = |attribute: &Attribute| attribute.is_changed_live();
    let otherwise: Vec<String> = runs_otherwise(live, defined)
        .into_iter()
        .filter(|(attribute, _, _)| !marks(attribute))
        .map(|(attribute, defined, runs)| format!("{attribute} {runs:?} instead of {defined:?}"))
        .collect();
    if !otherwise.is_empty() {
        return conflict(
            "a guest that runs as it is defined",
            format!("one with {}", otherwise.join(", ")),
        );
    }
    Ok(())
}

fn size(domain: &DomainReport) -> FoundSize {
    let own = found_disks(domain.xml()).unwrap_or_default();
    let own = own.iter().filter(|disk| disk.is_own());
    FoundSize {
        vcpus: domain.vcpus,
        ram_mib: domain.memory_kib.div_ceil(1024),
        disk_bytes: own.filter_map(|disk| domain.disk_sizes.get(&disk.target)).sum(),
    }
}

/// Brings a server that was taken over back to what it was found as, under the marks that are wanted now.
pub(super) async fn restore(
    here: &ServerHere<'_>,
    before: FoundServer,
    wanted: &WantedServer,
    (epoch, restart): (Epoch, Restart),
    operation: &OperationHandle,
) -> Result<v1::ServerResult, WorkError> {
    let server = wanted.id;
    let size = FoundSize {
        vcpus: wanted.vcpus.get(),
        ram_mib: wanted.memory.mib_ceil(),
        disk_bytes: wanted.disk_bytes,
    };
    let as_found = before.size();
    let disk_fits = as_found.disk_bytes == 0 || as_found.disk_mib() == size.disk_mib();
    if (as_found.vcpus, as_found.ram_mib) != (size.vcpus, size.ram_mib) || !disk_fits {
        return Err(WorkError::Conflict {
            server,
            expected: "the size with which it was taken over",
            found: format!("{}, not {}", size.words(), as_found.words()),
        });
    }
    let after = FoundServer {
        mark: super::build::metadata(wanted, epoch),
        ..before
    };
    let kept = Kept::Found(Box::new(after.clone()));
    let domain = here.report().await?;
    let differs = |live: Option<&str>, persistent: Option<&str>| -> Vec<String> {
        let all = kept.differences(live, persistent).into_iter();
        let rest = all.filter(|one| !one.attribute.is_changed_live());
        rest.map(|one| one.attribute.to_string()).collect()
    };
    let live = differs(
        domain.as_ref().and_then(|domain| domain.live_xml.as_deref()),
        None,
    );
    if restart == Restart::Refused && !live.is_empty() {
        return Err(WorkError::Conflict {
            server,
            expected: "a guest that need not be restarted, as planned",
            found: format!("one that runs with another {}", live.join(", ")),
        });
    }
    here.write_found(after.clone()).await?;
    let defined = domain
        .as_ref()
        .and_then(|domain| domain.persistent_xml.as_deref());
    let redefined = defined.is_none_or(|xml| !differs(None, Some(xml)).is_empty());
    if redefined {
        operation.phase("defining the domain");
        if domain
            .as_ref()
            .is_some_and(|domain| is_renamed(domain, &after.definition()))
        {
            // libvirt takes no other name for a UUID that it knows.
            here.shut_down(RESIZE_GRACE).await?;
            here.undefine_keeping_nvram().await?;
        }
        here.define_xml(after.definition()).await?;
    }
    if !live.is_empty() {
        operation.phase("restarting the guest");
        here.shut_down(RESIZE_GRACE).await?;
    }
    here.mark(&after.mark).await?;
    let power = wanted.power;
    operation
        .log()
        .append(vec![Record::PowerWanted { server, power }])
        .await
        .map_err(WorkError::Log)?;
    apply_power(here, power, RESIZE_GRACE, operation).await?;
    here.result(epoch).await
}
