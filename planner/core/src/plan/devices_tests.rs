//! Servers that are given PCI devices, in plans: none is promised twice, and a guest that runs with one stays.

use super::lint::lint;
use super::testing::Fleet;
use super::tests::plan;
use super::{ActionKind, BlockedBy, LintFinding, Plan, PlanOptions, export};
use crate::executor::DeviceOrder;
use crate::model::Power;
use crate::testing::{address, desired, host, lineage, with_hosts, with_server};
use drover_numa::{CellUse, NumaCell, PciDevice};
use drover_types::{Address, ByteSize, HostName, PciAddress, PciKind, PowerState, ServerId};

fn kind(product: &str) -> PciKind {
    PciKind {
        vendor_id: "10de".parse().expect("an id"),
        product_id: product.parse().expect("an id"),
    }
}

/// Devices are told apart by their bus: cards for graphics are below 0x80, those for networks from there.
fn at(bus: u8) -> PciAddress {
    PciAddress {
        domain: 0,
        bus,
        slot: 0,
        function: 0,
    }
}

fn device(bus: u8) -> PciDevice {
    PciDevice {
        address: at(bus),
        kind: kind(if bus < 0x80 { "0001" } else { "0002" }),
        numa_node: None,
    }
}

/// A server: its address and host, what it asks for, what it has, and whether it runs.
type Seat<'a> = (&'a str, &'a str, &'a str, &'a [u8], bool);

