//! `data` blocks against a real store: what one project applied, another one reads.

use crate::fake_hosts::Fleet;
use crate::run::finish;
use crate::schemas::{fits, schema};
use serde_json::json;

#[test]
fn a_project_reads_what_another_one_recorded() {
    let fleet = Fleet::start(&[4096]);
    fleet.write(
        "servers.hcl",
        "server \"db\" {\n  flavor = flavor.small\n  image  = image.guest\n  labels = { role = \"db\" }\n}\n",
    );
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let own = fleet
        .base()
        .replace("fleet = \"test\"", "fleet = \"test\"\n  project = \"shop\"");
    fleet.write("drover.hcl", &own);
    let blocks = r#"
data "server" "db" { project = "default" }
data "servers" "dbs" {
  project = "default"
  labels  = { role = "db" }
}
data "host" "n1" { project = "default" }
server "web" {
  flavor = flavor.small
  image  = image.guest
  labels = { database = data.server.db.name, at = data.server.db.host }
}
output "found" { value = [data.server.db.host, data.host.n1.state, data.servers.dbs.addresses] }
"#;
    fleet.write("servers.hcl", blocks);
    fleet.drover(&["validate"]).exits(0);
    fleet
        .drover(&["plan"])
        .exits(0)
        .says("database = \"db\"")
        .says("at       = \"n1\"");
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let found = fleet.drover(&["output", "--json", "found"]).exits(0);
    let compact: String = found.stdout.split_whitespace().collect();
    assert!(
        compact.contains(r#"["n1","active",["server.db"]]"#),
        "{}",
        found.text()
    );
    fleet.write(
        "servers.hcl",
        &blocks.replacen("project = \"default\"", "project = \"defualt\"", 1),
    );
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("The store holds nothing of a project defualt")
        .says("did you mean \"default\"?")
        .says("--> servers.hcl:2:");
}

#[test]
fn a_check_that_finds_nothing_is_a_warning_of_the_plan_and_in_its_list() {
    let fleet = Fleet::start(&[4096]);
    let check = r#"
check "database" {
  data "server" "db" { project = "default" }
  assert {
    condition     = data.server.db.power == "on"
    error_message = "The database is off."
  }
}
"#;
    fleet.write("check.hcl", check);
    fleet.drover(&["validate"]).exits(0);
    let checks = || {
        fleet.drover(&["plan", "--out", "plan.bin"]).exits(0);
        let plan = finish(fleet.command(&["show", "--json", "plan.bin"]))
            .exits(0)
            .json();
        std::fs::remove_file(fleet.project().join("plan.bin")).expect("written");
        fits(&schema("plan.schema.json"), &plan);
        plan["checks"].clone()
    };
    let plan = fleet.drover(&["plan"]).exits(0);
    plan.says("warning: Nothing found")
        .says("in check \"database\", data \"server\" \"db\"")
        .says("The store records no server.db in the project default.");
    let failed = checks();
    assert_eq!(failed[0]["status"], "fail");
    assert_eq!(
        failed[0]["instances"][0]["problems"],
        json!([{ "message": "The store records no server.db in the project default." }])
    );
    fleet.write(
        "servers.hcl",
        "server \"db\" {\n  flavor = flavor.small\n  image  = image.guest\n}\n",
    );
    let applied = fleet.drover(&["apply", "--auto-approve"]).exits(0);
    applied
        .says("warning: Nothing found")
        .says("Apply complete! 1 created");
    fleet.drover(&["plan"]).exits(0).says_nothing_of("warning");
    assert_eq!(checks()[0]["status"], "pass");
}
