//! Servers that ask for NUMA cells, in plans: what hosts report counts, and nothing is promised twice.

use super::ahead::{capacity, losses};
use super::testing::Fleet;
use super::tests::plan;
use super::{ActionKind, BalanceLimits, BlockedBy, Plan, PlanOptions, Reason, Severity, export, rebalance};
use crate::model::{DesiredFleet, ObservedDomain};
use crate::testing::{address, desired, host, inventory, lineage, with_hosts, with_server};
use drover_numa::{CellUse, NumaCell};
use drover_types::{Address, HostName, PciKind, PowerState, ServerId};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Servers are `server.<host><processor>` where they are seated already.
fn seats(hosts: &[(&str, u32)], servers: &[&str]) -> Vec<(Address, HostName, u32)> {
    let place = |at: &&str| {
        let (name, _) = hosts
            .iter()
            .find(|(name, _)| at.starts_with(name))
            .unwrap_or_else(|| panic!("no host of {at}"));
        let cpu = at[name.len()..]
            .trim_start_matches('_')
            .parse()
            .expect("a processor");
        (address(&format!("server.{at}")), host(name), cpu)
    };
    servers.iter().map(place).collect()
}

fn taken(cpu: u32) -> CellUse {
    CellUse {
        cell: 0,
        pinned: [cpu].into(),
        memory_mib: 512,
        ..CellUse::default()
    }
}

/// Servers with one processor of their own each, on hosts with one cell of so many.
fn pinned(hosts: &[(&str, u32)], seated: &[&str]) -> Fleet {
    let names: Vec<&str> = hosts.iter().map(|(name, _)| *name).collect();
    let mut fleet = with_hosts(desired(), &names);
    fleet.scheduler.filters.push("NUMATopologyFilter".to_owned());
    let flavor = fleet
        .flavors
        .get_mut(&address("flavor.small"))
        .expect("it is there");
    flavor.spec.extra_specs = [("hw:cpu_policy".to_owned(), "dedicated".to_owned())].into();
    let seated = seats(hosts, seated);
    for (at, _, _) in &seated {
        fleet = with_server(fleet, &at.to_string(), None);
    }
    let at: Vec<(Address, HostName)> = seated
        .iter()
        .map(|(at, host, _)| (at.clone(), host.clone()))
        .collect();
    let mut fleet = Fleet::settled(fleet, &at);
    for (name, cpus) in hosts {
        let cpus: BTreeSet<u32> = (0..*cpus).collect();
        fleet.inventory(name).facts.cells = vec![NumaCell {
            id: 0,
            dedicated_cpus: cpus.clone(),
            cpus,
            memory_mib: 4096,
            ..NumaCell::default()
        }];
    }
    for (at, host, cpu) in &seated {
        let id = ServerId::derive(lineage(), at, 1).uuid();
        let domains = &mut fleet.inventory(host.as_str()).domains;
        domains.get_mut(&id).expect("it is seated").cells = vec![taken(*cpu)];
    }
    fleet
}

fn hosts_of(plan: &Plan) -> BTreeMap<String, String> {
    let placed = plan.placements.iter();
    placed
        .map(|(at, placement)| (at.to_string(), placement.host.to_string()))
        .collect()
}

