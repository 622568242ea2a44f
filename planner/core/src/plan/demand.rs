//! What servers ask of NUMA cells, by their flavor's extra specs and their image's properties; and what of that
//! cannot be had.

use super::build::Inputs;
use super::settings::ratios;
use super::types::{Finding, Severity};
use crate::executor::NumaOrder;
use crate::model::{DesiredFleet, ImageSpec, RecordedFleet, ServerSpec};
use crate::placement::{Demand, DemandError, Filter, ImageProperties, Needs, Resources};
use drover_numa::{CpuPolicy, GuestCell, NumaLimits, numbered};
use drover_types::Address;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An image's properties by Glance's present names.
pub(super) fn image_properties(properties: &BTreeMap<String, String>) -> ImageProperties {
    const RENAMED: [(&str, &str); 4] = [
        ("architecture", "hw_architecture"),
        ("hypervisor_type", "img_hv_type"),
        ("vm_mode", "hw_vm_mode"),
        ("hypervisor_version_requires", "img_hv_requested_version"),
    ];
    let mut named = properties.clone();
    for (old, new) in RENAMED {
        if let Some(value) = named.remove(old) {
            named.entry(new.to_owned()).or_insert(value);
        }
    }
    ImageProperties(named)
}

/// Whether a server is meant as it is, or as it shall be: its image's properties may be others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AsIt {
    /// As recorded.
    Is,
    /// As declared.
    Shall,
}

fn image_of<'a>(
    desired: &'a DesiredFleet,
    recorded: &'a RecordedFleet,
    spec: &ServerSpec,
    as_it: AsIt,
) -> Option<&'a ImageSpec> {
    let address = spec.image_address()?;
    let declared = desired.images.get(address).map(|image| &image.spec);
    let recorded = recorded.images.get(address).map(|image| &image.spec);
    match as_it {
        AsIt::Is => recorded.or(declared),
        AsIt::Shall => declared.or(recorded),
    }
}

/// What a server asks of cells and devices, whether a filter looks at it or not.
fn asked(
    desired: &DesiredFleet,
    recorded: &RecordedFleet,
    spec: &ServerSpec,
    as_it: AsIt,
) -> Result<Option<Demand>, Vec<DemandError>> {
    let image = image_of(desired, recorded, spec, as_it);
    if spec.size.extra_specs.is_empty() && image.is_none_or(|image| image.properties.is_empty()) {
        return Ok(None);
    }
    let needs = Needs {
        extra_specs: spec.size.extra_specs.clone(),
        image: image
            .map(|image| image_properties(&image.properties))
            .unwrap_or_default(),
        ..Needs::default()
    };
    let wants = Resources {
        vcpus: u64::from(spec.size.vcpus),
        ram_mib: spec.size.ram.mib_ceil(),
        disk_mib: 0,
    };
    Demand::of(&needs, &wants)
}

/// Whether servers get the cells that their flavors ask for.
pub(super) fn gives_cells(desired: &DesiredFleet) -> bool {
    let mut filters = desired.scheduler.filters.iter();
    filters.any(|name| name == Filter::NumaTopology.name())
}

/// What a server asks of cells. One that makes no sense is nothing here, and an error of the plan in [`findings`].
pub(crate) fn demand(
    desired: &DesiredFleet,
    recorded: &RecordedFleet,
    spec: &ServerSpec,
    as_it: AsIt,
) -> Option<Arc<Demand>> {
    if !gives_cells(desired) {
        return None;
    }
    of_cells(asked(desired, recorded, spec, as_it))
}

/// The same of a flavor, whatever the image.
pub(super) fn demand_of_flavor(
    desired: &DesiredFleet,
    needs: &Needs,
    wants: &Resources,
) -> Option<Arc<Demand>> {
    if !gives_cells(desired) {
        return None;
    }
    of_cells(Demand::of(needs, wants))
}

/// What a server takes of cells while it changes from one demand to the other: the one with more processors of its own,
/// or more memory. What it gives up is nobody else's before the change is done.
pub(super) fn larger(now: Option<Arc<Demand>>, then: Option<Arc<Demand>>) -> Option<Arc<Demand>> {
    let size = |demand: &Option<Arc<Demand>>| {
        let cells = demand.iter().flat_map(|demand| &demand.cells);
        cells.fold((0, 0), |(own, memory), cell| match cell.policy {
            CpuPolicy::Dedicated => (own + cell.vcpus, memory + cell.memory_mib),
            CpuPolicy::Shared => (own, memory + cell.memory_mib),
        })
    };
    if size(&now) > size(&then) { now } else { then }
}

