//! What differs between the fleet as declared, as recorded and as observed, and why: drift apart from change.
//!
//! It chooses no host: [`crate::plan::place`] does. A host that did not answer is never taken for an empty
//! one: nothing is planned on it or away from it.

pub(crate) mod attributes;
mod change;
mod gone;
mod hide;
mod ignore;
mod import;
mod journal;
mod moves;
mod records;
mod rename;
mod replace;
mod scope;
mod server;
mod sight;
mod types;
mod whereabouts;

use crate::model::{DesiredFleet, HostObservation, ObservedFleet, RecordedFleet};
use crate::plan::{Drift, DriftKind, Finding, PlanMode, PlanOptions, Reason, Severity, UnobservedHost};
use drover_types::{Address, HostName, Lineage};
use std::collections::{BTreeMap, BTreeSet};

pub use hide::hide_drift;
pub use ignore::settle_ignored;
pub use import::{has_block_of_its_own, import_ids, is_nobodys, undeclared_imports};
pub use rename::{RenameError, Renames, check_moved, rename, renames};
pub use sight::is_active;
pub use types::{FleetDiff, RecordDiff, Seat, ServerDiff, ServerStep, Settlement};

/// Compares the three. `lineage` is as recorded, or the one that the first apply will write.
#[must_use]
pub fn diff(
    desired: &DesiredFleet,
    recorded: &RecordedFleet,
    observed: &ObservedFleet,
    lineage: Lineage,
    options: &PlanOptions,
) -> FleetDiff {
    let mut diff = FleetDiff {
        options: options.clone(),
        ..FleetDiff::default()
    };
    let emptied;
    let wanted = match options.mode {
        PlanMode::Apply | PlanMode::RefreshOnly => desired,
        PlanMode::Destroy => {
            emptied = without_targets(desired, options);
            &emptied
        }
    };
    let scope = scope::Scope::new(options, desired, recorded);
    let gone = gone::Gone::new(wanted, options.mode);
    let sightings = sight::Sightings::new(observed);
    let imports = import::Imports::new(desired, recorded, observed);
    let (beliefs, deposed) = journal::believe(recorded, &sightings, &mut diff);
    records::diff_records(wanted, recorded, observed, (&scope, &gone), &mut diff);
    let mut context = server::Context {
        desired,
        recorded,
        sightings: &sightings,
        lineage,
        mode: options.mode,
        gone: &gone,
        drift: options.drift,
        lifecycle: &desired.lifecycle,
        removed: &desired.removed,
        imports: &imports,
        silent: BTreeSet::new(),
        replaced: BTreeSet::new(),
    };
    let mut recorded_on = on_silent_hosts(recorded, observed);
    for (host, observation) in observed {
        let servers = recorded_on.remove(host).unwrap_or_default();
        look_at_host(
            host,
            observation,
            (recorded, servers),
            options,
            &mut context,
            &mut diff,
        );
    }
    // A host that was not even asked is as silent as one that did not answer.
    for host in recorded.hosts.keys().filter(|host| !observed.contains_key(*host)) {
        context.silent.insert(host);
    }
    let addresses: BTreeSet<&Address> = wanted.servers.keys().chain(beliefs.keys()).collect();
    for address in addresses {
        let spec = wanted.servers.get(address).map(|resource| &resource.spec);
        let belief = beliefs.get(address);
        if scope.covers(address) {
            let server = server::diff_server(&context, address, spec, belief, &mut diff);
            if let Some(mut server) = server {
                if options.import.is_some() {
                    server
                        .steps
                        .retain(|step| matches!(step, ServerStep::Import { .. } | ServerStep::Adopt { .. }));
                }
                diff.servers.insert(address.clone(), server);
            }
        } else if belief.is_some() {
            // Outside the targets a server stays as it is, and only takes its room.
            let mut aside = FleetDiff::default();
            let kept = belief
                .and_then(|belief| belief.record.as_ref())
                .map(|record| &record.spec);
            if let Some(mut server) = server::diff_server(&context, address, kept, belief, &mut aside) {
                server.steps.clear();
                server.held_back = true;
                diff.servers.insert(address.clone(), server);
            }
        }
    }
    for (id, (address, belief)) in &deposed {
        if let Some(mut server) = server::diff_server(&context, address, None, Some(belief), &mut diff) {
            server.held_back |= options.mode == PlanMode::RefreshOnly || !scope.covers(address);
            for step in &mut server.steps {
                if let ServerStep::Delete { why } = step {
                    *why = Reason::Replaced;
                }
            }
            diff.deposed.insert(*id, (address.clone(), server));
        }
    }
    if options.mode == PlanMode::Apply {
        imports.undeclared(|address| scope.covers(address), &mut diff);
    }
    orphans(desired, &sightings, &mut diff);
    hide::hide(&mut diff.drift, desired, recorded);
    replace::replace(wanted, &mut diff);
    moves::find_moves(wanted, &scope, &mut diff);
    import::check_places(&mut diff);
    import::tell_of_disks(&sightings, &mut diff);
    diff
}

