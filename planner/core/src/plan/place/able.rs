//! Which servers may be moved at all, and which hosts can run a guest that exists.

use super::super::build::Inputs;
use super::super::demand::{AsIt, demand};
use crate::diff::{ServerDiff, ServerStep};
use drover_types::{Address, HostName};

/// Whether a server that has no reason of its own may be moved for others.
pub(in super::super) fn may_help(inputs: &Inputs<'_>, address: &Address, server: &ServerDiff) -> bool {
    let plain = server.steps.iter().all(|step| match step {
        ServerStep::Update { .. } | ServerStep::SetPower { .. } | ServerStep::Record { .. } => true,
        ServerStep::Create { .. }
        | ServerStep::Import { .. }
        | ServerStep::Delete { .. }
        | ServerStep::Release { .. }
        | ServerStep::Forget { .. }
        | ServerStep::Rebuild { .. }
        | ServerStep::Replace { .. }
        | ServerStep::Adopt { .. }
        | ServerStep::TakeOver { .. } => false,
    });
    let record = inputs.recorded.servers.get(address);
    let claimed = record.is_some_and(|record| record.task.is_some());
    let image = server.recorded.as_ref().is_some_and(|spec| {
        spec.image_address().is_some_and(|image| {
            inputs.desired.images.contains_key(image) || inputs.recorded.images.contains_key(image)
        })
    });
    plain
        && !claimed
        && !is_fixed(inputs, server)
        && image
        && !server.held_back
        && server.settle.is_empty()
        && server.desired.is_some()
}

/// Whether a server runs with PCI devices of its host: such a guest cannot be moved while it runs.
pub(in super::super) fn is_tied(inputs: &Inputs<'_>, server: &ServerDiff) -> bool {
    let Some(seat) = server.seat.as_ref().filter(|seat| seat.running) else {
        return false;
    };
    let inventory = (inputs.observed.get(&seat.host)).and_then(|observation| observation.inventory());
    let domain = inventory.and_then(|inventory| inventory.domains.get(&server.id.uuid()));
    let has = domain.is_some_and(|domain| !domain.pci_devices.is_empty());
    let asks = (server.recorded.as_ref())
        .and_then(|spec| demand(inputs.desired, inputs.recorded, spec, AsIt::Is))
        .is_some_and(|demand| !demand.devices.is_empty());
    has || asks
}

/// Whether a server stays on its host whatever the reason to leave it.
pub(in super::super) fn is_fixed(inputs: &Inputs<'_>, server: &ServerDiff) -> bool {
    server.imported.is_some() || is_tied(inputs, server)
}

/// Why a host cannot take a server that exists, beside what the filters say.
pub(in super::super) fn cannot_take(
    inputs: &Inputs<'_>,
    server: &ServerDiff,
    source: Option<&HostName>,
    host: &HostName,
    requested: Option<&HostName>,
) -> Option<(&'static str, String)> {
    if source == Some(host) {
        return Some(("Migration", "it is there".to_owned()));
    }
    if requested.is_some_and(|wanted| wanted != host) {
        return Some(("Migration", "another host was asked for".to_owned()));
    }
    if server.imported.is_some() {
        return Some(("Migration", "it was imported, and stays where it is".to_owned()));
    }
    let facts = &inputs.observed.get(host)?.inventory()?.facts;
    let frozen = server.frozen.as_ref()?;
    if !facts.machine_types.is_empty() && !facts.machine_types.contains(&frozen.machine) {
        return Some((
            "Migration",
            format!("it cannot run machine type {}", frozen.machine),
        ));
    }
    let runs = facts
        .supported_guests
        .iter()
        .any(|guest| guest.arch == frozen.arch && guest.hypervisor_type == frozen.hypervisor_type);
    if !facts.supported_guests.is_empty() && !runs {
        let guest = format!("{} {}", frozen.arch, frozen.hypervisor_type);
        return Some(("Migration", format!("it cannot run {guest} guests")));
    }
    None
}
