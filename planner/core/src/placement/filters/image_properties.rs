//! As Nova's ImagePropertiesFilter: one combination the host supports contains all that the image names.

use super::super::input::Supported;
use super::super::versions::{self, Predicates};
use super::{Ask, Rejection, Unmet};

const VERSION: &str = "img_hv_requested_version";

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    let image = &ask.request.needs.image;
    let version = match image.get(VERSION) {
        Some(text) => Some((text, predicates(ask, text)?)),
        None => None,
    };
    let default = ask.fixed.config.default_architecture.as_deref();
    let wanted: Vec<String> = [
        image.get("hw_architecture").or(default).map(architecture),
        image.get("img_hv_type").map(hypervisor),
        image.get("hw_vm_mode").map(vm_mode),
    ]
    .into_iter()
    .flatten()
    .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let host = &ask.facts.host;
    let unmet = kind(&host.supported, &wanted).into_iter();
    let version =
        version.and_then(|(text, predicates)| other_version(host.hypervisor.version, text, &predicates));
    Unmet::none_of(unmet.chain(version), |unmet| Rejection::Image { unmet })
}

/// `None` where one combination has all that is wanted.
fn kind(supported: &[Supported], wanted: &[String]) -> Option<Unmet> {
    if supported
        .iter()
        .any(|combination| contains_all(combination, wanted))
    {
        return None;
    }
    let words = |combination: &Supported| {
        let Supported {
            arch,
            hypervisor,
            vm_mode,
        } = combination;
        format!("{arch} {hypervisor} {vm_mode}")
    };
    Some(Unmet {
        key: "image".to_owned(),
        wanted: wanted.join(" "),
        found: supported.iter().map(words).collect(),
    })
}

/// `None` where the host's version is one of those asked for, or unknown.
fn other_version(version: u64, asked: &str, predicates: &Predicates) -> Option<Unmet> {
    (version != 0 && !predicates.met_by(version)).then(|| Unmet {
        key: VERSION.to_owned(),
        wanted: asked.to_owned(),
        found: vec![versions::text(version)],
    })
}

/// Nova takes no image whose predicates cannot be read, whatever else it names.
fn predicates(ask: &Ask<'_>, text: &str) -> Result<Predicates, Rejection> {
    let unreadable = || Rejection::UnreadableVersion {
        wanted: text.to_owned(),
    };
    Predicates::read(text, ask.fixed.config.profile).ok_or_else(unreadable)
}

/// Nova compares members, not positions.
fn contains_all(combination: &Supported, wanted: &[String]) -> bool {
    let Supported {
        arch,
        hypervisor,
        vm_mode,
    } = combination;
    wanted
        .iter()
        .all(|text| text == arch || text == hypervisor || text == vm_mode)
}

/// As `fields.Architecture.canonicalize`.
fn architecture(text: &str) -> String {
    let lower = text.to_lowercase();
    match lower.as_str() {
        "i386" | "i486" | "i586" | "x86_32" | "x86_32p" => "i686".to_owned(),
        "amd64" => "x86_64".to_owned(),
        _ => lower,
    }
}

/// As `fields.HVType.canonicalize`.
fn hypervisor(text: &str) -> String {
    let lower = text.to_lowercase();
    if lower == "xapi" { "xen".to_owned() } else { lower }
}

/// As `fields.VMMode.canonicalize`.
fn vm_mode(text: &str) -> String {
    let lower = text.to_lowercase();
    match lower.as_str() {
        "pv" => "xen".to_owned(),
        "hv" | "baremetal" => "hvm".to_owned(),
        _ => lower,
    }
}
