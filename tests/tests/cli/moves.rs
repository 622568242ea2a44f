//! `moved` and `removed` blocks: what keeps its identity under another address, and what is forgotten.

use crate::fake_hosts::Fleet;
use crate::run::finish;
use drover_types::PowerState;

const SERVERS: &str = r#"
server "a" {
  flavor = flavor.small
  image  = image.guest
}
server "b" {
  flavor = flavor.small
  image  = image.guest
}
"#;

fn applied() -> Fleet {
    let fleet = Fleet::start(&[4096, 3072]);
    fleet.write("web.hcl", SERVERS);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    fleet
}

fn record(fleet: &Fleet, address: &str) -> serde_json::Value {
    finish(fleet.command(&["state", "show", address, "--json"]))
        .exits(0)
        .json()
}

fn is_settled(fleet: &Fleet) {
    fleet
        .drover(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("No changes.");
}

/// How often each guest was started, by what its console says.
fn boots(fleet: &Fleet) -> usize {
    let mut boots = 0;
    for host in &fleet.hosts {
        let servers = host.config.data_dir.join("servers");
        for entry in std::fs::read_dir(servers).into_iter().flatten() {
            let console = entry.expect("an entry").path().join("console.log");
            boots += std::fs::read_to_string(console)
                .expect("a console")
                .lines()
                .count();
        }
    }
    boots
}

#[test]
fn a_moved_server_keeps_its_id_and_host_and_is_not_restarted() {
    let fleet = applied();
    let (before, booted) = (record(&fleet, "server.a"), boots(&fleet));
    let renamed = SERVERS.replace("\"a\"", "\"c\"");
    let moved = "moved {\n  from = server.a\n  to   = server.c\n}\n";
    fleet.write("web.hcl", &format!("{renamed}{moved}"));
    insta::assert_snapshot!(fleet.drover(&["plan"]).text());
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let after = record(&fleet, "server.c");
    assert_eq!((&before["id"], &before["host"]), (&after["id"], &after["host"]));
    assert_eq!(boots(&fleet), booted);
    fleet.drover(&["state", "show", "server.a"]).exits(1);
    is_settled(&fleet);
    fleet.write("web.hcl", &renamed);
    is_settled(&fleet);
}

#[test]
fn count_comes_and_goes_without_a_new_server() {
    let fleet = applied();
    let before = record(&fleet, "server.a");
    let counted = SERVERS.replacen("  flavor", "  count  = 2\n  flavor", 1);
    fleet.write("web.hcl", &counted);
    let plan = fleet.drover(&["plan"]).exits(0);
    plan.says("server.a is server.a[0] now")
        .says("1 to create")
        .says("0 to destroy");
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    assert_eq!(record(&fleet, "server.a[0]")["id"], before["id"]);
    is_settled(&fleet);
    fleet.write("web.hcl", SERVERS);
    fleet
        .drover(&["apply", "--auto-approve"])
        .exits(0)
        .says("1 destroyed");
    assert_eq!(record(&fleet, "server.a")["id"], before["id"]);
    is_settled(&fleet);
}

#[test]
fn moves_that_cannot_be_are_errors() {
    let fleet = applied();
    let moved = |blocks: &str| {
        fleet.write("web.hcl", &format!("{SERVERS}{blocks}"));
        fleet.drover(&["plan"]).exits(1).text()
    };
    let all = [
        moved("moved {\n  from = server.a\n  to   = server.b\n}\n"),
        moved(
            "moved {\n  from = server.x\n  to   = server.y\n}\nmoved {\n  from = server.y\n  to   = server.x\n}\n",
        ),
        moved(
            "moved {\n  from = server.a\n  to   = image.guest\n}\nmoved {\n  from = \"server.a\"\n  to   = server.a[count.index]\n}\n",
        ),
        moved(
            "removed {\n  from = server.a\n}\nremoved {\n  from = module.m\n  lifecycle {\n    destroy = var.x\n  }\n}\n",
        ),
    ];
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn a_removed_server_is_forgotten_and_its_guest_runs_on() {
    let fleet = applied();
    let without = SERVERS.replacen(
        "server \"a\" {\n  flavor = flavor.small\n  image  = image.guest\n}\n",
        "",
        1,
    );
    let removed = "removed {\n  from = server.a\n  lifecycle {\n    destroy = false\n  }\n}\n";
    fleet.write("web.hcl", &format!("{without}{removed}"));
    insta::assert_snapshot!(fleet.drover(&["plan"]).text());
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    fleet.drover(&["state", "show", "server.a"]).exits(1);
    let domains: Vec<_> = fleet
        .hosts
        .iter()
        .flat_map(|host| host.hypervisor.all())
        .collect();
    assert_eq!(domains.len(), 2);
    assert!(
        domains
            .iter()
            .all(|domain| domain.state.power == PowerState::Running)
    );
    let marked = domains.iter().filter(|domain| {
        let xml = domain.live_xml.as_deref().unwrap_or_default();
        xml.contains("<drover:server")
    });
    assert_eq!(marked.count(), 1);
    is_settled(&fleet);
    fleet.write("web.hcl", &without);
    is_settled(&fleet);
    // Its disk stands on the image, which the host keeps.
    fleet.drover(&["destroy", "--auto-approve"]).exits(0);
    let left: usize = fleet.hosts.iter().map(|host| host.hypervisor.all().len()).sum();
    assert_eq!(left, 1);
}

const SHOP: &str = r#"
variable "flavor" {}
variable "image" {}
server "a" {
  flavor = var.flavor
  image  = var.image
}
server "b" {
  flavor = var.flavor
  image  = var.image
}
"#;

const SHOPS: &str = r#"
module "shop" {
  source   = "./shop"
  for_each = toset(["x", "y"])
  flavor   = flavor.small
  image    = image.guest
}
"#;

/// Blocks in a module speak of its own addresses, in each of its instances.
#[test]
fn modules_rename_and_forget_their_own_servers() {
    let fleet = Fleet::start(&[4096, 3072]);
    std::fs::create_dir(fleet.project().join("shop")).expect("made");
    fleet.write("shop/main.hcl", SHOP);
    fleet.write("shops.hcl", SHOPS);
    fleet
        .drover(&["apply", "--auto-approve"])
        .exits(0)
        .says("4 created");
    let before: Vec<_> = ["x", "y"]
        .iter()
        .map(|key| record(&fleet, &format!("module.shop[\"{key}\"].server.a"))["id"].clone())
        .collect();
    let domains =
        |fleet: &Fleet| -> usize { fleet.hosts.iter().map(|host| host.hypervisor.all().len()).sum() };
    let renamed = SHOP.replace("\"a\"", "\"front\"");
    let (kept, _) = renamed.split_once("server \"b\"").expect("there are two");
    fleet.write(
        "shop/main.hcl",
        &format!(
            "{kept}moved {{\n  from = server.a\n  to   = server.front\n}}\nremoved {{\n  from = server.b\n  \
             lifecycle {{\n    destroy = false\n  }}\n}}\n"
        ),
    );
    let plan = fleet.drover(&["plan"]).exits(0);
    plan.says("0 to create, 2 to update, 0 to destroy")
        .says("module.shop[\"x\"].server.a is module.shop[\"x\"].server.front now");
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let after: Vec<_> = ["x", "y"]
        .iter()
        .map(|key| record(&fleet, &format!("module.shop[\"{key}\"].server.front"))["id"].clone())
        .collect();
    assert_eq!(before, after);
    // What was forgotten runs on.
    assert_eq!(domains(&fleet), 4);
    // A mistake in the module is said once, with its own line, and with the module in its address.
    fleet.write(
        "shop/main.hcl",
        &format!(
            "{renamed}removed {{\n  from = server.b\n}}\nmoved {{\n  from = server.b\n  to   = image.b\n}}\n"
        ),
    );
    let wrong = fleet.drover(&["validate"]).exits(1);
    let said = wrong.text();
    assert_eq!(said.matches("Invalid moved block").count(), 1, "{said}");
    wrong
        .says("shop/main.hcl:")
        .says("module.shop.server.b is said to be removed, and it is still declared");
}