fn fleet(hosts: &[(&str, &[u8])], servers: &[Seat<'_>]) -> Fleet {
    let names: Vec<&str> = hosts.iter().map(|(name, _)| *name).collect();
    let mut fleet = with_hosts(desired(), &names);
    let scheduler = &mut fleet.scheduler;
    scheduler.filters.push("PciPassthroughFilter".to_owned());
    for (alias, product) in [("gpu", "0001"), ("nic", "0002"), ("card", "0001")] {
        scheduler
            .pci_aliases
            .insert(alias.to_owned(), vec![kind(product)]);
    }
    for (at, _, alias, _, runs) in servers {
        fleet = with_server(fleet, at, None);
        let spec = &mut fleet.servers.get_mut(&address(at)).expect("declared").spec;
        if !alias.is_empty() {
            spec.size.extra_specs = asks(alias);
        }
        if !runs {
            spec.power = Power::Off;
        }
    }
    let seats = servers.iter().map(|(at, on, ..)| (address(at), host(on)));
    let seats: Vec<(Address, HostName)> = seats.collect();
    let mut fleet = Fleet::settled(fleet, &seats);
    for (name, buses) in hosts {
        let devices = buses.iter().map(|bus| device(*bus));
        fleet.inventory(name).facts.pci_devices = devices.collect();
    }
    for (server, on, _, buses, runs) in servers {
        let domains = &mut fleet.inventory(on).domains;
        let domain = domains.get_mut(&id(server).uuid()).expect("seated");
        domain.pci_devices = buses.iter().map(|bus| at(*bus)).collect();
        if !runs {
            domain.power_state = PowerState::Shutdown;
        }
    }
    fleet
}

fn id(server: &str) -> ServerId {
    ServerId::derive(lineage(), &address(server), 1)
}

fn asks(alias: &str) -> std::collections::BTreeMap<String, String> {
    [("pci_passthrough:alias".to_owned(), alias.to_owned())].into()
}

impl Fleet {
    fn asking(mut self, server: &str, alias: &str) -> Self {
        if !self.desired.servers.contains_key(&address(server)) {
            self = self.with(&[server]);
        }
        let declared = self.desired.servers.get_mut(&address(server)).expect("declared");
        declared.spec.size.extra_specs = asks(alias);
        self
    }
}

/// What is done and what is not, in the order of the plan.
fn told(plan: &Plan) -> Vec<String> {
    let actions = plan.actions.iter().filter_map(|action| {
        let (verb, order) = match &action.kind {
            ActionKind::CreateServer {
                order, candidates, ..
            } => {
                let hosts = candidates.iter().map(|candidate| candidate.host.to_string());
                (
                    format!("create on {}", hosts.collect::<Vec<_>>().join(", ")),
                    order,
                )
            }
            ActionKind::Migrate { order, to, .. } => (format!("move to {to}"), order),
            ActionKind::UpdateServer { order, .. } => ("update".to_owned(), order),
            _ => return None,
        };
        let devices = order.devices.iter();
        let devices: Vec<String> = devices
            .map(|DeviceOrder { alias, count, .. }| format!("{alias}:{count}"))
            .collect();
        Some(format!(
            "{}: {verb} with [{}]",
            action.address,
            devices.join(", ")
        ))
    });
    let blocked = plan.blocked.iter().map(|blocked| {
        let by = match &blocked.by {
            BlockedBy::NoHost { .. } => "no host".to_owned(),
            other => format!("{other:?}")
                .split([' ', '{'])
                .next()
                .unwrap_or_default()
                .to_owned(),
        };
        format!("{}: {by}", blocked.address)
    });
    actions.chain(blocked).collect()
}

const NOTHING: [&str; 0] = [];

/// Of n1, which is to be emptied, one runs with a device; for the other there is room once a third has moved.
#[test]
fn no_search_for_moves_moves_a_guest_that_runs_with_devices() {
    let mut zoned = fleet(
        &[("n1", &[1, 0x80]), ("n2", &[1, 0x80]), ("n3", &[0x80])],
        &[
            ("server.t", "n1", "gpu", &[1], true),
            ("server.s", "n1", "nic", &[0x80], false),
            ("server.f", "n2", "nic", &[0x80], false),
        ],
    );
    for (name, zone) in [("n1", "z1"), ("n2", "z1"), ("n3", "z2")] {
        let spec = &mut zoned.desired.hosts.get_mut(&host(name)).expect("declared").spec;
        spec.availability_zone = Some(zone.to_owned());
    }
    let s = address("server.s");
    let declared = &mut zoned.desired.servers.get_mut(&s).expect("declared").spec;
    declared.availability_zone = Some("z1".to_owned());
    let recorded = &mut zoned.recorded.servers.get_mut(&s).expect("recorded").spec;
    recorded.availability_zone = Some("z1".to_owned());
    let kept = told(&zoned.drains("n1").plan());
    assert_eq!(kept, ["server.s: Needs", "server.t: HasDevices"]);
}

/// Where it could move, it would: the other one does in its place.
#[test]
fn one_that_has_outgrown_its_host_and_cannot_move_is_made_room_for() {
    let grows = |tied: &[u8]| {
        let alias = if tied.is_empty() { "" } else { "gpu" };
        let mut fleet = fleet(
            &[("n1", &[1]), ("n2", &[1])],
            &[
                ("server.big", "n1", alias, tied, true),
                ("server.small", "n1", "", &[], true),
            ],
        );
        for (server, mib) in [("server.big", 3072), ("server.small", 3072)] {
            let ram = ByteSize::from_mib(mib);
            fleet
                .desired
                .servers
                .get_mut(&address(server))
                .expect("declared")
                .spec
                .size
                .ram = ram;
            fleet
                .recorded
                .servers
                .get_mut(&address(server))
                .expect("recorded")
                .spec
                .size
                .ram = ram;
        }
        let big = fleet.desired.servers.get_mut(&address("server.big"));
        big.expect("declared").spec.size.ram = ByteSize::from_mib(4096);
        told(&fleet.plan())
    };
    let free = grows(&[]);
    assert!(
        free.iter().any(|step| step.starts_with("server.big: move")),
        "{free:?}"
    );
    assert_eq!(
        grows(&[1]),
        [
            "server.small: move to n2 with []",
            "server.big: update with [gpu:1]"
        ]
    );
}

#[test]
fn another_kind_counts_beside_the_one_that_is_given_up() {
    let two = fleet(
        &[("n1", &[1, 2, 0x80])],
        &[("server.a", "n1", "gpu:2", &[1, 2], true)],
    );
    assert_eq!(told(&two.plan()), NOTHING);
    // The only card for networks goes to the one that is there.
    let plan = two.asking("server.a", "nic").asking("server.b", "nic").plan();
    assert_eq!(
        told(&plan),
        ["server.a: update with [nic:1]", "server.b: no host"]
    );
    // What it gives up is its own until the change is done.
    let one = || fleet(&[("n1", &[1, 0x80])], &[("server.a", "n1", "gpu", &[1], true)]);
    let plan = one().asking("server.a", "nic").asking("server.b", "gpu").plan();
    assert_eq!(
        told(&plan),
        ["server.a: update with [nic:1]", "server.b: no host"]
    );
    // Another name for the same kind is not another device.
    let plan = one().asking("server.a", "card").plan();
    assert_eq!(told(&plan), ["server.a: update with [card:1]"]);
}

/// It moves as it is, so that nothing is lost where the change fails, and needs both kinds where it goes.
#[test]
fn one_that_is_off_moves_with_what_it_has_and_changes_then() {
    let moves = |there: &[u8]| {
        let fleet = fleet(
            &[("n1", &[1]), ("n2", there)],
            &[("server.a", "n1", "gpu", &[1], false)],
        );
        told(&fleet.asking("server.a", "nic").plan())
    };
    assert_eq!(moves(&[0x80]), ["server.a: no host"]);
    assert_eq!(
        moves(&[1, 0x80]),
        [
            "server.a: move to n2 with [gpu:1]",
            "server.a: update with [nic:1]"
        ]
    );
}

#[test]
fn a_name_that_means_other_kinds_takes_nothing_from_who_has_devices_by_it() {
    let mut fleet = fleet(&[("n1", &[1])], &[("server.a", "n1", "gpu", &[1], true)]);
    let aliases = &mut fleet.desired.scheduler.pci_aliases;
    aliases.insert("gpu".to_owned(), vec![kind("0002")]);
    assert_eq!(told(&fleet.plan()), NOTHING);
    let grown = fleet
        .desired
        .servers
        .get_mut(&address("server.a"))
        .expect("declared");
    grown.spec.size.vcpus += 1;
    assert_eq!(told(&fleet.plan()), ["server.a: update with [gpu:1]"]);
    // Two of the new kind there are not, and it cannot go elsewhere.
    let more = fleet.asking("server.a", "gpu:2").plan();
    assert_eq!(told(&more), ["server.a: HasDevices"]);
}

#[test]
fn one_found_on_another_host_may_change_there_in_the_same_plan() {
    let mut fleet = fleet(
        &[("n1", &[1]), ("n2", &[1])],
        &[("server.a", "n1", "gpu", &[1], false)],
    );
    let domain = fleet.inventory("n1").domains.remove(&id("server.a").uuid());
    let domain = domain.expect("seated");
    fleet.inventory("n2").domains.insert(domain.uuid, domain);
    let grown = fleet
        .desired
        .servers
        .get_mut(&address("server.a"))
        .expect("declared");
    grown.spec.size.vcpus += 1;
    let plan = fleet.plan();
    assert_eq!(told(&plan), ["server.a: update with [gpu:1]"]);
    let has = |kind: fn(&ActionKind) -> bool| plan.actions.iter().any(|action| kind(&action.kind));
    assert!(has(|kind| matches!(kind, ActionKind::Adopt { .. })), "{plan:#?}");
}

/// A server that asks for devices counts as having them where its host does not say so, in plans and scenarios alike.
#[test]
fn an_exported_scenario_has_as_many_devices_free_as_the_plan() {
    for bare in [false, true] {
        let mut fleet = fleet(&[("n1", &[1])], &[("server.a", "n1", "gpu", &[1], false)]);
        let domains = &mut fleet.inventory("n1").domains;
        if bare {
            let domain = domains.get_mut(&id("server.a").uuid()).expect("seated");
            domain.pci_devices.clear();
        } else {
            domains.clear();
        }
        let fleet = fleet.asking("server.b", "gpu");
        let plan = told(&fleet.plan());
        assert!(plan.contains(&"server.b: no host".to_owned()), "{plan:?}");
        let scenario = export(&fleet.inputs(), &fleet.diff()).expect("fair settings");
        let text = serde_json::to_value(&scenario).expect("JSON");
        assert_eq!(
            text["hosts"][0]["pci_devices"][0]["count"], 0,
            "bare {bare}: {text}"
        );
    }
}

/// A plan into which a mistake was put: the last check finds what no host has.
#[test]
fn the_linter_counts_devices_by_kind() {
    let fleet = fleet(&[("n1", &[1, 0x80])], &[("server.a", "n1", "gpu", &[1], true)]);
    let fleet = fleet.asking("server.b", "nic");
    let mut plan = fleet.plan();
    assert_eq!(told(&plan), ["server.b: create on n1 with [nic:1]"]);
    let found = |plan: &Plan| lint(plan, &fleet.recorded, &fleet.observed, &fleet.desired.scheduler);
    assert_eq!(found(&plan), []);
    for action in &mut plan.actions {
        if let ActionKind::CreateServer { order, .. } = &mut action.kind {
            order.devices[0].kinds = vec![kind("0001")];
        }
    }
    assert_eq!(
        found(&plan),
        [LintFinding::OverCapacity {
            host: host("n1"),
            what: "PCI devices",
            used: 2,
            limit: 1,
        }]
    );
}

/// Its host gives its card away no longer, and its alias means another kind by now: whoever has something keeps it, on
/// every host, and one that is off does not go and look for another.
#[test]
fn a_server_that_asks_for_no_other_devices_is_asked_for_none_wherever_it_is() {
    let hosts: Vec<String> = (0..20).map(|number| format!("n{number:02}")).collect();
    let servers: Vec<String> = (0..20).map(|number| format!("server.s{number:02}")).collect();
    let all: Vec<(&str, &[u8])> = hosts
        .iter()
        .map(|host| (host.as_str(), &[1_u8, 0x80][..]))
        .collect();
    let seats = servers.iter().zip(&hosts).zip(0..);
    let seats: Vec<Seat<'_>> = seats
        .map(|((server, host), number)| {
            (
                server.as_str(),
                host.as_str(),
                "gpu",
                &[1_u8][..],
                number % 2 == 0,
            )
        })
        .collect();
    let mut fleet = fleet(&all, &seats);
    for (number, name) in hosts.iter().enumerate() {
        if number % 3 == 0 {
            let devices = &mut fleet.inventory(name).facts.pci_devices;
            devices.retain(|device| device.address != at(1));
        }
    }
    let aliases = &mut fleet.desired.scheduler.pci_aliases;
    aliases.insert("gpu".to_owned(), vec![kind("0002")]);
    for server in fleet.desired.servers.values_mut() {
        server.spec.size.vcpus += 1;
    }
    let updated = servers
        .iter()
        .map(|server| format!("{server}: update with [gpu:1]"));
    assert_eq!(told(&fleet.plan()), updated.collect::<Vec<_>>());
}

/// The name that it had is gone: what it has beside is counted all the same.
#[test]
fn one_that_asks_for_more_by_another_name_takes_all_of_it() {
    let mut fleet = fleet(&[("n1", &[1, 2])], &[("server.a", "n1", "gpu", &[1], true)]);
    fleet.desired.scheduler.pci_aliases.remove("gpu");
    let plan = fleet
        .asking("server.a", "card:2")
        .asking("server.b", "card")
        .plan();
    assert_eq!(
        told(&plan),
        ["server.a: update with [card:2]", "server.b: no host"]
    );
}

/// Each card is at a cell of its own, and no cell is near both: the server keeps its processor until it has another.
#[test]
fn a_pinned_server_that_changes_its_device_takes_both_cells_until_then() {
    let mut fleet = fleet(&[("n1", &[1, 0x80])], &[("server.a", "n1", "gpu", &[1], true)]);
    fleet
        .desired
        .scheduler
        .filters
        .push("NUMATopologyFilter".to_owned());
    let pin = |specs: &mut std::collections::BTreeMap<String, String>| {
        specs.insert("hw:cpu_policy".to_owned(), "dedicated".to_owned());
    };
    let a = address("server.a");
    pin(&mut fleet
        .desired
        .servers
        .get_mut(&a)
        .expect("declared")
        .spec
        .size
        .extra_specs);
    pin(&mut fleet
        .recorded
        .servers
        .get_mut(&a)
        .expect("recorded")
        .spec
        .size
        .extra_specs);
    let inventory = fleet.inventory("n1");
    for (device, node) in inventory.facts.pci_devices.iter_mut().zip(0..) {
        device.numa_node = Some(node);
    }
    let cells = (0..2).map(|number| NumaCell {
        id: number,
        cpus: [number].into(),
        dedicated_cpus: [number].into(),
        memory_mib: 4096,
        ..NumaCell::default()
    });
    inventory.facts.cells = cells.collect();
    let domain = inventory.domains.get_mut(&id("server.a").uuid()).expect("seated");
    domain.cells = vec![CellUse {
        cell: 0,
        pinned: [0].into(),
        memory_mib: 512,
        ..CellUse::default()
    }];
    let mut fleet = fleet.with(&["server.b"]);
    pin(&mut fleet
        .desired
        .servers
        .get_mut(&address("server.b"))
        .expect("declared")
        .spec
        .size
        .extra_specs);
    assert_eq!(told(&fleet.plan()), ["server.b: create on n1 with []"]);
    let specs = &mut fleet
        .desired
        .servers
        .get_mut(&a)
        .expect("declared")
        .spec
        .size
        .extra_specs;
    specs.insert("pci_passthrough:alias".to_owned(), "nic".to_owned());
    assert_eq!(
        told(&fleet.plan()),
        ["server.a: update with [nic:1]", "server.b: no host"]
    );
}

/// It keeps nothing of what it has, so that its host must have what it asks for by now; and more memory, if it is to.
#[test]
fn one_that_is_made_anew_finds_what_it_asks_where_it_is_or_stays() {
    let replaced = |change: &dyn Fn(&mut Fleet)| {
        let mut fleet = fleet(&[("n1", &[1])], &[("server.a", "n1", "gpu", &[1], true)]);
        change(&mut fleet);
        let options = PlanOptions {
            replace: vec![address("server.a")],
            ..PlanOptions::default()
        };
        let plan = plan(&fleet.desired, &fleet.recorded, &fleet.observed, &options);
        let why = plan.blocked.iter().flat_map(|blocked| match &blocked.by {
            BlockedBy::NoHost { rejections, .. } => rejections.iter().map(|one| one.why.clone()).collect(),
            other => vec![format!("{other:?}")],
        });
        let why: Vec<String> = why.collect();
        (told(&plan), why)
    };
    let size = |fleet: &mut Fleet, mib: u64| {
        let server = fleet
            .desired
            .servers
            .get_mut(&address("server.a"))
            .expect("declared");
        server.spec.size.ram = ByteSize::from_mib(mib);
    };
    let made = ["server.a: create on n1 with [gpu:1]".to_owned()].to_vec();
    assert_eq!(replaced(&|_| ()), (made.clone(), Vec::new()));
    assert_eq!(replaced(&|fleet| size(fleet, 4096)), (made, Vec::new()));
    let blocked = ["server.a: no host".to_owned()].to_vec();
    let few = ["wants 1 of gpu, 0 free".to_owned()].to_vec();
    let redefined = replaced(&|fleet| {
        let aliases = &mut fleet.desired.scheduler.pci_aliases;
        aliases.insert("gpu".to_owned(), vec![kind("0002")]);
    });
    assert_eq!(redefined, (blocked.clone(), few));
    let (larger, why) = replaced(&|fleet| size(fleet, 16_384));
    assert_eq!((larger, why.len()), (blocked, 1), "{why:?}");
    // Its host was overfull before: that is not its doing.
    let (same, _) = replaced(&|fleet| fleet.inventory("n1").facts.ram_mib = 64);
    assert_eq!(same, ["server.a: create on n1 with [gpu:1]"]);
}
