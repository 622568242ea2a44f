//! Servers that come to be by taking over a domain that is there already.
//!
//! A domain is taken over as it is, so what is declared must say what it is: everything that does not fit is named,
//! and nothing is done.

use super::server::Context;
use super::sight::{Sightings, is_active};
use super::types::{FleetDiff, Seat, ServerDiff, ServerStep};
use crate::model::{
    DesiredFleet, Import, ImportId, ObservedDomain, ObservedFleet, Power, RecordedFleet, ServerSpec,
};
use crate::plan::{Blocked, BlockedBy, Finding, ImportProblem, PlanMode, Reason, Severity};
use drover_types::{Address, Epoch, FleetName, HostName, PowerState, ServerId};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What an agent must be able to do.
const CAPABILITY: &str = "import";

/// How many names a message lists.
const NAMED: usize = 8;

/// The domain that an import is about.
///
/// # Errors
/// Why there is none to be seen.
fn find<'a>(
    id: &ImportId,
    desired: &DesiredFleet,
    recorded: &RecordedFleet,
    observed: &'a ObservedFleet,
) -> Result<(&'a HostName, &'a ObservedDomain), BlockedBy> {
    let problem = |problem| BlockedBy::CannotImport {
        id: id.clone(),
        problems: vec![problem],
    };
    if !desired.hosts.contains_key(&id.host) && !recorded.hosts.contains_key(&id.host) {
        return Err(problem(ImportProblem::NoSuchHost));
    }
    let Some((host, inventory)) = observed
        .get_key_value(&id.host)
        .and_then(|(host, observation)| Some((host, observation.inventory()?)))
    else {
        return Err(BlockedBy::Unobserved {
            host: id.host.clone(),
        });
    };
    let by_uuid = id.domain.parse::<Uuid>().ok();
    let found = inventory
        .domains
        .values()
        .find(|domain| domain.name == id.domain)
        .or_else(|| inventory.domains.get(&by_uuid?));
    found.map(|domain| (host, domain)).ok_or_else(|| {
        let foreign = inventory.domains.values().filter(|domain| is_nobodys(domain));
        let mut unmanaged: Vec<String> = foreign.map(|domain| domain.name.clone()).collect();
        unmanaged.sort();
        unmanaged.truncate(NAMED);
        problem(ImportProblem::NoSuchDomain { unmanaged })
    })
}

/// Whether no fleet lays claim to a domain.
#[must_use]
pub const fn is_nobodys(domain: &ObservedDomain) -> bool {
    domain.mark.is_none() && domain.held_epoch.is_none()
}

/// The ids that servers will have which are imported: those of their domains.
#[must_use]
pub fn import_ids(
    desired: &DesiredFleet,
    recorded: &RecordedFleet,
    observed: &ObservedFleet,
) -> BTreeMap<Address, ServerId> {
    let open = desired
        .imports
        .iter()
        .filter(|(address, _)| !recorded.servers.contains_key(*address));
    open.filter_map(|(address, import)| {
        let (_, domain) = find(&import.id, desired, recorded, observed).ok()?;
        Some((address.clone(), ServerId::from_uuid(domain.uuid)))
    })
    .collect()
}

/// Domains that are to be imported as servers which are declared nowhere, by the servers' addresses.
#[must_use]
pub fn undeclared_imports<'a>(
    desired: &DesiredFleet,
    recorded: &RecordedFleet,
    observed: &'a ObservedFleet,
) -> BTreeMap<Address, (ImportId, &'a ObservedDomain)> {
    let undeclared = desired.imports.iter().filter(|(address, _)| {
        !desired.servers.contains_key(*address) && !recorded.servers.contains_key(*address)
    });
    undeclared
        .filter_map(|(address, import)| {
            let (_, domain) = find(&import.id, desired, recorded, observed).ok()?;
            Some((address.clone(), (import.id.clone(), domain)))
        })
        .collect()
}

