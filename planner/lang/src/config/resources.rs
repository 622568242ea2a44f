//! Hosts, aggregates, flavors, images, groups and servers: one instance's arguments to the model and to the object that
//! references see.

use super::arguments::Arguments;
use super::dynamic::only;
use super::evaluate::State;
use super::imports::WithoutImage;
use super::modules::joined_name;
use crate::diagnostic::Diagnostic;
use crate::value::{Cause, Fields, Kind as ValueKind, Marks, Number, Type, Unknown, Value};
use drover_core::model::{
    AggregateSpec, DesiredResource, Endpoint, FlavorSpec, GroupPolicy, GroupSpec, HostNetwork, HostSpec,
    HostState, ImageFormat, ImageSource, ImageSpec, ImageUse, PlacementHints, Power, ServerSpec,
};
use drover_types::{Address, ByteSize, HostName, Kind, NameError, ResourceName, Sha256Digest};
use hcl::edit::expr::Expression;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) const HOST_STATES: [HostState; 3] = [HostState::Active, HostState::Disabled, HostState::Drain];

/// A text or null.
pub(super) fn maybe(text: Option<&str>) -> Value {
    text.map_or_else(Value::null, Value::from)
}

pub(super) fn texts(map: &BTreeMap<String, String>) -> Value {
    Value::map(
        map.iter()
            .map(|(name, text)| (Arc::from(name.as_str()), Value::from(text.as_str()))),
    )
}

