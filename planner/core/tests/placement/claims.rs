//! The planner's filter and a host's own claim are one function: whatever came and went, what one lets through the
//! other takes, and a plan made from what the host reports continues where it stands.

use drover_agent_core::domain::{Before, DeviceWish, GuestPlace, NoPlace, Parts, Taken, Wishes};
use drover_core::placement::{
    Demand, Filter, Host, Name, Needs, NumaCell, Pages, Request, Resources, Scheduler, SchedulerConfig,
    Seated, Weights,
};
use drover_numa::{NumaLimits, PciDevice, numbered, pools};
use drover_types::{PciAddress, PciKind};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Two cells of two processors to share and four to pin to (two cores of two threads each).
fn cells() -> Vec<NumaCell> {
    let cell = |id: u32| {
        let first = id * 6;
        NumaCell {
            id,
            cpus: (first..first + 2).collect(),
            dedicated_cpus: (first + 2..first + 6).collect(),
            siblings: vec![[first + 2, first + 3].into(), [first + 4, first + 5].into()],
            memory_mib: 4096,
            pages: vec![Pages::unused(4, 3072 * 256), Pages::unused(2048, 512)],
            ..NumaCell::default()
        }
    };
    vec![cell(0), cell(1)]
}

fn kind(product: &str) -> PciKind {
    PciKind {
        vendor_id: "10de".parse().expect("an id"),
        product_id: product.parse().expect("an id"),
    }
}

/// Devices of two kinds: at the first cell, at the second, and where it is not known.
fn devices() -> Vec<PciDevice> {
    let device = |(slot, product, numa_node): (u8, &str, Option<u32>)| PciDevice {
        address: format!("0000:0a:{slot:02x}.0").parse().expect("an address"),
        kind: kind(product),
        numa_node,
    };
    [
        (1, "0001", Some(0)),
        (2, "0001", Some(1)),
        (3, "0002", Some(1)),
        (4, "0002", Some(1)),
        (5, "0002", None),
    ]
    .map(device)
    .into()
}

/// `gpu` may be of either kind, `nic` of one.
fn aliases() -> BTreeMap<Name, Vec<PciKind>> {
    BTreeMap::from([
        (Name::from("gpu"), vec![kind("0001"), kind("0002")]),
        (Name::from("nic"), vec![kind("0002")]),
    ])
}

fn scheduler(seated: BTreeMap<Name, Seated>) -> Scheduler {
    let config = SchedulerConfig {
        filters: vec![Filter::NumaTopology, Filter::PciPassthrough],
        pci_aliases: aliases(),
        weights: Weights::NONE,
        ..SchedulerConfig::default()
    };
    let host = Host {
        name: Name::from("n1"),
        capacity: Resources {
            vcpus: 12,
            ram_mib: 8192,
            disk_mib: 1 << 20,
        },
        numa: cells(),
        pci: pools(&devices(), &BTreeSet::new()),
        seated,
        enabled: true,
        up: true,
        ..Host::default()
    };
    Scheduler::new(config, vec![host], &[], Vec::new()).expect("valid")
}

fn limits() -> NumaLimits {
    let ratios = Host::default().ratios;
    NumaLimits {
        cpu_ratio: ratios.cpu,
        ram_ratio: ratios.ram,
    }
}

fn request(name: usize, (vcpus, ram, specs): &(u64, u64, BTreeMap<String, String>)) -> Option<Request> {
    let needs = Needs {
        extra_specs: specs.clone(),
        ..Needs::default()
    };
    let wants = Resources {
        vcpus: *vcpus,
        ram_mib: ram * 256,
        disk_mib: 1,
    };
    // Some do not divide into so many cells.
    let demand = Demand::of(&needs, &wants).ok()??;
    Some(Request {
        name: Name::from(format!("server.s{name}")),
        wants,
        needs,
        demand: Some(Arc::new(demand)),
        ..Request::default()
    })
}

