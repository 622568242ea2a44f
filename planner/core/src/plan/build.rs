//! Diff and placements → plan.

use super::action::Action;
use super::checks::Check;
use super::lint::{LintFinding, lint};
use super::outputs::output_changes;
use super::place::Placements;
use super::record_actions::{evictions, records, renames, settlements};
use super::server_actions::server_actions;
use super::types::{Join, OutputValue, Parent, Plan};
use crate::diff::FleetDiff;
use crate::model::{DesiredFleet, ImageSpec, ObservedFleet, RecordedFleet, ServerSpec};
use drover_types::{Address, FencingToken, HostName, Kind, Lineage, OperationId, Sha256Digest};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// As declared.
    pub desired: &'a DesiredFleet,
    /// As recorded.
    pub recorded: &'a RecordedFleet,
    /// As reported.
    pub observed: &'a ObservedFleet,
    /// The store's history: as recorded, or a new one for a store that was never applied to.
    pub lineage: Lineage,
    /// Version of this drover.
    pub drover_version: &'a str,
    /// Digest of the files and variables.
    pub config_digest: Sha256Digest,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BuildError {
    /// The plan breaks its own rules: a fault of this program.
    #[error("the plan is not sound: {first}{}; this is a bug in drover", more(.findings))]
    NotSound {
        /// In words.
        first: String,
        /// All.
        findings: Vec<LintFinding>,
    },
}

fn more(findings: &[LintFinding]) -> String {
    match findings.len() {
        0 | 1 => String::new(),
        several => format!(" (and {} more)", several - 1),
    }
}

/// The address under which a host is shown and its actions are filed.
pub(crate) fn host_address(host: &HostName) -> Address {
    match host.as_str().parse() {
        Ok(name) => Address::root(Kind::Host, name),
        // A host's name may hold what a block's label may not: dots, and a digit in front.
        Err(_) => Address::root(Kind::Host, "host".parse().expect("a word is a name"))
            .instance(drover_types::InstanceKey::Key(host.as_str().to_owned())),
    }
}

/// The graph while it grows.
pub(super) struct Graph<'a> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) diff: &'a FleetDiff,
    pub(super) placements: &'a Placements,
    pub(super) actions: Vec<Action>,
    /// What each address's actions are, in the order made.
    pub(super) by_address: BTreeMap<Address, Vec<OperationId>>,
    /// The action that files each moved record under its new address.
    pub(super) renames: BTreeMap<Address, OperationId>,
    /// The settlement of each open operation.
    pub(super) settlements: BTreeMap<OperationId, OperationId>,
    /// The fetch of each image onto each host.
    pub(super) fetches: BTreeMap<(HostName, Sha256Digest), usize>,
    /// Deletions by host, with the names that they free.
    pub(super) deletions: BTreeMap<HostName, Vec<(OperationId, String)>>,
    /// Sets of actions that others wait for as one.
    pub(super) joins: BTreeMap<OperationId, Join>,
    salt: String,
}

impl<'a> Graph<'a> {
    fn new(inputs: &'a Inputs<'a>, diff: &'a FleetDiff, placements: &'a Placements) -> Self {
        let meta = inputs.recorded.meta.as_ref();
        let token = meta.map_or(FencingToken::new(0), |(meta, _)| meta.token);
        // The token survives a move of the store, the revision tells states under one token apart.
        let salt = format!("{token} {}", meta.map_or(0, |(_, revision)| *revision));
        Self {
            inputs,
            diff,
            placements,
            actions: Vec::new(),
            by_address: BTreeMap::new(),
            renames: BTreeMap::new(),
            settlements: BTreeMap::new(),
            fetches: BTreeMap::new(),
            deletions: BTreeMap::new(),
            joins: BTreeMap::new(),
            salt,
        }
    }

    /// The operation's id: the same for the same step of a plan from the same state.
    pub(super) fn operation(&self, verb: &str, address: &Address, detail: &str) -> OperationId {
        let mut purpose = self.salt.clone();
        write!(purpose, "\n{verb}\n{address}\n{detail}").expect("writing to a String cannot fail");
        OperationId::derive(self.inputs.lineage, &purpose)
    }

    pub(super) fn push(&mut self, action: Action) -> OperationId {
        let id = action.id;
        self.by_address
            .entry(action.address.clone())
            .or_default()
            .push(id);
        self.actions.push(action);
        id
    }

    /// A node that is done when all of these are; its id, to be waited for like an action's.
    pub(super) fn join(&mut self, mut depends_on: Vec<OperationId>) -> OperationId {
        depends_on.sort();
        let mut purpose = format!("{}\njoin", self.salt);
        for id in &depends_on {
            write!(purpose, " {id}").expect("writing to a String cannot fail");
        }
        let id = OperationId::derive(self.inputs.lineage, &purpose);
        self.joins.entry(id).or_insert(Join { id, depends_on });
        id
    }