/// What references see of a host.
pub(super) fn host_fields(name: &HostName, spec: &HostSpec) -> [(&'static str, Value); 5] {
    [
        ("name", Value::from(name.as_str())),
        ("address", Value::from(spec.address.to_string())),
        ("availability_zone", maybe(spec.availability_zone.as_deref())),
        ("labels", texts(&spec.labels)),
        ("state", Value::from(spec.state.as_str())),
    ]
}

/// What references see of an image.
pub(super) fn image_fields(name: &str, spec: &ImageSpec) -> [(&'static str, Value); 5] {
    [
        ("name", Value::from(name)),
        ("source", Value::from(spec.source.as_str())),
        ("checksum", Value::from(spec.checksum.to_string())),
        ("format", maybe(spec.format.map(ImageFormat::as_str))),
        ("properties", texts(&spec.properties)),
    ]
}

impl State<'_, '_> {
    /// The object of a declared thing.
    fn object<const N: usize>(
        &mut self,
        address: &Address,
        sensitive: &BTreeSet<String>,
        fields: [(&'static str, Value); N],
    ) -> Value {
        let mut by_name: BTreeMap<Arc<str>, Value> = BTreeMap::new();
        for (name, value) in fields {
            // A size in bytes says the same as the size.
            let value = if sensitive.contains(name.trim_end_matches("_bytes")) {
                value.marked(Marks::SENSITIVE)
            } else {
                value
            };
            let name = self.words.entry(name).or_insert_with(|| Arc::from(name)).clone();
            by_name.insert(name, value);
        }
        ValueKind::Object(Arc::new(Fields::of_declared(address.clone(), by_name))).into()
    }

    /// The same where something is wrong with it: it still is of its kind, so that references to it stay silent.
    fn broken(&mut self, address: &Address, names: &[&'static str]) -> Value {
        self.incomplete = Some(address.to_string());
        let mut by_name: BTreeMap<Arc<str>, Value> = BTreeMap::new();
        for name in names {
            let name = self.words.entry(name).or_insert_with(|| Arc::from(*name)).clone();
            by_name.insert(name, Value::failed());
        }
        ValueKind::Object(Arc::new(Fields::of_declared(address.clone(), by_name))).into()
    }

    /// Evaluates one instance: the object that references see.
    pub(super) fn instance(&mut self, at: &Place<'_>) -> Value {
        match at.address.kind {
            Kind::Host => self.host(at),
            Kind::Flavor => self.flavor(at),
            Kind::Image => self.image(at),
            Kind::Group => self.group(at),
            Kind::Aggregate => self.aggregate(at),
            Kind::Server => self.server(at),
        }
    }

    fn flavor(&mut self, at: &Place<'_>) -> Value {
        let mut arguments = Arguments::new(&mut self.evaluator, at.declared);
        let vcpus = arguments.whole("vcpus", 1, 4_096);
        let vcpus = arguments.require("vcpus", vcpus);
        let ram = size(&mut arguments, "ram");
        let disk = size(&mut arguments, "disk");
        let extra_specs = arguments.texts_by_name("extra_specs");
        let complete = arguments.complete();
        let sensitive = std::mem::take(&mut arguments.sensitive);
        self.note_sensitive(at.address, sensitive.clone());
        let (Some(vcpus), Some(ram), Some(disk), true) = (vcpus, ram, disk, complete) else {
            return self.broken(
                at.address,
                &[
                    "name",
                    "vcpus",
                    "ram",
                    "ram_bytes",
                    "disk",
                    "disk_bytes",
                    "extra_specs",
                ],
            );
        };
        let spec = FlavorSpec {
            vcpus,
            ram,
            disk,
            extra_specs,
            sensitive,
        };
        let object = self.object(
            at.address,
            &spec.sensitive,
            [
                ("name", Value::from(at.address.name.as_str())),
                ("vcpus", Value::from(Number::from(u64::from(vcpus)))),
                ("ram", Value::from(ram.to_string())),
                ("ram_bytes", Value::from(Number::from(ram.bytes()))),
                ("disk", Value::from(disk.to_string())),
                ("disk_bytes", Value::from(Number::from(disk.bytes()))),
                ("extra_specs", texts(&spec.extra_specs)),
            ],
        );
        self.desired.flavors.insert(
            at.address.clone(),
            DesiredResource {
                spec,
                origin: at.origin.clone(),
            },
        );
        object
    }

    fn image(&mut self, at: &Place<'_>) -> Value {
        let mut arguments = Arguments::new(&mut self.evaluator, at.declared);
        let source = arguments.parsed::<ImageSource>("source");
        let source = arguments.require("source", source);
        let checksum = arguments.parsed::<Sha256Digest>("checksum");
        let checksum = arguments.require("checksum", checksum);
        let format = arguments.word("format", ImageFormat::ALL, ImageFormat::as_str);
        let properties = arguments.texts_by_name("properties");
        let complete = arguments.complete();
        let sensitive = std::mem::take(&mut arguments.sensitive);
        self.note_sensitive(at.address, sensitive.clone());
        let (Some(source), Some(checksum), true) = (source, checksum, complete) else {
            return self.broken(
                at.address,
                &["name", "source", "checksum", "format", "properties"],
            );
        };
        let spec = ImageSpec {
            source,
            checksum,
            format,
            properties,
            sensitive,
        };
        let fields = image_fields(at.address.name.as_str(), &spec);
        let object = self.object(at.address, &spec.sensitive, fields);
        self.desired.images.insert(
            at.address.clone(),
            DesiredResource {
                spec,
                origin: at.origin.clone(),
            },
        );
        object
    }

    fn group(&mut self, at: &Place<'_>) -> Value {
        let mut arguments = Arguments::new(&mut self.evaluator, at.declared);
        let policy = arguments.word("policy", GroupPolicy::ALL, GroupPolicy::as_str);
        let policy = arguments.require("policy", policy);
        let first = arguments.complete();
        const ATTRIBUTES: [&str; 3] = ["name", "policy", "max_server_per_host"];
        let Some(rules) = only(at.declared, "rules", &mut self.evaluator) else {
            return self.broken(at.address, &ATTRIBUTES);
        };
        let limit = rules.as_ref().map(|rules| {
            rules.within(&mut self.evaluator, |declared, evaluator| {
                let mut inside = Arguments::new(evaluator, declared);
                let limit = inside.whole("max_server_per_host", 1, 1_000_000);
                inside.complete().then_some(limit)
            })
        });
        if rules.is_some() {
            // Expressions are remembered by where they stand in memory, and this block goes.
            self.evaluator.forget_expressions();
        }
        let limit = match limit {
            Some(None) => return self.broken(at.address, &ATTRIBUTES),
            Some(Some(limit)) => limit,
            None => None,
        };
        let mut arguments = Arguments::new(&mut self.evaluator, at.declared);
        if limit.is_some()
            && policy.is_some_and(|policy| policy != GroupPolicy::AntiAffinity)
            && let Some(expression) = at.declared.argument("policy")
        {
            let problem = "max_server_per_host is a rule of \"anti-affinity\" alone";
            arguments.wrong("policy", expression, problem, None);
        }
        let complete = first && arguments.complete();
        let (Some(policy), true) = (policy, complete) else {
            return self.broken(at.address, &ATTRIBUTES);
        };
        let spec = GroupSpec {
            policy,
            max_server_per_host: limit.unwrap_or(1),
        };
        let limit = spec.max_server_per_host;
        self.desired.groups.insert(
            at.address.clone(),
            DesiredResource {
                spec,
                origin: at.origin.clone(),
            },
        );
        self.object(
            at.address,
            &BTreeSet::new(),
            [
                ("name", Value::from(at.address.name.as_str())),
                ("policy", Value::from(policy.as_str())),
                ("max_server_per_host", Value::from(Number::from(u64::from(limit)))),
            ],
        )
    }

    fn aggregate(&mut self, at: &Place<'_>) -> Value {
        let mut arguments = Arguments::new(&mut self.evaluator, at.declared);
        let hosts = arguments.hosts("hosts", self.program.root());
        let hosts = arguments.require("hosts", hosts);
        let metadata = arguments.texts_by_name("metadata");
        let complete = arguments.complete();
        let sensitive = std::mem::take(&mut arguments.sensitive);
        self.note_sensitive(at.address, sensitive.clone());
        let (Some(hosts), true) = (hosts, complete) else {
            return self.broken(at.address, &["name", "hosts", "metadata"]);
        };
        let spec = AggregateSpec {
            hosts,
            metadata,
            sensitive: sensitive.clone(),
        };
        let names = spec.hosts.iter().map(|host| Value::from(host.as_str()));
        let object = [
            ("name", Value::from(at.address.name.as_str())),
            ("hosts", Value::list(names.collect())),
            ("metadata", texts(&spec.metadata)),
        ];
        self.desired.aggregates.insert(
            at.address.clone(),
            DesiredResource {
                spec,
                origin: at.origin.clone(),
            },
        );
        self.object(at.address, &sensitive, object)
    }

    fn host(&mut self, at: &Place<'_>) -> Value {
        let mut arguments = Arguments::new(&mut self.evaluator, at.declared);
        let name = if at.declared.argument("name").is_some() {
            let name = arguments.parsed::<HostName>("name");
            arguments.require("name", name)
        } else if at.declared.is_repeated() {
            arguments.lacks(
                "name",
                "each of several hosts has a name of its own: name = each.key",
            );
            None
        } else {
            at.declared.name.parse().ok()
        };
        arguments.is_shown("name");
        // A host goes by its name, whichever block it is of: it is one machine, and its certificate says so.
        let own = name
            .as_ref()
            .and_then(|name| Some(Address::root(Kind::Host, name.as_str().parse().ok()?)))
            .unwrap_or_else(|| at.address.clone());
        let address = arguments.parsed::<Endpoint>("address");
        let address = arguments.require("address", address);
        let zone = arguments.text("availability_zone");
        let labels = arguments.texts_by_name("labels");
        let state = arguments.word("state", &HOST_STATES, HostState::as_str);
        let complete = arguments.complete();
        let sensitive = std::mem::take(&mut arguments.sensitive);
        self.note_sensitive(&own, sensitive.clone());
        let (Some(name), Some(address), true) = (name, address, complete) else {
            return self.broken(&own, &["name", "address", "availability_zone", "labels", "state"]);
        };
        let spec = HostSpec {
            address,
            availability_zone: zone,
            labels,
            state: state.unwrap_or_default(),
            sensitive,
        };
        let object = self.object(&own, &spec.sensitive, host_fields(&name, &spec));
        if let Some(first) = self.desired.hosts.get(&name) {
            let detail = if first.origin == *at.origin {
                format!(
                    "Two hosts of this block are named {name}. Each is a machine of its own, with its name in its \
                     agent's certificate: write a name that differs, as name = each.key."
                )
            } else {
                format!(
                    "The host {name} is declared twice, the first time at {}. A host is one machine, whichever module \
                     declares it: its name is in its agent's certificate.",
                    first.origin
                )
            };
            let diagnostic = Diagnostic::error("Duplicate host", detail).at_maybe(at.declared.header);
            self.evaluator.report(diagnostic);
        }
        self.desired.hosts.insert(
            name,
            DesiredResource {
                spec,
                origin: at.origin.clone(),
            },
        );
        object
    }

    fn server(&mut self, at: &Place<'_>) -> Value {
        let mut arguments = Arguments::new(&mut self.evaluator, at.declared);
        let flavor = arguments.reference("flavor", Kind::Flavor);
        let flavor = arguments.require("flavor", flavor);
        let image = arguments.reference("image", Kind::Image);
        let names_image = arguments.declared.argument("image").is_some();
        let group = arguments.reference("group", Kind::Group);
        let zone = arguments.text("availability_zone");
        let power = arguments.word("power", &[Power::On, Power::Off], Power::as_str);
        let labels = arguments.texts_by_name("labels");
        let allow_rebuild = arguments.truth("allow_rebuild").unwrap_or(false);
        let hints = PlacementHints {
            same_host: arguments.references("same_host", Kind::Server),
            different_host: arguments.references("different_host", Kind::Server),
            network: arguments.parsed::<HostNetwork>("host_network"),
            priority: arguments.whole_signed("priority").unwrap_or(0),
        };
        let given_name = arguments.text("name");
        let name = server_name(given_name.as_deref(), at, &mut arguments);
        let complete = arguments.complete();
        let sensitive = std::mem::take(&mut arguments.sensitive);
        self.note_sensitive(at.address, sensitive.clone());
        if let Some(name) = &name {
            self.note_server_name(name, at);
        }
        let size = flavor
            .as_ref()
            .and_then(|address| self.desired.flavors.get(address))
            .map(|flavor| flavor.spec.clone());
        if !names_image {
            self.without_image.push(WithoutImage {
                address: at.address.clone(),
                header: at.declared.header,
                title: at.declared.title.clone(),
            });
        }
        // What is wrong with an image that is named was reported, and made this incomplete.
        let used = match &image {
            None => Some(None),
            Some(address) => self.desired.images.get(address).map(|image| {
                Some(ImageUse {
                    address: address.clone(),
                    checksum: image.spec.checksum,
                })
            }),
        };
        let sensitive = self.hidden_attributes(sensitive, flavor.as_ref(), image.as_ref());
        let spec = match (flavor, size, used, name, complete) {
            (Some(flavor), Some(size), Some(image), Some(name), true) => ServerSpec {
                name,
                flavor,
                size,
                image,
                group,
                availability_zone: zone,
                power: power.unwrap_or_default(),
                labels,
                allow_rebuild,
                sensitive,
                hints,
            },
            (_, _, _, _, _) => return self.broken(at.address, &SERVER_ATTRIBUTES),
        };
        let object = self.server_object(at.address, &spec);
        self.desired.servers.insert(
            at.address.clone(),
            DesiredResource {
                spec,
                origin: at.origin.clone(),
            },
        );
        object
    }

    /// A server shows what its flavor and image say too: what they hide is hidden in it.
    fn hidden_attributes(
        &self,
        own: BTreeSet<String>,
        flavor: Option<&Address>,
        image: Option<&Address>,
    ) -> BTreeSet<String> {
        let mut all = own;
        if let Some(flavor) = flavor.and_then(|address| self.desired.flavors.get(address)) {
            all.extend(flavor.spec.sensitive.iter().cloned());
        }
        if let Some(image) = image.and_then(|address| self.desired.images.get(address))
            && image.spec.sensitive.contains("checksum")
        {
            all.insert("image_checksum".to_owned());
        }
        all
    }

    /// The object of a server whose host is not known yet.
    fn server_object(&mut self, address: &Address, spec: &ServerSpec) -> Value {
        let text = address.to_string();
        let id = match self.identities.id(address) {
            Some(id) => Value::from(id.to_string()),
            None => Unknown::new(Type::String, Cause::Store(format!("{text}.id").into())).into(),
        };
        let host = Unknown::new(Type::String, Cause::Placement(format!("{text}.host").into())).into();
        let flavor = self.declared_object(&spec.flavor);
        let image = spec
            .image_address()
            .map_or_else(Value::null, |image| self.declared_object(image));
        let group = spec
            .group
            .as_ref()
            .map_or_else(Value::null, |group| self.declared_object(group));
        self.object(
            address,
            &spec.sensitive,
            [
                ("id", id),
                ("name", Value::from(spec.name.as_str())),
                ("address", Value::from(text)),
                ("host", host),
                ("flavor", flavor),
                ("image", image),
                ("group", group),
                ("availability_zone", maybe(spec.availability_zone.as_deref())),
                ("power", Value::from(spec.power.as_str())),
                ("labels", texts(&spec.labels)),
            ],
        )
    }

    /// The object that stands for a flavor, image or group already evaluated.
    fn declared_object(&self, address: &Address) -> Value {
        self.objects.get(address).cloned().unwrap_or_else(Value::failed)
    }

    fn note_server_name(&mut self, name: &str, at: &Place<'_>) {
        let place = at
            .declared
            .argument("name")
            .and_then(|expression| at.declared.span(expression))
            .or(at.declared.header);
        match self.server_names.get(name) {
            None => {
                self.server_names
                    .insert(name.to_owned(), (at.address.clone(), place));
            }
            Some((first, first_place)) => {
                let detail = format!(
                    "{} and {first} would both have the name {name:?}. Names of servers must differ: set name, for \
                     example with count.index or each.key in it.",
                    at.address
                );
                let mut diagnostic = Diagnostic::error("Duplicate server name", detail).at_maybe(place);
                if let Some(first_place) = first_place
                    && Some(*first_place) != place
                {
                    diagnostic = diagnostic.label(*first_place, format!("{first} is named here"));
                }
                self.evaluator.report(diagnostic);
            }
        }
    }
}

/// What a server object has.
pub(super) const SERVER_ATTRIBUTES: [&str; 10] = [
    "id",
    "name",
    "address",
    "host",
    "flavor",
    "image",
    "group",
    "availability_zone",
    "power",
    "labels",
];

fn size(arguments: &mut Arguments<'_, '_>, name: &str) -> Option<ByteSize> {
    let given = arguments.parsed::<ByteSize>(name);
    let given = arguments.require(name, given)?;
    if given.bytes() == 0
        && let Some(expression) = arguments.declared.argument(name)
    {
        arguments.wrong(name, expression, "it must be more than 0", None);
        return None;
    }
    Some(given)
}

/// The given name, or label and key joined; it must be fit for a guest's host name and a libvirt document.
fn server_name(given: Option<&str>, at: &Place<'_>, arguments: &mut Arguments<'_, '_>) -> Option<String> {
    let expression: Option<&Expression> = at.declared.argument("name");
    let name = match (&given, expression) {
        (Some(name), _) => (*name).to_owned(),
        // Wrong or unknown: reported where that is to be reported.
        (None, Some(_)) if !arguments.complete() => return None,
        (None, _) if at.declared.name.parse::<ResourceName>().is_err() => return None,
        (None, _) => joined_name(
            &at.address.modules,
            at.address.name.as_str(),
            at.address.key.as_ref(),
        ),
    };
    let error: NameError = match name.parse::<HostName>() {
        Ok(_) => return Some(name),
        Err(error) => error,
    };
    let short: String = name.chars().take(80).collect();
    match expression.filter(|_| given.is_some()) {
        Some(expression) => {
            let problem = format!("{short:?} is no name for a server: {error}");
            arguments.wrong("name", expression, &problem, None);
        }
        None => {
            let place = arguments.declared.header;
            let detail = format!(
                "The name {short:?}, made of the label and the instance's key, with those of its modules in front, is no name for a server: {error}. Set the \
                 argument name."
            );
            arguments
                .evaluator
                .report(Diagnostic::error("Invalid server name", detail).at_maybe(place));
        }
    }
    None
}

/// Which instance is being evaluated.
pub(super) struct Place<'p> {
    pub(super) declared: &'p super::declarations::Declared,
    pub(super) address: &'p Address,
    pub(super) origin: &'p drover_core::model::SourceLocation,
}
