//! The plan as a value: what apply needs and what people are shown.

use super::action::Action;
use super::balance::Balance;
use super::checks::Check;
use super::import_problem::ImportProblem;
use super::reason::Reason;
use crate::model::{Endpoint, ImportId, UnobservedReason};
use crate::placement::Explanation;
use drover_types::{
    Address, ByteSize, FleetName, HostName, Lineage, OperationId, ProjectName, ServerId, Sha256Digest,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What is compared, and how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanMode {
    /// What is declared is brought about.
    #[default]
    Apply,
    /// Only the records follow what is found.
    RefreshOnly,
    /// Everything (or every target) is destroyed.
    Destroy,
}

/// What becomes of differences between records and hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DriftHandling {
    /// Shown, and healed.
    #[default]
    Heal,
    /// Left alone and not shown: servers are taken to be as recorded. Where each of them is stays as it is seen,
    /// because acting in the wrong place could lose one.
    Ignore,
}

/// A request to move one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrateRequest {
    /// The server.
    pub address: Address,
    /// Where to; the best host where nothing is said.
    pub to: Option<HostName>,
}

/// A request to take one domain over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportRequest {
    /// The server that it becomes.
    pub address: Address,
    /// The domain.
    pub id: ImportId,
}

/// What the command line asks of a plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PlanOptions {
    /// How far it goes.
    pub mode: PlanMode,
    /// Only these, and what they need; all where empty.
    pub targets: Vec<Address>,
    /// Never these, nor what needs them.
    pub excludes: Vec<Address>,
    /// Servers to replace although nothing of them changed.
    pub replace: Vec<Address>,
    /// Whether drift is healed and shown.
    pub drift: DriftHandling,
    /// Hosts that need not answer.
    pub allow_unreachable: BTreeSet<HostName>,
    /// Servers to move.
    pub migrate: Vec<MigrateRequest>,
    /// What those moves do to the balance of hosts, where they even them out: then they are made in their order, and
    /// a server may be moved twice.
    pub balance: Option<Balance>,
    /// The one server that is to be imported, and nothing done to it beside that.
    pub import: Option<ImportRequest>,
    /// Forget which hosts refused a server before.
    pub retry_all: bool,
    /// Keep every rejection of every host in the placements.
    pub explain: bool,
    /// When the hosts were asked (RFC 3339), where an inventory file stands for their answers.
    pub inventory: Option<String>,
    /// Explain these servers alone, also where they stay as they are; all that are placed, where nothing is said.
    pub explain_only: Option<Address>,
}

impl PlanOptions {
    /// Whether the plan leaves a part of the fleet out.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.targets.is_empty() || !self.excludes.is_empty()
    }
}

/// Which state of the store a plan was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The store's history; of a store that was never applied to, the one that the apply will write.
    pub lineage: Lineage,
    /// The revision of the last change of `meta`; absent in a store that was never applied to.
    pub meta_revision: Option<u64>,
}

/// A host that a server could not go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRejection {
    /// The host.
    pub host: HostName,
    /// The filter that turned it away.
    pub filter: String,
    /// Why, with its numbers.
    pub why: String,
}

/// Where a server goes, and why there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// The host.
    pub host: HostName,
    /// The next best, best first.
    pub alternates: Vec<HostName>,
    /// Why there, in words: "most free memory of 3 hosts".
    pub why: String,
    /// How many hosts each filter turned away.
    pub rejected: BTreeMap<String, u32>,
    /// Each of them, where the plan was asked to explain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejections: Vec<HostRejection>,
    /// The weight of each host that could take it, best first, where the plan was asked to explain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<(HostName, f64)>,
}

/// Something that should happen and cannot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Blocked {
    /// What.
    pub address: Address,
    /// `create`, `migrate`, `rebuild`, …
    pub verb: String,
    /// Why it should happen.
    pub why: Reason,
    /// By what.
    pub by: BlockedBy,
    /// What to do next.
    pub hint: String,
}

/// What stands in the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum BlockedBy {
    /// No host can take it.
    NoHost {
        /// Every host and the filter that turned it away.
        rejections: Vec<HostRejection>,
        /// The smallest set of constraints that cannot hold together, where one was found.
        conflict: Vec<String>,
    },
    /// It would lose what is on the root disk, and nobody has said that it may.
    DataLoss,
    /// A host that it concerns did not answer.
    Unobserved {
        /// The host.
        host: HostName,
    },
    /// Something it needs is blocked itself.
    Needs {
        /// What.
        address: Address,
    },
    /// Its root disk would have to become smaller.
    DiskShrinks {
        /// What the server has; nothing where it is sensitive.
        has: Option<ByteSize>,
        /// What is asked for; nothing where it is sensitive.
        asked: Option<ByteSize>,
    },
    /// It was imported: it stays on its host, as large as it is, for as long as it is not replaced.
    Imported {
        /// Its host.
        host: HostName,
    },
    /// It runs with PCI devices of its host, and such a guest cannot be moved while it runs.
    HasDevices {
        /// Its host.
        host: HostName,
    },
    /// It is to be made, and no image is declared for it.
    NoImage,
    /// The domain cannot be taken over as what is declared.
    CannotImport {
        /// The domain.
        id: ImportId,
        /// Everything that speaks against it.
        problems: Vec<ImportProblem>,
    },
    /// A host that is no longer declared still holds it.
    HostInUse {
        /// The host.
        host: HostName,
    },
}

