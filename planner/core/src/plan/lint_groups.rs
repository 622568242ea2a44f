//! That no order of a plan's actions breaks the policy of a group that held before.

use super::action::{ActionKind, Keep, RecordChange};
use super::lint::LintFinding;
use super::lint_prefix::{Ancestors, Change, worst};
use super::types::Plan;
use crate::model::{GroupPolicy, GroupSpec, RecordedFleet, ServerSpec};
use drover_types::{Address, HostName, OperationId, ServerId};
use std::collections::{BTreeMap, BTreeSet};

/// A member's time on a host.
struct Stay {
    server: ServerId,
    /// The action that brings it, unless it is there at first.
    since: Option<OperationId>,
    /// The action that takes it away.
    until: Option<OperationId>,
}

/// Members of a group that come to one host and leave it, and those that are there at first.
#[derive(Default)]
struct Traffic {
    at_first: u64,
    arrivals: Vec<Change>,
    /// Those that come to be there.
    created: Vec<Change>,
    departures: Vec<Change>,
    stays: Vec<Stay>,
}

impl Traffic {
    /// Whether each comes to another member that is there whenever it comes, whatever the order.
    fn is_together(&self, ancestors: &Ancestors<'_>) -> bool {
        let own = |arrival: OperationId| self.stays.iter().find(|stay| stay.since == Some(arrival));
        self.arrivals.iter().all(|arrival| {
            let before = ancestors.before(arrival.action);
            let server = own(arrival.action).map(|stay| stay.server);
            self.stays.iter().any(|stay| {
                Some(stay.server) != server
                    && stay.since.is_none_or(|since| before.contains(&since))
                    && stay
                        .until
                        .is_none_or(|until| ancestors.before(until).contains(&arrival.action))
            })
        })
    }
}

fn policies<'a>(plan: &'a Plan, recorded: &'a RecordedFleet) -> BTreeMap<&'a Address, &'a GroupSpec> {
    let mut policies: BTreeMap<&Address, &GroupSpec> = recorded
        .groups
        .iter()
        .map(|(address, record)| (address, &record.spec))
        .collect();
    for action in &plan.actions {
        if let ActionKind::Record(RecordChange::Group(Some(spec))) = &action.kind {
            policies.insert(&action.address, spec);
        }
    }
    policies
}

/// The attributes of every server as the plan leaves them.
fn specs<'a>(plan: &'a Plan, recorded: &'a RecordedFleet) -> BTreeMap<ServerId, &'a ServerSpec> {
    let mut specs: BTreeMap<ServerId, &ServerSpec> = recorded
        .servers
        .values()
        .map(|record| (record.id, &record.spec))
        .collect();
    for action in &plan.actions {
        let (id, spec) = match &action.kind {
            ActionKind::CreateServer { order, spec, .. }
            | ActionKind::UpdateServer { order, spec, .. }
            | ActionKind::TakeOver { order, spec, .. } => (order.id, spec),
            ActionKind::SetPower { server, spec, .. }
            | ActionKind::Import { server, spec, .. }
            | ActionKind::RecordServer { server, spec, .. } => (*server, spec),
            ActionKind::Settle { .. }
            | ActionKind::EnsureImage { .. }
            | ActionKind::DeleteImage { .. }
            | ActionKind::DeleteServer { .. }
            | ActionKind::Migrate { .. }
            | ActionKind::Adopt { .. }
            | ActionKind::ForgetServer { .. }
            | ActionKind::Move { .. }
            | ActionKind::Record(_) => continue,
        };
        specs.insert(id, spec);
    }
    specs
}

