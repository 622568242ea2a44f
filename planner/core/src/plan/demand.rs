//! What servers ask of NUMA cells and PCI devices, by their flavor's extra specs and their image's properties; and
//! what of that cannot be had.

use super::build::Inputs;
use super::settings::ratios;
use super::types::{Finding, Severity};
use super::world::resources;
use crate::executor::{DeviceOrder, NumaOrder};
use crate::model::{DesiredFleet, ImageSpec, RecordedFleet, ServerSpec};
use crate::placement::{Demand, DemandError, Filter, ImageProperties, Name, Needs, Resources};
use drover_numa::{CpuPolicy, NumaLimits, numbered};
use drover_types::{Address, PciKind};
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

/// Whether servers get the cells, and the devices, that their flavors ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gives {
    pub(super) cells: bool,
    pub(super) devices: bool,
}

impl Gives {
    pub(super) fn of(desired: &DesiredFleet) -> Self {
        let looks = |filter: Filter| {
            let mut filters = desired.scheduler.filters.iter();
            filters.any(|name| name == filter.name())
        };
        Self {
            cells: looks(Filter::NumaTopology),
            devices: looks(Filter::PciPassthrough),
        }
    }

    pub(super) const fn anything(self) -> bool {
        self.cells || self.devices
    }

    /// What is asked, without what nothing configured looks at.
    fn of_what_is_asked(self, demand: Result<Option<Demand>, Vec<DemandError>>) -> Option<Arc<Demand>> {
        let mut demand = demand.ok()??;
        if !self.cells {
            demand.cells.clear();
        }
        if !self.devices {
            demand.devices.clear();
        }
        (demand != Demand::default()).then(|| Arc::new(demand))
    }
}

/// What a server asks of cells and devices. What makes no sense is nothing here, and an error of the plan in
/// [`findings`].
pub(crate) fn demand(
    desired: &DesiredFleet,
    recorded: &RecordedFleet,
    spec: &ServerSpec,
    as_it: AsIt,
) -> Option<Arc<Demand>> {
    let gives = Gives::of(desired);
    if !gives.anything() {
        return None;
    }
    gives.of_what_is_asked(asked(desired, recorded, spec, as_it))
}

/// The same of a flavor, whatever the image.
pub(super) fn demand_of_flavor(
    desired: &DesiredFleet,
    needs: &Needs,
    wants: &Resources,
) -> Option<Arc<Demand>> {
    let gives = Gives::of(desired);
    if !gives.anything() {
        return None;
    }
    gives.of_what_is_asked(Demand::of(needs, wants))
}

/// What a server takes while it changes from one demand to the other: the cells with more processors of its own, or more
/// memory, and all devices of both. What it gives up is nobody else's before the change is done.
pub(super) fn larger(
    desired: &DesiredFleet,
    now: Option<Arc<Demand>>,
    then: Option<Arc<Demand>>,
) -> Option<Arc<Demand>> {
    let (now, then) = match (now, then) {
        (Some(now), Some(then)) if now != then => (now, then),
        (one, other) => return one.or(other),
    };
    let size = |demand: &Demand| {
        let cells = demand.cells.iter();
        cells.fold((0, 0), |(own, memory), cell| {
            let more = match cell.policy {
                CpuPolicy::Dedicated => cell.vcpus,
                CpuPolicy::Shared => 0,
            };
            (own + more, memory + cell.memory_mib)
        })
    };
    let cells = if size(&now) > size(&then) { &now } else { &then };
    Some(Arc::new(Demand {
        cells: cells.cells.clone(),
        devices: all_devices(&desired.scheduler.pci_aliases, &now.devices, &then.devices),
    }))
}

/// Devices of both demands; of aliases that mean the same kinds, those of the demand that asks for more.
fn all_devices(
    aliases: &BTreeMap<String, Vec<PciKind>>,
    now: &[(Name, u64)],
    then: &[(Name, u64)],
) -> Vec<(Name, u64)> {
    let kinds = |alias: &Name| -> BTreeSet<PciKind> {
        let kinds = aliases.get(alias.as_str()).into_iter().flatten();
        kinds.copied().collect()
    };
    let counts = |devices: &[(Name, u64)]| {
        let mut counts: BTreeMap<BTreeSet<PciKind>, u64> = BTreeMap::new();
        for (alias, count) in devices {
            *counts.entry(kinds(alias)).or_default() += count;
        }
        counts
    };
    let (before, after) = (counts(now), counts(then));
    let shrinks = |alias: &Name| {
        let kinds = kinds(alias);
        before.get(&kinds) > after.get(&kinds)
    };
    let grown = then.iter().filter(|(alias, _)| !shrinks(alias));
    let shrunk = now.iter().filter(|(alias, _)| shrinks(alias));
    grown.chain(shrunk).cloned().collect()
}

