//! Modules through every command: their addresses are in plans, records and lists, and each finds its own files.

use crate::fake_hosts::Fleet;

const SHOP: &str = r#"
variable "flavor" {}
variable "image" {}
variable "servers" { type = number }
server "web" {
  count  = var.servers
  flavor = var.flavor
  image  = var.image
  labels = { motd = trimspace(file("${path.module}/motd.txt")) }
}
output "hosts" { value = server.web[*].host }
"#;

const CALLS: &str = r#"
module "shop" {
  source   = "./modules/shop"
  for_each = { eu = 1, us = 2 }
  flavor   = flavor.small
  image    = image.guest
  servers  = each.value
}
output "hosts" { value = { for region, shop in module.shop : region => shop.hosts } }
"#;

fn shop() -> Fleet {
    let fleet = Fleet::start(&[4096]);
    std::fs::create_dir_all(fleet.project().join("modules/shop")).expect("a directory");
    fleet.write("modules/shop/main.hcl", SHOP);
    fleet.write("modules/shop/motd.txt", "hello\n");
    fleet.write("calls.hcl", CALLS);
    fleet
}

#[test]
fn a_fleet_of_modules_is_planned_applied_and_destroyed() {
    let fleet = shop();
    fleet.drover(&["validate"]).exits(0);
    fleet
        .drover(&["plan"])
        .exits(0)
        .says("# module.shop[\"eu\"].server.web[0] will be created on n1")
        .says("motd = \"hello\"")
        .says("Plan: 3 to create");
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let listed = fleet.drover(&["state", "list"]).exits(0);
    for address in [
        "module.shop[\"eu\"].server.web[0]",
        "module.shop[\"us\"].server.web[0]",
        "module.shop[\"us\"].server.web[1]",
    ] {
        assert!(
            listed.stdout.lines().any(|line| line.trim() == address),
            "{}",
            listed.text()
        );
        fleet.drover(&["state", "show", address]).exits(0).says(address);
    }
    fleet
        .drover(&["output", "--json", "hosts"])
        .exits(0)
        .says("\"eu\"")
        .says("\"n1\"");
    fleet
        .drover(&["server", "show", "module.shop[\"us\"].server.web[1]"])
        .exits(0)
        .says("shop-us-web-1");
    fleet
        .drover(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("No changes.");
    fleet
        .drover(&[
            "destroy",
            "--auto-approve",
            "--target",
            "module.shop[\"us\"].server.web",
        ])
        .exits(0);
    assert_eq!(fleet.hosts[0].hypervisor.all().len(), 1);
    fleet.drover(&["destroy", "--auto-approve"]).exits(0);
    assert!(fleet.hosts[0].hypervisor.all().is_empty());
}

#[test]
fn a_mistake_in_a_module_is_shown_in_its_own_file() {
    let fleet = shop();
    fleet.write(
        "modules/shop/main.hcl",
        &SHOP.replace("flavor = var.flavor", "flavor = var.flavour"),
    );
    fleet
        .drover(&["validate"])
        .exits(1)
        .says("--> modules/shop/main.hcl:7:12")
        .says("did you mean \"flavor\"?");
    fleet.write("modules/shop/main.hcl", "variable \"flavor\" {\n");
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("--> modules/shop/main.hcl:1:20");
    std::fs::remove_dir_all(fleet.project().join("modules/shop")).expect("a directory");
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("--> calls.hcl:3:14")
        .says("there is no folder \"modules/shop\"");
}

/// Modules are often shared by several configurations, beside them.
#[test]
fn a_module_may_lie_beside_the_configuration() {
    let fleet = shop();
    let shared = fleet.project().join("../shared");
    std::fs::rename(fleet.project().join("modules/shop"), &shared).expect("a directory");
    fleet.write("calls.hcl", &CALLS.replace("./modules/shop", "../shared"));
    fleet.drover(&["plan"]).exits(0).says("motd = \"hello\"");
    std::fs::write(
        shared.join("main.hcl"),
        SHOP.replace("${path.module}/motd.txt", "drover.hcl"),
    )
    .expect("a file");
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("the folder of this module, which can read only its own");
}
