//! Fleets built in code for this crate's tests.

use crate::model::{
    AggregateSpec, CachedImage, CpuFacts, DesiredFleet, DesiredResource, DomainMark, FlavorSpec, FrozenGuest,
    GroupPolicy, GroupSpec, GuestKind, HostFacts, HostInventory, HostObservation, HostRecord, HostSpec,
    HostState, ImageSpec, ImageUse, Meta, ObservedDomain, ObservedFleet, Ownership, OwnershipState,
    PlacementHints, PlainRecord, Power, RecordedFleet, Reserved, ServerRecord, ServerSpec, SourceLocation,
    VmState,
};
use crate::record::FORMAT;
use drover_types::{
    Address, ByteSize, Epoch, FencingToken, Generation, HostName, HypervisorType, IncarnationId, Lineage,
    PowerState, ServerId, Sha256Digest,
};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

pub(crate) fn host(name: &str) -> HostName {
    name.parse().expect("a host's name")
}

pub(crate) fn address(text: &str) -> Address {
    text.parse().expect("an address")
}

pub(crate) fn lineage() -> Lineage {
    Lineage::from_uuid(Uuid::from_u128(0xd0))
}

pub(crate) fn incarnation(name: &str) -> IncarnationId {
    IncarnationId::from_uuid(Uuid::new_v5(&Uuid::nil(), name.as_bytes()))
}

fn declared<S>(spec: S) -> DesiredResource<S> {
    DesiredResource {
        spec,
        origin: SourceLocation {
            file: "main.hcl".into(),
            line: 1,
            column: 1,
        },
    }
}

/// Declarations with one flavor and one image; hosts, groups and servers are added.
pub(crate) fn desired() -> DesiredFleet {
    let mut fleet = DesiredFleet::empty("prod".parse().expect("name"), "default".parse().expect("name"));
    fleet.flavors.insert(
        address("flavor.small"),
        declared(FlavorSpec {
            vcpus: 1,
            ram: ByteSize::from_mib(512),
            disk: ByteSize::from_gib(1),
            extra_specs: BTreeMap::new(),
            sensitive: BTreeSet::new(),
        }),
    );
    fleet.images.insert(
        address("image.debian"),
        declared(ImageSpec {
            source: "https://images.example/debian.qcow2".parse().expect("a source"),
            checksum: Sha256Digest::of(b"debian"),
            format: None,
            properties: BTreeMap::new(),
            sensitive: BTreeSet::new(),
        }),
    );
    fleet
}

/// Adds hosts with these names, active.
pub(crate) fn with_hosts(mut fleet: DesiredFleet, names: &[&str]) -> DesiredFleet {
    for name in names {
        fleet.hosts.insert(
            host(name),
            declared(HostSpec {
                address: format!("{name}.example:7443").parse().expect("an endpoint"),
                availability_zone: None,
                labels: BTreeMap::new(),
                state: HostState::Active,
                sensitive: BTreeSet::new(),
            }),
        );
    }
    fleet
}

pub(crate) fn with_group(mut fleet: DesiredFleet, name: &str, policy: GroupPolicy) -> DesiredFleet {
    fleet.groups.insert(
        address(name),
        declared(GroupSpec {
            policy,
            max_server_per_host: 1,
        }),
    );
    fleet
}

/// Adds a set of hosts with one entry of metadata.
pub(crate) fn with_aggregate(
    mut fleet: DesiredFleet,
    name: &str,
    hosts: &[&str],
    (key, value): (&str, &str),
) -> DesiredFleet {
    let spec = AggregateSpec {
        hosts: hosts.iter().map(|name| host(name)).collect(),
        metadata: [(key.to_owned(), value.to_owned())].into(),
        sensitive: BTreeSet::new(),
    };
    fleet.aggregates.insert(address(name), declared(spec));
    fleet
}

/// Adds a server of the flavor and image that the fleet has.
pub(crate) fn with_server(mut fleet: DesiredFleet, at: &str, group: Option<&str>) -> DesiredFleet {
    let flavor = address("flavor.small");
    let size = fleet.flavors[&flavor].spec.clone();
    let image = address("image.debian");
    let checksum = fleet.images[&image].spec.checksum;
    fleet.servers.insert(
        address(at),
        declared(ServerSpec {
            name: at
                .trim_start_matches("server.")
                .replace(['[', ']', '"'], "-")
                .trim_end_matches('-')
                .to_owned(),
            flavor,
            size,
            image: Some(ImageUse {
                address: image,
                checksum,
            }),
            group: group.map(address),
            availability_zone: None,
            power: Power::On,
            labels: BTreeMap::new(),
            allow_rebuild: false,
            sensitive: BTreeSet::new(),
            hints: PlacementHints::default(),
        }),
    );
    fleet
}