/// Whether a block of its own could be written for an imported server that is not declared. One instance of a block
/// says nothing of the others, and a module's blocks are those of all its instances.
#[must_use]
pub fn has_block_of_its_own(address: &Address, desired: &DesiredFleet) -> bool {
    address.modules.is_empty() && address.key.is_none() && !desired.blocks.contains_key(address)
}

/// Every import, and what is found of it.
pub(super) struct Imports<'a> {
    desired: &'a DesiredFleet,
    recorded: &'a RecordedFleet,
    observed: &'a ObservedFleet,
    /// The first server that wants each domain.
    wanted_by: BTreeMap<Uuid, &'a Address>,
    recorded_at: BTreeMap<ServerId, &'a Address>,
}

impl<'a> Imports<'a> {
    pub(super) fn new(
        desired: &'a DesiredFleet,
        recorded: &'a RecordedFleet,
        observed: &'a ObservedFleet,
    ) -> Self {
        let mut wanted_by = BTreeMap::new();
        let mut recorded_at = BTreeMap::new();
        if !desired.imports.is_empty() {
            for (address, import) in &desired.imports {
                if let Ok((_, domain)) = find(&import.id, desired, recorded, observed) {
                    wanted_by.entry(domain.uuid).or_insert(address);
                }
            }
            recorded_at = recorded
                .servers
                .iter()
                .map(|(address, record)| (record.id, address))
                .collect();
        }
        Self {
            desired,
            recorded,
            observed,
            wanted_by,
            recorded_at,
        }
    }

    pub(super) fn of(&self, address: &Address) -> Option<&'a Import> {
        self.desired.imports.get(address)
    }

    /// Servers that are to be imported and are neither declared nor recorded.
    pub(super) fn undeclared(&self, covers: impl Fn(&Address) -> bool, diff: &mut FleetDiff) {
        for (address, import) in &self.desired.imports {
            let known =
                self.desired.servers.contains_key(address) || self.recorded.servers.contains_key(address);
            if !known && covers(address) {
                let mut all = vec![ImportProblem::NotDeclared];
                if let Err(BlockedBy::CannotImport { problems, .. }) =
                    find(&import.id, self.desired, self.recorded, self.observed)
                {
                    all.extend(problems);
                }
                let hint = if has_block_of_its_own(address, self.desired) {
                    "declare the server, or have its block written with `drover plan --generate-config-out FILE`"
                } else {
                    "declare the server"
                };
                let by = BlockedBy::CannotImport {
                    id: import.id.clone(),
                    problems: all,
                };
                diff.blocked.push(blocked(address, &import.id, by, hint));
            }
        }
    }
}

fn blocked(address: &Address, id: &ImportId, by: BlockedBy, hint: &str) -> Blocked {
    Blocked {
        address: address.clone(),
        verb: "import".to_owned(),
        why: Reason::ImportAsked { id: id.clone() },
        by,
        hint: hint.to_owned(),
    }
}

/// Plans the import of a server that is declared and not recorded.
pub(super) fn import(
    context: &Context<'_>,
    address: &Address,
    import: &Import,
    desired: &ServerSpec,
    server: &mut ServerDiff,
    diff: &mut FleetDiff,
) {
    match context.mode {
        PlanMode::Apply => {}
        PlanMode::RefreshOnly | PlanMode::Destroy => return,
    }
    let imports = context.imports;
    let (host, domain) = match find(&import.id, imports.desired, imports.recorded, imports.observed) {
        Ok(found) => found,
        Err(by) => {
            let hint = match &by {
                BlockedBy::CannotImport { .. } => "correct the id of its import",
                _ => "bring that host back, then plan again",
            };
            server.held_back = true;
            diff.blocked.push(blocked(address, &import.id, by, hint));
            return;
        }
    };
    let id = ServerId::from_uuid(domain.uuid);
    if is_recorded_nowhere(domain, id, address, &imports.desired.fleet) {
        adopt_again(host, domain, &import.id, server);
        return;
    }
    let problems = problems(imports, address, desired, host, domain);
    if !problems.is_empty() || context.replaced.contains(host) {
        server.held_back = true;
        if !problems.is_empty() {
            let by = BlockedBy::CannotImport {
                id: import.id.clone(),
                problems,
            };
            let hint = "settle all of it, and plan again; nothing was changed";
            diff.blocked.push(blocked(address, &import.id, by, hint));
        }
        return;
    }
    server.id = id;
    server.imported = Some(import.id.clone());
    server.burnt = server.burnt.max(domain.highest_epoch.unwrap_or(Epoch::new(0)));
    server.seat = Some(Seat {
        host: host.clone(),
        epoch: Epoch::new(0),
        running: is_active(domain.power_state),
    });
    server.steps.push(ServerStep::Import {
        why: Reason::ImportAsked {
            id: import.id.clone(),
        },
    });
    if !runs_as(desired.power, domain.power_state) {
        server.steps.push(ServerStep::SetPower {
            power: desired.power,
            why: Reason::PowerDrift {
                found: domain.power_state,
            },
        });
    }
}

