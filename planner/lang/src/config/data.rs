//! `data` blocks: hosts, images and servers that the store records, of this project or of another one of the fleet.
//! They are read while planning; where only files are checked, what they hold is not known yet. What a block in a
//! check asks for may be missing: that fails the check.

use super::arguments::Arguments;
use super::conditions::{Failures, judged, resource_rules};
use super::declarations::Declared;
use super::evaluate::{Identities, State};
use super::instances::{Instances, instances};
use super::program::ModuleId;
use super::resources::{HOST_STATES, host_fields, image_fields, maybe, texts};
use crate::diagnostic::{Diagnostic, Severity, did_you_mean};
use crate::eval::DataKind;
use crate::value::{Cause, Marks, Number, Type, Unknown, Value};
use drover_core::model::{HostRecord, HostSpec, HostState, ImageSpec, RecordedFleet, ServerRecord};
use drover_core::plan::CheckKind;
use drover_core::record::Records;
use drover_types::{Address, HostName, Kind, ModuleStep, ProjectName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Arguments that some kinds have beside `project`.
const ARGUMENTS: [&str; 6] = ["name", "address", "labels", "availability_zone", "state", "host"];

/// The projects read so far, or why they cannot be.
#[derive(Debug, Default)]
pub(super) struct Projects(BTreeMap<ProjectName, Result<Arc<RecordedFleet>, Box<Diagnostic>>>);

type Named = (&'static str, Value);

fn object(fields: impl IntoIterator<Item = Named>) -> Value {
    let fields = fields.into_iter();
    Value::object(fields.map(|(name, value)| (Arc::from(name), value)))
}

/// The same with what the records hide hidden.
fn object_hiding(sensitive: &BTreeSet<String>, fields: impl IntoIterator<Item = Named>) -> Value {
    object(fields.into_iter().map(|(name, value)| {
        // A size in bytes says the same as the size.
        let hidden = sensitive.contains(name.trim_end_matches("_bytes"));
        (name, value.marked(Marks::SENSITIVE.when(hidden)))
    }))
}

fn host_object(name: &HostName, spec: &HostSpec) -> Value {
    object_hiding(&spec.sensitive, host_fields(name, spec))
}

fn image_object(address: &Address, spec: &ImageSpec) -> Value {
    let fields = image_fields(address.name.as_str(), spec);
    let fields = fields
        .into_iter()
        .chain([("address", Value::from(address.to_string()))]);
    object_hiding(&spec.sensitive, fields)
}

fn server_object(address: &Address, record: &ServerRecord) -> Value {
    let spec = &record.spec;
    let number = |number: u64| Value::from(Number::from(number));
    let group = spec.group.as_ref().map(ToString::to_string);
    let image = spec.image_address().map(ToString::to_string);
    let fields = [
        ("id", Value::from(record.id.to_string())),
        ("name", Value::from(spec.name.as_str())),
        ("address", Value::from(address.to_string())),
        ("host", maybe(record.host.as_ref().map(HostName::as_str))),
        ("flavor", Value::from(spec.flavor.to_string())),
        ("image", maybe(image.as_deref())),
        ("group", maybe(group.as_deref())),
        ("availability_zone", maybe(spec.availability_zone.as_deref())),
        ("power", Value::from(spec.power.as_str())),
        ("labels", texts(&spec.labels)),
        ("vcpus", number(u64::from(spec.size.vcpus))),
        ("ram", Value::from(spec.size.ram.to_string())),
        ("ram_bytes", number(spec.size.ram.bytes())),
        ("disk", Value::from(spec.size.disk.to_string())),
        ("disk_bytes", number(spec.size.disk.bytes())),
    ];
    object_hiding(&spec.sensitive, fields)
}

impl State<'_, '_> {
    /// Evaluates a block in one instance of its module; true if one of its conditions needs what is not known yet.
    pub(super) fn data(
        &mut self,
        kind: DataKind,
        declared: &Declared,
        module: ModuleId,
        at: usize,
    ) -> (Value, bool) {
        let inside = self.modules.instance(module, at);
        let path = inside.path.clone();
        self.evaluator
            .enter(declared.file, Some(inside.context(&declared.title)));
        let all = instances(declared, &mut self.evaluator);
        if matches!(all, Instances::Unclear) {
            self.incomplete = Some(format!("data.{kind}.{}", declared.name));
        }
        let rules = resource_rules(declared);
        let mut failures = Failures::default();
        let mut open = false;
        let mut values = Vec::new();
        for (key, instance) in all.each() {
            self.evaluator.enter_instance(instance);
            let value = match self.data_instance(kind, declared) {
                Ok(value) => value,
                Err(diagnostic) => self.not_read(kind, declared, &path, *diagnostic),
            };
            if !value.is_failed() {
                let judged = || {
                    let own = format!("data.{kind}.{}", declared.name);
                    judged(CheckKind::Resource, &path, &own, key.as_ref())
                };
                open |= failures.judge(&rules, judged, &value, &mut self.evaluator);
            }
            values.push(value);
        }
        failures.report(&mut self.evaluator.diagnostics);
        (all.gather(values), open)
    }

    /// What stands for a block that was not read for this reason. In a check that is no error: the check fails, and
    /// what its asserts want of the block stays unknown.
    fn not_read(
        &mut self,
        kind: DataKind,
        declared: &Declared,
        modules: &[ModuleStep],
        diagnostic: Diagnostic,
    ) -> Value {
        let Some(check) = &declared.check else {
            return self.evaluator.report(diagnostic);
        };
        let judged = judged(CheckKind::Check, modules, &format!("check.{check}"), None);
        self.evaluator.checked.lacks(judged, &diagnostic.detail);
        self.evaluator.report(Diagnostic {
            severity: Severity::Warning,
            ..diagnostic
        });
        unread(kind, declared)
    }

    /// The value of one instance, or why there is none. What is wrong with its arguments is reported.
    fn data_instance(&mut self, kind: DataKind, declared: &Declared) -> Result<Value, Box<Diagnostic>> {
        let wanted = Wanted::read(kind, declared, &mut self.evaluator);
        let Some(records) = self.records else {
            return match self.identities {
                Identities::Unread => Ok(unread(kind, declared)),
                // Nothing is said against a check that cannot be judged here.
                Identities::Read { .. } if declared.check.is_some() => Ok(unread(kind, declared)),
                Identities::Read { .. } => {
                    let detail = "This command does not ask the store, so there are no records to read.";
                    let diagnostic = Diagnostic::error("No records", detail);
                    Err(Box::new(diagnostic.at_maybe(declared.header)))
                }
            };
        };
        let Some(wanted) = wanted else {
            return Ok(Value::failed());
        };
        let project = match &wanted.project {
            Some(project) => project.clone(),
            None => match &self.settings {
                Some(settings) => settings.project.clone(),
                None => return Ok(Value::failed()),
            },
        };
        let own = self.settings.as_ref().map(|settings| &settings.project);
        let known = self.projects.0.entry(project.clone());
        let known = known.or_insert_with(|| read_project(records, &project, own));
        let shown = |diagnostic: Diagnostic| {
            if !wanted.hidden {
                return diagnostic;
            }
            let detail =
                "The store records nothing of what this block asks for, which is sensitive and not shown.";
            Diagnostic::error(diagnostic.summary, detail).at_maybe(diagnostic.span)
        };
        let fleet = known.as_ref().map_err(|problem| {
            let place = declared
                .argument("project")
                .and_then(|expression| declared.span(expression));
            Box::new(shown((**problem).clone().at_maybe(place.or(declared.header))))
        })?;
        wanted.find(kind, fleet).map_err(|(what, hint)| {
            let detail = format!("The store records no {what} in the project {project}.");
            let diagnostic = Diagnostic::error("Nothing found", detail)
                .at_maybe(wanted.place.or(declared.header))
                .hint(hint);
            Box::new(shown(diagnostic))
        })
    }
}

/// What the store holds of a project; `own` is that of the configuration.
fn read_project(
    records: &Records,
    project: &ProjectName,
    own: Option<&ProjectName>,
) -> Result<Arc<RecordedFleet>, Box<Diagnostic>> {
    let fleet = records.project(project).map_err(|error| {
        let detail = format!("The records of the project {project} cannot be used: {error}.");
        Box::new(Diagnostic::error("Unreadable records", detail))
    })?;
    if fleet.hosts.is_empty()
        && fleet.images.is_empty()
        && fleet.servers.is_empty()
        && let Some(own) = own
        && own != project
    {
        let others = records.others(own);
        if !others.contains(project) {
            let known: Vec<&str> = others.iter().map(ProjectName::as_str).collect();
            let detail = if known.is_empty() {
                format!("The store holds nothing of a project {project}, nor of any other than {own}.")
            } else {
                format!(
                    "The store holds nothing of a project {project}. There are {}.",
                    known.join(", ")
                )
            };
            let diagnostic = Diagnostic::error("Unknown project", detail);
            return Err(Box::new(diagnostic.hint(did_you_mean(project.as_str(), known))));
        }
    }
    Ok(Arc::new(fleet))
}

/// What a block asks for.
struct Wanted {
    project: Option<ProjectName>,
    name: String,
    address: Option<Address>,
    labels: BTreeMap<String, String>,
    zone: Option<String>,
    state: Option<HostState>,
    host: Option<String>,
    place: Option<crate::source::Span>,
    /// Something of it is not to be shown.
    hidden: bool,
}

impl Wanted {
    fn read(kind: DataKind, declared: &Declared, evaluator: &mut crate::eval::Evaluator<'_>) -> Option<Self> {
        let mut arguments = Arguments::new(evaluator, declared);
        let own = kind.arguments();
        for name in ARGUMENTS.iter().filter(|name| !own.contains(name)) {
            if let Some(expression) = declared.argument(name) {
                let problem = format!(
                    "data blocks of {kind} do not have it; they have project, {}",
                    own.join(", ")
                );
                arguments.wrong(name, expression, &problem, None);
            }
        }
        let project = arguments.parsed::<ProjectName>("project");
        let name = arguments.text("name");
        let address = arguments.parsed::<Address>("address");
        let of = match kind {
            DataKind::Image => Some(Kind::Image),
            DataKind::Server => Some(Kind::Server),
            DataKind::Host | DataKind::Hosts | DataKind::Servers => None,
        };
        if let (Some(of), Some(given), Some(expression)) = (of, &address, declared.argument("address"))
            && given.kind != of
        {
            let hint = Some(format!("write {of}.NAME"));
            arguments.wrong("address", expression, &format!("{given} is no {of}"), hint);
        }
        let labels = arguments.texts_by_name("labels");
        let zone = arguments.text("availability_zone");
        let state = arguments.word("state", &HOST_STATES, HostState::as_str);
        let host = arguments.text("host");
        if !arguments.complete() {
            return None;
        }
        let hidden = !arguments.sensitive.is_empty();
        let by = ["name", "address"]
            .into_iter()
            .find_map(|name| declared.argument(name));
        Some(Self {
            project,
            name: name.unwrap_or_else(|| declared.name.to_string()),
            address: address.or_else(|| Some(Address::root(of?, declared.name.parse().ok()?))),
            labels,
            zone,
            state,
            host,
            place: by.and_then(|expression| declared.span(expression)),
            hidden,
        })
    }

    fn labelled(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels
            .iter()
            .all(|(name, value)| labels.get(name) == Some(value))
    }

    fn fits_host(&self, record: &HostRecord) -> bool {
        let spec = &record.spec;
        self.labelled(&spec.labels)
            && (self.zone.is_none() || self.zone == spec.availability_zone)
            && self.state.is_none_or(|state| state == spec.state)
    }

    fn fits_server(&self, record: &ServerRecord) -> bool {
        let host = record.host.as_ref().map(HostName::as_str);
        self.labelled(&record.spec.labels)
            && (self.zone.is_none() || self.zone == record.spec.availability_zone)
            && (self.host.is_none() || self.host.as_deref() == host)
    }

    /// The value, or what there is none of and what was probably meant.
    fn find(&self, kind: DataKind, fleet: &RecordedFleet) -> Result<Value, (String, Option<String>)> {
        let missing = |what: &str, name: String, known: Vec<String>| {
            let hint = did_you_mean(&name, known.iter().map(String::as_str));
            (format!("{what}{name}"), hint)
        };
        let addressed = |known: Vec<String>| {
            let name = self.address.as_ref().map(ToString::to_string).unwrap_or_default();
            missing("", name, known)
        };
        match kind {
            DataKind::Host => {
                let found = fleet.hosts.iter().find(|(name, _)| name.as_str() == self.name);
                found
                    .map(|(name, record)| host_object(name, &record.spec))
                    .ok_or_else(|| {
                        let known = fleet.hosts.keys().map(ToString::to_string).collect();
                        missing("host ", self.name.clone(), known)
                    })
            }
            DataKind::Image => {
                let found = self
                    .address
                    .as_ref()
                    .and_then(|address| fleet.images.get_key_value(address));
                found
                    .map(|(address, record)| image_object(address, &record.spec))
                    .ok_or_else(|| addressed(fleet.images.keys().map(ToString::to_string).collect()))
            }
            DataKind::Server => {
                let found = self
                    .address
                    .as_ref()
                    .and_then(|address| fleet.servers.get_key_value(address));
                found
                    .map(|(address, record)| server_object(address, record))
                    .ok_or_else(|| addressed(fleet.servers.keys().map(ToString::to_string).collect()))
            }
            DataKind::Hosts => {
                let chosen = fleet.hosts.iter().filter(|(_, record)| self.fits_host(record));
                let hosts =
                    chosen.map(|(name, record)| (Arc::from(name.as_str()), host_object(name, &record.spec)));
                Ok(listing("names", "hosts", hosts.collect()))
            }
            DataKind::Servers => {
                let chosen = fleet
                    .servers
                    .iter()
                    .filter(|(_, record)| self.fits_server(record));
                let servers = chosen.map(|(address, record)| {
                    (Arc::from(address.to_string()), server_object(address, record))
                });
                Ok(listing("addresses", "servers", servers.collect()))
            }
        }
    }
}

/// The keys as a list, and everything by key.
fn listing(keys: &'static str, all: &'static str, found: BTreeMap<Arc<str>, Value>) -> Value {
    let names = found.keys().cloned().map(Value::from).collect();
    object([(keys, Value::list(names)), (all, Value::object(found))])
}

/// What stands for a block while the store is not read: every attribute is there, and not known.
fn unread(kind: DataKind, declared: &Declared) -> Value {
    let attributes = kind.attributes().iter().map(|name| {
        let cause = Cause::Store(format!("data.{kind}.{}.{name}", declared.name).into());
        (*name, Unknown::new(Type::Any, cause).into())
    });
    object(attributes)
}