/// An empty host of 4 processors, 4 GiB of memory and 100 GiB of disk.
pub(crate) fn inventory(name: &str) -> HostInventory {
    HostInventory {
        host: host(name),
        agent_version: "0.1.0".to_owned(),
        capabilities: vec!["import".to_owned()],
        incarnation: incarnation(name),
        token: FencingToken::new(0),
        facts: HostFacts {
            hostname: name.to_owned(),
            vcpus: 4,
            ram_mib: 4096,
            disk_mib: 102_400,
            disk_free_mib: 102_400,
            image_cache_mib: 0,
            reserved: Reserved::default(),
            cpu: CpuFacts {
                arch: "x86_64".to_owned(),
                model: "EPYC".to_owned(),
                vendor: "AMD".to_owned(),
                features: Vec::new(),
                topology: [1, 4, 1],
                usable_models: Vec::new(),
            },
            hypervisor_type: "QEMU".to_owned(),
            hypervisor_version: 10_000_000,
            libvirt_version: 11_003_000,
            virt_type: HypervisorType::Qemu,
            supported_guests: vec![GuestKind {
                arch: "x86_64".to_owned(),
                hypervisor_type: "qemu".to_owned(),
                vm_mode: "hvm".to_owned(),
            }],
            machine_types: vec!["pc-q35-10.0".to_owned()],
            cells: Vec::new(),
            pci_devices: Vec::new(),
        },
        domains: BTreeMap::new(),
        held_without_domain: BTreeMap::new(),
        images: Vec::new(),
        operations: Vec::new(),
        metrics: BTreeMap::new(),
    }
}

/// These hosts answer, and are empty.
pub(crate) fn observed(names: &[&str]) -> ObservedFleet {
    names
        .iter()
        .map(|name| (host(name), HostObservation::Reported(Box::new(inventory(name)))))
        .collect()
}

/// A `lifecycle` block that says nothing.
pub(crate) fn lifecycle() -> crate::model::Lifecycle {
    crate::model::Lifecycle {
        prevent_destroy: false,
        ignore_changes: crate::model::Ignored::default(),
        create_before_destroy: false,
        replace_triggered_by: BTreeSet::new(),
        origin: declared(()).origin,
    }
}

/// The records and reports of a fleet to which all of these declarations were applied, with each server on its host.
pub(crate) fn settled(
    desired: &DesiredFleet,
    seats: &[(Address, HostName)],
) -> (RecordedFleet, ObservedFleet) {
    let generation = Generation::new(1);
    let epoch = Epoch::new(1);
    let mut recorded = RecordedFleet::empty(9);
    let meta = Meta {
        format: FORMAT,
        fleet: desired.fleet.clone(),
        lineage: lineage(),
        token: FencingToken::new(1),
        drover_version: "0.1.0".to_owned(),
        apply: None,
        by: None,
    };
    recorded.meta = Some((meta, 9));
    let mut observed = ObservedFleet::new();
    for (name, resource) in &desired.hosts {
        let record = HostRecord {
            format: FORMAT,
            generation,
            spec: resource.spec.clone(),
            incarnation: Some(incarnation(name.as_str())),
        };
        recorded.hosts.insert(name.clone(), record);
        let report = HostObservation::Reported(Box::new(inventory(name.as_str())));
        observed.insert(name.clone(), report);
    }
    fn plain<S: Clone>(
        resources: &BTreeMap<Address, DesiredResource<S>>,
        generation: Generation,
    ) -> BTreeMap<Address, PlainRecord<S>> {
        let records = resources.iter().map(|(address, resource)| {
            let record = PlainRecord {
                format: FORMAT,
                generation,
                spec: resource.spec.clone(),
            };
            (address.clone(), record)
        });
        records.collect()
    }
    recorded.flavors = plain(&desired.flavors, generation);
    recorded.images = plain(&desired.images, generation);
    recorded.groups = plain(&desired.groups, generation);
    for (address, host) in seats {
        let spec = &desired.servers[address].spec;
        let id = ServerId::derive(lineage(), address, 1);
        let record = ServerRecord {
            format: FORMAT,
            id,
            incarnation: 1,
            generation,
            spec: spec.clone(),
            host: Some(host.clone()),
            imported_from: None,
            frozen: Some(FrozenGuest {
                machine: "pc-q35-10.0".to_owned(),
                cpu_xml: "<cpu/>".to_owned(),
                hypervisor_type: "qemu".to_owned(),
                arch: "x86_64".to_owned(),
                base_digest: Sha256Digest::of(b"base"),
            }),
            vm_state: VmState::Active,
            task: None,
            tried: Vec::new(),
        };
        let own = Ownership {
            format: FORMAT,
            host: host.clone(),
            epoch,
            burnt: epoch,
            state: OwnershipState::Held,
        };
        recorded.servers.insert(address.clone(), record);
        recorded.ownership.insert(id, own);
        recorded.incarnations.insert(address.clone(), 1);
        let Some(HostObservation::Reported(inventory)) = observed.get_mut(host) else {
            panic!("{host} is declared");
        };
        inventory.images = vec![CachedImage {
            checksum: spec.image_checksum().expect("servers of tests have an image"),
            virtual_size: 1 << 30,
            disk_size: 1 << 20,
            used_by: 1,
        }];
        let domain = ObservedDomain {
            uuid: id.uuid(),
            name: spec.name.clone(),
            power_state: PowerState::Running,
            reason: "booted".to_owned(),
            vcpus: spec.size.vcpus,
            ram_mib: spec.size.ram.mib_ceil(),
            disk_mib: spec.size.disk.mib_ceil(),
            persistent: true,
            mark: Some(DomainMark {
                fleet: desired.fleet.clone(),
                project: desired.project.clone(),
                id,
                address: address.clone(),
                epoch,
                generation,
            }),
            held_epoch: Some(epoch),
            drift: Vec::new(),
            migration: None,
            disks: Vec::new(),
            arch: "x86_64".to_owned(),
            highest_epoch: Some(epoch),
            cells: Vec::new(),
            pci_devices: BTreeSet::new(),
        };
        inventory.domains.insert(domain.uuid, domain);
    }
    (recorded, observed)
}