const fn runs_as(wanted: Power, found: PowerState) -> bool {
    match (wanted, found) {
        (Power::On, PowerState::Running | PowerState::Suspended)
        | (Power::Off, PowerState::Shutdown | PowerState::ShuttingDown | PowerState::Crashed) => true,
        (Power::On | Power::Off, _) => false,
    }
}

/// Whether it was imported at this address before, and only the store does not know of it.
fn is_recorded_nowhere(domain: &ObservedDomain, id: ServerId, address: &Address, fleet: &FleetName) -> bool {
    let marked = domain
        .mark
        .as_ref()
        .is_some_and(|mark| mark.address == *address && mark.id == id && mark.fleet == *fleet);
    marked && domain.held_epoch.is_some()
}

fn adopt_again(host: &HostName, domain: &ObservedDomain, id: &ImportId, server: &mut ServerDiff) {
    let epoch = domain.held_epoch.unwrap_or(Epoch::new(0));
    server.id = ServerId::from_uuid(domain.uuid);
    server.imported = Some(id.clone());
    server.seat = Some(Seat {
        host: host.clone(),
        epoch,
        running: is_active(domain.power_state),
    });
    server.burnt = server.burnt.max(epoch);
    server.steps.push(ServerStep::Adopt {
        why: Reason::OrphanFound { host: host.clone() },
    });
}

/// Everything that speaks against it.
fn problems(
    imports: &Imports<'_>,
    address: &Address,
    desired: &ServerSpec,
    host: &HostName,
    domain: &ObservedDomain,
) -> Vec<ImportProblem> {
    let mut found = Vec::new();
    let id = ServerId::from_uuid(domain.uuid);
    if let Some(at) = imports.recorded_at.get(&id) {
        found.push(ImportProblem::Recorded {
            address: (*at).clone(),
        });
        return found;
    }
    if let Some(mark) = &domain.mark {
        found.push(ImportProblem::Managed {
            fleet: mark.fleet.clone(),
            address: mark.address.clone(),
        });
        return found;
    }
    if domain.held_epoch.is_some() {
        found.push(ImportProblem::MarkLost);
        return found;
    }
    if let Some(first) = imports
        .wanted_by
        .get(&domain.uuid)
        .filter(|first| **first != address)
    {
        found.push(ImportProblem::Twice {
            address: (*first).clone(),
        });
    }
    let able = imports
        .observed
        .get(host)
        .and_then(|observation| observation.inventory())
        .is_some_and(|inventory| inventory.capabilities.iter().any(|word| word == CAPABILITY));
    if !able {
        found.push(ImportProblem::AgentTooOld);
    }
    if !domain.persistent {
        found.push(ImportProblem::Transient);
    }
    for drift in &domain.drift {
        found.push(ImportProblem::RunsOtherwise {
            attribute: drift.attribute.clone(),
            defined: drift.expected.clone(),
            running: drift.found.clone(),
        });
    }
    let size = &desired.size;
    let flavor = || desired.flavor.clone();
    if domain.vcpus != size.vcpus {
        found.push(ImportProblem::Vcpus {
            found: domain.vcpus,
            flavor: flavor(),
            declared: size.vcpus,
        });
    }
    if domain.ram_mib != size.ram.mib_ceil() {
        found.push(ImportProblem::Ram {
            found_mib: domain.ram_mib,
            flavor: flavor(),
            declared_mib: size.ram.mib_ceil(),
        });
    }
    let disk_mib = domain.own_disk_mib();
    if disk_mib != 0 && disk_mib != size.disk.mib_ceil() {
        found.push(ImportProblem::Disk {
            found_mib: disk_mib,
            flavor: flavor(),
            declared_mib: size.disk.mib_ceil(),
        });
    }
    found
}

