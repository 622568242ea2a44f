//! The instances of modules while they are evaluated: the names that each knows, and what the caller sees of them.

use super::instances::{Instances, instances};
use super::program::{ModuleId, Program};
use crate::eval::{Environment, Evaluator, Instance};
use crate::value::Value;
use drover_types::{InstanceKey, ModuleStep, ResourceName};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// One instance of a module.
#[derive(Debug, Clone, Default)]
pub(super) struct ModuleInstance {
    /// Which of the caller's instances it belongs to.
    pub(super) caller: usize,
    /// The way from the root module; empty there.
    pub(super) path: Vec<ModuleStep>,
    /// What `count.index` and `each` stand for in the arguments of the call.
    pub(super) names: Instance,
    environment: Environment,
    outputs: BTreeMap<Arc<str>, Value>,
}

impl ModuleInstance {
    /// The block's title with the module it stands in.
    pub(super) fn context(&self, title: &str) -> String {
        let steps = self.path.iter().map(|step| format!("{step}, "));
        steps.chain(std::iter::once(title.to_owned())).collect()
    }
}

/// One call in one instance of its caller.
#[derive(Debug, Clone)]
struct Call {
    shape: Instances,
    range: Range<usize>,
}

/// All instances of all modules. The names of the one that is being evaluated are with the evaluator.
#[derive(Debug, Clone)]
pub(super) struct Modules {
    program: Arc<Program>,
    instances: Vec<Vec<ModuleInstance>>,
    /// By module: its calls by the caller's instance.
    calls: Vec<BTreeMap<usize, Call>>,
    entered: (ModuleId, usize),
    /// What callers see of a module is put together again before they look: it has outputs that they have not seen.
    unseen: BTreeMap<ModuleId, BTreeSet<ModuleId>>,
    paths: BTreeMap<Arc<str>, Value>,
    drover: BTreeMap<Arc<str>, Value>,
}

impl Modules {
    /// Nothing but the root module, whose names the evaluator has.
    pub(super) fn new(
        program: &Arc<Program>,
        evaluator: &mut Evaluator<'_>,
        working_directory: &str,
    ) -> Self {
        let number = program.modules().count();
        let paths = [("root", "."), ("cwd", working_directory)];
        let named = |name: &str, value: Value| (Arc::from(name), value);
        let mut modules = Self {
            program: program.clone(),
            instances: vec![Vec::new(); number],
            calls: vec![BTreeMap::new(); number],
            entered: (ModuleId::ROOT, 0),
            unseen: BTreeMap::new(),
            paths: paths.map(|(name, path)| named(name, Value::from(path))).into(),
            drover: ["fleet", "project"]
                .map(|name| named(name, Value::failed()))
                .into(),
        };
        let environment = modules.environment(ModuleId::ROOT);
        modules.instances[ModuleId::ROOT.index()].push(ModuleInstance::default());
        evaluator.enter_module(environment, "".into());
        modules
    }

    /// What an instance of a module begins with: until its turn comes, everything stands for "already reported", and
    /// what is on a cycle stays so.
    fn environment(&self, module: ModuleId) -> Environment {
        let folder = self.program.folder_of(module);
        let declarations = &folder.declarations;
        let mut paths = self.paths.clone();
        let path: &str = if folder.path.is_empty() { "." } else { &folder.path };
        paths.insert("module".into(), Value::from(path));
        Environment {
            variables: (declarations.variables.keys())
                .map(|name| (name.clone(), Value::failed()))
                .collect(),
            locals: (declarations.locals.keys())
                .map(|name| (name.clone(), Value::failed()))
                .collect(),
            resources: (declarations.resources.keys())
                .map(|key| (key.clone(), Value::failed()))
                .collect(),
            data: (declarations.data.iter())
                .filter(|(_, declared)| declared.check.is_none())
                .map(|(key, _)| (key.clone(), Value::failed()))
                .collect(),
            scoped: (declarations.data.iter())
                .filter(|(_, declared)| declared.check.is_some())
                .map(|(key, _)| (key.clone(), Value::failed()))
                .collect(),
            modules: (declarations.calls.keys())
                .map(|name| (name.clone(), Value::failed()))
                .collect(),
            paths,
            drover: self.drover.clone(),
            itself: None,
        }
    }

    /// How many instances a module has.
    pub(super) fn number(&self, module: ModuleId) -> usize {
        self.instances[module.index()].len()
    }

    pub(super) fn instance(&self, module: ModuleId, at: usize) -> &ModuleInstance {
        &self.instances[module.index()][at]
    }

    /// Gives the evaluator the names of this instance.
    pub(super) fn enter(&mut self, evaluator: &mut Evaluator<'_>, module: ModuleId, at: usize) {
        if self.entered != (module, at) {
            let environment = std::mem::take(&mut self.instances[module.index()][at].environment);
            let folder = self.program.folder_of(module).path.clone();
            let before = evaluator.enter_module(environment, folder);
            let (module_before, at_before) = self.entered;
            self.instances[module_before.index()][at_before].environment = before;
            self.entered = (module, at);
        }
    }

