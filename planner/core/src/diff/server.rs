//! One server: declared, recorded and found, and the steps that follow.

use super::attributes;
use super::gone::Gone;
use super::hide;
use super::ignore::ignores_drift;
use super::import::{self, Imports};
use super::journal::Belief;
use super::sight::{Sighting, Sightings, is_active};
use super::types::{FleetDiff, Seat, ServerDiff, ServerStep};
use crate::model::{
    AttributeDrift, DesiredFleet, Ignored, Lifecycle, ObservedDomain, Power, RecordedFleet, Removed,
    SavedConfiguration, ServerRecord, ServerSpec,
};
use crate::plan::{
    AsIt, Blocked, BlockedBy, Drift, DriftHandling, DriftKind, Finding, Impact, PlanMode, Reason, Severity,
    cells,
};
use drover_types::{Address, Epoch, Generation, HostName, Lineage, OperationId, PowerState, ServerId};
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

    /// Whether a server shall have other NUMA cells than it has.
    fn is_reseated(
        &self,
        before: &ServerSpec,
        after: &ServerSpec,
        host: &HostName,
        domain: Option<&ObservedDomain>,
    ) -> bool {
        let cells = |spec, as_it| cells(self.desired, self.recorded, spec, as_it);
        let (before, after) = (cells(before, AsIt::Is), cells(after, AsIt::Shall));
        // One that was made before anybody looked at cells is bound to none.
        let unbound = !after.is_empty() && domain.is_some_and(|domain| domain.cells.is_empty());
        before != after || (unbound && self.sightings.reports_cells(host))
    }

    /// What is altered in a domain and to be spoken of.
    fn drift_of(&self, address: &Address, domain: &ObservedDomain) -> Vec<AttributeDrift> {
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
    fn leaves_power(&self, address: &Address) -> bool {
        match self.drift {
            DriftHandling::Ignore => true,
            DriftHandling::Heal => self
                .ignored(address)
                .is_some_and(|ignored| ignored.covers("power")),
        }
    }
}

fn finding(severity: Severity, address: &Address, message: String, hint: &str) -> Finding {
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

/// A server that the store has on a host.
struct Placed<'a> {
    record: &'a ServerRecord,
    host: &'a HostName,
    epoch: Epoch,
}

