//! Servers that ask for NUMA cells, on hosts with two cells of two processors each.

use crate::fake_hosts::{FakeHost, Fleet};
use drover_agent::hypervisor::{DomainReport, DomainState, Hypervisor as _};
use drover_agent_core::domain::{Attribute, read_back};
use drover_agent_core::inventory::CpuSets;
use drover_types::{PowerState, ServerId};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Servers of two dedicated processors each.
fn pinned(count: usize) -> String {
    format!(
        r#"
flavor "pinned" {{
  vcpus       = 2
  ram         = "512MiB"
  disk        = "8MiB"
  extra_specs = {{ "hw:cpu_policy" = "dedicated" }}
}}
server "db" {{
  count  = {count}
  flavor = flavor.pinned
  image  = image.guest
}}
"#
    )
}

/// The definitions of all servers on a host.
fn definitions(host: &FakeHost) -> Vec<BTreeMap<Attribute, String>> {
    let domains = host.hypervisor.all().into_iter();
    let servers = domains.filter(|domain| domain.name.starts_with("drover-"));
    servers
        .map(|domain| {
            let xml = domain.persistent_xml.expect("it is defined");
            read_back(&xml).expect("a domain's XML")
        })
        .collect()
}

/// The host's processors that virtual ones are pinned to.
fn pins(definition: &BTreeMap<Attribute, String>) -> Vec<String> {
    let pins = definition.iter();
    pins.filter(|(attribute, _)| matches!(attribute, Attribute::VcpuPin(_)))
        .map(|(_, cpu)| cpu.clone())
        .collect()
}

