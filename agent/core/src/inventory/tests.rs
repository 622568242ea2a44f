//! What libvirt 11.3 says on a machine with KVM, and what is made of it.

use super::*;
use crate::domain::{CpuFeature, FeaturePolicy};
use drover_numa::{NumaCell, Pages};
use drover_types::{Architecture, HypervisorType};

const CAPABILITIES: &str = include_str!("testdata/capabilities.xml");
const KVM: &str = include_str!("testdata/domain-capabilities-kvm.xml");
const QEMU: &str = include_str!("testdata/domain-capabilities-qemu.xml");

#[test]
fn the_host_and_its_guests_are_read() {
    let host = capabilities(CAPABILITIES).expect("capabilities");
    assert_eq!(
        host.cpu,
        HostCpu {
            architecture: "x86_64".to_owned(),
            model: Some("kvm64-v1".to_owned()),
            vendor: Some("AMD".to_owned()),
            features: ["aes", "avx2", "hypervisor", "ssse3"].map(str::to_owned).to_vec(),
        }
    );
    let cell = NumaCell {
        id: 0,
        cpus: [0, 1].into(),
        dedicated_cpus: [0, 1].into(),
        memory_mib: 16_346,
        pages: vec![
            Pages::unused(4, 4_184_627),
            Pages::unused(2048, 0),
            Pages::unused(1_048_576, 0),
        ],
        ..NumaCell::default()
    };
    assert_eq!(host.cells, [cell]);
    let triples: Vec<String> = host
        .supported_guests()
        .iter()
        .map(|one| format!("{} {} {}", one.architecture, one.hypervisor, one.mode.as_str()))
        .collect();
    assert_eq!(
        triples,
        [
            "i686 kvm hvm",
            "i686 qemu hvm",
            "x86_64 kvm hvm",
            "x86_64 qemu hvm"
        ]
    );
    let mode = host
        .mode(Architecture::X86_64, HypervisorType::Qemu)
        .expect("x86_64 under emulation");
    assert_eq!(mode.emulator.as_str(), "/usr/bin/qemu-system-x86_64");
    assert_eq!(
        mode.frozen_machine().map(|machine| machine.as_str()),
        Some("pc-q35-10.0")
    );
}

#[test]
fn emulation_freezes_the_plain_model_and_kvm_the_expanded_host() {
    let qemu = domain_capabilities(QEMU).expect("domain capabilities");
    let frozen = frozen_cpu(&qemu, Architecture::X86_64, HypervisorType::Qemu).expect("a model");
    assert_eq!((frozen.model.as_str(), frozen.features.len()), ("qemu64", 0));
    let error = frozen_cpu(&qemu, Architecture::Aarch64, HypervisorType::Qemu).expect_err("not in this QEMU");
    assert!(matches!(error, CpuChoiceError::NoModel { .. }), "{error}");

    let kvm = domain_capabilities(KVM).expect("domain capabilities");
    let frozen = frozen_cpu(&kvm, Architecture::X86_64, HypervisorType::Kvm).expect("the host's");
    assert_eq!(Some(&frozen), kvm.host_model.as_ref());
    let sorted = frozen.features.windows(2).all(|pair| pair[0].name < pair[1].name);
    assert!(sorted, "each feature once, in the order of names");
    let x2apic = CpuFeature {
        name: "x2apic".parse().expect("a name"),
        policy: FeaturePolicy::Require,
    };
    assert!(frozen.features.contains(&x2apic), "{:?}", frozen.features);
    let none = DomainCapabilities {
        host_model: None,
        ..kvm
    };
    let error = frozen_cpu(&none, Architecture::X86_64, HypervisorType::Kvm);
    assert_eq!(error, Err(CpuChoiceError::NoHostModel(Architecture::X86_64)));
}

#[test]
fn another_document_is_an_error_that_names_the_one_wanted() {
    let error = capabilities("<domain/>").expect_err("no capabilities");
    assert_eq!(error.to_string(), "libvirt's capabilities cannot be read");
    let error = capabilities("<capabilities><host/></capabilities>").expect_err("no CPU");
    assert_eq!(
        error.to_string(),
        "libvirt's capabilities has no <cpu> of the host"
    );
    assert!(domain_capabilities("").is_err());
}