fn flavor() -> impl Strategy<Value = (u64, u64, BTreeMap<String, String>)> {
    let word = |key: &'static str, words: &'static [&'static str]| {
        prop::option::of(prop::sample::select(words)).prop_map(move |word| word.map(|word| (key, word)))
    };
    let specs = (
        word("hw:numa_nodes", &["1", "2"]),
        word("hw:cpu_policy", &["shared", "dedicated"]),
        word("hw:cpu_thread_policy", &["prefer", "require", "isolate"]),
        word("hw:mem_page_size", &["small", "large", "any", "2048"]),
        word(
            "pci_passthrough:alias",
            &["gpu", "gpu:2", "nic", "nic:1,gpu:1", "gpu:1,nic:1", "gpu:2,nic:2"],
        ),
    );
    (1..=6_u64, 1..=6_u64, specs).prop_map(|(vcpus, ram, (nodes, policy, threads, page, alias))| {
        let specs = [nodes, policy, threads, page, alias].into_iter().flatten();
        let specs = specs.map(|(key, word)| (key.to_owned(), word.to_owned()));
        (vcpus, ram, specs.collect())
    })
}

/// As the host fits it.
fn fit(demand: &Demand, taken: &Taken, before: Option<&GuestPlace>) -> Result<GuestPlace, NoPlace> {
    let aliases = aliases();
    let wishes: Vec<DeviceWish> = (demand.devices.iter())
        .map(|(alias, count)| DeviceWish {
            alias: alias.to_string(),
            count: *count,
            kinds: aliases[alias].clone(),
        })
        .collect();
    let wishes = Wishes {
        cells: &numbered(&demand.cells),
        limits: limits(),
        devices: &wishes,
    };
    let parts = Parts {
        cells: &cells(),
        devices: &devices(),
    };
    let before = before.map_or(Before::Nothing, Before::Place);
    GuestPlace::fit(wishes, parts, taken, before)
}

/// The devices of a place.
fn given(place: &GuestPlace) -> Vec<PciDevice> {
    let has: BTreeSet<PciAddress> = place.pci_devices().collect();
    let devices = devices().into_iter();
    devices.filter(|device| has.contains(&device.address)).collect()
}

type There = BTreeMap<Name, (Request, GuestPlace)>;

/// What others than this server have of the host.
fn taken(there: &There, server: &Name) -> Taken {
    let others = || there.iter().filter(|(name, _)| *name != server);
    Taken {
        cells: others().flat_map(|(_, (_, place))| place.taken()).collect(),
        devices: others().flat_map(|(_, (_, place))| place.pci_devices()).collect(),
    }
}

/// A plan's beginning: everybody as the host reports it.
fn as_reported(there: &There) -> Scheduler {
    let seated = there.iter().map(|(name, (request, place))| {
        let seated = Seated {
            demand: request.demand.clone(),
            taken: place.taken(),
            devices: given(place),
            others: 0,
        };
        (name.clone(), seated)
    });
    let mut scheduler = scheduler(seated.collect());
    for (request, _) in there.values().rev() {
        scheduler.force(&Name::from("n1"), request).expect("a host");
    }
    scheduler
}

/// Which of these would fit.
fn room(scheduler: &mut Scheduler) -> Vec<bool> {
    let probes = ["nic", "nic:2", "nic:3", "gpu", "gpu:2", "gpu:3", "gpu:4"];
    let devices = probes.map(|alias| ("pci_passthrough:alias", alias));
    let pinned = [("hw:cpu_policy", "dedicated"); 4];
    let probes = pinned.into_iter().chain(devices).zip(1..);
    probes
        .map(|((key, value), vcpus)| {
            let specs = [(key.to_owned(), value.to_owned())].into();
            let probe = request(100, &(vcpus, 1, specs)).expect("it makes sense");
            scheduler.passes(&Name::from("n1"), &probe).expect("a host")
        })
        .collect()
}

