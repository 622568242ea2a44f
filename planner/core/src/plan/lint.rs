//! Checks a plan against the rules that every plan keeps.

use super::action::{ActionKind, Keep, Precondition};
use super::types::Plan;
use crate::model::{ObservedFleet, RecordedFleet, SchedulerSettings};
use drover_types::{Address, Epoch, HostName, OperationId, ServerId};
use petgraph::algo::tarjan_scc;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use std::collections::{BTreeMap, BTreeSet};

/// A rule that a plan breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LintFinding {
    /// Actions wait for each other.
    #[error("actions wait for each other: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Cycle(Vec<Address>),
    /// An action waits for one that is not in the plan.
    #[error("{address} waits for operation {missing}, which is not in the plan")]
    UnknownDependency {
        /// Whose.
        address: Address,
        /// On what.
        missing: OperationId,
    },
    /// A join waits for an action that is not in the plan.
    #[error("join {join} waits for operation {missing}, which is not in the plan")]
    UnknownMember {
        /// Which.
        join: OperationId,
        /// On what.
        missing: OperationId,
    },
    /// Two actions have one id.
    #[error("operation {0} is planned twice")]
    SameOperation(OperationId),
    /// In some order that the graph allows, a host is promised more than it has.
    #[error("{host} is promised {used} of {what}, it has {limit}")]
    OverCapacity {
        /// Which.
        host: HostName,
        /// Memory, disk or processors.
        what: &'static str,
        /// At worst.
        used: u64,
        /// At most.
        limit: u64,
    },
    /// In some order that the graph allows, a migration breaks a group's policy.
    #[error("{group} would be broken on {host}")]
    GroupBroken {
        /// Which.
        group: Address,
        /// Where.
        host: HostName,
    },
    /// A precondition does not fit what the action does.
    #[error("{0}: the precondition does not fit the action")]
    Precondition(Address),
    /// Two creates of one server.
    #[error("server {0} is created twice")]
    CreatedTwice(ServerId),
    /// A server would be on two hosts.
    #[error("server {0} would be on two hosts")]
    OnTwoHosts(ServerId),
    /// Two grants share an epoch, or one is not above the highest that was ever reserved.
    #[error("server {0} is granted an epoch that was used before")]
    EpochUsed(ServerId),
}

/// Checks the plan.
#[must_use]
pub fn lint(
    plan: &Plan,
    recorded: &RecordedFleet,
    observed: &ObservedFleet,
    scheduler: &SchedulerSettings,
) -> Vec<LintFinding> {
    let mut findings = Vec::new();
    check_graph(plan, &mut findings);
    check_preconditions(plan, &mut findings);
    check_servers(plan, recorded, &mut findings);
    super::lint_capacity::check_capacity(plan, recorded, observed, scheduler, &mut findings);
    super::lint_groups::check_groups(plan, recorded, &mut findings);
    findings
}

fn check_graph(plan: &Plan, findings: &mut Vec<LintFinding>) {
    // Joins are nodes without an action.
    let mut graph: StableDiGraph<Option<usize>, ()> = StableDiGraph::new();
    let mut nodes: BTreeMap<OperationId, NodeIndex> = BTreeMap::new();
    for (at, action) in plan.actions.iter().enumerate() {
        if nodes.insert(action.id, graph.add_node(Some(at))).is_some() {
            findings.push(LintFinding::SameOperation(action.id));
        }
    }
    for join in &plan.joins {
        if nodes.insert(join.id, graph.add_node(None)).is_some() {
            findings.push(LintFinding::SameOperation(join.id));
        }
    }
    for join in &plan.joins {
        for dependency in &join.depends_on {
            match nodes.get(dependency) {
                Some(node) => {
                    graph.add_edge(*node, nodes[&join.id], ());
                }
                None => findings.push(LintFinding::UnknownMember {
                    join: join.id,
                    missing: *dependency,
                }),
            }
        }
    }
    for action in &plan.actions {
        if let ActionKind::CreateServer { candidates, .. } = &action.kind {
            for candidate in candidates.iter().skip(1) {
                if nodes.contains_key(&candidate.operation) {
                    findings.push(LintFinding::SameOperation(candidate.operation));
                }
            }
        }
        for dependency in &action.depends_on {
            match nodes.get(dependency) {
                Some(node) => {
                    graph.add_edge(*node, nodes[&action.id], ());
                }
                None => findings.push(LintFinding::UnknownDependency {
                    address: action.address.clone(),
                    missing: *dependency,
                }),
            }
        }
    }
    for component in tarjan_scc(&graph) {
        let loops = component.len() > 1 || component.iter().any(|node| graph.contains_edge(*node, *node));
        if loops {
            let mut members: Vec<Address> = component
                .iter()
                .filter_map(|node| graph[*node])
                .map(|at| plan.actions[at].address.clone())
                .collect();
            members.sort();
            findings.push(LintFinding::Cycle(members));
        }
    }
}