    /// The names of an instance, wherever they are.
    pub(super) fn names<'n>(
        &'n mut self,
        evaluator: &'n mut Evaluator<'_>,
        module: ModuleId,
        at: usize,
    ) -> &'n mut Environment {
        if self.entered == (module, at) {
            &mut evaluator.environment
        } else {
            &mut self.instances[module.index()][at].environment
        }
    }

    /// What `drover` stands for in every module.
    pub(super) fn set_drover(&mut self, evaluator: &mut Evaluator<'_>, name: &str, value: &Value) {
        self.drover.insert(name.into(), value.clone());
        for (module, _) in self.program.clone().modules() {
            for at in 0..self.number(module) {
                let names = self.names(evaluator, module, at);
                names.drover.insert(name.into(), value.clone());
            }
        }
    }

    /// Makes the instances of a called module; `false` where how many there are is wrong or not known.
    pub(super) fn call(&mut self, evaluator: &mut Evaluator<'_>, module: ModuleId) -> bool {
        let program = self.program.clone();
        let Some((caller, declared)) = program.call(module) else {
            return true;
        };
        self.see(evaluator, caller);
        // A bad name was reported; the module is evaluated all the same, under a name that is none.
        let name: ResourceName = declared
            .name
            .parse()
            .unwrap_or_else(|_| "_".parse().expect("an underscore is a valid name"));
        let mut clear = true;
        for at in 0..self.number(caller) {
            self.enter(evaluator, caller, at);
            let outer = self.instance(caller, at);
            evaluator.enter(declared.file, Some(outer.context(&declared.title)));
            let outer = outer.path.clone();
            let shape = instances(declared, evaluator);
            clear &= !matches!(shape, Instances::Unclear);
            let begin = self.number(module);
            for (key, names) in shape.each() {
                let mut path = outer.clone();
                path.push(ModuleStep {
                    name: name.clone(),
                    key,
                });
                let instance = ModuleInstance {
                    caller: at,
                    path,
                    names,
                    environment: self.environment(module),
                    outputs: BTreeMap::new(),
                };
                self.instances[module.index()].push(instance);
            }
            let range = begin..self.number(module);
            self.calls[module.index()].insert(at, Call { shape, range });
        }
        self.unseen.entry(caller).or_default().insert(module);
        clear
    }

    /// Notes an output of an instance.
    pub(super) fn output(&mut self, module: ModuleId, at: usize, name: &Arc<str>, value: Value) {
        self.instances[module.index()][at]
            .outputs
            .insert(name.clone(), value);
        if let Some((caller, _)) = &self.program.module(module).caller {
            self.unseen.entry(*caller).or_default().insert(module);
        }
    }

    /// Shows every instance of `caller` the outputs of what it calls, as far as they are there.
    pub(super) fn see(&mut self, evaluator: &mut Evaluator<'_>, caller: ModuleId) {
        for module in self.unseen.remove(&caller).unwrap_or_default() {
            let program = self.program.clone();
            let Some((_, name)) = &program.module(module).caller else {
                continue;
            };
            let calls = std::mem::take(&mut self.calls[module.index()]);
            for (at, call) in &calls {
                let instances = &self.instances[module.index()][call.range.clone()];
                let objects = instances.iter().map(|instance| {
                    let outputs = instance.outputs.iter();
                    Value::object(outputs.map(|(name, value)| (name.clone(), value.clone())))
                });
                let whole = call.shape.gather(objects.collect());
                let names = self.names(evaluator, caller, *at);
                names.modules.insert(name.clone(), whole);
            }
            self.calls[module.index()] = calls;
        }
    }

    /// Which instances of a module belong to an instance of its caller.
    pub(super) fn called(&self, module: ModuleId, caller: usize) -> Range<usize> {
        let call = self.calls[module.index()].get(&caller);
        call.map_or(0..0, |call| call.range.clone())
    }

    /// Every instance of a module.
    pub(super) fn each(&self, module: ModuleId) -> Range<usize> {
        0..self.number(module)
    }

    /// Calls `change` for the names of every instance.
    pub(super) fn change_names(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        mut change: impl FnMut(&mut Environment),
    ) {
        for (module, _) in self.program.clone().modules() {
            for at in 0..self.number(module) {
                change(self.names(evaluator, module, at));
            }
        }
    }
}

/// The guest's name where none is given: the modules on the way, the label and the instance's key.
pub(super) fn joined_name(path: &[ModuleStep], name: &str, key: Option<&InstanceKey>) -> String {
    let mut joined = String::new();
    let mut add = |name: &str, key: Option<&InstanceKey>| {
        if !joined.is_empty() {
            joined.push('-');
        }
        joined.push_str(name);
        match key {
            None => {}
            Some(InstanceKey::Index(index)) => joined.push_str(&format!("-{index}")),
            Some(InstanceKey::Key(key)) => joined.push_str(&format!("-{key}")),
        }
    };
    for step in path {
        add(step.name.as_str(), step.key.as_ref());
    }
    add(name, key);
    joined
}