/// The cells that a server asks for, whether a filter looks at them or not.
pub(crate) fn cells(
    desired: &DesiredFleet,
    recorded: &RecordedFleet,
    spec: &ServerSpec,
    as_it: AsIt,
) -> Vec<GuestCell> {
    let demand = asked(desired, recorded, spec, as_it).ok().flatten();
    demand.map(|demand| demand.cells).unwrap_or_default()
}

/// Without devices, of which agents report none.
fn of_cells(demand: Result<Option<Demand>, Vec<DemandError>>) -> Option<Arc<Demand>> {
    let Demand { cells, devices: _ } = demand.ok()??;
    let devices = Vec::new();
    (!cells.is_empty()).then(|| Arc::new(Demand { cells, devices }))
}

/// A server's cells as its host is to have them.
pub(super) fn order(inputs: &Inputs<'_>, spec: &ServerSpec, as_it: AsIt) -> Option<NumaOrder> {
    let demand = demand(inputs.desired, inputs.recorded, spec, as_it)?;
    let (ratios, _) = ratios(&inputs.desired.scheduler);
    Some(NumaOrder {
        cells: numbered(&demand.cells),
        limits: NumaLimits {
            cpu_ratio: ratios.cpu,
            ram_ratio: ratios.ram,
        },
    })
}

/// What servers ask that makes no sense, that no host reports, or that nothing configured looks at: none of them is
/// placed as if it had asked for nothing.
pub(super) fn findings(inputs: &Inputs<'_>) -> Vec<Finding> {
    let Inputs {
        desired, recorded, ..
    } = inputs;
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for (address, server) in &desired.servers {
        let spec = &server.spec;
        // What one server of a flavor and image says, all of them would.
        if !seen.insert((&spec.size, spec.image_address())) {
            continue;
        }
        let mut find = |message: String, hint: &str| {
            findings.push(Finding {
                severity: Severity::Error,
                address: Some(address.clone()),
                message,
                hint: hint.to_owned(),
            });
        };
        let (flavor, hidden) = (&spec.flavor, hides(desired, recorded, spec));
        let demand = match asked(desired, recorded, spec, AsIt::Shall) {
            Ok(demand) => demand.unwrap_or_default(),
            Err(_) if hidden => {
                let what =
                    format!("{flavor} asks for NUMA cells in a way that cannot be, which is sensitive");
                find(what, CORRECT);
                continue;
            }
            Err(errors) => {
                for error in errors {
                    find(format!("{flavor}: {error}"), CORRECT);
                }
                continue;
            }
        };
        if !demand.devices.is_empty() {
            find(
                format!("{flavor} asks for devices (pci_passthrough:alias), and agents report none"),
                "take pci_passthrough:alias out of its extra specs; it works in scenario files only",
            );
        }
        if !demand.cells.is_empty() && !gives_cells(desired) {
            let filter = Filter::NumaTopology;
            find(
                format!(
                    "{flavor} or its image asks for NUMA cells, which {filter} alone looks at, and that is not configured"
                ),
                &format!("add \"{filter}\" to filters in the scheduler block"),
            );
        }
    }
    findings.extend(imported(inputs));
    findings
}

const CORRECT: &str = "correct the extra specs of the flavor, or the properties of the image";

/// An imported server stays as it was found, wherever it is pinned or not.
fn imported(inputs: &Inputs<'_>) -> Vec<Finding> {
    let Inputs {
        desired, recorded, ..
    } = inputs;
    let is_imported = |address: &Address| match recorded.servers.get(address) {
        Some(record) => record.imported_from.is_some(),
        None => desired.imports.contains_key(address),
    };
    let servers = desired.servers.iter();
    servers
        .filter(|(address, _)| is_imported(address))
        .filter(|(_, server)| demand(desired, recorded, &server.spec, AsIt::Shall).is_some())
        .map(|(address, server)| Finding {
            severity: Severity::Error,
            address: Some(address.clone()),
            message: format!(
                "{} asks for NUMA cells, and an imported server stays as it was found",
                server.spec.flavor
            ),
            hint: "give it a flavor of its size without hw:… in its extra specs".to_owned(),
        })
        .collect()
}

fn hides(desired: &DesiredFleet, recorded: &RecordedFleet, spec: &ServerSpec) -> bool {
    let image = image_of(desired, recorded, spec, AsIt::Shall);
    spec.sensitive.contains("extra_specs")
        || image.is_some_and(|image| image.sensitive.contains("properties"))
}
