//! Which servers should leave the host they are on: drained or removed hosts, broken zones and groups,
//! and what was asked for.

use super::scope::Scope;
use super::types::{FleetDiff, ServerStep};
use crate::model::{DesiredFleet, GroupPolicy, GroupSpec, HostState};
use crate::plan::{Finding, PlanMode, Reason, Severity};
use drover_types::{Address, HostName};
use std::collections::BTreeMap;

/// Whether the server stays as it is in the fleet, on some host.
fn stays(server: &super::types::ServerDiff) -> bool {
    !server.held_back
        && server.desired.is_some()
        && server.seat.is_some()
        && !server.steps.iter().any(|step| {
            matches!(
                step,
                ServerStep::Delete { .. } | ServerStep::Release { .. } | ServerStep::Replace { .. }
            )
        })
}

/// Fills in why servers move.
pub(super) fn find_moves(desired: &DesiredFleet, scope: &Scope<'_>, diff: &mut FleetDiff) {
    if diff.options.mode != PlanMode::Apply {
        return;
    }
    let requested: BTreeMap<Address, Option<HostName>> = diff
        .options
        .migrate
        .iter()
        .map(|request| (request.address.clone(), request.to.clone()))
        .collect();
    for (address, server) in &mut diff.servers {
        if !stays(server) || !scope.covers(address) {
            continue;
        }
        let (Some(seat), Some(spec)) = (&server.seat, &server.desired) else {
            continue;
        };
        server.moves = match desired.hosts.get(&seat.host) {
            _ if requested
                .get(address)
                .is_some_and(|to| to.as_ref() != Some(&seat.host)) =>
            {
                Some(if diff.options.balance.is_some() {
                    Reason::Balances
                } else {
                    Reason::Requested
                })
            }
            None => Some(Reason::HostRemoved {
                host: seat.host.clone(),
            }),
            Some(host) => match host.spec.state {
                HostState::Drain => Some(Reason::HostDrained {
                    host: seat.host.clone(),
                }),
                HostState::Active | HostState::Disabled => {
                    let default = &desired.scheduler.default_availability_zone;
                    let zone = host.spec.availability_zone.as_ref().unwrap_or(default);
                    spec.availability_zone
                        .as_ref()
                        .filter(|wanted| *wanted != zone)
                        .map(|wanted| Reason::ZoneBroken {
                            host: seat.host.clone(),
                            zone: Some(wanted.clone())
                                .filter(|_| !spec.sensitive.contains("availability_zone")),
                        })
                }
            },
        };
    }
    for address in requested.keys() {
        if !diff.servers.get(address).is_some_and(stays) {
            diff.findings.push(Finding {
                severity: Severity::Error,
                address: Some(address.clone()),
                message: "it cannot be migrated: it is on no host that answered, or not declared".to_owned(),
                hint: "look at it with drover server show".to_owned(),
            });
        }
    }
    broken_groups(desired, diff);
}

fn broken_groups(desired: &DesiredFleet, diff: &mut FleetDiff) {
    let mut members: BTreeMap<&Address, Vec<Address>> = BTreeMap::new();
    for (address, server) in &desired.servers {
        if let Some(group) = &server.spec.group {
            members.entry(group).or_default().push(address.clone());
        }
    }
    for (group, members) in members {
        let Some(GroupSpec {
            policy,
            max_server_per_host,
        }) = desired.groups.get(group).map(|group| group.spec.clone())
        else {
            continue;
        };
        // Members that move anyway do not break anything: placement chooses for them.
        let seated: Vec<(Address, HostName)> = members
            .into_iter()
            .filter_map(|address| {
                let server = diff.servers.get(&address)?;
                let seat = server.seat.as_ref()?;
                (stays(server) && server.moves.is_none()).then(|| (address, seat.host.clone()))
            })
            .collect();
        let mut leave = |address: &Address, with: &Address| {
            if let Some(server) = diff.servers.get_mut(address) {
                server.moves = Some(Reason::GroupBroken {
                    group: group.clone(),
                    policy,
                    with: with.clone(),
                });
            }
        };
        match policy {
            GroupPolicy::AntiAffinity => {
                let mut first: BTreeMap<&HostName, (u32, &Address)> = BTreeMap::new();
                for (address, host) in &seated {
                    let (members, with) = first.entry(host).or_insert((0, address));
                    if *members < max_server_per_host {
                        *members += 1;
                    } else {
                        leave(address, with);
                    }
                }
            }
            GroupPolicy::Affinity => {
                let mut count: BTreeMap<&HostName, (usize, &Address)> = BTreeMap::new();
                for (address, host) in &seated {
                    count.entry(host).or_insert((0, address)).0 += 1;
                }
                // The host with most members keeps them; among equals the first by name.
                let Some((home, (_, with))) = count.iter().rev().max_by_key(|(_, (members, _))| *members)
                else {
                    continue;
                };
                for (address, host) in &seated {
                    if host != *home {
                        leave(address, with);
                    }
                }
            }
            GroupPolicy::SoftAffinity | GroupPolicy::SoftAntiAffinity => {}
        }
    }
}
