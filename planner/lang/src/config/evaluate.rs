//! Declarations to the model: everything in the order in which it needs each other, block by block, instance by
//! instance.

use super::conditions::{Failures, judged, resource_rules};
use super::data::Projects;
use super::declarations::Declared;
use super::dependencies::{self, Blocks};
use super::graph::{Node, Step, order};
use super::imports::WithoutImage;
use super::instances::instances;
use super::modules::Modules;
use super::outputs::{Audience, Output, read_output};
use super::program::{ModuleId, Program};
use super::refactoring::{self, origin_of};
use super::resources::Place;
use super::settings::{Settings, read_settings};
use super::validations::{check_all_validations, check_own_validations};
use super::values::ValueStep;
use super::variables::{VariableSource, variable_values};
use super::{Config, check};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::eval::{Checked, Environment, Evaluator, Limits, Usage};
use crate::functions::FileReader;
use crate::source::{FileId, SourceMap, Span};
use crate::value::Value;
use drover_core::model::DesiredFleet;
use drover_core::plan::CheckKind;
use drover_core::record::Records;
use drover_types::{Address, Kind, Lineage, ResourceName, ServerId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the ids of servers are made from.
#[derive(Debug, Clone, Default)]
pub enum Identities {
    /// The store was not read, as in `drover validate`: ids are unknown, and so are variables without a value.
    #[default]
    Unread,
    /// The store was read.
    Read {
        /// The store's history.
        lineage: Lineage,
        /// Ids of the servers that it records.
        servers: BTreeMap<Address, ServerId>,
        /// How many servers were ever created at an address.
        created: BTreeMap<Address, u64>,
        /// All that the store holds, for `data` blocks; without it, what those hold is not known.
        records: Option<Arc<Records>>,
        /// Addresses whose server another one is to take the place of: they get the id of the next create.
        succeeded: BTreeSet<Address>,
    },
}

impl Identities {
    /// The same with these servers' ids, which are neither recorded nor derived.
    #[must_use]
    pub fn with(mut self, more: &BTreeMap<Address, ServerId>) -> Self {
        match &mut self {
            Self::Unread => {}
            Self::Read { servers, .. } => {
                servers.extend(more.iter().map(|(address, id)| (address.clone(), *id)));
            }
        }
        self
    }

    /// The id of the server at an address: the recorded one, or the one that the next create will get.
    #[must_use]
    pub fn id(&self, address: &Address) -> Option<ServerId> {
        match self {
            Self::Unread => None,
            Self::Read {
                lineage,
                servers,
                created,
                succeeded,
                records: _,
            } => Some(
                servers
                    .get(address)
                    .filter(|_| !succeeded.contains(address))
                    .copied()
                    .unwrap_or_else(|| {
                        let incarnation = created.get(address).copied().unwrap_or(0).saturating_add(1);
                        ServerId::derive(*lineage, address, incarnation)
                    }),
            ),
        }
    }
}

/// What an evaluation needs besides the files.
pub struct Inputs<'i> {
    /// Values of variables, in order of precedence.
    pub variables: &'i [VariableSource],
    /// What the ids of servers are made from.
    pub identities: Identities,
    /// Reads what `file` and `templatefile` name.
    pub files: &'i dyn FileReader,
    /// The folder the command runs in, for `path.cwd`.
    pub working_directory: &'i str,
    /// Most that the evaluation may use.
    pub limits: Limits,
}

/// What the files say, evaluated.
#[derive(Debug)]
pub struct Evaluated {
    /// The `drover` block.
    pub settings: Settings,
    /// Everything declared.
    pub desired: DesiredFleet,
    /// Outputs; those that need hosts are not known yet.
    pub outputs: BTreeMap<String, Output>,
    /// Which arguments of which resource hold sensitive values.
    pub sensitive: BTreeMap<Address, BTreeSet<String>>,
    /// Where import blocks name the servers that they are about.
    pub import_places: BTreeMap<Address, Span>,
    /// The files, and the texts that values of variables came from.
    pub sources: SourceMap,
    /// What the evaluation used.
    pub usage: Usage,
    pub(super) program: Arc<Program>,
    pub(super) modules: Modules,
    pub(super) environment: Environment,
    pub(super) later: Vec<Step>,
    pub(super) checked: Checked,
}