/// What `destroy` wants to be left: nothing, or everything but the targets.
fn without_targets(desired: &DesiredFleet, options: &PlanOptions) -> DesiredFleet {
    let mut left = DesiredFleet::empty(desired.fleet.clone(), desired.project.clone());
    left.scheduler = desired.scheduler.clone();
    if options.targets.is_empty() {
        return left;
    }
    let mut left = desired.clone();
    let goes = |address: &Address| options.targets.iter().any(|target| target.covers(address));
    left.servers.retain(|address, _| !goes(address));
    left.flavors.retain(|address, _| !goes(address));
    left.images.retain(|address, _| !goes(address));
    left.groups.retain(|address, _| !goes(address));
    left.aggregates.retain(|address, _| !goes(address));
    left
}

/// The servers recorded on each host that did not answer: one look at every server, however many hosts are silent.
fn on_silent_hosts<'a>(
    recorded: &'a RecordedFleet,
    observed: &'a ObservedFleet,
) -> BTreeMap<&'a HostName, Vec<Address>> {
    let mut servers: BTreeMap<&HostName, Vec<Address>> = observed
        .iter()
        .filter(|(_, observation)| observation.inventory().is_none())
        .map(|(host, _)| (host, Vec::new()))
        .collect();
    if servers.is_empty() {
        return servers;
    }
    for (address, record) in &recorded.servers {
        if let Some(on_host) = record.host.as_ref().and_then(|host| servers.get_mut(host)) {
            on_host.push(address.clone());
        }
    }
    servers
}

fn look_at_host<'a>(
    host: &'a HostName,
    observation: &HostObservation,
    (recorded, servers): (&RecordedFleet, Vec<Address>),
    options: &PlanOptions,
    context: &mut server::Context<'a>,
    diff: &mut FleetDiff,
) {
    match observation {
        HostObservation::Unobserved(why) => {
            let accepted = options.allow_unreachable.contains(host);
            if !accepted {
                context.silent.insert(host);
            }
            diff.unobserved.push(UnobservedHost {
                host: host.clone(),
                why: why.clone(),
                accepted,
                servers,
            });
        }
        HostObservation::Reported(inventory) => {
            let trusted = recorded.hosts.get(host).and_then(|record| record.incarnation);
            if trusted.is_some_and(|trusted| trusted != inventory.incarnation) {
                context.replaced.insert(host);
                diff.findings.push(Finding {
                    severity: Severity::Error,
                    address: None,
                    message: format!(
                        "the operation log of host {host} is not the one that the store knows: it was lost or \
                         restored, and its rights to run servers are void"
                    ),
                    hint: format!("make sure that its servers run nowhere else, then: drover host readmit {host}"),
                });
            }
        }
    }
}

/// Domains with this fleet's mark that no record and no declaration accounts for.
fn orphans(desired: &DesiredFleet, sightings: &sight::Sightings<'_>, diff: &mut FleetDiff) {
    let known: BTreeSet<_> = diff
        .servers
        .values()
        .map(|server| server.id)
        .chain(diff.deposed.keys().copied())
        .collect();
    let mut found = Vec::new();
    for (id, sighting, mark) in sightings.marked(&desired.fleet, &desired.project) {
        if known.contains(&id) {
            continue;
        }
        for (host, _) in &sighting.domains {
            let not_adopted = match diff.servers.get(&mark.address) {
                Some(server) => format!("{} is another server, {}", mark.address, server.id),
                None => format!("{} is neither declared nor recorded", mark.address),
            };
            found.push(Drift {
                address: mark.address.clone(),
                server: id,
                host: (*host).clone(),
                what: DriftKind::Orphan { not_adopted },
            });
        }
    }
    diff.drift.extend(found);
}
