//! Makes a plan: files, records and inventories in, a plan out. `plan`, `apply`, `destroy` and
//! `server migrate` share it.

use super::failure::Failure;
use super::fleet::{Fleet, endpoints, incarnations};
use super::guard;
use super::inventory;
use super::options::PlanningOptions;
use super::output::Output;
use super::project::Project;
use crate::agents::Agents;
use drover_core::diff::{Renames, diff, import_ids, rename, settle_ignored};
use drover_core::model::{DesiredFleet, Import, ObservedFleet, RecordedFleet};
use drover_core::placement::paragraph;
use drover_core::placement::scenario::Scenario;
use drover_core::plan::ahead::{Moment, Newcomers, Standing};
use drover_core::plan::{
    Balance, BalanceLimits, DriftHandling, Finding, ImportRequest, Inputs, MigrateRequest, Plan, PlanMode,
    PlanOptions, Rebalance, build, export, outputs_of_targets, place, rebalance,
};
use drover_core::record::Records;
use drover_lang::config::{Evaluated, Identities};
use drover_types::{Address, HostName, Lineage, RequestId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// How often what is declared is evaluated until its servers' ids no longer change.
const EVALUATIONS: usize = 5;

/// A plan and what it was made with.
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) fleet: Fleet,
    pub(super) agents: Agents,
    pub(super) recorded: RecordedFleet,
}

/// What is asked for beside the shared options.
#[derive(Debug, Clone, Default)]
pub(super) struct Wish {
    pub(super) destroy: bool,
    pub(super) explain: bool,
    /// These servers alone, also where they stay as they are.
    pub(super) explain_only: Option<Address>,
    pub(super) replace: Vec<Address>,
    pub(super) migrate: Vec<MigrateRequest>,
    /// What those moves do, where they even hosts out.
    pub(super) balance: Option<Balance>,
    /// This domain alone is taken over.
    pub(super) import: Option<ImportRequest>,
    /// How many hosts are asked at once, where that is said.
    pub(super) at_once: Option<u16>,
}

/// What is known before any host is asked: the records, and what the files say.
pub(super) struct Ground {
    pub(super) fleet: Fleet,
    /// As the store has them.
    stored: RecordedFleet,
    /// Under the addresses that they are declared at now.
    pub(super) recorded: RecordedFleet,
    renames: Renames,
    /// Of every project, for `data` blocks.
    all: Arc<Records>,
    pub(super) lineage: Lineage,
    pub(super) evaluated: Evaluated,
}

impl Ground {
    pub(super) async fn survey(
        project: &Project,
        request: &RequestId,
        output: &mut Output,
    ) -> Result<Self, Failure> {
        let settings = project.settings(output)?;
        let fleet = Fleet::open(&settings, request).await?;
        let all = Arc::new(fleet.records().await?);
        let stored = fleet.own(&all)?;
        let lineage = stored
            .meta
            .as_ref()
            .map_or_else(|| Lineage::from_uuid(Uuid::new_v4()), |(meta, _)| meta.lineage);
        let moved = project.refactorings().moved;
        let mut renames = project.renames(&moved, None, &stored, output)?;
        let mut records = rename(stored.clone(), &renames);
        let mut evaluated =
            project.evaluate(identities(lineage, &records, &BTreeSet::new(), &all), output)?;
        // Only what was evaluated tells which blocks got or lost `count`; that changes which ids are known.
        for _ in 0..EVALUATIONS {
            let now = project.renames(&moved, Some(&evaluated.desired), &stored, output)?;
            if now == renames {
                break;
            }
            renames = now;
            records = rename(stored.clone(), &renames);
            evaluated =
                project.evaluate_again(identities(lineage, &records, &BTreeSet::new(), &all), output)?;
        }
        Ok(Self {
            fleet,
            stored,
            recorded: records,
            renames,
            all,
            lineage,
            evaluated,
        })
    }

    /// The agents of all declared and recorded hosts; none where there is no host.
    pub(super) fn agents(&self) -> Result<Option<Agents>, Failure> {
        let endpoints = endpoints(Some(&self.evaluated.desired), &self.recorded);
        if endpoints.is_empty() {
            return Ok(None);
        }
        self.fleet.agents(endpoints).map(Some)
    }

