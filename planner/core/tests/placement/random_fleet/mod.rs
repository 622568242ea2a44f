//! Random small fleets and requests, shared by the property tests of placement.

use drover_core::placement::{
    Aggregate, Demand, Filter, Group, Hides, Host, Hypervisor, ImageProperties, Isolation, Metrics, Name,
    Needs, Network, NumaCell, Pages, PciPool, Policy, Profile, Ratio, Ratios, Request, Resident, Resources,
    Scheduler, SchedulerConfig, Supported, Weigher, Weights,
};
use drover_types::PciKind;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    pub(crate) config: SchedulerConfig,
    pub(crate) hosts: Vec<Host>,
    pub(crate) aggregates: Vec<Aggregate>,
    pub(crate) groups: Vec<Group>,
    pub(crate) requests: Vec<Request>,
}

impl Fleet {
    pub(crate) fn scheduler(&self) -> Scheduler {
        let Self {
            config,
            hosts,
            aggregates,
            groups,
            ..
        } = self.clone();
        Scheduler::new(config, hosts, &aggregates, groups).expect("generated fleets are valid")
    }
}

fn maybe<T: Clone + std::fmt::Debug + 'static>(from: Vec<T>) -> impl Strategy<Value = Option<T>> {
    prop_oneof![3 => Just(None), 1 => select(from).prop_map(Some)]
}

fn name(prefix: &str, number: usize) -> Name {
    Name::from(format!("{prefix}{number:02}"))
}

fn zones() -> Vec<Name> {
    ["nova", "z1", "z2"].map(Name::from).to_vec()
}

fn config() -> impl Strategy<Value = SchedulerConfig> {
    let filters = prop_oneof![
        3 => Just(Filter::CONFIGURABLE.to_vec()),
        1 => subsequence(Filter::CONFIGURABLE.to_vec(), 0..=Filter::CONFIGURABLE.len()),
    ];
    let multiplier = || select(vec![0.0, 0.0, 1.0, -1.0, 0.3, 7.5]);
    let weights = prop_oneof![
        Just(Weights::default()),
        Just(Weights::NONE.with(Weigher::Ram, -1.0)),
        Just(
            Weights::NONE
                .with(Weigher::Ram, 1.0)
                .with(Weigher::SoftAffinity, 1.0)
                .with(Weigher::SoftAntiAffinity, 1.0)
        ),
        vec(multiplier(), Weigher::COUNT).prop_map(|multipliers| {
            let pairs = Weigher::ALL.into_iter().zip(multipliers);
            pairs.fold(Weights::NONE, |weights, (weigher, multiplier)| {
                weights.with(weigher, multiplier)
            })
        }),
    ];
    (select(vec![Profile::Legacy, Profile::Modern]), filters, weights).prop_map(
        |(profile, filters, weights)| SchedulerConfig {
            profile,
            filters,
            weights,
            default_zone: Name::from("nova"),
            max_instances_per_host: 4,
            max_io_ops_per_host: 5,
            isolation: Isolation {
                hosts: [name("h", 0)].into(),
                images: [Name::from("secret")].into(),
                reserve_hosts: false,
            },
            metrics: Metrics {
                ratios: [("cpu.idle".to_owned(), 1.5), ("io.wait".to_owned(), -1.0)].into(),
                unavailable: -3.0,
            },
            pci_aliases: [(Name::from("nic"), vec![nic()])].into(),
            image_property_ratios: [("hw_architecture".to_owned(), 2.0)].into(),
            ..SchedulerConfig::default()
        },
    )
}

