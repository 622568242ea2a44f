//! What a server that is found needs to become what is declared, or why it does not.

use super::attributes;
use super::hide;
use super::server::Context;
use super::sight::Sighting;
use super::types::{FleetDiff, ServerDiff, ServerStep};
use super::whereabouts::{Placed, is_worked_on};
use crate::model::{Power, SavedConfiguration};
use crate::plan::{Blocked, BlockedBy, Drift, DriftHandling, DriftKind, Impact, PlanMode, Reason};
use drover_types::{Address, PowerState};
use std::collections::BTreeSet;

/// As declared against as found.
pub(super) fn change(
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
    let reseated = (server.imported.is_none())
        .then(|| context.reseated(&placed.record.spec, &desired, &seat.host, domain))
        .flatten();
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
            impact: impact(
                compared.size || reseated.is_some() || drift_restarts,
                Impact::Live,
            ),
        });
    } else if let Some(why) = reseated {
        server.steps.push(ServerStep::Update {
            why,
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
