//! Hosts that nobody has asked, for plans made in tests of a configuration.

use super::observed::{CpuFacts, GuestKind, HostFacts, HostInventory, Reserved};
use drover_types::{
    CpuMetric, FencingToken, HostName, HypervisorType, IncarnationId, MetricName, MetricValue,
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What an empty host of this size would report: x86-64 with KVM, idle, and an agent of this version.
#[must_use]
pub fn imagined(host: &HostName, vcpus: u32, ram_mib: u64, disk_mib: u64) -> HostInventory {
    let guest = |hypervisor_type: &str| GuestKind {
        arch: "x86_64".to_owned(),
        hypervisor_type: hypervisor_type.to_owned(),
        vm_mode: "hvm".to_owned(),
    };
    HostInventory {
        host: host.clone(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        capabilities: Vec::new(),
        incarnation: IncarnationId::from_uuid(Uuid::new_v5(&Uuid::nil(), host.as_str().as_bytes())),
        token: FencingToken::new(0),
        facts: HostFacts {
            hostname: host.as_str().to_owned(),
            vcpus,
            ram_mib,
            disk_mib,
            disk_free_mib: disk_mib,
            image_cache_mib: 0,
            reserved: Reserved::default(),
            cpu: CpuFacts {
                arch: "x86_64".to_owned(),
                model: "x86-64-v2".to_owned(),
                vendor: "Intel".to_owned(),
                features: Vec::new(),
                topology: [1, vcpus, 1],
                usable_models: Vec::new(),
            },
            hypervisor_type: "QEMU".to_owned(),
            hypervisor_version: 10_000_000,
            libvirt_version: 11_003_000,
            virt_type: HypervisorType::Kvm,
            supported_guests: vec![guest("kvm"), guest("qemu")],
            machine_types: vec!["pc-q35-10.0".to_owned()],
            cells: Vec::new(),
            pci_devices: Vec::new(),
        },
        domains: BTreeMap::new(),
        held_without_domain: BTreeMap::new(),
        images: Vec::new(),
        operations: Vec::new(),
        metrics: idle(),
    }
}

/// What a host measures that has just booted and has nothing to do.
fn idle() -> BTreeMap<MetricName, MetricValue> {
    CpuMetric::ALL
        .into_iter()
        .map(|metric| {
            let value = match metric {
                CpuMetric::Frequency => 2000.0,
                CpuMetric::IdlePercent => 100.0,
                CpuMetric::UserTime
                | CpuMetric::KernelTime
                | CpuMetric::IdleTime
                | CpuMetric::IowaitTime
                | CpuMetric::UserPercent
                | CpuMetric::KernelPercent
                | CpuMetric::IowaitPercent
                | CpuMetric::Percent => 0.0,
            };
            (metric.into(), value.try_into().expect("it is no extreme"))
        })
        .collect()
}
