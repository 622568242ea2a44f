//! The fleet as a scenario file: hosts with what runs on them, and the servers that are to be created.

use super::build::Inputs;
use super::demand::{AsIt, demand};
use super::types::{Finding, Severity};
use super::world::{Parts, name_of, parts, request, resources, where_counted};
use crate::diff::{FleetDiff, ServerStep};
use crate::placement::scenario::Scenario;
use crate::placement::{Demand, Devices, Host, Request, Resident, Resources, Terms};

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
            let demand = demand(inputs.desired, inputs.recorded, size, AsIt::Is);
            let terms = Terms::of(&config, hosts[host].ratios);
            seat_on(
                &mut hosts[host],
                &asked,
                &resources(size),
                demand.as_deref(),
                &terms,
            );
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

fn seat_on(host: &mut Host, server: &Request, size: &Resources, demand: Option<&Demand>, terms: &Terms<'_>) {
    // As the engine counts it: what is reported, or what would fit.
    let seated = host.seated.remove_entry(&server.name).into_iter().collect();
    let mut devices = Devices::new(&host.numa, &host.pci, &seated);
    devices.take(&server.name, demand, terms);
    if let Some(taken) = devices.taken(&server.name) {
        for taken in taken.of_cells() {
            if let Some(cell) = host.numa.iter_mut().find(|cell| cell.id == taken.cell) {
                cell.promise(taken);
            }
        }
        host.pci = devices.pools().to_vec();
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