fn check_preconditions(plan: &Plan, findings: &mut Vec<LintFinding>) {
    for action in &plan.actions {
        let fits = match (&action.kind, &action.precondition) {
            (ActionKind::Settle { .. }, Precondition::Open)
            | (ActionKind::EnsureImage { .. } | ActionKind::DeleteImage { .. }, Precondition::AgentLooks)
            | (
                ActionKind::CreateServer { replaces: None, .. }
                | ActionKind::Import { .. }
                | ActionKind::ForgetServer { .. },
                Precondition::Unplaced,
            )
            | (
                ActionKind::CreateServer {
                    replaces: Some(_), ..
                },
                Precondition::Replaces { .. },
            )
            | (ActionKind::Record(_), Precondition::Recorded { .. })
            | (ActionKind::Move { .. }, Precondition::RecordedAt { .. })
            | (
                ActionKind::Adopt { .. } | ActionKind::TakeOver { .. } | ActionKind::RecordServer { .. },
                Precondition::Placed { .. },
            ) => true,
            (
                ActionKind::UpdateServer { epoch, .. }
                | ActionKind::SetPower { epoch, .. }
                | ActionKind::Migrate { epoch, .. },
                Precondition::Held { host, epoch: held },
            ) => epoch == held && action.host.as_ref() == Some(host),
            (ActionKind::DeleteServer { epoch, keep, .. }, precondition) => match (keep, precondition) {
                (
                    Keep::Nothing | Keep::Guest | Keep::Record | Keep::Successor,
                    Precondition::Held { host, epoch: held },
                ) => epoch == held && action.host.as_ref() == Some(host),
                (Keep::Leftover, Precondition::Placed { .. }) => true,
                (Keep::Nothing | Keep::Guest | Keep::Record | Keep::Leftover | Keep::Successor, _) => false,
            },
            _ => false,
        };
        let hosted = match &action.kind {
            ActionKind::Record(_)
            | ActionKind::RecordServer { .. }
            | ActionKind::ForgetServer { .. }
            | ActionKind::Move { .. } => true,
            ActionKind::CreateServer { candidates, .. } => candidates.first().is_some_and(|first| {
                action.host.as_ref() == Some(&first.host) && first.operation == action.id
            }),
            ActionKind::Settle { .. }
            | ActionKind::EnsureImage { .. }
            | ActionKind::DeleteImage { .. }
            | ActionKind::Import { .. }
            | ActionKind::UpdateServer { .. }
            | ActionKind::SetPower { .. }
            | ActionKind::DeleteServer { .. }
            | ActionKind::Migrate { .. }
            | ActionKind::Adopt { .. }
            | ActionKind::TakeOver { .. } => action.host.is_some(),
        };
        if !fits || !hosted {
            findings.push(LintFinding::Precondition(action.address.clone()));
        }
    }
}

/// Follows each server through the plan.
struct Followed {
    at: Option<HostName>,
    /// Its place is not known before an open operation is settled.
    open: bool,
    last: Option<OperationId>,
    epochs: BTreeSet<Epoch>,
    burnt: Epoch,
    created: bool,
}

fn check_servers(plan: &Plan, recorded: &RecordedFleet, findings: &mut Vec<LintFinding>) {
    let mut servers: BTreeMap<ServerId, Followed> = BTreeMap::new();
    for record in recorded.servers.values() {
        let burnt = recorded
            .ownership
            .get(&record.id)
            .map_or(Epoch::new(0), |row| row.burnt);
        let followed = Followed {
            at: record.host.clone(),
            open: false,
            last: None,
            epochs: BTreeSet::new(),
            burnt,
            created: false,
        };
        servers.insert(record.id, followed);
    }
    for action in &plan.actions {
        let Some(id) = action.kind.server() else {
            continue;
        };
        let server = servers.entry(id).or_insert_with(|| Followed {
            at: None,
            open: false,
            last: None,
            epochs: BTreeSet::new(),
            burnt: Epoch::new(0),
            created: false,
        });
        let chained = server.last.is_none_or(|last| action.depends_on.contains(&last));
        let mut grant = |epoch: Epoch| {
            if epoch <= server.burnt || !server.epochs.insert(epoch) {
                findings.push(LintFinding::EpochUsed(id));
            }
        };
        let mut two_hosts = !chained;
        match &action.kind {
            ActionKind::Settle { .. } => {
                server.open = true;
                two_hosts = false;
            }
            ActionKind::CreateServer { candidates, .. } => {
                for candidate in candidates {
                    grant(candidate.epoch);
                }
                if server.created {
                    findings.push(LintFinding::CreatedTwice(id));
                }
                two_hosts |= server.at.is_some() && !server.open;
                server.created = true;
                server.at.clone_from(&action.host);
            }
            ActionKind::Import { epoch, .. } => {
                grant(*epoch);
                two_hosts |= server.at.is_some() && !server.open;
                server.at.clone_from(&action.host);
            }
            ActionKind::TakeOver { epoch, .. } => {
                grant(*epoch);
                server.at.clone_from(&action.host);
            }
            ActionKind::Adopt { .. } => server.at.clone_from(&action.host),
            ActionKind::Migrate {
                to,
                new_epoch,
                fallback_epoch,
                ..
            } => {
                grant(*new_epoch);
                grant(*fallback_epoch);
                two_hosts |= server.at != action.host && !server.open;
                two_hosts |= action.host.as_ref() == Some(to);
                server.at = Some(to.clone());
            }
            ActionKind::DeleteServer { keep, .. } => match keep {
                Keep::Nothing | Keep::Guest | Keep::Record | Keep::Successor => server.at = None,
                Keep::Leftover => {}
            },
            ActionKind::UpdateServer { .. }
            | ActionKind::SetPower { .. }
            | ActionKind::RecordServer { .. }
            | ActionKind::ForgetServer { .. }
            | ActionKind::Move { .. }
            | ActionKind::EnsureImage { .. }
            | ActionKind::DeleteImage { .. }
            | ActionKind::Record(_) => {}
        }
        // Settlements of one server are independent of each other; what follows waits for all of them.
        if !matches!(action.kind, ActionKind::Settle { .. }) {
            server.last = Some(action.id);
        }
        if two_hosts {
            findings.push(LintFinding::OnTwoHosts(id));
        }
    }
}