/// The model while it is being filled.
#[derive(Default)]
pub(super) struct Desired {
    pub(super) hosts:
        BTreeMap<drover_types::HostName, drover_core::model::DesiredResource<drover_core::model::HostSpec>>,
    pub(super) flavors:
        BTreeMap<Address, drover_core::model::DesiredResource<drover_core::model::FlavorSpec>>,
    pub(super) images: BTreeMap<Address, drover_core::model::DesiredResource<drover_core::model::ImageSpec>>,
    pub(super) groups: BTreeMap<Address, drover_core::model::DesiredResource<drover_core::model::GroupSpec>>,
    pub(super) aggregates:
        BTreeMap<Address, drover_core::model::DesiredResource<drover_core::model::AggregateSpec>>,
    pub(super) servers:
        BTreeMap<Address, drover_core::model::DesiredResource<drover_core::model::ServerSpec>>,
    pub(super) depends_on: BTreeMap<Address, drover_core::model::Needs>,
    pub(super) lifecycle: BTreeMap<Address, drover_core::model::Lifecycle>,
    pub(super) imports: BTreeMap<Address, drover_core::model::Import>,
    blocks: BTreeMap<Address, drover_core::model::Repetition>,
}

pub(super) struct State<'s, 'e> {
    pub(super) program: &'s Program,
    pub(super) modules: Modules,
    pub(super) evaluator: Evaluator<'e>,
    pub(super) identities: &'s Identities,
    pub(super) desired: Desired,
    pub(super) words: BTreeMap<&'static str, Arc<str>>,
    pub(super) server_names: BTreeMap<String, (Address, Option<Span>)>,
    /// What references to flavors, images and groups see, so that servers can show theirs.
    pub(super) objects: BTreeMap<Address, Value>,
    /// The servers of each block, for what depends on all of them.
    pub(super) blocks: Blocks,
    /// The store's records, where it was read.
    pub(super) records: Option<&'s Records>,
    pub(super) projects: Projects,
    /// Where import blocks name their servers.
    pub(super) import_places: BTreeMap<Address, Span>,
    /// Servers that name no image.
    pub(super) without_image: Vec<WithoutImage>,
    /// Something that could not be evaluated.
    pub(super) incomplete: Option<String>,
    sensitive: BTreeMap<Address, BTreeSet<String>>,
    pub(super) settings: Option<Settings>,
    outputs: BTreeMap<String, Output>,
    values: ValueStep,
    pub(super) sources: &'s SourceMap,
}

/// Evaluates a configuration. Nothing is returned where there are errors, those of parsing included: then only the
/// diagnostics count. The sources are the files and the texts that values of variables came from.
pub fn evaluate(config: &Config, inputs: &Inputs<'_>) -> (Option<Evaluated>, Diagnostics, SourceMap) {
    let mut found = Diagnostics::default();
    let mut sources = config.sources.clone();
    if config.broken {
        return (None, found, sources);
    }
    let program = &*config.program;
    check::check_expressions(program, &mut found);
    dependencies::check(program, &mut found);
    let refactorings = refactoring::read(program, &config.sources, &mut found);
    let (ordered, cyclic) = order(program, &mut found);
    let unread = matches!(inputs.identities, Identities::Unread);
    let variables = variable_values(program.root(), &mut sources, inputs.variables, unread, &mut found);
    let Some(file) = sources.iter().next().map(|(id, _)| id) else {
        found.push(Diagnostic::error(
            "No configuration files",
            "There are no files that end in .hcl here.",
        ));
        return (None, found, sources);
    };
    let mut state = State::new(config, inputs, &sources, file, variables, &mut found);
    check_own_validations(program.root(), &mut state.evaluator);
    let mut later = Vec::new();
    for step in ordered {
        if cyclic.binary_search(&step).is_err() && state.step(&step) {
            later.push(step);
        }
    }
    state.imports();
    state.check_images();
    check_all_validations(program, &mut state.modules, &mut state.evaluator);
    state.order_servers();
    state.modules.enter(&mut state.evaluator, ModuleId::ROOT, 0);
    let usage = state.evaluator.usage();
    let State {
        mut evaluator,
        modules,
        desired,
        sensitive,
        settings,
        outputs,
        incomplete,
        import_places,
        ..
    } = state;
    let environment = evaluator.environment.clone();
    let checked = std::mem::take(&mut evaluator.checked);
    found.extend(evaluator.into_diagnostics());
    if program.root().settings.is_none() {
        found.push(missing_settings());
    }
    let declared = (desired.blocks.keys())
        .chain(desired.servers.keys())
        .chain(desired.flavors.keys())
        .chain(desired.images.keys())
        .chain(desired.groups.keys())
        .chain(desired.aggregates.keys());
    refactoring::check_removed(
        &refactorings.removed,
        program,
        &config.sources,
        declared,
        &mut found,
    );
    // A server left out would be destroyed by the plan: better no plan than that.
    if let Some(address) = incomplete
        && !unread
        && !config.faulty
        && !found.has_errors()
    {
        let detail =
            format!("{address} could not be evaluated, and no reason was found. Please report this.");
        found.push(Diagnostic::error("Incomplete evaluation", detail));
    }
    let evaluated = match settings {
        Some(settings) if !config.faulty && !found.has_errors() => Some(Evaluated {
            desired: DesiredFleet {
                fleet: settings.fleet.clone(),
                project: settings.project.clone(),
                scheduler: settings.scheduler.clone(),
                policy: settings.policy,
                hosts: desired.hosts,
                flavors: desired.flavors,
                images: desired.images,
                groups: desired.groups,
                aggregates: desired.aggregates,
                servers: desired.servers,
                depends_on: desired.depends_on,
                lifecycle: desired.lifecycle,
                blocks: desired.blocks,
                removed: refactorings.removed,
                imports: desired.imports,
            },
            settings,
            outputs,
            sensitive,
            import_places,
            sources: sources.clone(),
            usage,
            program: config.program.clone(),
            modules,
            environment,
            later,
            checked,
        }),
        Some(_) | None => None,
    };
    (evaluated, found, sources)
}