/// Checks groups of which a member migrates. Where none does, a create meets all others where its filters saw them.
pub(super) fn check_groups(plan: &Plan, recorded: &RecordedFleet, findings: &mut Vec<LintFinding>) {
    let migrations = plan
        .actions
        .iter()
        .filter(|action| matches!(action.kind, ActionKind::Migrate { .. }));
    if migrations.count() == 0 {
        return;
    }
    let policies = policies(plan, recorded);
    let specs = specs(plan, recorded);
    let group_of = |server: ServerId| -> Option<(&Address, &GroupSpec)> {
        let group = specs.get(&server)?.group.as_ref()?;
        Some((group, *policies.get(group)?))
    };
    let mut traffic: BTreeMap<(&Address, &HostName), Traffic> = BTreeMap::new();
    let mut members: BTreeMap<&Address, u64> = BTreeMap::new();
    // Those that the plan deletes are no company from the first step on.
    let mut deleted: BTreeMap<&Address, u64> = BTreeMap::new();
    let mut moved: BTreeMap<&Address, &GroupSpec> = BTreeMap::new();
    // A server that is adopted is where it was found, whatever is recorded.
    let found: BTreeMap<ServerId, &HostName> = plan
        .actions
        .iter()
        .filter(|action| {
            matches!(
                action.kind,
                ActionKind::Adopt { .. } | ActionKind::TakeOver { .. }
            )
        })
        .filter_map(|action| Some((action.kind.server()?, action.host.as_ref()?)))
        .collect();
    for record in recorded.servers.values() {
        let host = found.get(&record.id).copied().or(record.host.as_ref());
        if let (Some(host), Some((group, _))) = (host, group_of(record.id)) {
            let traffic = traffic.entry((group, host)).or_default();
            traffic.at_first += 1;
            traffic.stays.push(Stay {
                server: record.id,
                since: None,
                until: None,
            });
            *members.entry(group).or_insert(0) += 1;
        }
    }
    for action in &plan.actions {
        let (server, to) = if let ActionKind::Migrate { order, to, .. } = &action.kind {
            (order.id, Some(to))
        } else if let ActionKind::DeleteServer { server, keep, .. } = &action.kind {
            if let (Keep::Nothing | Keep::Guest, Some((group, _))) = (keep, group_of(*server)) {
                *deleted.entry(group).or_insert(0) += 1;
            }
            (*server, None)
        } else if let ActionKind::CreateServer { order, replaces, .. } = &action.kind {
            // A successor is the member that it replaces.
            let group = replaces.is_none().then(|| group_of(order.id)).flatten();
            if let (Some((group, _)), Some(host)) = (group, &action.host) {
                traffic.entry((group, host)).or_default().created.push(Change {
                    amount: 1,
                    action: action.id,
                });
            }
            continue;
        } else {
            continue;
        };
        let from = action.host.as_ref();
        let Some((group, policy)) = group_of(server) else {
            continue;
        };
        let change = Change {
            amount: 1,
            action: action.id,
        };
        if let Some(from) = from {
            let traffic = traffic.entry((group, from)).or_default();
            traffic.departures.push(change);
            let mut stays = traffic.stays.iter_mut().rev();
            if let Some(stay) = stays.find(|stay| stay.server == server) {
                stay.until = Some(action.id);
            }
        }
        if let Some(to) = to {
            moved.insert(group, policy);
            let traffic = traffic.entry((group, to)).or_default();
            traffic.arrivals.push(change);
            traffic.stays.push(Stay {
                server,
                since: Some(action.id),
                until: None,
            });
        }
    }
    // One that is blocked stays where it is, and may be declared a member without a record of it.
    let blocked: BTreeSet<&HostName> = plan
        .blocked
        .iter()
        .filter_map(|blocked| recorded.servers.get(&blocked.address)?.host.as_ref())
        .collect();
    let ancestors = Ancestors::of(plan);
    let meets = |traffic: &Traffic| !(traffic.arrivals.is_empty() && traffic.created.is_empty());
    for ((group, host), traffic) in traffic.iter().filter(|(_, traffic)| meets(traffic)) {
        let spec = moved.get(group);
        let holds = match spec.map(|spec| spec.policy) {
            Some(GroupPolicy::AntiAffinity) => {
                let limit = spec.map_or(1, |spec| u64::from(spec.max_server_per_host));
                let arrivals = [traffic.arrivals.as_slice(), &traffic.created].concat();
                let most = worst(traffic.at_first, &arrivals, &traffic.departures, &ancestors);
                most <= limit.max(traffic.at_first)
            }
            Some(GroupPolicy::Affinity) => {
                let gone = deleted.get(group).copied().unwrap_or(0);
                let alone = members.get(group).copied().unwrap_or(0) <= 1 + gone;
                alone || blocked.contains(host) || traffic.is_together(&ancestors)
            }
            Some(GroupPolicy::SoftAffinity | GroupPolicy::SoftAntiAffinity) | None => true,
        };
        if !holds {
            findings.push(LintFinding::GroupBroken {
                group: (*group).clone(),
                host: (*host).clone(),
            });
        }
    }
}