    /// Asks every host.
    pub(super) async fn observe(&self, agents: &Agents) -> ObservedFleet {
        agents.observe(&incarnations(&self.recorded)).await
    }

    /// What hosts said when an inventory file was saved, and when that was. No host is asked.
    pub(super) fn recall(&self, path: &Path) -> Result<(ObservedFleet, String), Failure> {
        let saved = inventory::read(path, &self.fleet.name)?;
        let taken = saved.taken.clone();
        let hosts = endpoints(Some(&self.evaluated.desired), &self.recorded).into_keys();
        Ok((inventory::answers_of(saved, hosts), taken))
    }

    /// The fleet and what is to be created, as a scenario of the scheduler.
    pub(super) fn export(
        &self,
        project: &Project,
        observed: &ObservedFleet,
        options: &PlanningOptions,
    ) -> Result<Scenario, Failure> {
        let desired = &self.evaluated.desired;
        let inputs = self.inputs(project, desired, observed);
        let options = plan_options(options, Wish::default(), None);
        let differences = diff(desired, &self.recorded, observed, self.lineage, &options);
        export(&inputs, &differences).map_err(|findings| unusable(&findings))
    }

    /// Asks about the fleet with every server on its host.
    pub(super) fn standing<T>(
        &self,
        project: &Project,
        observed: &ObservedFleet,
        options: &PlanningOptions,
        when: When,
        ask: impl FnOnce(&Inputs<'_>, &mut Standing) -> T,
    ) -> Result<T, Failure> {
        let desired = settle_ignored(self.evaluated.desired.clone(), &self.recorded);
        let inputs = self.inputs(project, &desired, observed);
        let options = plan_options(options, Wish::default(), None);
        let mut differences = diff(&desired, &self.recorded, observed, self.lineage, &options);
        differences.renames.clone_from(&self.renames);
        let placements = match when {
            When::Now => None,
            When::AfterApply => Some(place(&inputs, &differences)),
        };
        let moment = placements.as_ref().map_or(Moment::Now, Moment::After);
        let mut standing = Standing::new(&inputs, &differences, moment, Newcomers::LeftOut)
            .map_err(|findings| unusable(&findings))?;
        Ok(ask(&inputs, &mut standing))
    }

    /// The moves that even the hosts out.
    pub(super) fn rebalance(
        &self,
        project: &Project,
        observed: &ObservedFleet,
        options: &PlanningOptions,
        limits: &BalanceLimits,
    ) -> Result<Rebalance, Failure> {
        let desired = settle_ignored(self.evaluated.desired.clone(), &self.recorded);
        let inputs = self.inputs(project, &desired, observed);
        let options = plan_options(options, Wish::default(), None);
        let mut differences = diff(&desired, &self.recorded, observed, self.lineage, &options);
        differences.renames.clone_from(&self.renames);
        rebalance(&inputs, &differences, limits).map_err(|findings| unusable(&findings))
    }

    /// A plan as a command asks for it; `taken` is when the inventories were taken, where a file has them.
    pub(super) fn plan_as_asked(
        &self,
        project: &Project,
        observed: &ObservedFleet,
        options: &PlanningOptions,
        wish: Wish,
        taken: Option<String>,
        output: &mut Output,
    ) -> Result<Plan, Failure> {
        self.plan(project, observed, &plan_options(options, wish, taken), output)
    }

    /// What carries the plan out.
    pub(super) fn planned(self, plan: Plan, agents: Agents) -> Planned {
        Planned {
            plan,
            fleet: self.fleet,
            agents,
            recorded: self.stored,
        }
    }

    fn inputs<'a>(
        &'a self,
        project: &Project,
        desired: &'a DesiredFleet,
        observed: &'a ObservedFleet,
    ) -> Inputs<'a> {
        Inputs {
            desired,
            recorded: &self.recorded,
            observed,
            lineage: self.lineage,
            drover_version: env!("CARGO_PKG_VERSION"),
            config_digest: project.digest(),
        }
    }

    fn plan(
        &self,
        project: &Project,
        observed: &ObservedFleet,
        options: &PlanOptions,
        output: &mut Output,
    ) -> Result<Plan, Failure> {
        if let Some(ImportRequest { address, .. }) = &options.import
            && !self.evaluated.desired.servers.contains_key(address)
        {
            return Err(Failure::new(format!("nothing is declared at {address}")).hint(
                "declare it with a flavor of the domain's size; `drover adopt HOST` writes such blocks for all domains \
                 of a host",
            ));
        }
        let named = [
            ("--target", &options.targets),
            ("--exclude", &options.excludes),
            ("--replace", &options.replace),
        ];
        for (option, addresses) in named {
            check_known(option, addresses, &self.evaluated.desired, &self.recorded)?;
        }
        if let Some(unknown) = options
            .explain_only
            .as_ref()
            .filter(|address| !is_known(address, &self.evaluated.desired, &self.recorded))
        {
            return Err(Failure::new(format!(
                "--explain {unknown}: nothing of that address is declared or recorded"
            )));
        }
        let (recorded, lineage) = (&self.recorded, self.lineage);
        // A server that another takes the place of gets another id, which other declarations may refer to: then
        // what is declared is evaluated again with the ids to come.
        let mut succeeded = BTreeSet::new();
        let mut anew = None;
        // A server that is imported has the id of its domain, which only its host tells.
        let imported = import_ids(&with_import(&self.evaluated.desired, options), recorded, observed);
        if !imported.is_empty() {
            let ids = identities(lineage, recorded, &succeeded, &self.all).with(&imported);
            anew = Some(project.evaluate_again(ids, output)?);
        }
        for _ in 0..EVALUATIONS {
            let evaluated = anew.as_ref().unwrap_or(&self.evaluated);
            let desired = settle_ignored(with_import(&evaluated.desired, options), recorded);
            let mut differences = diff(&desired, recorded, observed, lineage, options);
            differences.renames.clone_from(&self.renames);
            let now = differences.succeeded();
            if now != succeeded {
                succeeded = now;
                let ids = identities(lineage, recorded, &succeeded, &self.all).with(&imported);
                anew = Some(project.evaluate_again(ids, output)?);
                continue;
            }
            let inputs = self.inputs(project, &desired, observed);
            let placements = place(&inputs, &differences);
            guard::policy(project, &placements.refused, output)?;
            let (mut outputs, checks) = project.outputs(evaluated, &placements.hosts, output)?;
            if options.is_partial() {
                let (unmoved, _, _) = project.resolve(evaluated, &self.recorded_hosts());
                outputs = outputs_of_targets(recorded, &unmoved, &outputs);
            }
            let plan = build(&inputs, differences, placements, &outputs, checks)?;
            guard::protect(project, &plan, &desired, output)?;
            return Ok(plan);
        }
        Err(
            Failure::new("which servers are to be replaced depends on the ids of their replacements")
                .hint("refer to ids of servers with create_before_destroy only where nothing replaces them"),
        )
    }

    fn recorded_hosts(&self) -> BTreeMap<Address, HostName> {
        let servers = self.recorded.servers.iter();
        servers
            .filter_map(|(address, server)| Some((address.clone(), server.host.clone()?)))
            .collect()
    }
}

