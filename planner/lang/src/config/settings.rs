//! The `drover` block: fleet, project, store and scheduler.

use super::arguments::Arguments;
use super::declarations::Declared;
use super::dynamic::{inner, only};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::eval::Evaluator;
use drover_core::model::{MetricsSettings, PolicySettings, SchedulerSettings, Strictness};
use drover_core::placement::{Filter, Ratio, Weigher, Weights};
use drover_types::{CpuMetric, FleetName, MetricValue, PciId, PciKind, ProjectName, ResourceName};

/// Where the fleet's records are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateSettings {
    /// A folder of this machine; relative to the configuration's folder.
    Local {
        /// The folder.
        path: String,
    },
    /// An etcd cluster.
    Etcd {
        /// URLs of its members.
        endpoints: Vec<String>,
        /// The authority that its certificates come from.
        ca_file: Option<String>,
        /// The certificate shown to it.
        cert_file: Option<String>,
        /// Its key.
        key_file: Option<String>,
    },
}

/// The certificate that drover shows to agents, and the authority it checks theirs by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The fleet's root certificate.
    pub ca_file: String,
    /// Our certificate.
    pub cert_file: String,
    /// Its key.
    pub key_file: String,
}

/// The `drover` block.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The fleet's name.
    pub fleet: FleetName,
    /// The project; `default` where none is named.
    pub project: ProjectName,
    /// Where the records are; `.drover` beside the files where nothing is said.
    pub state: StateSettings,
    /// The certificate shown to agents, where the files say which.
    pub tls: Option<TlsSettings>,
    /// How servers are placed.
    pub scheduler: SchedulerSettings,
    /// What must be true of the fleet as a plan leaves it.
    pub policy: PolicySettings,
}

/// Evaluates the block; nothing where something needed is wrong.
pub(super) fn read_settings(declared: &Declared, evaluator: &mut Evaluator<'_>) -> Option<Settings> {
    evaluator.enter(declared.file, Some(declared.title.clone()));
    let mut arguments = Arguments::new(evaluator, declared);
    let fleet = arguments.parsed::<FleetName>("fleet");
    let fleet = arguments.require("fleet", fleet);
    let project = arguments.parsed::<ProjectName>("project");
    let complete = arguments.complete();
    // All are kept until all are read: expressions are remembered by where they stand in memory.
    let blocks = ["state", "scheduler", "tls", "policy"].map(|word| only(declared, word, evaluator));
    let [state, scheduler, tls, policy] = &blocks;
    let state = match state.as_ref()? {
        Some(block) => block.within(evaluator, read_state),
        None => Some(StateSettings::Local {
            path: ".drover".to_owned(),
        }),
    };
    let scheduler = match scheduler.as_ref()? {
        Some(block) => block.within(evaluator, read_scheduler),
        None => Some(SchedulerSettings::default()),
    };
    let tls = match tls.as_ref()? {
        Some(block) => Some(block.within(evaluator, read_tls)?),
        None => None,
    };
    let policy = match policy.as_ref()? {
        Some(block) => block.within(evaluator, read_policy),
        None => Some(PolicySettings::default()),
    };
    evaluator.forget_expressions();
    if !complete {
        return None;
    }
    Some(Settings {
        fleet: fleet?,
        project: project.unwrap_or_else(|| "default".parse().expect("a valid name")),
        state: state?,
        tls,
        scheduler: scheduler?,
        policy: policy?,
    })
}

fn read_tls(declared: &Declared, evaluator: &mut Evaluator<'_>) -> Option<TlsSettings> {
    evaluator.enter(declared.file, Some(declared.title.clone()));
    let mut arguments = Arguments::new(evaluator, declared);
    let files = ["ca_file", "cert_file", "key_file"].map(|name| arguments.text(name));
    let [ca_file, cert_file, key_file] = files;
    Some(TlsSettings {
        ca_file: ca_file?,
        cert_file: cert_file?,
        key_file: key_file?,
    })
}

