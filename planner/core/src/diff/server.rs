//! One server: declared, recorded and found, and the steps that follow.

use super::change::change;
use super::gone::Gone;
use super::ignore::ignores_drift;
use super::import::{self, Imports};
use super::journal::Belief;
use super::sight::{Sighting, Sightings, is_active};
use super::types::{FleetDiff, Seat, ServerDiff, ServerStep};
use super::whereabouts::{Placed, find};
use crate::model::{
    AttributeDrift, DesiredFleet, Ignored, Lifecycle, ObservedDomain, RecordedFleet, Removed, ServerSpec,
};
use crate::plan::{
    AsIt, Drift, DriftHandling, DriftKind, Finding, PlanMode, Reason, Severity, asked_or_nothing,
};
use drover_types::{Address, Epoch, Generation, HostName, Lineage, ServerId};
use std::collections::{BTreeMap, BTreeSet};

/// What the comparison of every server needs.
pub(super) struct Context<'a> {
    pub(super) desired: &'a DesiredFleet,
    pub(super) recorded: &'a RecordedFleet,
    pub(super) sightings: &'a Sightings<'a>,
    pub(super) lineage: Lineage,
    pub(super) mode: PlanMode,
    pub(super) gone: &'a Gone<'a>,
    pub(super) drift: DriftHandling,
    pub(super) lifecycle: &'a BTreeMap<Address, Lifecycle>,
    pub(super) removed: &'a [Removed],
    pub(super) imports: &'a Imports<'a>,
    /// Hosts that did not answer and were not accepted.
    pub(super) silent: BTreeSet<&'a HostName>,
    /// Hosts whose agent's log is not the one that the store trusts.
    pub(super) replaced: BTreeSet<&'a HostName>,
}

impl Context<'_> {
    fn ignored(&self, address: &Address) -> Option<&Ignored> {
        self.lifecycle
            .get(address)
            .map(|lifecycle| &lifecycle.ignore_changes)
    }

    /// Why a server shall have other NUMA cells or PCI devices than it has, where it shall.
    pub(super) fn reseated(
        &self,
        before: &ServerSpec,
        after: &ServerSpec,
        host: &HostName,
        domain: Option<&ObservedDomain>,
    ) -> Option<Reason> {
        let asked = |spec, as_it| asked_or_nothing(self.desired, self.recorded, spec, as_it);
        let (before, after) = (asked(before, AsIt::Is), asked(after, AsIt::Shall));
        // One that was made before anybody looked at cells and devices has none.
        let unbound = !after.cells.is_empty() && domain.is_some_and(|domain| domain.cells.is_empty());
        let bare = !after.devices.is_empty() && domain.is_some_and(|domain| domain.pci_devices.is_empty());
        if before.cells != after.cells || (unbound && self.sightings.reports_cells(host)) {
            Some(Reason::CellsChanged)
        } else if before.devices != after.devices || (bare && self.sightings.reports_devices(host)) {
            Some(Reason::DevicesChanged)
        } else {
            None
        }
    }

    /// What is altered in a domain and to be spoken of.
    pub(super) fn drift_of(&self, address: &Address, domain: &ObservedDomain) -> Vec<AttributeDrift> {
        match self.drift {
            DriftHandling::Ignore => Vec::new(),
            DriftHandling::Heal => {
                let ignored = self.ignored(address);
                let speaks = |found: &&AttributeDrift| {
                    ignored.is_none_or(|ignored| !ignores_drift(ignored, &found.attribute))
                };
                domain.drift.iter().filter(speaks).cloned().collect()
            }
        }
    }

    /// Whether the power state that is found is left alone.
    pub(super) fn leaves_power(&self, address: &Address) -> bool {
        match self.drift {
            DriftHandling::Ignore => true,
            DriftHandling::Heal => self
                .ignored(address)
                .is_some_and(|ignored| ignored.covers("power")),
        }
    }
}

pub(super) fn finding(severity: Severity, address: &Address, message: String, hint: &str) -> Finding {
    Finding {
        severity,
        address: Some(address.clone()),
        message,
        hint: hint.to_owned(),
    }
}

/// Compares one server.
pub(super) fn diff_server(
    context: &Context<'_>,
    address: &Address,
    desired: Option<&ServerSpec>,
    belief: Option<&Belief>,
    diff: &mut FleetDiff,
) -> Option<ServerDiff> {
    let empty = Belief::default();
    let belief = belief.unwrap_or(&empty);
    let mut server = start(context, address, desired, belief);
    if let Some(why) = &belief.hold {
        server.held_back = true;
        diff.findings.push(finding(
            Severity::Warning,
            address,
            format!("nothing is planned on it: {why}"),
            "plan again when that has ended",
        ));
        return Some(server);
    }
    let sighting = context.sightings.of(server.id);
    match &belief.record {
        None => {
            let desired = desired?;
            if let Some(asked) = context.imports.of(address) {
                import::import(context, address, asked, desired, &mut server, diff);
            } else if let Some(sighting) = sighting {
                adopt_orphan(address, sighting, &mut server, diff);
            } else {
                server.steps.push(ServerStep::Create {
                    why: Reason::Declared,
                });
            }
        }
        Some(record) => match &record.host {
            None => unplaced(context, address, sighting, &mut server, diff),
            Some(host) => {
                let placed = Placed {
                    record,
                    host,
                    epoch: belief.ownership.as_ref().map_or(Epoch::new(0), |row| row.epoch),
                };
                import::check_done(context, address, &server, diff);
                if find(context, address, &placed, sighting, &mut server, diff) {
                    change(context, address, &placed, sighting, &mut server, diff);
                }
            }
        },
    }
    if context.mode == PlanMode::RefreshOnly {
        server
            .steps
            .retain(|step| matches!(step, ServerStep::Adopt { .. }));
    }
    Some(server)
}