fn is_settled(fleet: &Fleet) {
    fleet
        .drover(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("No changes.");
}

/// A domain of somebody else.
pub(crate) fn foreign(xml: &str) -> DomainReport {
    DomainReport {
        uuid: Uuid::from_u128(7),
        name: "legacy".to_owned(),
        state: DomainState {
            power: PowerState::Running,
            reason: "booted",
        },
        persistent: true,
        vcpus: 4,
        memory_kib: 1 << 19,
        disk_sizes: BTreeMap::new(),
        live_xml: Some(xml.to_owned()),
        persistent_xml: Some(xml.to_owned()),
    }
}

const ON_ALL: &str = "<domain><vcpu>4</vcpu><cputune><vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='1' cpuset='1'/>\
    <vcpupin vcpu='2' cpuset='2'/><vcpupin vcpu='3' cpuset='3'/></cputune></domain>";

#[test]
fn pinned_servers_share_no_processor_and_what_does_not_fit_is_explained() {
    let fleet = Fleet::start_with_cells(&[4096, 4096]);
    fleet.write("db.hcl", &pinned(4));
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    for host in &fleet.hosts {
        let definitions = definitions(host);
        let all: Vec<String> = definitions.iter().flat_map(pins).collect();
        let distinct: BTreeSet<&String> = all.iter().collect();
        assert_eq!(
            (definitions.len(), all.len(), distinct.len()),
            (2, 4, 4),
            "{all:?}"
        );
        for definition in &definitions {
            assert_eq!(definition[&Attribute::CellCpus(0)], "0-1");
            assert_eq!(definition[&Attribute::CellMemoryKib(0)], "524288");
            let cell = if pins(definition) == ["0", "1"] {
                "strict 0"
            } else {
                "strict 1"
            };
            assert_eq!(definition[&Attribute::NumaNode(0)], cell);
        }
    }
    is_settled(&fleet);

    fleet.write("db.hcl", &pinned(5));
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("server.db[4] cannot be created")
        .says("n1 NUMATopologyFilter: no NUMA cell has 2 processors for it alone (at most 0 left)")
        .says("n2 NUMATopologyFilter:");
    fleet
        .drover(&["capacity", "--flavor", "flavor.pinned"])
        .exits(0)
        .says("NUMATopologyFilter");
    // One that leaves makes room for one that comes.
    fleet.write("db.hcl", &pinned(3));
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    fleet.write("db.hcl", &pinned(4));
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    is_settled(&fleet);
}

#[test]
fn a_host_that_has_no_room_any_more_gives_way_to_the_next() {
    let fleet = Fleet::start_with_cells(&[4096, 4096]);
    fleet.write("db.hcl", &pinned(1));
    fleet
        .drover(&["plan", "--out", "plan.bin"])
        .exits(0)
        .says("created on n1");
    fleet.hosts[0].hypervisor.put(foreign(ON_ALL));
    fleet.drover(&["apply", "plan.bin"]).exits(0);
    assert_eq!(definitions(&fleet.hosts[0]), []);
    assert_eq!(definitions(&fleet.hosts[1]).len(), 1);
    // The planner counts it from then on.
    fleet.write("db.hcl", &pinned(3));
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("n1 NUMATopologyFilter: no NUMA cell has 2 processors for it alone (at most 0 left)");
}

#[test]
fn a_server_keeps_its_place_until_it_asks_for_other_cells() {
    let fleet = Fleet::start_with_cells(&[4096]);
    let first = pinned(1)
        .replace("\"db\"", "\"first\"")
        .replace("  count  = 1\n", "");
    let first = &first[first.find("server").expect("a server")..];
    fleet.write("db.hcl", &format!("{first}{}", pinned(1)));
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let before: BTreeSet<Vec<String>> = definitions(&fleet.hosts[0]).iter().map(pins).collect();
    assert_eq!(before.len(), 2);
    // The first is gone: what is left neither moves over nor forgets its place when it is stopped and started.
    fleet.write("db.hcl", &pinned(1));
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let kept: Vec<Vec<String>> = definitions(&fleet.hosts[0]).iter().map(pins).collect();
    assert!(before.contains(&kept[0]), "{before:?} {kept:?}");
    for power in ["off", "on"] {
        let with = format!("  image  = image.guest\n  power  = \"{power}\"\n");
        fleet.write(
            "db.hcl",
            &pinned(1).replacen("  image  = image.guest\n", &with, 1),
        );
        fleet.drover(&["apply", "--auto-approve"]).exits(0);
        let now: Vec<Vec<String>> = definitions(&fleet.hosts[0]).iter().map(pins).collect();
        assert_eq!(now, kept);
    }
    let spread = pinned(1).replace(
        "\"hw:cpu_policy\" = \"dedicated\"",
        "\"hw:cpu_policy\" = \"dedicated\", \"hw:numa_nodes\" = \"2\"",
    );
    fleet.write("db.hcl", &spread);
    fleet
        .drover(&["plan"])
        .exits(0)
        .says("its NUMA cells changed")
        .says("reboots the guest");
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let definition = definitions(&fleet.hosts[0]).remove(0);
    let nodes = [0, 1].map(|cell| definition[&Attribute::NumaNode(cell)].clone());
    assert_eq!(nodes, ["strict 0", "strict 1"]);
    is_settled(&fleet);
    // And back to a server that does not care.
    let plain = pinned(1).replace("  extra_specs = { \"hw:cpu_policy\" = \"dedicated\" }\n", "");
    fleet.write("db.hcl", &plain);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    assert_eq!(pins(&definitions(&fleet.hosts[0])[0]), Vec::<String>::new());
    is_settled(&fleet);
}

#[test]
fn what_cannot_be_had_is_an_error_and_never_placed_as_if_it_were_not_asked() {
    let fleet = Fleet::start_with_cells(&[4096]);
    let asks = |specs: &str| {
        let block = pinned(1).replace("\"hw:cpu_policy\" = \"dedicated\"", specs);
        fleet.write("db.hcl", &block);
        fleet.drover(&["plan"]).exits(1)
    };
    asks("\"hw:numa_nodes\" = \"3\"")
        .says("flavor.pinned: hw:numa_nodes = \"3\" cannot be used: vCPUs and memory must be divisible by it")
        .says("correct the extra specs of the flavor");
    asks("\"hw:cpu_policy\" = \"mixed\"").says("it must be one of shared, dedicated");
    asks("\"hw:cpu_thread_policy\" = \"isolate\"").says("it needs hw:cpu_policy = \"dedicated\"");
    fleet.write("db.hcl", &pinned(1));
    fleet.write("drover.hcl", &fleet.base());
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("asks for NUMA cells, which NUMATopologyFilter alone looks at, and that is not configured")
        .says("add \"NUMATopologyFilter\" to filters in the scheduler block");
    // Hosts without cells take none that asks for them.
    let without = Fleet::start(&[4096]);
    without.write("drover.hcl", &without.base_with_cells());
    without.write("db.hcl", &pinned(1));
    without
        .drover(&["plan"])
        .exits(1)
        .says("n1 NUMATopologyFilter: wants NUMA cells, the host reports none");
}

#[test]
fn processors_are_divided_between_pinned_servers_and_all_others() {
    let mut fleet = Fleet::start_with_cells(&[4096]);
    let host = fleet.host_named("n1");
    host.stop();
    host.config.cpus = CpuSets {
        shared: Some("0".parse().expect("a set")),
        dedicated: Some("1-3".parse().expect("a set")),
    };
    host.start();
    let both = format!(
        "{}server \"plain\" {{\n  flavor = flavor.small\n  image  = image.guest\n}}\n",
        pinned(1)
    );
    fleet.write("db.hcl", &both);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let definitions = definitions(&fleet.hosts[0]);
    let (plain, pinned): (Vec<_>, Vec<_>) = definitions
        .into_iter()
        .partition(|definition| pins(definition).is_empty());
    assert_eq!(plain[0][&Attribute::Cpuset], "0");
    // The only cell with two processors to pin to.
    assert_eq!(pins(&pinned[0]), ["2", "3"]);
    is_settled(&fleet);

    let host = fleet.host_named("n1");
    host.stop();
    host.config.cpus.dedicated = Some("1-4".parse().expect("a set"));
    host.start();
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("dedicated in the cpus block names processors that this host does not have: 4");
}

/// One of four processors is its own: it gets it again with its domain, so that one pair is left for others.
#[test]
fn the_processors_of_an_imported_server_are_nobody_elses_while_its_domain_is_lost() {
    let fleet = Fleet::start_with_cells(&[4096]);
    let mut domain = crate::imports::domain("legacy", crate::imports::ID);
    let pins = "<vcpu>1</vcpu>\n  <cputune><vcpupin vcpu='0' cpuset='3'/></cputune>";
    for xml in [&mut domain.live_xml, &mut domain.persistent_xml] {
        *xml = xml.as_ref().map(|xml| xml.replace("<vcpu>1</vcpu>", pins));
    }
    let host = &fleet.hosts[0].hypervisor;
    host.put(domain);
    let old = [crate::imports::SERVER, crate::imports::IMPORT].concat();
    fleet.write("old.hcl", &old);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let server = ServerId::from_uuid(crate::imports::ID);
    host.end(server).expect("it ends");
    host.undefine(server).expect("it goes");
    fleet.write("db.hcl", &pinned(2));
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("server.db[1] cannot be created")
        .says("NUMATopologyFilter");
    fleet.write("db.hcl", &pinned(1));
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let definition = host.definition(server).expect("an answer");
    let definition = definition.expect("it is defined");
    assert!(definition.contains("cpuset='3'"), "{definition}");
}