fn host(number: usize) -> impl Strategy<Value = Host> {
    let capacity = (
        select(vec![2_u64, 4, 8, 24]),
        select(vec![4096_u64, 8192, 10_000, 16_384]),
        0_u64..60,
    );
    let used = (0_u64..6, prop_oneof![Just(0_u64), 0_u64..20_000], 0_u64..30);
    let ratios = (
        select(vec![1.0, 2.2, 16.0]),
        select(vec![0.7, 1.0, 1.1, 1.5]),
        select(vec![0.9, 1.0, 1.5]),
    );
    let stats = btree_map(
        select(vec!["ssd", "gpu"]).prop_map(str::to_owned),
        select(vec!["true", "2"]).prop_map(str::to_owned),
        0..2,
    );
    let state = (prop::bool::weighted(0.9), prop::bool::weighted(0.9));
    let counts = (0_u64..3, 0_u64..3, 0_u64..3);
    let metrics = btree_map(
        select(vec!["cpu.idle", "io.wait"]).prop_map(str::to_owned),
        select(vec![0.0, 0.25, 3.0]),
        0..3,
    );
    let residents = vec(resident(number), 0..3);
    (
        capacity,
        used,
        ratios,
        maybe(zones()[1..].to_vec()),
        stats,
        state,
        counts,
        (metrics, residents, devices()),
    )
        .prop_map(
            move |(
                capacity,
                used,
                ratios,
                zone,
                stats,
                (enabled, up),
                (instances, io_ops, failed_builds),
                (metrics, residents, (numa, pci)),
            )| {
                let ratio = |number| Ratio::try_from(number).expect("a fair ratio");
                let amount = |(vcpus, ram_mib, disk): (u64, u64, u64)| Resources {
                    vcpus,
                    ram_mib,
                    disk_mib: disk * 1024,
                };
                Host {
                    name: name("h", number),
                    zone,
                    capacity: amount(capacity),
                    used: amount(used),
                    ratios: Ratios {
                        cpu: ratio(ratios.0),
                        ram: ratio(ratios.1),
                        disk: ratio(ratios.2),
                    },
                    instances,
                    io_ops,
                    hypervisor: Hypervisor {
                        kind: "QEMU".to_owned(),
                        version: 9_000_000,
                    },
                    supported: vec![Supported::from(["x86_64", "kvm", "hvm"].map(str::to_owned))],
                    stats,
                    cpu_info: None,
                    address: (number > 0)
                        .then(|| std::net::Ipv4Addr::new(10, 0, (number / 2) as u8, number as u8).into()),
                    metrics,
                    failed_builds,
                    residents,
                    numa,
                    seated: std::collections::BTreeMap::new(),
                    pci,
                    enabled,
                    up,
                    hides: Hides::default(),
                }
            },
        )
}

fn nic() -> PciKind {
    let id = |text: &str| text.parse().expect("an id");
    PciKind {
        vendor_id: id("8086"),
        product_id: id("10fb"),
    }
}

/// Nothing, or two cells of four threads each and some devices.
fn devices() -> impl Strategy<Value = (Vec<NumaCell>, Vec<PciPool>)> {
    let cell = |id: u32| NumaCell {
        id,
        cpus: (id * 8..id * 8 + 2).collect(),
        dedicated_cpus: (id * 8 + 2..id * 8 + 6).collect(),
        siblings: vec![[id * 8 + 2, id * 8 + 3].into(), [id * 8 + 4, id * 8 + 5].into()],
        memory_mib: 4096,
        pages: vec![Pages::unused(4, 1 << 20), Pages::unused(2048, 600)],
        ..NumaCell::default()
    };
    let pool = |numa_node| PciPool {
        kind: nic(),
        numa_node,
        free: 1,
    };
    prop_oneof![
        1 => Just((Vec::new(), Vec::new())),
        2 => Just((vec![cell(0), cell(1)], vec![pool(Some(1)), pool(None)])),
    ]
}

fn resident(host: usize) -> impl Strategy<Value = Resident> {
    (0_usize..9, maybe(vec![name("g", 0)]), images()).prop_map(move |(at, group, image)| Resident {
        name: Name::from(format!("r{host}{at}")),
        group,
        image,
    })
}

fn images() -> impl Strategy<Value = ImageProperties> {
    let properties = vec![
        None,
        None,
        Some(("hw_architecture", "amd64")),
        Some(("hw_vm_mode", "exe")),
        Some(("os_distro", "debian")),
    ];
    vec(select(properties), 1..3).prop_map(|properties| {
        let properties = properties.into_iter().flatten();
        let owned = properties.map(|(property, value)| (property.to_owned(), value.to_owned()));
        ImageProperties(owned.collect())
    })
}

fn hosts(count: usize) -> impl Strategy<Value = Vec<Host>> {
    (0..count).map(host).collect::<Vec<_>>()
}

fn groups() -> impl Strategy<Value = Vec<Group>> {
    let policies = vec![
        Policy::Affinity,
        Policy::AntiAffinity,
        Policy::SoftAffinity,
        Policy::SoftAntiAffinity,
    ];
    vec(
        (select(policies), prop_oneof![4 => Just(1_u64), 1 => Just(2)]),
        1..4,
    )
    .prop_map(|groups| {
        let groups = groups.into_iter().enumerate();
        groups
            .map(|(at, (policy, max_per_host))| Group {
                name: name("g", at),
                policy,
                max_per_host,
            })
            .collect()
    })
}