/// A host that did not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnobservedHost {
    /// The host.
    pub host: HostName,
    /// Why not.
    pub why: UnobservedReason,
    /// It was accepted by name.
    pub accepted: bool,
    /// Servers recorded there, whose state is unknown.
    pub servers: Vec<Address>,
}

/// A difference between what is recorded and what a host reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// What.
    pub address: Address,
    /// The server.
    pub server: ServerId,
    /// Where it was seen, or recorded.
    pub host: HostName,
    /// What is different.
    pub what: DriftKind,
}

/// What is different.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "drift", rename_all = "kebab-case")]
pub enum DriftKind {
    /// It is in another power state than recorded.
    Power {
        /// As recorded: `on` or `off`.
        recorded: String,
        /// As found.
        found: drover_types::PowerState,
    },
    /// No host has its domain.
    DomainGone,
    /// It is on another host than recorded.
    Moved {
        /// Where it was recorded.
        from: HostName,
    },
    /// Attributes are not as rendered.
    Attributes {
        /// Each of them.
        attributes: Vec<crate::model::AttributeDrift>,
    },
    /// Its host holds another epoch than recorded.
    Epoch {
        /// As recorded.
        recorded: drover_types::Epoch,
        /// As held.
        found: drover_types::Epoch,
    },
    /// It carries this fleet's mark, and the store does not know it.
    Orphan {
        /// Why it is not adopted; empty if it is.
        not_adopted: String,
    },
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Warning,
    /// Nothing is planned on what it names; the command fails (exit status 1) even if all else is applied.
    Error,
}

/// Something that the operator must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Of what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// What.
    pub message: String,
    /// What to do next.
    pub hint: String,
}

/// An output as evaluated after placement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputValue {
    /// The value; nothing where it is known only after apply.
    pub value: Option<serde_json::Value>,
    /// What it waits for, where it is not known: `server.web[2].host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// Whether it is hidden in what people read.
    pub sensitive: bool,
}

/// How an output changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputChange {
    /// As recorded.
    pub before: Option<OutputValue>,
    /// As it will be; nothing where it is removed.
    pub after: Option<OutputValue>,
}

/// Many actions that many others wait for: one node between them, so that each side costs its own number of edges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// What waits names it like an action.
    pub id: OperationId,
    /// It is done when these are.
    pub depends_on: Vec<OperationId>,
}

/// Immutable: what apply will do, and nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of the plan's form; another one is refused.
    pub format: u32,
    /// The drover that made it.
    pub drover_version: String,
    /// Of this fleet.
    pub fleet: FleetName,
    /// Of this project.
    pub project: ProjectName,
    /// Made from this state of the store.
    pub parent: Parent,
    /// Digest of the files and variables it was made from.
    pub config_digest: Sha256Digest,
    /// How far it goes.
    pub mode: PlanMode,
    /// When the inventory was taken (RFC 3339) that it was made from, where no host was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<String>,
    /// What its moves do to the balance of hosts, where it evens them out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<Balance>,
    /// What it is limited to; nothing where it is about everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Address>,
    /// Where the agents listen that take part.
    pub hosts: BTreeMap<HostName, Endpoint>,
    /// The graph: no action comes before one it depends on.
    pub actions: Vec<Action>,
    /// Sets of actions that others wait for as one; named in `depends_on` like actions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joins: Vec<Join>,
    /// Where servers go that are created or moved.
    pub placements: BTreeMap<Address, Placement>,
    /// What is not as recorded.
    pub drift: Vec<Drift>,
    /// What should happen and cannot.
    pub blocked: Vec<Blocked>,
    /// Hosts that did not answer.
    pub unobserved: Vec<UnobservedHost>,
    /// Outputs that change.
    pub outputs: BTreeMap<String, OutputChange>,
    /// What the operator must know.
    pub findings: Vec<Finding>,
    /// What the conditions of the files came to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// Digest of all the above.
    pub digest: Sha256Digest,
    /// Every host of the servers that were to be explained; for who made the plan, not for who applies it.
    #[serde(skip)]
    pub explanations: BTreeMap<Address, Explanation>,
}

impl Plan {
    /// Whether apply would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.outputs.is_empty()
    }

    /// Whether every host answered or was accepted, nothing is blocked and nothing is wrong: what exit
    /// status 0 needs beside a successful apply.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.blocked.is_empty()
            && self.unobserved.iter().all(|host| host.accepted)
            && self
                .findings
                .iter()
                .all(|finding| finding.severity < Severity::Error)
    }

    /// The action with this id.
    #[must_use]
    pub fn action(&self, id: OperationId) -> Option<&Action> {
        self.actions.iter().find(|action| action.id == id)
    }
}