    /// The image that a server is made from, by content first.
    pub(super) fn image_of(&self, spec: &ServerSpec) -> Option<ImageSpec> {
        let used = spec.image.as_ref()?;
        let desired = self
            .inputs
            .desired
            .images
            .get(&used.address)
            .map(|image| &image.spec);
        let recorded = self
            .inputs
            .recorded
            .images
            .get(&used.address)
            .map(|image| &image.spec);
        let fits = |image: &&ImageSpec| image.checksum == used.checksum;
        let mut found = desired
            .filter(fits)
            .or_else(|| recorded.filter(fits))
            .or(desired)
            .or(recorded)?
            .clone();
        found.checksum = used.checksum;
        Some(found)
    }
}

/// Makes the plan, and lints it.
///
/// # Errors
/// Where the plan breaks its own rules.
pub fn build(
    inputs: &Inputs<'_>,
    diff: FleetDiff,
    placements: Placements,
    outputs: &BTreeMap<String, OutputValue>,
    checks: Vec<Check>,
) -> Result<Plan, BuildError> {
    let mut graph = Graph::new(inputs, &diff, &placements);
    settlements(&mut graph);
    renames(&mut graph);
    let first_records = records(&mut graph);
    let server_blocked = server_actions(&mut graph, &first_records);
    let record_blocked = evictions(&mut graph);
    let Graph { actions, joins, .. } = graph;
    let joins: Vec<Join> = joins.into_values().collect();
    let actions = in_order(actions, &joins);
    let mut blocked = diff.blocked.clone();
    blocked.extend(placements.blocked.iter().cloned());
    blocked.extend(server_blocked);
    blocked.extend(record_blocked);
    blocked.sort_by(|one, other| one.address.cmp(&other.address));
    let mut findings = diff.findings.clone();
    findings.extend(placements.findings.iter().cloned());
    findings.extend(placements.refused.iter().cloned());
    let mut hosts: BTreeMap<_, _> = inputs
        .recorded
        .hosts
        .iter()
        .map(|(host, record)| (host.clone(), record.spec.address.clone()))
        .collect();
    for (host, resource) in &inputs.desired.hosts {
        hosts.insert(host.clone(), resource.spec.address.clone());
    }
    let mut plan = Plan {
        format: super::PLAN_FORMAT,
        drover_version: inputs.drover_version.to_owned(),
        fleet: inputs.desired.fleet.clone(),
        project: inputs.desired.project.clone(),
        parent: Parent {
            lineage: inputs.lineage,
            meta_revision: inputs.recorded.meta.as_ref().map(|(_, revision)| *revision),
        },
        config_digest: inputs.config_digest,
        mode: diff.options.mode,
        inventory: diff.options.inventory.clone(),
        balance: diff.options.balance.clone(),
        // Who asks for one server to be moved has said that the rest is not meant.
        targets: if diff.options.migrate.is_empty() && diff.options.import.is_none() {
            diff.options.targets.clone()
        } else {
            Vec::new()
        },
        hosts,
        actions,
        joins,
        placements: placements.chosen,
        explanations: placements.explanations,
        drift: diff.drift,
        blocked,
        unobserved: diff.unobserved,
        outputs: output_changes(inputs.recorded, outputs, &diff.options),
        findings,
        checks,
        digest: Sha256Digest::from_bytes([0; 32]),
    };
    plan.digest = super::file::digest_of(&mut plan);
    let found = lint(&plan, inputs.recorded, inputs.observed, &inputs.desired.scheduler);
    match found.first() {
        None => Ok(plan),
        Some(first) => Err(BuildError::NotSound {
            first: first.to_string(),
            findings: found,
        }),
    }
}

/// Sorts actions so that none comes before one it depends on; otherwise as they were made.
fn in_order(actions: Vec<Action>, joins: &[Join]) -> Vec<Action> {
    // Joins come after all actions.
    let all = actions.iter().map(|action| (action.id, &action.depends_on));
    let nodes: Vec<(OperationId, &Vec<OperationId>)> = all
        .chain(joins.iter().map(|join| (join.id, &join.depends_on)))
        .collect();
    let position: BTreeMap<OperationId, usize> =
        nodes.iter().enumerate().map(|(at, (id, _))| (*id, at)).collect();
    let mut waits: Vec<usize> = vec![0; nodes.len()];
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (at, (_, needs)) in nodes.iter().enumerate() {
        for dependency in needs.iter().filter_map(|id| position.get(id)) {
            waits[at] += 1;
            dependents[*dependency].push(at);
        }
    }
    let mut ready: BTreeSet<usize> = (0..nodes.len()).filter(|at| waits[*at] == 0).collect();
    let mut order = Vec::with_capacity(actions.len());
    while let Some(at) = ready.pop_first() {
        if at < actions.len() {
            order.push(at);
        }
        for next in &dependents[at] {
            waits[*next] -= 1;
            if waits[*next] == 0 {
                ready.insert(*next);
            }
        }
    }
    // What is left waits for itself; the linter says so.
    let done: BTreeSet<usize> = order.iter().copied().collect();
    order.extend((0..actions.len()).filter(|at| !done.contains(at)));
    let mut slots: Vec<Option<Action>> = actions.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| slots[at].take()).collect()
}
