//! The fleet as a scenario file: hosts with what runs on them, and the servers that are to be created.

use super::build::Inputs;
use super::demand::{AsIt, demand};
use super::types::{Finding, Severity};
use super::world::{Parts, name_of, parts, request, resources, where_counted};
use crate::diff::{FleetDiff, ServerStep};
use crate::placement::scenario::Scenario;
use crate::placement::{CellUse, Demand, Host, Name, Request, Resident};
use drover_numa::{Beside, Cells, NumaLimits, PciDevice};

/// The scenario in which the servers to be created find the hosts that the plan gives them, as long as no other
/// server moves or grows.
///
/// # Errors
/// What is wrong with the scheduler's settings.
pub fn export(inputs: &Inputs<'_>, diff: &FleetDiff) -> Result<Scenario, Vec<Finding>> {
    let (parts, mut findings) = parts(inputs, diff);
    findings.retain(|finding| finding.severity == Severity::Error);
    if !findings.is_empty() {
        return Err(findings);
    }
    let Parts {
        config,
        mut hosts,
        aggregates,
        groups,
    } = parts;
    let mut requests = Vec::new();
    for (address, server) in &diff.servers {
        let Some(spec) = server.desired.as_ref().or(server.recorded.as_ref()) else {
            continue;
        };
        let retry_all = diff.options.retry_all;
        let asked = request(inputs, address, server, spec, resources(spec), retry_all);
        if server
            .steps
            .iter()
            .any(|step| matches!(step, ServerStep::Create { .. }))
        {
            requests.push(asked);
            continue;
        }
        let size = server.recorded.as_ref().unwrap_or(spec);
        let seat = where_counted(server).map(name_of);
        if let Some(host) = seat.and_then(|seat| hosts.iter().position(|host| host.name == seat)) {
            let cells = demand(inputs.desired, inputs.recorded, size, AsIt::Is);
            seat_on(&mut hosts[host], &asked, &resources(size), cells.as_deref());
        }
    }
    let name = format!("{} of {}", inputs.desired.project, inputs.desired.fleet);
    Ok(Scenario::of(
        &name,
        &config,
        &hosts,
        &aggregates,
        &groups,
        &requests,
    ))
}

fn seat_on(host: &mut Host, server: &Request, size: &crate::placement::Resources, asked: Option<&Demand>) {
    let (cells, devices) = taken(host, &server.name, asked);
    for taken in cells {
        if let Some(cell) = host.numa.iter_mut().find(|cell| cell.id == taken.cell) {
            cell.promise(&taken);
        }
    }
    for device in devices {
        let mut pools = host.pci.iter_mut();
        let alike = pools.find(|pool| pool.kind == device.kind && pool.numa_node == device.numa_node);
        if let Some(pool) = alike {
            pool.free = pool.free.saturating_sub(1);
        }
    }
    host.used.vcpus = host.used.vcpus.saturating_add(size.vcpus);
    host.used.ram_mib = host.used.ram_mib.saturating_add(size.ram_mib);
    host.used.disk_mib = host.used.disk_mib.saturating_add(size.disk_mib);
    host.instances = host.instances.saturating_add(1);
    // As a server that the engine is told of counts as one operation.
    host.io_ops = host.io_ops.saturating_add(1);
    host.residents.push(Resident {
        name: server.name.clone(),
        group: server.group.clone(),
        image: server.needs.image.clone(),
    });
}

/// What a server that is there has taken of the host's cells and devices: as reported, or where it would fit. One
/// without a domain has no devices.
fn taken(host: &mut Host, server: &Name, cells: Option<&Demand>) -> (Vec<CellUse>, Vec<PciDevice>) {
    if let Some(seated) = host.seated.remove(server) {
        return (seated.taken, seated.devices);
    }
    let limits = NumaLimits {
        cpu_ratio: host.ratios.cpu,
        ram_ratio: host.ratios.ram,
    };
    let wanted = cells.map_or(&[][..], |demand| &demand.cells);
    let seats = Cells::new(&host.numa).fit(wanted, limits, Beside::NOTHING);
    let seats = seats.unwrap_or_default();
    (seats.into_iter().map(|seat| seat.taken).collect(), Vec::new())
}