/// The cells and devices that a server asks for, whether a filter looks at them or not.
pub(crate) fn asked_or_nothing(
    desired: &DesiredFleet,
    recorded: &RecordedFleet,
    spec: &ServerSpec,
    as_it: AsIt,
) -> Demand {
    let demand = asked(desired, recorded, spec, as_it).ok().flatten();
    demand.unwrap_or_default()
}

/// What a server asks for by its flavor's extra specs alone.
pub(super) fn asked_by(spec: &ServerSpec) -> Demand {
    let needs = Needs {
        extra_specs: spec.size.extra_specs.clone(),
        ..Needs::default()
    };
    let demand = Demand::of(&needs, &resources(spec)).ok().flatten();
    demand.unwrap_or_default()
}

/// A server's cells and devices as its host is to have them.
pub(super) fn order(
    inputs: &Inputs<'_>,
    spec: &ServerSpec,
    as_it: AsIt,
) -> (Option<NumaOrder>, Vec<DeviceOrder>) {
    let Some(demand) = demand(inputs.desired, inputs.recorded, spec, as_it) else {
        return (None, Vec::new());
    };
    let settings = &inputs.desired.scheduler;
    let (ratios, _) = ratios(settings);
    let numa = NumaOrder {
        cells: numbered(&demand.cells),
        limits: NumaLimits {
            cpu_ratio: ratios.cpu,
            ram_ratio: ratios.ram,
        },
    };
    let devices = demand.devices.iter().map(|(alias, count)| DeviceOrder {
        alias: alias.to_string(),
        count: *count,
        // One that is not known is an error of the plan in `findings`.
        kinds: (settings.pci_aliases.get(alias.as_str()).cloned()).unwrap_or_default(),
    });
    ((!numa.cells.is_empty()).then_some(numa), devices.collect())
}

/// What servers ask that makes no sense, that no alias names, or that nothing configured looks at: none of them is
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
                let what = format!(
                    "{flavor} asks for NUMA cells or devices in a way that cannot be, which is sensitive"
                );
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
        for (alias, _) in &demand.devices {
            if desired.scheduler.pci_aliases.contains_key(alias.as_str()) {
                continue;
            }
            let what = if hidden {
                format!("{flavor} asks for a PCI device that no alias names, which is sensitive")
            } else {
                format!("{flavor} asks for the PCI device {alias:?}, and no alias has that name")
            };
            find(what, "add a pci_alias block of that name to the scheduler block");
        }
        let mut unseen = |filter: Filter, what: &str| {
            find(
                format!("{what}, which {filter} alone looks at, and that is not configured"),
                &format!("add \"{filter}\" to filters in the scheduler block"),
            );
        };
        let gives = Gives::of(desired);
        if !demand.cells.is_empty() && !gives.cells {
            unseen(
                Filter::NumaTopology,
                &format!("{flavor} or its image asks for NUMA cells"),
            );
        }
        if !demand.devices.is_empty() && !gives.devices {
            unseen(
                Filter::PciPassthrough,
                &format!("{flavor} asks for PCI devices (pci_passthrough:alias)"),
            );
        }
    }
    findings.extend(imported(inputs));
    findings
}

const CORRECT: &str = "correct the extra specs of the flavor, or the properties of the image";

/// An imported server stays as it was found, wherever it is pinned or not, with the devices that it has.
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
                "{} asks for NUMA cells or PCI devices, and an imported server stays as it was found",
                server.spec.flavor
            ),
            hint: "give it a flavor of its size without hw:… and pci_passthrough:alias in its extra specs"
                .to_owned(),
        })
        .collect()
}

fn hides(desired: &DesiredFleet, recorded: &RecordedFleet, spec: &ServerSpec) -> bool {
    let image = image_of(desired, recorded, spec, AsIt::Shall);
    spec.sensitive.contains("extra_specs")
        || image.is_some_and(|image| image.sensitive.contains("properties"))
}