fn nothing_is_had_twice(there: &There) -> Result<(), TestCaseError> {
    let mut pinned = BTreeSet::new();
    for cpu in there
        .values()
        .flat_map(|(_, place)| place.taken())
        .flat_map(|taken| taken.pinned)
    {
        prop_assert!(pinned.insert(cpu), "{} is pinned twice", cpu);
    }
    let mut had = BTreeSet::new();
    for device in there.values().flat_map(|(_, place)| place.pci_devices()) {
        prop_assert!(had.insert(device), "{} is given twice", device);
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_the_planner_lets_through_the_host_takes(
        steps in prop::collection::vec((0..6_usize, flavor(), any::<bool>()), 1..40),
    ) {
        let n1 = Name::from("n1");
        let mut planned = scheduler(BTreeMap::new());
        let mut there = There::new();
        for (name, flavor, leaves) in steps {
            let Some(request) = request(name, &flavor) else {
                continue;
            };
            if let Some((old, _)) = there.remove(&request.name) {
                planned.release(&n1, &old).expect("a host");
            }
            if leaves {
                continue;
            }
            let demand = request.demand.as_ref().expect("it asks for something");
            let place = fit(demand, &taken(&there, &request.name), None);
            prop_assert_eq!(planned.passes(&n1, &request).expect("a host"), place.is_ok());
            let anew = as_reported(&there);
            prop_assert_eq!(anew.passes(&n1, &request).expect("a host"), place.is_ok());
            if let Ok(place) = place {
                planned.force(&n1, &request).expect("a host");
                there.insert(request.name.clone(), (request, place));
            }
            nothing_is_had_twice(&there)?;
        }
    }

    /// A server that is there is changed: the host keeps what it can, and the plan counts with that.
    #[test]
    fn what_a_server_keeps_the_planner_counts_as_kept(
        steps in prop::collection::vec((0..4_usize, flavor()), 1..30),
    ) {
        let n1 = Name::from("n1");
        let mut there = There::new();
        for (name, flavor) in steps {
            let Some(request) = request(name, &flavor) else {
                continue;
            };
            let mut planned = as_reported(&there);
            let before = there.get(&request.name).cloned();
            if let Some((old, _)) = &before {
                planned.release(&n1, old).expect("a host");
            }
            let demand = request.demand.as_ref().expect("it asks for something");
            let place = before.as_ref().map(|(_, place)| place);
            let place = fit(demand, &taken(&there, &request.name), place);
            prop_assert_eq!(planned.passes(&n1, &request).expect("a host"), place.is_ok());
            let Ok(place) = place else {
                continue;
            };
            if let Some((_, old)) = &before {
                let had: BTreeSet<PciAddress> = old.pci_devices().collect();
                let has: BTreeSet<PciAddress> = place.pci_devices().collect();
                let alone = demand.cells.is_empty() && demand.devices.len() == 1;
                let asks_gpu = demand.devices.iter().any(|(alias, _)| *alias == Name::from("gpu"));
                let kept = had.intersection(&has).count();
                // Any device serves as one of these.
                prop_assert!(!(alone && asks_gpu) || kept == had.len().min(has.len()), "{:?} {:?}", had, has);
            }
            planned.force(&n1, &request).expect("a host");
            let name = request.name.clone();
            there.insert(name.clone(), (request, place));
            nothing_is_had_twice(&there)?;
            // What it gives up counts until the change is done, and then no longer.
            let (meanwhile, then) = (room(&mut planned), room(&mut as_reported(&there)));
            let kept = before.is_none_or(|(old, _)| old.demand == there[&name].0.demand);
            for (meanwhile, then) in meanwhile.into_iter().zip(then) {
                prop_assert!(if kept { meanwhile == then } else { !meanwhile || then }, "{:?}", there);
            }
        }
    }
}

/// What a server had when it was on the host is not kept for it once it has left and another came.
#[test]
fn who_left_comes_back_only_where_there_is_room() {
    let n1 = Name::from("n1");
    let four = |name: usize| {
        let specs = [("hw:cpu_policy", "dedicated"), ("pci_passthrough:alias", "gpu")];
        let specs = specs.map(|(key, word)| (key.to_owned(), word.to_owned())).into();
        request(name, &(4, 1, specs)).expect("it makes sense")
    };
    let mut there = There::new();
    for name in 0..2 {
        let request = four(name);
        let demand = request.demand.as_ref().expect("it asks for something");
        let place = fit(demand, &taken(&there, &request.name), None).expect("it fits");
        there.insert(request.name.clone(), (request, place));
    }
    let mut scheduler = as_reported(&there);
    let (gone, comes) = (four(0), four(2));
    scheduler.release(&n1, &gone).expect("a host");
    assert!(scheduler.passes(&n1, &gone).expect("a host"), "nobody came");
    scheduler.force(&n1, &comes).expect("a host");
    assert!(
        !scheduler.passes(&n1, &gone).expect("a host"),
        "another has its place"
    );
    // As where hosts are looked at as if all had left, and all come back.
    scheduler.release(&n1, &comes).expect("a host");
    assert!(scheduler.passes(&n1, &gone).expect("a host"));
}