/// An import whose server is recorded already has nothing left to do; one that names another domain says so.
pub(super) fn check_done(
    context: &Context<'_>,
    address: &Address,
    server: &ServerDiff,
    diff: &mut FleetDiff,
) {
    let imports = context.imports;
    let Some(import) = imports.of(address) else { return };
    if let Ok((_, domain)) = find(&import.id, imports.desired, imports.recorded, imports.observed)
        && is_nobodys(domain)
        && domain.uuid != server.id.uuid()
    {
        diff.findings.push(Finding {
            severity: Severity::Warning,
            address: Some(address.clone()),
            message: format!(
                "it is recorded already, and {}, which is to be imported as it, is another one: that stays unmanaged",
                import.id
            ),
            hint: "import that under another address, or remove the import block".to_owned(),
        });
    }
}

/// An import into a place where the server may not stay is none: it could not be moved away afterwards.
pub(super) fn check_places(diff: &mut FleetDiff) {
    for (address, server) in &mut diff.servers {
        let imports = |step: &ServerStep| matches!(step, ServerStep::Import { .. });
        if !server.steps.iter().any(imports) {
            continue;
        }
        let Some((why, id)) = server.moves.take().zip(server.imported.clone()) else {
            continue;
        };
        let by = BlockedBy::CannotImport {
            id: id.clone(),
            problems: vec![ImportProblem::Misplaced { why: Box::new(why) }],
        };
        server.steps.clear();
        server.seat = None;
        server.held_back = true;
        let hint = "an imported server stays on its host: change what forbids that, then plan again";
        diff.blocked.push(blocked(address, &id, by, hint));
    }
}

/// What becomes of the disks of imported servers that go, or whose place another takes.
pub(super) fn tell_of_disks(sightings: &Sightings<'_>, diff: &mut FleetDiff) {
    let deposed = diff.deposed.values().map(|(address, server)| (address, server));
    let mut told = Vec::new();
    for (address, server) in diff.servers.iter().chain(deposed) {
        let goes = server.steps.iter().any(|step| {
            matches!(
                step,
                ServerStep::Delete { .. } | ServerStep::Rebuild { .. } | ServerStep::Replace { .. }
            )
        });
        let (Some(seat), true, true) = (&server.seat, goes, server.imported.is_some()) else {
            continue;
        };
        let domain = sightings
            .of(server.id)
            .and_then(|sighting| sighting.on(&seat.host));
        let disks = domain.map(|domain| domain.disks.iter().filter(|disk| disk.is_own()));
        let disks: Vec<String> = disks
            .into_iter()
            .flatten()
            .map(|disk| format!("{} ({})", disk.target, disk.source))
            .collect();
        let named = if disks.is_empty() {
            String::new()
        } else {
            format!(": {}", disks.join(", "))
        };
        told.push(Finding {
            severity: Severity::Warning,
            address: Some(address.clone()),
            message: format!("its disks are not Drover's and stay on {}{named}", seat.host),
            hint: format!(
                "remove them there when they are no longer needed; a copy of the domain's definition stays in the \
                 agent's data directory, in imported/{}",
                server.id
            ),
        });
    }
    diff.findings.extend(told);
}