fn conflict(plan: &Plan) -> Vec<String> {
    let blocked = plan.blocked.iter();
    blocked
        .flat_map(|blocked| match &blocked.by {
            BlockedBy::NoHost { conflict, .. } => conflict.clone(),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn each_pinned_server_takes_a_processor_of_its_own() {
    let all = ["server.a", "server.b", "server.c", "server.d", "server.e"];
    let plan = pinned(&[("n1", 2), ("n2", 2)], &[]).with(&all).plan();
    assert_eq!(plan.placements.len(), 4);
    assert_eq!(conflict(&plan), ["NUMATopologyFilter"]);
    let orders = plan.actions.iter().filter_map(|action| match &action.kind {
        ActionKind::CreateServer { order, .. } => order.numa.as_ref(),
        _ => None,
    });
    let cells: Vec<_> = orders.map(|numa| numa.cells.clone()).collect();
    assert_eq!((cells.len(), cells[0][0].numbers.as_slice()), (4, &[0][..]));
}

#[test]
fn what_hosts_report_counts_foreign_domains_too() {
    let mut fleet = pinned(&[("n1", 3)], &["n1_2"]).with(&["server.a"]);
    assert_eq!(hosts_of(&fleet.plan())["server.a"], "n1");
    let foreign = |cpu: u32| ObservedDomain {
        uuid: Uuid::from_u128(u128::from(cpu) + 1),
        name: "legacy".to_owned(),
        power_state: PowerState::Shutdown,
        reason: "unknown".to_owned(),
        vcpus: 1,
        ram_mib: 64,
        disk_mib: 0,
        persistent: true,
        mark: None,
        held_epoch: None,
        drift: Vec::new(),
        migration: None,
        disks: Vec::new(),
        arch: "x86_64".to_owned(),
        highest_epoch: None,
        cells: vec![taken(cpu)],
        pci_devices: BTreeSet::new(),
    };
    for cpu in [0, 1] {
        let domain = foreign(cpu);
        fleet.inventory("n1").domains.insert(domain.uuid, domain);
    }
    assert_eq!(conflict(&fleet.plan()), ["NUMATopologyFilter"]);
    // A server whose domain does not say where it is counts where it would fit.
    let id = ServerId::derive(lineage(), &address("server.n1_2"), 1).uuid();
    let inventory = fleet.inventory("n1");
    inventory
        .domains
        .retain(|uuid, _| *uuid == id || *uuid == Uuid::from_u128(1));
    inventory.domains.get_mut(&id).expect("seated").cells.clear();
    let plan = fleet.plan();
    assert_eq!(hosts_of(&plan)["server.a"], "n1");
    let more = fleet.with(&["server.b"]).plan();
    assert_eq!(conflict(&more), ["NUMATopologyFilter"]);
}

#[test]
fn a_settled_fleet_has_nothing_to_do_and_one_that_was_never_bound_is() {
    let mut fleet = pinned(&[("n1", 2)], &["n1_1"]);
    assert_eq!(fleet.plan().actions, []);
    let domains = &mut fleet.inventory("n1").domains;
    domains.values_mut().for_each(|domain| domain.cells.clear());
    let plan = fleet.plan();
    let [action] = &plan.actions[..] else {
        panic!("{plan:#?}")
    };
    assert_eq!(action.why, Reason::CellsChanged);
    let ActionKind::UpdateServer { order, .. } = &action.kind else {
        panic!("{action:#?}")
    };
    assert!(order.numa.is_some());
    // A host whose agent reports no cells cannot bind it.
    fleet.inventory("n1").facts.cells.clear();
    assert_eq!(fleet.plan().actions, []);
}

#[test]
fn a_drain_goes_where_processors_are_left_and_nowhere_else() {
    let hosts = [("n1", 2), ("n2", 2), ("n3", 1)];
    let fleet = pinned(&hosts, &["n1_0", "n1_1", "n2_1"]).drains("n1");
    let plan = fleet.plan();
    let to: BTreeSet<String> = hosts_of(&plan).into_values().collect();
    assert_eq!(to, BTreeSet::from(["n2".to_owned(), "n3".to_owned()]));
    let full = pinned(&hosts, &["n1_0", "n1_1", "n2_0", "n2_1", "n3_0"]).drains("n1");
    let plan = full.plan();
    assert_eq!(
        plan.actions.len(),
        1,
        "only the host's state is recorded: {plan:#?}"
    );
    assert_eq!(plan.blocked.len(), 2);
}

/// Two that leave for each other's hosts would each need the other's processor, which is taken until it has left.
#[test]
fn a_move_counts_on_both_hosts_until_it_has_arrived() {
    let fleet = pinned(&[("n1", 1), ("n2", 1)], &["n1_0", "n2_0"]);
    let swap = PlanOptions {
        migrate: [("server.n1_0", "n2"), ("server.n2_0", "n1")]
            .map(|(at, to)| super::MigrateRequest {
                address: address(at),
                to: Some(host(to)),
            })
            .into(),
        ..PlanOptions::default()
    };
    let plan = plan(&fleet.desired, &fleet.recorded, &fleet.observed, &swap);
    assert_eq!((plan.actions.len(), plan.blocked.len()), (0, 2));
}

/// The only processor that it may go to is another server's, which goes first.
#[test]
fn a_processor_is_made_free_for_one_that_must_leave() {
    let mut fleet = pinned(&[("n1", 1), ("n2", 1), ("n3", 1)], &["n1_0", "n2_0"]).drains("n1");
    for (name, zone) in [("n1", "z1"), ("n2", "z1"), ("n3", "z2")] {
        let spec = &mut fleet.desired.hosts.get_mut(&host(name)).expect("declared").spec;
        spec.availability_zone = Some(zone.to_owned());
    }
    let server = fleet.desired.servers.get_mut(&address("server.n1_0"));
    server.expect("declared").spec.availability_zone = Some("z1".to_owned());
    let plan = fleet.plan();
    let moves: Vec<_> = plan
        .actions
        .iter()
        .filter_map(|action| match &action.kind {
            ActionKind::Migrate { to, .. } => Some((action, action.address.to_string(), to.to_string())),
            _ => None,
        })
        .collect();
    let way = |at: &str| moves.iter().find(|(_, address, _)| address == at);
    let (last, _, to) = way("server.n1_0").expect("it leaves");
    let (first, _, aside) = way("server.n2_0").expect("it makes room");
    assert_eq!((moves.len(), to.as_str(), aside.as_str()), (2, "n2", "n3"));
    assert!(last.depends_on.contains(&first.id), "{plan:#?}");
}

#[test]
fn other_cells_are_made_room_for_where_the_server_is_or_elsewhere() {
    let grown = |hosts: &[(&str, u32)], seated: &[&str], at: &str| {
        let mut fleet = pinned(hosts, seated);
        let server = fleet.desired.servers.get_mut(&address(at)).expect("declared");
        server.spec.size.vcpus = 2;
        fleet.plan()
    };
    let here = grown(&[("n1", 3), ("n2", 4)], &["n1_0", "n1_1"], "server.n1_0");
    assert_eq!(hosts_of(&here), BTreeMap::new());
    assert_eq!(here.actions.len(), 1);
    let away = grown(&[("n1", 2), ("n2", 4)], &["n1_0", "n1_1"], "server.n1_0");
    assert_eq!(
        hosts_of(&away),
        [("server.n1_0".to_owned(), "n2".to_owned())].into()
    );
    // The other one makes room for it.
    let both = grown(&[("n1", 2), ("n2", 1)], &["n1_0", "n1_1"], "server.n1_0");
    assert_eq!(
        hosts_of(&both),
        [("server.n1_1".to_owned(), "n2".to_owned())].into()
    );
    let nowhere = grown(&[("n1", 2), ("n2", 0)], &["n1_0", "n1_1"], "server.n1_0");
    assert_eq!((nowhere.actions.len(), nowhere.blocked.len()), (0, 1));
}

#[test]
fn looking_ahead_counts_cells() {
    let fleet = pinned(&[("n1", 4), ("n2", 1)], &["n1_0", "n1_3", "n2_0"]);
    let rooms = capacity(&mut fleet.standing(), &fleet.inputs(), |_| true);
    let [room] = &rooms[..] else { panic!("{rooms:?}") };
    assert_eq!((room.more, &room.hosts), (2, &[(host("n1"), 2)].into()));
    assert_eq!(room.stopped_by, [("NUMATopologyFilter".to_owned(), 2)].into());
    let stranded = losses(&mut fleet.standing());
    let told: Vec<(String, usize)> = stranded
        .iter()
        .map(|loss| (loss.host.to_string(), loss.stranded.len()))
        .collect();
    assert_eq!(told, [("n1".to_owned(), 2), ("n2".to_owned(), 0)]);
}

#[test]
fn evening_out_moves_nothing_to_where_no_processor_is_left() {
    let limits = BalanceLimits {
        max_moves: usize::MAX,
        threshold: 0.0,
        least_gain: 0.0,
    };
    let moves = |hosts: &[(&str, u32)]| {
        let fleet = pinned(hosts, &["n1_0", "n1_1", "n1_2", "n1_3"]);
        let found = rebalance(&fleet.inputs(), &fleet.diff(), &limits).expect("fair settings");
        found.moves.len()
    };
    assert_eq!(moves(&[("n1", 4), ("n2", 4)]), 2);
    assert_eq!(moves(&[("n1", 4), ("n2", 1)]), 1);
    assert_eq!(moves(&[("n1", 4), ("n2", 0)]), 0);
}

#[test]
fn an_exported_scenario_has_in_its_cells_what_servers_took() {
    let fleet = pinned(&[("n1", 2)], &["n1_1"]).with(&["server.a"]);
    let scenario = export(&fleet.inputs(), &fleet.diff()).expect("fair settings");
    let text = serde_json::to_value(&scenario).expect("JSON");
    let cell = &text["hosts"][0]["numa_cells"][0];
    assert_eq!(cell["pinned_cpus"], serde_json::json!([1]), "{text}");
    assert_eq!(cell["memory_used_mb"], 512);
}

#[test]
fn nothing_that_cannot_be_had_is_placed_as_if_it_were_not_asked() {
    let told = |change: &dyn Fn(&mut DesiredFleet)| {
        let mut fleet = pinned(&[("n1", 2)], &[]).with(&["server.a", "server.b"]);
        change(&mut fleet.desired);
        let plan = fleet.plan();
        let errors = plan.findings.iter();
        let errors = errors.filter(|finding| finding.severity == Severity::Error);
        errors.map(|finding| finding.message.clone()).collect::<Vec<_>>()
    };
    let specs = |fleet: &mut DesiredFleet, key: &str, value: &str| {
        for server in fleet.servers.values_mut() {
            let specs = &mut server.spec.size.extra_specs;
            specs.insert(key.to_owned(), value.to_owned());
        }
    };
    assert_eq!(told(&|_| ()), Vec::<String>::new());
    assert_eq!(
        told(&|fleet| fleet
            .scheduler
            .filters
            .retain(|name| name != "NUMATopologyFilter")),
        [
            "flavor.small or its image asks for NUMA cells, which NUMATopologyFilter alone looks at, and that is not \
          configured"
        ]
    );
    assert_eq!(
        told(&|fleet| specs(fleet, "hw:numa_nodes", "none")),
        ["flavor.small: hw:numa_nodes = \"none\" cannot be used: it must be a number from 1 to 64"]
    );
    assert_eq!(
        told(&|fleet| {
            specs(fleet, "hw:numa_nodes", "secret");
            for server in fleet.servers.values_mut() {
                server.spec.sensitive.insert("extra_specs".to_owned());
            }
        }),
        ["flavor.small asks for NUMA cells or devices in a way that cannot be, which is sensitive"]
    );
    let looks = |fleet: &mut DesiredFleet| fleet.scheduler.filters.push("PciPassthroughFilter".to_owned());
    assert_eq!(
        told(&|fleet| {
            specs(fleet, "pci_passthrough:alias", "gpu");
            looks(fleet);
        }),
        ["flavor.small asks for the PCI device \"gpu\", and no alias has that name"]
    );
    assert_eq!(
        told(&|fleet| {
            specs(fleet, "pci_passthrough:alias", "gpu");
            let kind = PciKind::default();
            fleet.scheduler.pci_aliases.insert("gpu".to_owned(), vec![kind]);
        }),
        [
            "flavor.small asks for PCI devices (pci_passthrough:alias), which PciPassthroughFilter alone looks at, and \
             that is not configured"
        ]
    );
    assert_eq!(
        told(&|fleet| {
            specs(fleet, "pci_passthrough:alias", "secret");
            looks(fleet);
            for server in fleet.servers.values_mut() {
                server.spec.sensitive.insert("extra_specs".to_owned());
            }
        }),
        ["flavor.small asks for a PCI device that no alias names, which is sensitive"]
    );
    assert_eq!(told(&|fleet| looks(fleet)), Vec::<String>::new());
    let plain = inventory("n1");
    assert_eq!(plain.facts.cells, [], "hosts of other tests report none");
}

/// Two processors are left on n1, each in a cell of its own: the server that needs two in one cell gets there once one
/// of those that are there has gone.
#[test]
fn others_make_room_in_a_cell_where_the_host_as_a_whole_has_enough() {
    let mut fleet = pinned(&[("n1", 4), ("n2", 1), ("n3", 4)], &["n1_0", "n1_2", "n3_0"]).drains("n3");
    let cell = |id: u32| {
        let cpus: BTreeSet<u32> = (id * 2..id * 2 + 2).collect();
        NumaCell {
            id,
            dedicated_cpus: cpus.clone(),
            cpus,
            memory_mib: 4096,
            ..NumaCell::default()
        }
    };
    fleet.inventory("n1").facts.cells = vec![cell(0), cell(1)];
    let pair = address("server.n3_0");
    for spec in [
        &mut fleet.desired.servers.get_mut(&pair).expect("declared").spec,
        &mut fleet.recorded.servers.get_mut(&pair).expect("recorded").spec,
    ] {
        spec.size.vcpus = 2;
    }
    let seat = |cell: u32, cpus: &[u32]| CellUse {
        cell,
        pinned: cpus.iter().copied().collect(),
        ..taken(0)
    };
    for (host, server, seat) in [
        ("n1", "server.n1_2", seat(1, &[2])),
        ("n3", "server.n3_0", seat(0, &[0, 1])),
    ] {
        let id = ServerId::derive(lineage(), &address(server), 1).uuid();
        let domains = &mut fleet.inventory(host).domains;
        domains.get_mut(&id).expect("it is seated").cells = vec![seat];
    }
    let plan = fleet.plan();
    assert_eq!(plan.blocked, []);
    let moves: Vec<String> = (plan.actions.iter())
        .filter_map(|action| match &action.kind {
            ActionKind::Migrate { to, .. } => Some(format!("{} to {to}", action.address)),
            _ => None,
        })
        .collect();
    assert_eq!(moves, ["server.n1_0 to n2", "server.n3_0 to n1"]);
}