/// Which moment of the fleet is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// As it is.
    Now,
    /// As an apply would leave it.
    AfterApply,
}

/// Settings with which the scheduler cannot work.
fn unusable(findings: &[Finding]) -> Failure {
    let mut summary = "the scheduler cannot work:".to_owned();
    let mut hints: Vec<&str> = Vec::new();
    for finding in findings {
        let about = finding.address.as_ref();
        let about = about.map_or_else(String::new, |address| format!("{address}: "));
        let line = format!("  - {about}{}", finding.message);
        summary.push_str(&format!("\n{}", paragraph(&line)));
        if !hints.contains(&finding.hint.as_str()) {
            hints.push(&finding.hint);
        }
    }
    hints.into_iter().fold(Failure::new(summary), Failure::hint)
}

/// What is declared, and the domain that the command line says is to be taken over.
fn with_import(desired: &DesiredFleet, options: &PlanOptions) -> DesiredFleet {
    let mut desired = desired.clone();
    if let Some(ImportRequest { address, id }) = &options.import {
        let id = id.clone();
        desired.imports = BTreeMap::from([(address.clone(), Import { id, origin: None })]);
    }
    desired
}

fn plan_options(options: &PlanningOptions, wish: Wish, inventory: Option<String>) -> PlanOptions {
    PlanOptions {
        mode: match (wish.destroy, options.refresh_only) {
            (true, _) => PlanMode::Destroy,
            (false, true) => PlanMode::RefreshOnly,
            (false, false) => PlanMode::Apply,
        },
        targets: options.scope.targets.clone(),
        allow_unreachable: options.scope.allow_unreachable.iter().cloned().collect(),
        excludes: options.scope.excludes.clone(),
        replace: wish.replace,
        drift: if options.refresh {
            DriftHandling::Heal
        } else {
            DriftHandling::Ignore
        },
        migrate: wish.migrate,
        balance: wish.balance,
        import: wish.import,
        retry_all: options.retry_all,
        explain: wish.explain,
        explain_only: wish.explain_only,
        inventory,
    }
}

