//! Moves that need others to go first, with the real binary and real agents.

use crate::fake_hosts::Fleet;

fn servers(sizes: &[(&str, u64)]) -> String {
    let blocks = sizes.iter().map(|(name, mib)| {
        format!(
            "flavor \"{name}\" {{\n  vcpus = 1\n  ram   = \"{mib}MiB\"\n  disk  = \"8MiB\"\n}}\nserver \"{name}\" \
             {{\n  flavor = flavor.{name}\n  image  = image.guest\n  power  = \"off\"\n}}\n"
        )
    });
    blocks.collect()
}

fn drained(fleet: &Fleet, hosts: &[&str]) -> String {
    let mut base = fleet.base();
    for host in hosts {
        base = base.replacen(
            &format!("host \"{host}\" {{\n"),
            &format!("host \"{host}\" {{\n  state   = \"drain\"\n"),
            1,
        );
    }
    base
}

/// n1 holds 4,096 MiB, n2 3,072 and n3 2,560 of 6,144 each: n1 is emptied once n3's server has gone to n2.
fn crowded() -> Fleet {
    let fleet = Fleet::start(&[4096, 4096, 4096]);
    // In this order each goes to a host of its own.
    fleet.write(
        "servers.hcl",
        &servers(&[("a-big", 4096), ("b-mid", 3072), ("c-low", 2560)]),
    );
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    for (server, host) in [("a-big", "n1"), ("b-mid", "n2"), ("c-low", "n3")] {
        let record = fleet
            .drover(&["state", "show", &format!("server.{server}"), "--json"])
            .exits(0)
            .json();
        assert_eq!(record["host"], host, "{server}");
    }
    fleet
}

#[test]
fn a_drain_makes_room_first_and_leaves_nothing_to_do() {
    let fleet = crowded();
    fleet.write("drover.hcl", &drained(&fleet, &["n1"]));
    let plan = fleet
        .drover(&["plan"])
        .exits(0)
        .says("server.c-low will be migrated to n2")
        .says("server.a-big needs its room on n3")
        .says("server.a-big will be migrated to n3")
        .says("once server.c-low has moved");
    plan.says("2 to migrate");
    fleet
        .drover(&["apply", "--auto-approve"])
        .exits(0)
        .says("2 migrated");
    fleet.drover(&["plan"]).exits(0).says("No changes.");
    let hosts = fleet.drover(&["server", "list"]).exits(0);
    assert!(!hosts.stdout.contains("n1"), "{}", hosts.text());
}

#[test]
fn what_cannot_be_emptied_keeps_everything_and_says_why() {
    let fleet = crowded();
    fleet.write("drover.hcl", &drained(&fleet, &["n1", "n2"]));
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("cannot be migrated")
        .says("RamFilter");
}