fn start(
    context: &Context<'_>,
    address: &Address,
    desired: Option<&ServerSpec>,
    belief: &Belief,
) -> ServerDiff {
    let next = context.recorded.incarnations.get(address).copied().unwrap_or(0) + 1;
    let record = belief.record.as_ref();
    let incarnation = record.map_or(next, |record| record.incarnation);
    let id = record.map_or_else(
        || ServerId::derive(context.lineage, address, next),
        |record| record.id,
    );
    ServerDiff {
        id,
        incarnation,
        generation: record.map_or(Generation::new(0), |record| record.generation),
        recorded: record.map(|record| record.spec.clone()),
        desired: desired.cloned(),
        imported: record.and_then(|record| record.imported_from.clone()),
        frozen: record.and_then(|record| record.frozen.clone()),
        tried: record.map(|record| record.tried.clone()).unwrap_or_default(),
        seat: None,
        recorded_host: record.and_then(|record| record.host.clone()),
        burnt: belief.ownership.as_ref().map_or(Epoch::new(0), |row| row.burnt),
        settle: belief.settle.clone(),
        steps: Vec::new(),
        moves: None,
        keeps_power: false,
        held_back: false,
    }
}

/// Recorded nowhere, yet a host has a domain of this very id: the store lost its record.
fn adopt_orphan(address: &Address, sighting: &Sighting<'_>, server: &mut ServerDiff, diff: &mut FleetDiff) {
    let held = sighting
        .domains
        .iter()
        .filter_map(|(host, domain)| domain.held_epoch.map(|epoch| (*host, *domain, epoch)))
        .next();
    let declared = sighting
        .domains
        .iter()
        .all(|(_, domain)| domain.mark.as_ref().is_some_and(|mark| mark.address == *address));
    match held {
        Some((host, domain, epoch)) if sighting.domains.len() == 1 && declared => {
            server.seat = Some(Seat {
                host: host.clone(),
                epoch,
                running: is_active(domain.power_state),
            });
            server.burnt = server.burnt.max(epoch);
            server.steps.push(ServerStep::Adopt {
                why: Reason::OrphanFound { host: host.clone() },
            });
            diff.drift.push(Drift {
                address: address.clone(),
                server: server.id,
                host: host.clone(),
                what: DriftKind::Orphan {
                    not_adopted: String::new(),
                },
            });
        }
        Some(_) | None => {
            server.held_back = true;
            let hosts: Vec<&str> = sighting.domains.iter().map(|(host, _)| host.as_str()).collect();
            diff.findings.push(finding(
                Severity::Error,
                address,
                format!(
                    "a domain of its id is on {} and is not recorded",
                    hosts.join(" and ")
                ),
                "look at it with virsh, and remove it or readmit its host",
            ));
        }
    }
}

/// Recorded, and no host has taken it.
fn unplaced(
    context: &Context<'_>,
    address: &Address,
    sighting: Option<&Sighting<'_>>,
    server: &mut ServerDiff,
    diff: &mut FleetDiff,
) {
    let there = sighting.filter(|sighting| !sighting.domains.is_empty() || !sighting.held_only.is_empty());
    // An open create or delete has its own word on what is there; apply hears it first.
    if let Some(sighting) = there.filter(|_| server.settle.is_empty()) {
        let held: Vec<(&HostName, Epoch, bool)> = sighting
            .domains
            .iter()
            .filter_map(|(host, domain)| {
                domain
                    .held_epoch
                    .map(|epoch| (*host, epoch, is_active(domain.power_state)))
            })
            .collect();
        if let ([(host, epoch, running)], 1) = (held.as_slice(), sighting.domains.len()) {
            server.seat = Some(Seat {
                host: (*host).clone(),
                epoch: *epoch,
                running: *running,
            });
            server.burnt = server.burnt.max(*epoch);
            server.steps.push(ServerStep::Adopt {
                why: Reason::OrphanFound {
                    host: (*host).clone(),
                },
            });
            return;
        }
        server.held_back = true;
        diff.findings.push(finding(
            Severity::Error,
            address,
            "it is recorded without a host, and domains of its id were found".to_owned(),
            "look at them with virsh and remove what is not wanted",
        ));
        return;
    }
    if server.desired.is_some() {
        server.steps.push(ServerStep::Create {
            why: Reason::NotCreatedYet,
        });
    } else {
        server.steps.push(ServerStep::Forget {
            why: context.gone.why(address),
        });
    }
}
