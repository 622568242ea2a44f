//! Where a recorded server really is.

use super::server::{Context, finding};
use super::sight::{Sighting, is_active};
use super::types::{FleetDiff, Seat, ServerDiff, ServerStep};
use crate::model::{ObservedDomain, ServerRecord};
use crate::plan::{Drift, DriftHandling, DriftKind, Reason, Severity};
use drover_types::{Address, Epoch, HostName, OperationId};

/// A server that the store has on a host.
pub(super) struct Placed<'a> {
    pub(super) record: &'a ServerRecord,
    pub(super) host: &'a HostName,
    pub(super) epoch: Epoch,
}

/// Finds out where it really is; false where nothing more may be planned on it.
pub(super) fn find(
    context: &Context<'_>,
    address: &Address,
    placed: &Placed<'_>,
    sighting: Option<&Sighting<'_>>,
    server: &mut ServerDiff,
    diff: &mut FleetDiff,
) -> bool {
    let nothing = Sighting::default();
    let sighting = sighting.unwrap_or(&nothing);
    let active: Vec<(&HostName, &ObservedDomain)> = sighting.active().collect();
    let settle = server.settle.clone();
    let mut hold = |severity, message: String, hint: &str| {
        server.held_back = true;
        diff.findings.push(finding(severity, address, message, hint));
        false
    };
    if let [(first, _), (second, _), ..] = active.as_slice() {
        return hold(
            Severity::Error,
            format!("two copies of it run, on {first} and on {second}"),
            "stop the wrong one with virsh destroy, then plan again",
        );
    }
    if context.sightings.inventory(placed.host).is_none() {
        server.held_back = true;
        if let [(other, _)] = active.as_slice() {
            diff.findings.push(finding(
                Severity::Error,
                address,
                format!(
                    "it runs on {other}, and {} where it is recorded did not answer",
                    placed.host
                ),
                "bring that host back, or fence it, then plan again",
            ));
        }
        return false;
    }
    if context.replaced.contains(placed.host) {
        server.held_back = true;
        return false;
    }
    let here = sighting.on(placed.host);
    let found = match active.as_slice() {
        [(host, domain), ..] => Some((*host, *domain)),
        [] => here
            .map(|domain| (placed.host, domain))
            .or_else(|| sighting.domains.first().copied()),
    };
    let Some((host, domain)) = found else {
        // Its create is under way: apply hears how it ends before anything else.
        if is_worked_on(context, &settle, placed.host) {
            server.seat = Some(Seat {
                host: placed.host.clone(),
                epoch: placed.epoch,
                running: true,
            });
            return false;
        }
        if let Some(silent) = context.silent.first() {
            return hold(
                Severity::Error,
                format!(
                    "its domain is gone from {}, and may be on {silent}, which did not answer",
                    placed.host
                ),
                "bring that host back, or accept it with --allow-unreachable",
            );
        }
        server.seat = Some(Seat {
            host: placed.host.clone(),
            epoch: placed.epoch,
            running: false,
        });
        match context.drift {
            DriftHandling::Ignore => {}
            DriftHandling::Heal => diff.drift.push(Drift {
                address: address.clone(),
                server: server.id,
                host: placed.host.clone(),
                what: DriftKind::DomainGone,
            }),
        }
        return true;
    };
    if domain.migration.is_some() {
        return hold(
            Severity::Warning,
            format!("a hand-over of it is not finished on {host}"),
            "the two hosts finish it by themselves; plan again in a moment",
        );
    }
    server.seat = Some(Seat {
        host: host.clone(),
        epoch: domain.held_epoch.unwrap_or(placed.epoch),
        running: is_active(domain.power_state) || is_worked_on(context, &settle, host),
    });
    if host != placed.host {
        diff.drift.push(Drift {
            address: address.clone(),
            server: server.id,
            host: host.clone(),
            what: DriftKind::Moved {
                from: placed.host.clone(),
            },
        });
    }
    match domain.held_epoch {
        Some(epoch) if host == placed.host && epoch == placed.epoch => {}
        Some(epoch) => {
            server.burnt = server.burnt.max(epoch);
            if host == placed.host {
                diff.drift.push(Drift {
                    address: address.clone(),
                    server: server.id,
                    host: host.clone(),
                    what: DriftKind::Epoch {
                        recorded: placed.epoch,
                        found: epoch,
                    },
                });
            }
            server.steps.push(ServerStep::Adopt {
                why: Reason::EpochAdvanced,
            });
        }
        None if server.imported.is_some() => {
            return hold(
                Severity::Error,
                format!(
                    "it was imported on {}, and moved to {host} outside Drover, which has no definition to hold it to",
                    placed.host
                ),
                "move it back with virsh, or take it out of the records with `drover state rm` and import it from there",
            );
        }
        None => {
            let leftover = sighting
                .held_on(placed.host)
                .filter(|_| host != placed.host)
                .map(|epoch| (placed.host.clone(), epoch));
            server.steps.push(ServerStep::TakeOver {
                why: Reason::MovedOutside {
                    from: placed.host.clone(),
                    to: host.clone(),
                },
                leftover,
            });
        }
    }
    for (other, _) in sighting
        .domains
        .iter()
        .filter(|(other, _)| *other != host && *other != placed.host)
    {
        diff.findings.push(finding(
            Severity::Warning,
            address,
            format!("{other} has a domain of it that is off, and does not hold it"),
            "remove it there with virsh undefine",
        ));
    }
    true
}

/// Whether one of a server's open operations runs on that host now: what is found there is on its way to
/// something else, and nobody has altered it. Apply hears how the operation ends before anything else.
pub(super) fn is_worked_on(context: &Context<'_>, open: &[OperationId], host: &HostName) -> bool {
    open.iter()
        .any(|id| context.sightings.operation(host, *id) == Some(true))
}