/// Asks all hosts and plans with their answers.
pub(super) async fn make(
    project: &Project,
    options: &PlanningOptions,
    wish: Wish,
    request: &RequestId,
    output: &mut Output,
) -> Result<Planned, Failure> {
    let ground = Ground::survey(project, request, output).await?;
    // Without a host there is nobody to ask, and still a certificate to be checked.
    let agents = ground
        .fleet
        .agents(endpoints(Some(&ground.evaluated.desired), &ground.recorded))?;
    let agents = match wish.at_once {
        Some(at_once) => agents.at_once(at_once),
        None => agents,
    };
    let observed = ground.observe(&agents).await;
    let plan = ground.plan(project, &observed, &plan_options(options, wish, None), output)?;
    guard::limit(project, &plan, options.scope.max_destroy, output)?;
    Ok(Planned {
        plan,
        fleet: ground.fleet,
        agents,
        recorded: ground.stored,
    })
}

pub(super) fn identities(
    lineage: Lineage,
    recorded: &RecordedFleet,
    succeeded: &BTreeSet<Address>,
    all: &Arc<Records>,
) -> Identities {
    Identities::Read {
        lineage,
        servers: recorded
            .servers
            .iter()
            .map(|(address, record)| (address.clone(), record.id))
            .collect(),
        created: recorded.incarnations.clone(),
        succeeded: succeeded.clone(),
        records: Some(Arc::clone(all)),
    }
}

fn check_known(
    option: &str,
    addresses: &[Address],
    desired: &DesiredFleet,
    recorded: &RecordedFleet,
) -> Result<(), Failure> {
    match addresses
        .iter()
        .find(|address| !is_known(address, desired, recorded))
    {
        None => Ok(()),
        Some(unknown) => Err(Failure::new(format!(
            "{option} {unknown}: nothing of that address is declared or recorded"
        ))
        .hint("`drover state list` lists what is recorded")),
    }
}

/// Plans with the answers of an inventory file.
pub(super) async fn make_from_file(
    project: &Project,
    options: &PlanningOptions,
    wish: Wish,
    file: &Path,
    request: &RequestId,
    output: &mut Output,
) -> Result<Plan, Failure> {
    let ground = Ground::survey(project, request, output).await?;
    let (observed, taken) = ground.recall(file)?;
    let plan = ground.plan(
        project,
        &observed,
        &plan_options(options, wish, Some(taken)),
        output,
    )?;
    guard::limit(project, &plan, options.scope.max_destroy, output)?;
    Ok(plan)
}

/// Whether a target names anything.
fn is_known(target: &Address, desired: &DesiredFleet, recorded: &RecordedFleet) -> bool {
    let host = |name: &HostName| {
        let address = format!("host.{name}").parse::<Address>();
        address.is_ok_and(|address| target.covers(&address))
    };
    // Most targets name one server: of thousands each would be looked for among all.
    desired.servers.contains_key(target)
        || recorded.servers.contains_key(target)
        || desired.hosts.keys().any(host)
        || recorded.hosts.keys().any(host)
        || (desired.flavors.keys().chain(recorded.flavors.keys()))
            .chain(desired.images.keys().chain(recorded.images.keys()))
            .chain(desired.groups.keys().chain(recorded.groups.keys()))
            .chain(desired.aggregates.keys().chain(recorded.aggregates.keys()))
            .chain(desired.servers.keys().chain(recorded.servers.keys()))
            .any(|address| target.covers(address))
}