/// Evaluates the `drover` block alone: enough to find the store, for commands that need nothing else of the
/// files. Resources and modules cannot be referred to here; what is wrong with them is not reported.
pub fn evaluate_settings(config: &Config, inputs: &Inputs<'_>) -> (Option<Settings>, Diagnostics, SourceMap) {
    let mut found = Diagnostics::default();
    let mut sources = config.sources.clone();
    let program = &*config.program;
    let Some(file) = sources.iter().next().map(|(id, _)| id) else {
        return (None, found, sources);
    };
    // Cycles and missing values elsewhere are for the commands that evaluate everything.
    let (ordered, cyclic) = order(program, &mut Diagnostics::default());
    let variables = variable_values(program.root(), &mut sources, inputs.variables, true, &mut found);
    let mut state = State::new(
        config,
        inputs,
        &sources,
        file,
        variables,
        &mut Diagnostics::default(),
    );
    for step in ordered {
        match step.node {
            Node::Settings | Node::Local(_)
                if step.module == ModuleId::ROOT && cyclic.binary_search(&step).is_err() =>
            {
                state.step(&step);
            }
            Node::Settings
            | Node::Local(_)
            | Node::Variable(_)
            | Node::Resource(..)
            | Node::Data(..)
            | Node::Output(_)
            | Node::Check(_)
            | Node::Instances
            | Node::Whole => {}
        }
    }
    let State {
        evaluator, settings, ..
    } = state;
    found.extend(evaluator.into_diagnostics());
    if program.root().settings.is_none() {
        found.push(missing_settings());
    }
    (settings, found, sources)
}

fn missing_settings() -> Diagnostic {
    let detail = "Nothing says which fleet this is. Write in one of the files:\ndrover { fleet = \"NAME\" }";
    Diagnostic::error("Missing drover block", detail)
}

impl<'s, 'e> State<'s, 'e> {
    fn new(
        config: &'s Config,
        inputs: &'s Inputs<'e>,
        sources: &'e SourceMap,
        file: FileId,
        variables: BTreeMap<Arc<str>, Value>,
        found: &mut Diagnostics,
    ) -> Self
    where
        'e: 's,
    {
        let mut evaluator = Evaluator::new(sources, inputs.files, file, inputs.limits);
        let modules = Modules::new(&config.program, &mut evaluator, inputs.working_directory);
        evaluator.environment.variables = variables;
        Self {
            program: &config.program,
            modules,
            evaluator,
            identities: &inputs.identities,
            desired: Desired::default(),
            words: BTreeMap::new(),
            server_names: BTreeMap::new(),
            objects: BTreeMap::new(),
            blocks: Blocks::default(),
            records: match &inputs.identities {
                Identities::Unread => None,
                Identities::Read { records, .. } => records.as_deref(),
            },
            projects: Projects::default(),
            import_places: BTreeMap::new(),
            without_image: Vec::new(),
            incomplete: None,
            sensitive: BTreeMap::new(),
            settings: None,
            outputs: BTreeMap::new(),
            values: ValueStep::new(&config.program, sources, found),
            sources,
        }
    }

