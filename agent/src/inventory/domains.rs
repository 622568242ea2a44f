//! Every domain of the host as the planner sees it: state, marks, what this host holds, and how it differs
//! from what was rendered.

use crate::hypervisor::DomainReport;
use crate::server::{Kept, taken, taken_devices};
use drover_agent_core::domain::{
    Attribute, DomainMetadata, DomainSpec, Place, found_disks, read_back, read_metadata, runs_otherwise,
};
use drover_agent_core::handover::{HandoverLog, HandoverSide};
use drover_numa::{CellUse, NumaCell};
use drover_proto::v1;
use drover_types::{ByteSize, Epoch, OperationId};

/// What the log says of one server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) epoch: Option<Epoch>,
    /// The highest ever named for it.
    pub(super) highest: Option<Epoch>,
    pub(super) handover: Option<(OperationId, HandoverLog)>,
}

/// One domain on the wire. `kept` is the server's record, where the domain is or was one of ours.
pub(super) fn domain(
    report: &DomainReport,
    held: &Held,
    kept: Option<&Kept>,
    cells: &[NumaCell],
) -> v1::Domain {
    let xml = report.xml();
    let disk = kept.map_or_else(|| report.disk_sizes.values().sum(), Kept::disk_bytes);
    // Of a guest that is still arriving only the record made for it tells.
    let arriving = match kept {
        Some(Kept::Made(file)) if xml.is_empty() => Some(&file.spec),
        Some(Kept::Made(_) | Kept::Found(_)) | None => None,
    };
    let mark = arriving.map_or_else(|| mark(xml), |spec| Some(to_wire(&spec.metadata)));
    v1::Domain {
        uuid: report.uuid.to_string(),
        name: report.name.clone(),
        power_state: report.state.power.to_string(),
        reason: report.state.reason.to_owned(),
        vcpus: arriving.map_or(report.vcpus, |spec| spec.vcpus.get()),
        ram_mib: arriving
            .map_or(report.memory_kib, DomainSpec::memory_kib)
            .div_ceil(1024),
        disk_mib: ByteSize::from_bytes(disk).mib_ceil(),
        persistent: report.persistent,
        held_epoch: held.epoch.unwrap_or_default().get(),
        drift: if mark.is_none() && held.epoch.is_none() {
            running_otherwise(report)
        } else {
            kept.map(|kept| differences(report, kept)).unwrap_or_default()
        },
        mark,
        migration: held
            .handover
            .as_ref()
            .map(|(operation, handover)| side(*operation, handover)),
        disks: disks(report, xml),
        arch: read_back(xml)
            .ok()
            .and_then(|mut found| found.remove(&Attribute::Architecture))
            .unwrap_or_default(),
        highest_epoch: held.highest.unwrap_or_default().get(),
        cells: taken(Some(report), kept, cells).iter().map(use_to_wire).collect(),
        pci_devices: (taken_devices(Some(report), kept).iter())
            .map(ToString::to_string)
            .collect(),
    }
}

/// What a guest takes of a cell, on the wire.
pub(crate) fn use_to_wire(taken: &CellUse) -> v1::CellUse {
    v1::CellUse {
        cell: taken.cell,
        vcpus: taken.vcpus,
        pinned: taken.pinned.iter().copied().collect(),
        memory_mib: taken.memory_mib,
        page_kib: taken.page_kib.unwrap_or(0),
    }
}

/// A mark that somebody damaged is reported as none; the drift names what was changed.
fn mark(xml: &str) -> Option<v1::DomainMark> {
    let ours = read_metadata(xml).ok().flatten()?;
    Some(to_wire(&ours))
}

fn to_wire(ours: &DomainMetadata) -> v1::DomainMark {
    v1::DomainMark {
        fleet: ours.fleet.to_string(),
        project: ours.project.to_string(),
        server_id: ours.id.to_string(),
        address: ours.address.to_string(),
        epoch: ours.epoch.get(),
        generation: ours.generation.get(),
    }
}

fn disks(report: &DomainReport, xml: &str) -> Vec<v1::DomainDisk> {
    let found = found_disks(xml).unwrap_or_default();
    found
        .into_iter()
        .map(|disk| v1::DomainDisk {
            capacity_bytes: report.disk_sizes.get(&disk.target).copied().unwrap_or(0),
            target: disk.target,
            device: disk.device,
            source: disk.source,
        })
        .collect()
}

/// In what a guest that is nobody's does not run as it is defined.
fn running_otherwise(report: &DomainReport) -> Vec<v1::AttributeDrift> {
    let (Some(live), Some(defined)) = (&report.live_xml, &report.persistent_xml) else {
        return Vec::new();
    };
    runs_otherwise(live, defined)
        .into_iter()
        .map(|(attribute, expected, found)| v1::AttributeDrift {
            heals_live: false,
            attribute: attribute.to_string(),
            expected,
            found,
            configuration: "live".to_owned(),
        })
        .collect()
}

fn differences(report: &DomainReport, kept: &Kept) -> Vec<v1::AttributeDrift> {
    kept.differences(report.live_xml.as_deref(), report.persistent_xml.as_deref())
        .into_iter()
        .map(|found| v1::AttributeDrift {
            heals_live: found.attribute.is_changed_live(),
            attribute: found.attribute.to_string(),
            expected: found.expected.unwrap_or_default(),
            found: found.found.unwrap_or_default(),
            configuration: match found.place {
                Place::Live => "live",
                Place::Persistent => "persistent",
            }
            .to_owned(),
        })
        .collect()
}

fn side(operation: OperationId, handover: &HandoverLog) -> v1::MigrationSide {
    v1::MigrationSide {
        operation_id: operation.to_string(),
        side: match handover.side {
            HandoverSide::Source { .. } => "source",
            HandoverSide::Destination(_) => "destination",
        }
        .to_owned(),
        peer: handover.peer.to_string(),
    }
}