/// Finds out where it really is; false where nothing more may be planned on it.
fn find(
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
fn is_worked_on(context: &Context<'_>, open: &[OperationId], host: &HostName) -> bool {
    open.iter()
        .any(|id| context.sightings.operation(host, *id) == Some(true))
}

/// As declared against as found.
fn change(
    context: &Context<'_>,
    address: &Address,
    placed: &Placed<'_>,
    sighting: Option<&Sighting<'_>>,
    server: &mut ServerDiff,
    diff: &mut FleetDiff,
) {
    let Some(desired) = server.desired.clone() else {
        let stays = context.mode != PlanMode::Destroy
            && context
                .removed
                .iter()
                .any(|removed| !removed.destroy && removed.covers(address));
        server.steps.push(if stays {
            ServerStep::Release {
                why: Reason::Forgotten,
            }
        } else {
            ServerStep::Delete {
                why: context.gone.why(address),
            }
        });
        return;
    };
    let seat = server
        .seat
        .clone()
        .expect("find() gives every server that goes on a seat");
    let domain = sighting.and_then(|sighting| sighting.on(&seat.host));
    let unfinished = is_worked_on(context, &server.settle, &seat.host);
    let leaves_power = unfinished || context.leaves_power(address);
    let compared = attributes::compare(&placed.record.spec, &desired);
    let mut block = |verb: &str, why: Reason, by: BlockedBy, hint: &str| {
        diff.blocked.push(Blocked {
            address: address.clone(),
            verb: verb.to_owned(),
            why,
            by,
            hint: hint.to_owned(),
        });
    };
    let reseated =
        server.imported.is_none() && context.is_reseated(&placed.record.spec, &desired, &seat.host, domain);
    // No image is under the disks of an imported server: one that is declared for it says what comes in its place.
    let image = compared.image && (server.imported.is_none() || compared.other_image);
    if image && desired.image.is_none() {
        block(
            "rebuild",
            Reason::ImageChanged,
            BlockedBy::NoImage,
            "set its image back: only an imported server goes without",
        );
        return;
    }
    if image {
        if desired.allow_rebuild {
            server.steps.push(ServerStep::Rebuild {
                why: Reason::ImageChanged,
            });
        } else {
            block(
                "rebuild",
                Reason::ImageChanged,
                BlockedBy::DataLoss,
                "write allow_rebuild = true in the server to replace its root disk, or set the image back",
            );
        }
        return;
    }
    if server.imported.is_some() && (compared.size || compared.disk_grows || compared.disk_shrinks) {
        block(
            "update",
            Reason::SizeChanged,
            BlockedBy::Imported {
                host: seat.host.clone(),
            },
            "give it a flavor of the size that it has, or replace it (--replace): its disks stay on the host then, and \
             are no longer used",
        );
        return;
    }
    if compared.disk_shrinks {
        let by = BlockedBy::DiskShrinks {
            has: hide::unless_hidden(
                "disk",
                &placed.record.spec.sensitive,
                placed.record.spec.size.disk,
            ),
            asked: hide::unless_hidden("disk", &desired.sensitive, desired.size.disk),
        };
        block(
            "update",
            Reason::SizeChanged,
            by,
            "give it a flavor whose disk is as large; a smaller disk needs a server of another name",
        );
        return;
    }
    let Some(domain) = domain else {
        match context.drift {
            DriftHandling::Ignore => return,
            DriftHandling::Heal => {}
        }
        let why = Reason::DomainGone {
            host: seat.host.clone(),
        };
        let held = sighting
            .and_then(|sighting| sighting.held_on(&seat.host))
            .is_some();
        if !held && server.imported.is_some() {
            block(
                "update",
                why,
                BlockedBy::Imported {
                    host: seat.host.clone(),
                },
                "define it again with virsh, or take it out of the records with `drover state rm`; its disks are where \
                 they were",
            );
            return;
        }
        server.steps.push(if held {
            ServerStep::Update {
                why,
                impact: Impact::Reboot,
            }
        } else {
            ServerStep::Rebuild { why }
        });
        return;
    };
    let drifted = if unfinished {
        Vec::new()
    } else {
        context.drift_of(address, domain)
    };
    server.keeps_power = leaves_power && !compared.power;
    // What an update does to the guest beside what it is for: one that runs and shall not is shut down.
    let stops = seat.running && desired.power == Power::Off && !server.keeps_power;
    let impact = |restarts: bool, otherwise: Impact| match seat.running {
        true if restarts || stops => Impact::Reboot,
        true => otherwise,
        false => Impact::None,
    };
    if let Some(found) = power_drift(placed.record.spec.power, domain.power_state).filter(|_| !leaves_power) {
        diff.drift.push(Drift {
            address: address.clone(),
            server: server.id,
            host: seat.host.clone(),
            what: DriftKind::Power {
                recorded: placed.record.spec.power.as_str().to_owned(),
                found,
            },
        });
    }
    if !drifted.is_empty() {
        diff.drift.push(Drift {
            address: address.clone(),
            server: server.id,
            host: seat.host.clone(),
            what: DriftKind::Attributes {
                attributes: drifted.clone(),
            },
        });
    }
    // The agent puts all of it right whenever it changes anything.
    let drift_restarts = drifted.iter().any(|drift| match drift.configuration {
        SavedConfiguration::Live => !drift.heals_live,
        SavedConfiguration::Persistent => false,
    });
    if compared.size || compared.disk_grows {
        server.steps.push(ServerStep::Update {
            why: Reason::SizeChanged,
            impact: impact(compared.size || reseated || drift_restarts, Impact::Live),
        });
    } else if reseated {
        server.steps.push(ServerStep::Update {
            why: Reason::CellsChanged,
            impact: impact(true, Impact::None),
        });
    } else if !drifted.is_empty() {
        let names: BTreeSet<&str> = drifted.iter().map(|drift| drift.attribute.as_str()).collect();
        server.steps.push(ServerStep::Update {
            why: Reason::AttributeDrift {
                attributes: names.into_iter().map(str::to_owned).collect(),
            },
            impact: impact(drift_restarts, Impact::None),
        });
    } else if let Some(from) = domain
        .mark
        .as_ref()
        .map(|mark| &mark.address)
        .filter(|marked| *marked != address)
    {
        server.steps.push(ServerStep::Update {
            why: Reason::Moved { from: from.clone() },
            impact: impact(false, Impact::Live),
        });
    } else if let Some(found) =
        power_drift(desired.power, domain.power_state).filter(|_| compared.power || !leaves_power)
    {
        let why = if compared.power {
            Reason::PowerChanged
        } else {
            Reason::PowerDrift { found }
        };
        server.steps.push(ServerStep::SetPower {
            power: desired.power,
            why,
        });
    } else if !compared.attributes.is_empty() {
        server.steps.push(ServerStep::Record {
            why: Reason::AttributesChanged {
                attributes: compared.attributes,
            },
        });
    }
}

/// The state found, where it is not what is wanted.
fn power_drift(wanted: Power, found: PowerState) -> Option<PowerState> {
    let fits = match (wanted, found) {
        (Power::On, PowerState::Running | PowerState::Suspended) => true,
        (Power::Off, PowerState::Shutdown | PowerState::ShuttingDown) => true,
        (Power::On, _) | (Power::Off, _) => false,
    };
    (!fits).then_some(found)
}