fn read_state(declared: &Declared, evaluator: &mut Evaluator<'_>) -> Option<StateSettings> {
    evaluator.enter(declared.file, Some(declared.title.clone()));
    const LOCAL: [&str; 1] = ["path"];
    const ETCD: [&str; 4] = ["endpoints", "ca_file", "cert_file", "key_file"];
    let store = &*declared.name;
    let foreign: &[&str] = match store {
        "local" => &ETCD,
        "etcd" => &LOCAL,
        _ => {
            if !declared.block.labels.is_empty() {
                let detail =
                    format!("There is no store of type {store:?}. There are \"local\" and \"etcd\".");
                let diagnostic = Diagnostic::error("Unknown store", detail).at_maybe(declared.header);
                evaluator.report(diagnostic.hint(did_you_mean(store, ["local", "etcd"])));
            }
            return None;
        }
    };
    let mut arguments = Arguments::new(evaluator, declared);
    for name in foreign {
        if let Some(expression) = declared.argument(name) {
            arguments.wrong(
                name,
                expression,
                &format!("the store {store:?} does not have it"),
                None,
            );
        }
    }
    if store == "local" {
        let path = arguments.text("path").unwrap_or_else(|| ".drover".to_owned());
        return arguments.complete().then_some(StateSettings::Local { path });
    }
    let endpoints = arguments.texts("endpoints");
    if let Some((list, expression)) = &endpoints {
        if list.is_empty() {
            arguments.wrong("endpoints", expression, "at least one URL is required", None);
        }
        for url in list {
            if !url.starts_with("https://") && !url.starts_with("http://") {
                let hint = Some(format!("write \"https://{url}\""));
                arguments.wrong("endpoints", expression, &format!("{url:?} is not a URL"), hint);
            }
        }
    } else if declared.argument("endpoints").is_none() {
        let detail = "The store \"etcd\" needs its members: endpoints = [\"https://10.0.0.1:2379\"]";
        arguments
            .evaluator
            .report(Diagnostic::error("Missing required argument", detail).at_maybe(declared.header));
        return None;
    }
    let files = ["ca_file", "cert_file", "key_file"].map(|name| arguments.text(name));
    let complete = arguments.complete();
    let [ca_file, cert_file, key_file] = files;
    let (endpoints, _) = endpoints?;
    complete.then_some(StateSettings::Etcd {
        endpoints,
        ca_file,
        cert_file,
        key_file,
    })
}

fn read_policy(declared: &Declared, evaluator: &mut Evaluator<'_>) -> Option<PolicySettings> {
    evaluator.enter(declared.file, Some(declared.title.clone()));
    let mut arguments = Arguments::new(evaluator, declared);
    let n_plus_one = arguments.word("n_plus_one", Strictness::ALL, Strictness::as_str);
    arguments.complete().then_some(PolicySettings {
        n_plus_one: n_plus_one.unwrap_or_default(),
    })
}

fn read_scheduler(declared: &Declared, evaluator: &mut Evaluator<'_>) -> Option<SchedulerSettings> {
    evaluator.enter(declared.file, Some(declared.title.clone()));
    let mut arguments = Arguments::new(evaluator, declared);
    let mut settings = SchedulerSettings::default();
    if let Some((filters, expression)) = arguments.texts("filters") {
        let unknown: Vec<&String> = filters
            .iter()
            .filter(|name| Filter::named(name).is_none())
            .collect();
        if let Some(first) = unknown.first() {
            let known = Filter::CONFIGURABLE.map(Filter::name);
            let names: Vec<String> = unknown.iter().map(|name| format!("{name:?}")).collect();
            let problem = format!(
                "there is no filter {}; there are {}",
                names.join(", "),
                known.join(", ")
            );
            // Left out on purpose: README says why.
            let hint = (*first == "JsonFilter").then(|| {
                "it is left out: extra_specs of a flavor say the same, such as \"capabilities:free_ram_mb\" = \">= 4096\""
                    .to_owned()
            });
            let hint = hint.or_else(|| did_you_mean(first, known));
            arguments.wrong("filters", expression, &problem, hint);
        }
        settings.filters = filters;
    }
    if let Some((weights, expression)) = arguments.numbers_by_name("weights") {
        let known = Weigher::ALL.map(Weigher::key);
        let mut problems = Vec::new();
        let mut hint = None;
        for (name, multiplier) in &weights {
            if Weigher::named(name).is_none() {
                problems.push(format!(
                    "there is no weigher {name:?}; there are {}",
                    known.join(", ")
                ));
                hint = hint.or_else(|| did_you_mean(name, known));
            }
            if !Weights::ALLOWED.contains(multiplier) {
                problems.push(format!("the multiplier of {name} must be between -1e9 and 1e9"));
            }
        }
        // One place has one message.
        if !problems.is_empty() {
            arguments.wrong("weights", expression, &problems.join("; and "), hint);
        }
        settings.weights = weights;
    }
    for (name, ratio) in [
        ("ram_allocation_ratio", &mut settings.ram_allocation_ratio),
        ("disk_allocation_ratio", &mut settings.disk_allocation_ratio),
        ("cpu_allocation_ratio", &mut settings.cpu_allocation_ratio),
    ] {
        *ratio = arguments.number(name).map_or(*ratio, Ratio::get);
    }
    if let Some(zone) = arguments.text("default_availability_zone") {
        settings.default_availability_zone = zone;
    }
    if let Some(limit) = arguments.whole("max_instances_per_host", 0, u32::MAX) {
        settings.max_instances_per_host = limit;
    }
    if let Some(limit) = arguments.whole("max_io_ops_per_host", 0, u32::MAX) {
        settings.max_io_ops_per_host = limit;
    }
    if let Some((hosts, _)) = arguments.texts("isolated_hosts") {
        settings.isolated_hosts = hosts.into_iter().collect();
    }
    if let Some((images, _)) = arguments.texts("isolated_images") {
        settings.isolated_images = images.into_iter().collect();
    }
    if let Some(restrict) = arguments.truth("restrict_isolated_hosts_to_isolated_images") {
        settings.restrict_isolated_hosts_to_isolated_images = restrict;
    }
    read_image_settings(&mut arguments, &mut settings);
    let complete = arguments.complete();
    if let Some(block) = only(declared, "metrics", evaluator)? {
        let metrics = block.within(evaluator, read_metrics);
        // Expressions are remembered by where they stand in memory, and this block goes.
        evaluator.forget_expressions();
        settings.metrics = metrics?;
    }
    let aliases = inner(declared, "pci_alias", evaluator)?;
    let mut all = Some(());
    for block in &aliases {
        match block.within(evaluator, read_alias) {
            Some((name, kind)) => settings.pci_aliases.entry(name).or_default().push(kind),
            None => all = None,
        }
    }
    evaluator.forget_expressions();
    all?;
    complete.then_some(settings)
}

