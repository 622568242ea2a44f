//! That no order of a plan's actions breaks the policy of a group that held before.

use super::action::{ActionKind, RecordChange};
use super::lint::LintFinding;
use super::lint_prefix::{Ancestors, Change, worst};
use super::types::Plan;
use crate::model::{GroupPolicy, GroupSpec, RecordedFleet, ServerSpec};
use drover_types::{Address, HostName, OperationId, ServerId};
use std::collections::BTreeMap;

/// Members of a group that come to one host and leave it, and those that are there at first.
#[derive(Default)]
struct Traffic {
    at_first: u64,
    arrivals: Vec<(Change, ServerId)>,
    departures: Vec<Change>,
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

/// Checks groups of which a member migrates: a create meets its filters in placement, and moves nobody.
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
            traffic.entry((group, host)).or_default().at_first += 1;
            *members.entry(group).or_insert(0) += 1;
        }
    }
    for action in &plan.actions {
        let (server, to) = if let ActionKind::Migrate { order, to, .. } = &action.kind {
            (order.id, Some(to))
        } else if let ActionKind::DeleteServer { server, .. } = &action.kind {
            (*server, None)
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
        if let Some(to) = to {
            moved.insert(group, policy);
            traffic
                .entry((group, to))
                .or_default()
                .arrivals
                .push((change, server));
        }
        if let Some(from) = from {
            traffic.entry((group, from)).or_default().departures.push(change);
        }
    }
    let ancestors = Ancestors::of(plan);
    for ((group, host), traffic) in traffic.iter().filter(|(_, traffic)| !traffic.arrivals.is_empty()) {
        let Traffic {
            at_first,
            arrivals,
            departures,
        } = traffic;
        let spec = moved.get(group);
        let holds = match spec.map(|spec| spec.policy) {
            Some(GroupPolicy::AntiAffinity) => {
                let limit = spec.map_or(1, |spec| u64::from(spec.max_server_per_host));
                let comes: Vec<Change> = arrivals.iter().map(|(change, _)| *change).collect();
                worst(*at_first, &comes, departures, &ancestors) <= limit.max(*at_first)
            }
            // Each comes to a member that stays, or that came before it.
            Some(GroupPolicy::Affinity) => {
                let stays = *at_first > departures.len() as u64;
                let came = |before: OperationId| arrivals.iter().any(|(change, _)| change.action == before);
                let alone = members.get(group).copied().unwrap_or(0) <= 1;
                alone
                    || stays
                    || arrivals
                        .iter()
                        .all(|(change, _)| ancestors.before(change.action).into_iter().any(came))
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
