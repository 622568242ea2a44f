//! Names in a scenario of what it does not have.
//!
//! Nova passes over a host or server that it does not know, as there are others than a request sees. A scenario has
//! all there are, so that such a name is a mistyped one.

use super::super::input::Name;
use super::super::validate::{InputError, InputErrors};
use super::Scenario;
use std::collections::BTreeSet;

pub(super) fn check(scenario: &Scenario, errors: &mut InputErrors) {
    let hosts: BTreeSet<&Name> = scenario.hosts.iter().map(|host| &host.name).collect();
    let instances = scenario.hosts.iter().flat_map(|host| &host.instances);
    let servers = scenario.servers.iter().map(|server| &server.name);
    let servers: BTreeSet<&Name> = servers.chain(instances.map(|instance| &instance.name)).collect();
    let mut known = |place: &str, kind, names: &mut dyn Iterator<Item = &Name>, known: &BTreeSet<&Name>| {
        let unknown = names.filter(|name| !known.contains(name));
        errors
            .0
            .extend(unknown.map(|name| InputError::unknown(place.to_owned(), kind, name)));
    };
    let isolated = &mut scenario.config.isolated_hosts.iter();
    known("config.isolated_hosts", "host", isolated, &hosts);
    for server in &scenario.servers {
        let place = |key| format!("server {:?}: {key}", server.name);
        known(
            &place("tried_hosts"),
            "host",
            &mut server.tried_hosts.iter(),
            &hosts,
        );
        known(
            &place("same_host"),
            "server",
            &mut server.same_host.iter(),
            &servers,
        );
        let others = &mut server.different_host.iter();
        known(&place("different_host"), "server", others, &servers);
    }
    groups(scenario, errors);
}

/// Those of instances; of servers `validate` says it.
fn groups(scenario: &Scenario, errors: &mut InputErrors) {
    let declared: BTreeSet<&Name> = scenario.groups.iter().map(|group| &group.name).collect();
    for host in &scenario.hosts {
        for instance in &host.instances {
            if let Some(group) = instance.group.as_ref().filter(|group| !declared.contains(group)) {
                errors.0.push(InputError::Shape {
                    place: format!("host {:?}: instance {:?}:", host.name, instance.name),
                    problem: format!("group {group:?} is not declared"),
                });
            }
        }
    }
}
