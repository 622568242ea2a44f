//! The fleet as a scenario file: hosts with what runs on them, and the servers that are to be created.

use super::build::Inputs;
use super::demand::{AsIt, demand};
use super::types::{Finding, Severity};
use super::world::{Parts, name_of, parts, request, resources, where_counted};
use crate::diff::{FleetDiff, ServerStep};
use crate::placement::scenario::Scenario;
use crate::placement::{Demand, Devices, Host, Name, Request, Resident, Resources, SchedulerConfig, Terms};
use std::collections::BTreeSet;

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
        mut config,
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
    forget_strangers(&mut config, &hosts, &mut requests);
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

/// Leaves out names of hosts and servers that are not in the scenario, where a name of nobody is a mistake.
///
/// Who wants to be with such servers alone, say shelved ones, is to find no host still: it names itself, which is
/// nowhere either.
fn forget_strangers(config: &mut SchedulerConfig, hosts: &[Host], requests: &mut [Request]) {
    let names: BTreeSet<&Name> = hosts.iter().map(|host| &host.name).collect();
    let residents = hosts.iter().flat_map(|host| &host.residents);
    let residents = residents.map(|resident| resident.name.clone());
    let asking = requests.iter().map(|request| request.name.clone());
    let servers: BTreeSet<Name> = residents.chain(asking).collect();
    config.isolation.hosts.retain(|host| names.contains(host));
    for request in requests {
        request.needs.tried_hosts.retain(|host| names.contains(host));
        request.different_host.retain(|other| servers.contains(other));
        let with_any = !request.same_host.is_empty();
        request.same_host.retain(|other| servers.contains(other));
        if with_any && request.same_host.is_empty() {
            request.same_host.insert(request.name.clone());
        }
    }
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

#[cfg(test)]
mod tests {
    use super::super::testing::Fleet;
    use super::*;
    use crate::placement::Profile;
    use crate::testing::{address, desired, with_hosts, with_server};

    #[test]
    fn a_scenario_named_hosts_and_servers_that_it_did_not_have() {
        let mut fleet = with_hosts(desired(), &["n1", "n2"]);
        for at in ["server.alone", "server.apart", "server.near"] {
            fleet = with_server(fleet, at, None);
        }
        let gone = address("server.gone");
        for (at, same, different) in [
            ("server.alone", vec![gone.clone()], vec![]),
            ("server.apart", vec![], vec![gone.clone()]),
            ("server.near", vec![address("server.apart"), gone], vec![]),
        ] {
            let hints = &mut fleet.servers.get_mut(&address(at)).expect("added").spec.hints;
            hints.same_host = same.into_iter().collect();
            hints.different_host = different.into_iter().collect();
        }
        let filters = ["SameHostFilter", "DifferentHostFilter", "IsolatedHostsFilter"];
        fleet.scheduler.filters = filters.map(str::to_owned).into();
        fleet.scheduler.isolated_hosts = ["n1"].map(str::to_owned).into();
        let fleet = Fleet::unapplied(fleet);
        let scenario = export(&fleet.inputs(), &fleet.diff()).expect("fair settings");
        assert_eq!(scenario.config.isolated_hosts, ["n1".into()].into());
        let decided = scenario.simulate(Profile::Legacy).expect("valid");
        let chosen = decided.iter().map(|decision| decision.chosen.as_ref());
        let chosen: Vec<Option<&str>> = chosen.map(|host| host.map(Name::as_str)).collect();
        assert_eq!(chosen, [None, Some("n2"), Some("n2")]);
    }
}
