//! `data` blocks against a real store: what one project applied, another one reads.

use crate::fake_hosts::Fleet;

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