/// What of the scheduler's settings is about images' properties.
fn read_image_settings(arguments: &mut Arguments<'_, '_>, settings: &mut SchedulerSettings) {
    settings.aggregate_image_properties_isolation_namespace =
        arguments.text("aggregate_image_properties_isolation_namespace");
    if let Some(separator) = arguments.text("aggregate_image_properties_isolation_separator") {
        settings.aggregate_image_properties_isolation_separator = separator;
    }
    settings.image_properties_default_architecture = arguments.text("image_properties_default_architecture");
    if let Some((ratios, expression)) = arguments.numbers_by_name("image_props_weight_setting") {
        let problems: Vec<String> = ratios
            .iter()
            .filter(|(_, ratio)| !Weights::ALLOWED.contains(ratio))
            .map(|(name, _)| format!("the ratio of {name} must be between -1e9 and 1e9"))
            .collect();
        if !problems.is_empty() {
            arguments.wrong(
                "image_props_weight_setting",
                expression,
                &problems.join("; and "),
                None,
            );
        }
        settings.image_props_weight_setting = ratios;
    }
}

/// One kind of device, and the name that flavors use for it. Several blocks of one name mean any of their kinds.
fn read_alias(declared: &Declared, evaluator: &mut Evaluator<'_>) -> Option<(String, PciKind)> {
    evaluator.enter(declared.file, Some(declared.title.clone()));
    let mut arguments = Arguments::new(evaluator, declared);
    let vendor = arguments.parsed::<PciId>("vendor_id");
    let vendor_id = arguments.require("vendor_id", vendor);
    let product = arguments.parsed::<PciId>("product_id");
    let product_id = arguments.require("product_id", product);
    let complete = arguments.complete();
    let name = declared.name.parse::<ResourceName>();
    let name = name
        .map_err(|error| {
            // That there is no label was reported with the structure of the file.
            if !declared.name.is_empty() {
                let detail = format!("{:?} cannot be the name of a device: {error}.", declared.name);
                evaluator.report(Diagnostic::error("Invalid name", detail).at_maybe(declared.header));
            }
        })
        .ok();
    let kind = PciKind {
        vendor_id: vendor_id?,
        product_id: product_id?,
    };
    complete.then_some((name?.to_string(), kind))
}

fn read_metrics(declared: &Declared, evaluator: &mut Evaluator<'_>) -> Option<MetricsSettings> {
    evaluator.enter(declared.file, Some(declared.title.clone()));
    let mut arguments = Arguments::new(evaluator, declared);
    let mut settings = MetricsSettings::default();
    if let Some((ratios, expression)) = arguments.numbers_by_name("weight_setting") {
        let known = CpuMetric::ALL.map(CpuMetric::as_str);
        let mut problems = Vec::new();
        let mut hint = None;
        for (name, ratio) in ratios {
            let Some(metric) = CpuMetric::ALL.into_iter().find(|metric| metric.as_str() == name) else {
                problems.push(format!(
                    "there is no metric {name:?}; hosts measure {}",
                    known.join(", ")
                ));
                hint = hint.or_else(|| did_you_mean(&name, known));
                continue;
            };
            if !Weights::ALLOWED.contains(&ratio) {
                problems.push(format!("the ratio of {name} must be between -1e9 and 1e9"));
            }
            settings.weight_setting.insert(metric.into(), ratio);
        }
        if !problems.is_empty() {
            arguments.wrong("weight_setting", expression, &problems.join("; and "), hint);
        }
    }
    if let Some(weight) = arguments.number("weight_of_unavailable").map(MetricValue::get) {
        settings.weight_of_unavailable = weight;
    }
    if let Some(required) = arguments.truth("required") {
        settings.required = required;
    }
    arguments.complete().then_some(settings)
}