    /// Evaluates one node in every instance of its module; true if it must be evaluated again once hosts are
    /// known.
    fn step(&mut self, step: &Step) -> bool {
        match &step.node {
            Node::Settings => {
                self.modules.enter(&mut self.evaluator, step.module, 0);
                if let Some(declared) = &self.program.root().settings {
                    self.settings = read_settings(declared, &mut self.evaluator);
                }
                if let Some(settings) = &self.settings {
                    for (name, text) in [
                        ("fleet", settings.fleet.as_str()),
                        ("project", settings.project.as_str()),
                    ] {
                        let value = Value::from(text);
                        self.modules.set_drover(&mut self.evaluator, name, &value);
                    }
                }
                false
            }
            Node::Instances => {
                if !self.modules.call(&mut self.evaluator, step.module) {
                    self.incomplete = Some(self.program.module(step.module).title.clone());
                }
                false
            }
            Node::Whole => false,
            Node::Resource(kind, name) => {
                let program = self.program;
                let declared = &program.declarations(step.module).resources[&(*kind, name.clone())];
                self.modules.see(&mut self.evaluator, step.module);
                let mut later = false;
                for at in self.modules.each(step.module) {
                    self.modules.enter(&mut self.evaluator, step.module, at);
                    let (value, open) = self.resource(*kind, declared, step.module, at);
                    later |= open;
                    let resources = &mut self.evaluator.environment.resources;
                    resources.insert((*kind, name.clone()), value);
                }
                later
            }
            Node::Data(kind, name) => {
                let program = self.program;
                let declared = &program.declarations(step.module).data[&(*kind, name.clone())];
                self.modules.see(&mut self.evaluator, step.module);
                let mut later = false;
                for at in self.modules.each(step.module) {
                    self.modules.enter(&mut self.evaluator, step.module, at);
                    let (value, open) = self.data(*kind, declared, step.module, at);
                    later |= open;
                    let names = &mut self.evaluator.environment;
                    let known = match declared.check {
                        Some(_) => &mut names.scoped,
                        None => &mut names.data,
                    };
                    known.insert((*kind, name.clone()), value);
                }
                later
            }
            Node::Output(name) if step.module == ModuleId::ROOT => {
                self.modules.see(&mut self.evaluator, step.module);
                self.modules.enter(&mut self.evaluator, step.module, 0);
                let declared = &self.program.root().outputs[name];
                let context = declared.title.clone();
                let (output, open) = read_output(declared, context, Audience::People, &mut self.evaluator);
                let later = open || output.value.why_unknown().is_some();
                self.outputs.insert(name.to_string(), output);
                later
            }
            Node::Local(_) | Node::Variable(_) | Node::Output(_) | Node::Check(_) => {
                self.values
                    .evaluate(step, self.program, &mut self.modules, &mut self.evaluator)
            }
        }
    }

    /// What references to the block see, and whether one of its conditions needs what is not known yet.
    fn resource(&mut self, kind: Kind, declared: &Declared, module: ModuleId, at: usize) -> (Value, bool) {
        let inside = self.modules.instance(module, at);
        self.evaluator
            .enter(declared.file, Some(inside.context(&declared.title)));
        // A bad name was reported; its instances are evaluated all the same, under a name that is none.
        let name: ResourceName = declared
            .name
            .parse()
            .unwrap_or_else(|_| "_".parse().expect("an underscore is a valid name"));
        let base = Address {
            modules: inside.path.clone(),
            ..Address::root(kind, name)
        };
        let origin = origin_of(self.sources, declared);
        let all = instances(declared, &mut self.evaluator);
        match all.repetition() {
            // Hosts go by their names, not by the block that they are of.
            Some(_) if kind == Kind::Host => {}
            Some(repetition) => {
                self.desired.blocks.insert(base.clone(), repetition);
            }
            None => self.incomplete = Some(base.to_string()),
        }
        let rules = resource_rules(declared);
        let mut failures = Failures::default();
        let mut open = false;
        let mut values = Vec::new();
        for (key, instance) in all.each() {
            let address = match key {
                Some(key) => base.instance(key),
                None => base.clone(),
            };
            self.evaluator.enter_instance(instance);
            let place = Place {
                declared,
                address: &address,
                origin: &origin,
            };
            let value = self.instance(&place);
            let judged = || {
                let own = format!("{kind}.{}", declared.name);
                judged(CheckKind::Resource, &address.modules, &own, address.key.as_ref())
            };
            open |= failures.judge(&rules, judged, &value, &mut self.evaluator);
            self.lifecycle(&place);
            match kind {
                Kind::Flavor | Kind::Image | Kind::Group => {
                    self.objects.insert(address, value.clone());
                }
                Kind::Server => self.blocks.add(module, at, &declared.name, address),
                Kind::Host | Kind::Aggregate => {}
            }
            values.push(value);
        }
        failures.report(&mut self.evaluator.diagnostics);
        (all.gather(values), open)
    }

    pub(super) fn note_sensitive(&mut self, address: &Address, names: BTreeSet<String>) {
        if !names.is_empty() {
            self.sensitive.insert(address.clone(), names);
        }
    }
}