fn request(number: usize, groups: Vec<Name>, hosts: usize) -> impl Strategy<Value = Request> {
    let wants = (
        0_u64..5,
        select(vec![0_u64, 512, 1000, 2048, 4096, 9000]),
        select(vec![0_u64, 1, 5, 20]),
    );
    let specs = prop_oneof![
        6 => Just(None),
        1 => select(vec![
            ("capabilities:ssd", "s== true"),
            ("gpu", ">= 2"),
            ("capabilities:free_ram_mb", ">= 3000"),
            ("capabilities:num_instances", "<= 2"),
            ("aggregate_instance_extra_specs:tier", "<or> gold <or> silver"),
            ("hw:cpu_policy", "dedicated"),
            ("hw:mem_page_size", "2MB"),
            ("pci_passthrough:alias", "nic:1"),
        ]).prop_map(Some),
    ];
    let tried = prop_oneof![5 => Just(std::collections::BTreeSet::new()), 1 => btree_set((0..hosts).prop_map(|at| name("h", at)), 0..2)];
    let named = (
        maybe(vec![Name::from("secret"), Name::from("open")]),
        maybe(vec![Name::from("small"), Name::from("large")]),
        maybe(vec![Name::from("p1"), Name::from("p2")]),
        maybe(vec![24_u8, 16, 0]),
    );
    let other = move || {
        let seen = (0..number.max(1)).map(|at| name("s", at));
        let there = (0..hosts).map(|at| Name::from(format!("r{at}0")));
        let known: Vec<Name> = seen.chain(there).collect();
        prop_oneof![
            6 => Just(std::collections::BTreeSet::new()),
            1 => btree_set(select(known), 1..3),
        ]
    };
    (
        wants,
        maybe(zones()),
        specs,
        images(),
        maybe(groups),
        tried,
        named,
        (other(), other()),
    )
        .prop_map(
            move |(
                (vcpus, ram_mib, disk),
                zone,
                specs,
                image,
                group,
                tried_hosts,
                (image_name, flavor, project, prefix),
                (same_host, different_host),
            )| Request {
                name: name("s", number),
                wants: Resources {
                    vcpus,
                    ram_mib,
                    disk_mib: disk * 1024,
                },
                needs: Needs {
                    zone,
                    extra_specs: specs
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value.to_owned()))
                        .collect(),
                    image,
                    image_name,
                    flavor,
                    project,
                    network: prefix.map(|prefix| Network {
                        near: std::net::Ipv4Addr::new(10, 0, 1, 1).into(),
                        prefix,
                    }),
                    tried_hosts,
                },
                group,
                same_host,
                different_host,
                demand: None,
                priority: 0,
                hides: Hides::default(),
            },
        )
        .prop_map(|mut request: Request| {
            let demand = Demand::of(&request.needs, &request.wants).expect("generated specs make sense");
            request.demand = demand.map(std::sync::Arc::new);
            request
        })
}

fn aggregates(hosts: usize) -> impl Strategy<Value = Vec<Aggregate>> {
    let tiers = aggregate(
        "tiers",
        hosts,
        &[
            ("tier", &["gold", "silver, gold", "bronze"]),
            ("max_instances_per_host", &["3,x", "3", "4"]),
            ("ram_allocation_ratio", &["1.0", "2.5", "x"]),
        ],
    );
    let owners = aggregate(
        "owners",
        hosts,
        &[
            ("filter_tenant_id", &["p1", "p1, p2"]),
            ("instance_type", &["small", "small,large"]),
            ("os_distro", &["debian", "fedora"]),
            ("ram_weight_multiplier", &["-1.0", "0.5"]),
            ("max_io_ops_per_host", &["2", "6"]),
        ],
    );
    (tiers, owners).prop_map(|(tiers, owners)| vec![tiers, owners])
}

fn aggregate(
    label: &'static str,
    hosts: usize,
    metadata: &[(&'static str, &[&'static str])],
) -> impl Strategy<Value = Aggregate> + use<> {
    let members = subsequence((0..hosts).map(|at| name("h", at)).collect::<Vec<_>>(), 0..=hosts);
    let values: Vec<_> = metadata
        .iter()
        .map(|(key, values)| {
            let key = *key;
            maybe(values.to_vec()).prop_map(move |value| Some((key.to_owned(), value?.to_owned())))
        })
        .collect();
    (members, values).prop_map(move |(hosts, metadata)| Aggregate {
        name: Name::from(label),
        hosts,
        metadata: metadata.into_iter().flatten().collect(),
    })
}

pub(crate) fn fleet(most_hosts: usize, most_requests: usize) -> impl Strategy<Value = Fleet> {
    (1..=most_hosts, 1..=most_requests, groups()).prop_flat_map(|(host_count, request_count, groups)| {
        let names: Vec<Name> = groups.iter().map(|group| group.name.clone()).collect();
        let requests: Vec<_> = (0..request_count)
            .map(|at| request(at, names.clone(), host_count))
            .collect();
        (
            config(),
            hosts(host_count),
            aggregates(host_count),
            Just(groups),
            requests,
        )
            .prop_map(|(config, hosts, aggregates, groups, requests)| Fleet {
                config,
                hosts,
                aggregates,
                groups,
                requests,
            })
    })
}
