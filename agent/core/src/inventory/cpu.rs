//! `virConnectGetDomainCapabilities`, and the CPU that is frozen from it into a new server. The frozen CPU
//! decides every later migration, so it names a model and features and never "whatever the host has".

use super::InventoryError;
use crate::domain::{CpuFeature, FeaturePolicy, FrozenCpu, Word, child, children, parse, root, text_of};
use drover_types::{Architecture, HypervisorType};
use roxmltree::Node;
use serde::{Deserialize, Serialize};

const DOCUMENT: &str = "domain capabilities";

/// What CPUs a kind of guest can be given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainCapabilities {
    /// The host's CPU as a model and features; none where libvirt cannot tell.
    pub host_model: Option<FrozenCpu>,
    /// The named models that can be run, sorted.
    pub usable_models: Vec<Word>,
}

/// Why no CPU can be frozen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CpuChoiceError {
    /// libvirt does not describe the host's CPU.
    #[error(
        "libvirt has no host-model CPU for {0} guests under kvm here; set virt_type = \"qemu\" for this host"
    )]
    NoHostModel(Architecture),
    /// None of the plain models can be emulated.
    #[error(
        "QEMU emulates none of the CPU models {wanted} for {architecture} guests here; install its full package"
    )]
    NoModel {
        /// The architecture.
        architecture: Architecture,
        /// The models looked for.
        wanted: String,
    },
}

/// Reads the document. Models and features whose names are not plain are passed over.
///
/// # Errors
/// When it is no domain capabilities document, or says nothing of CPUs.
pub fn domain_capabilities(xml: &str) -> Result<DomainCapabilities, InventoryError> {
    let unreadable = |source| InventoryError::Xml {
        document: DOCUMENT,
        source,
    };
    let document = parse(xml).map_err(unreadable)?;
    let all = root(&document, "domainCapabilities").map_err(unreadable)?;
    let missing = InventoryError::Missing {
        document: DOCUMENT,
        part: "<cpu>",
    };
    let cpu = child(all, "cpu").ok_or(missing)?;
    let mode = |name: &str| {
        children(cpu, "mode")
            .find(|mode| mode.attribute("name") == Some(name) && mode.attribute("supported") == Some("yes"))
    };
    let usable = |model: &Node<'_, '_>| model.attribute("usable") == Some("yes");
    let models = mode("custom")
        .into_iter()
        .flat_map(|mode| children(mode, "model"));
    let mut usable_models: Vec<Word> = models
        .filter(usable)
        .filter_map(|model| text_of(model).parse().ok())
        .collect();
    usable_models.sort();
    Ok(DomainCapabilities {
        host_model: mode("host-model").and_then(host_model),
        usable_models,
    })
}

fn host_model(mode: Node<'_, '_>) -> Option<FrozenCpu> {
    let model = text_of(child(mode, "model")?).parse().ok()?;
    let read = |feature: Node<'_, '_>| {
        let policy = match feature.attribute("policy") {
            Some("require") => FeaturePolicy::Require,
            Some("disable") => FeaturePolicy::Disable,
            Some(_) | None => return None,
        };
        Some(CpuFeature {
            name: feature.attribute("name")?.parse().ok()?,
            policy,
        })
    };
    let mut features: Vec<CpuFeature> = children(mode, "feature").filter_map(read).collect();
    features.sort();
    features.dedup_by(|a, b| a.name == b.name);
    Some(FrozenCpu { model, features })
}

/// The CPU for a new server: under kvm the host's, expanded; under emulation the plainest model, which
/// every QEMU of this architecture can emulate, so that such servers move anywhere.
///
/// # Errors
/// When there is none.
pub fn frozen_cpu(
    capabilities: &DomainCapabilities,
    architecture: Architecture,
    hypervisor: HypervisorType,
) -> Result<FrozenCpu, CpuChoiceError> {
    match hypervisor {
        HypervisorType::Kvm => capabilities
            .host_model
            .clone()
            .ok_or(CpuChoiceError::NoHostModel(architecture)),
        HypervisorType::Qemu => {
            let wanted = emulated_models(architecture);
            let find = |name: &&str| {
                capabilities
                    .usable_models
                    .iter()
                    .find(|model| model.as_str() == *name)
            };
            let model = wanted
                .iter()
                .find_map(find)
                .cloned()
                .ok_or_else(|| CpuChoiceError::NoModel {
                    architecture,
                    wanted: wanted.join(", "),
                })?;
            Ok(FrozenCpu {
                model,
                features: Vec::new(),
            })
        }
    }
}

const fn emulated_models(architecture: Architecture) -> &'static [&'static str] {
    match architecture {
        Architecture::I686 => &["qemu32"],
        Architecture::X86_64 => &["qemu64"],
        Architecture::Aarch64 => &["cortex-a57", "cortex-a53"],
        Architecture::Ppc64le => &["POWER9", "POWER8"],
        Architecture::S390x => &["qemu"],
        Architecture::Riscv64 => &["rv64"],
    }
}
