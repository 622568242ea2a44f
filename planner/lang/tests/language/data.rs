//! `data` blocks: what the store records, of this project and of others.

use crate::support::{BASE, Outcome, inputs, load, new_store, validate};
use drover_core::plan::{Check, CheckStatus};
use drover_core::record::{Entry, Layout, Records};
use drover_lang::config::{Identities, Scope, VariableSource, resolve_placed};
use drover_lang::functions::NoFiles;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::Arc;

fn host(address: &str, zone: &str, ssd: &str) -> Json {
    json!({
        "format": 1, "generation": 1,
        "spec": { "address": address, "availability_zone": zone, "labels": { "ssd": ssd }, "state": "active" },
    })
}

fn server(name: &str, host: &str, role: &str) -> Json {
    json!({
        "format": 1, "generation": 1, "incarnation": 1, "id": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "host": host, "vm_state": "active",
        "spec": {
            "name": name, "flavor": "flavor.small", "power": "on", "labels": { "role": role },
            "size": { "vcpus": 2, "ram": "512MiB", "disk": "10GiB" },
            "image": {
                "address": "image.debian",
                "checksum": "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            },
        },
    })
}

/// A store with two projects.
fn records() -> Records {
    let layout = |project: &str| {
        let fleet = "prod".parse().expect("a name");
        Layout::new(&fleet, &project.parse().expect("a name"))
    };
    let (own, other) = (layout("default"), layout("network"));
    let address = |text: &str| text.parse().expect("an address");
    let host_name = |text: &str| text.parse().expect("a name");
    let image = json!({
        "format": 1, "generation": 1,
        "spec": {
            "source": "https://images.example/debian-12.qcow2",
            "checksum": "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        },
    });
    let entries = [
        (
            own.host(&host_name("n1")),
            host("n1.example:7443", "rack-1", "true"),
        ),
        (
            own.host(&host_name("n2")),
            host("n2.example:7443", "rack-2", "false"),
        ),
        (
            own.host(&host_name("n3")),
            host("n3.example:7443", "rack-2", "true"),
        ),
        (own.resource(&address("image.debian")), image),
        (
            own.resource(&address("server.web[0]")),
            server("web-0", "n1", "web"),
        ),
        (
            own.resource(&address("server.web[1]")),
            server("web-1", "n2", "web"),
        ),
        (own.resource(&address("server.db")), server("db", "n2", "db")),
        (
            other.resource(&address("server.gateway")),
            server("gateway", "n9", "net"),
        ),
    ];
    Records {
        fleet: "prod".parse().expect("a name"),
        revision: 7,
        entries: entries
            .into_iter()
            .map(|(key, value)| Entry {
                key,
                value: value.to_string().into_bytes(),
                mod_revision: 1,
            })
            .collect(),
    }
}

/// A store that was read, with these records.
fn read() -> Identities {
    match new_store() {
        Identities::Read {
            lineage,
            servers,
            created,
            succeeded,
            ..
        } => Identities::Read {
            lineage,
            servers,
            created,
            succeeded,
            records: Some(Arc::new(records())),
        },
        Identities::Unread => Identities::Unread,
    }
}

fn plan(text: &str) -> Outcome {
    plan_with(text, &[])
}

fn plan_with(text: &str, variables: &[VariableSource]) -> Outcome {
    load(
        &[("main.hcl", &format!("{BASE}{text}"))],
        &inputs(variables, read()),
    )
}

/// What the conditions came to once hosts are known.
fn checks(outcome: &Outcome) -> Vec<Check> {
    let evaluated = outcome
        .evaluated
        .as_ref()
        .unwrap_or_else(|| panic!("{}", outcome.rendered));
    resolve_placed(evaluated, &BTreeMap::new(), &NoFiles).checks
}

fn value(outcome: &Outcome, name: &str) -> Json {
    assert_eq!(outcome.rendered, "");
    let evaluated = outcome.evaluated.as_ref().expect("no errors");
    evaluated.outputs[name].to_json().expect("known")
}

const BLOCKS: &str = r#"
data "host" "n1" {}
data "host" "spare" { name = "n3" }
data "image" "debian" {}
data "server" "db" {}
data "server" "web" {
  count   = 2
  address = "server.web[${count.index}]"
}
data "server" "gateway" { project = "network" }
data "hosts" "ssd" { labels = { ssd = "true" } }
data "hosts" "rack2" { availability_zone = "rack-2" }
data "servers" "web" { labels = { role = "web" } }
data "servers" "there" { host = "n2" }

server "beside" {
  for_each          = data.hosts.ssd.hosts
  flavor            = flavor.small
  image             = image.debian
  availability_zone = each.value.availability_zone
  labels            = { gateway = data.server.gateway.host, peers = join(",", data.server.web[*].name) }
}
output "all" {
  value = [
    data.host.n1.address, data.host.spare.name, data.image.debian.source, data.server.db.host,
    data.server.db.vcpus, data.server.db.ram_bytes, data.server.db.flavor, data.server.db.group,
    data.hosts.ssd.names, data.hosts.rack2.names, data.servers.web.addresses,
    [for server in data.servers.there.servers : server.name], data.server.web[1].id,
  ]
}
"#;

#[test]
fn records_are_values_of_the_plan() {
    let outcome = plan(BLOCKS);
    assert_eq!(
        value(&outcome, "all"),
        json!([
            "n1.example:7443",
            "n3",
            "https://images.example/debian-12.qcow2",
            "n2",
            2,
            536_870_912,
            "flavor.small",
            null,
            ["n1", "n3"],
            ["n2", "n3"],
            ["server.web[0]", "server.web[1]"],
            ["db", "web-1"],
            "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
        ])
    );
    let desired = outcome.evaluated.expect("no errors").desired;
    let server = &desired.servers[&"server.beside[\"n3\"]".parse().expect("an address")];
    assert_eq!(server.spec.availability_zone.as_deref(), Some("rack-2"));
    assert_eq!(server.spec.labels["gateway"], "n9");
    assert_eq!(server.spec.labels["peers"], "web-0,web-1");
}

/// Without a store, blocks stand for what is not known; their attributes are checked all the same.
#[test]
fn files_alone_are_checked_without_records() {
    let outcome = validate(&format!("{BASE}{BLOCKS}"));
    assert_eq!(outcome.rendered, "");
    assert!(outcome.evaluated.is_some());
    let outcome = validate(&format!(
        "{BASE}data \"server\" \"db\" {{}}\noutput \"x\" {{ value = data.server.db.hots }}\n"
    ));
    insta::assert_snapshot!("attribute", outcome.rendered);
}

#[test]
fn mistakes() {
    insta::assert_snapshot!(
        "mistakes",
        plan(
            r#"
data "host" "n9" {}
data "host" "typo" { name = "n11" }
data "server" "web" {}
data "server" "far" {
  project = "netwrok"
  address = "server.gateway"
}
data "server" "wrong" { address = "image.debian" }
data "image" "labelled" { labels = { a = "b" } }
data "hosts" "state" { state = "lost" }
data "flavor" "small" {}
data "server" {}
data "host" "n9" { nme = "x" }
output "a" { value = data.host.none.address }
output "b" { value = data.hots.n1 }
output "c" { value = data.host }
server "x" {
  flavor = flavor.small
  image  = data.image.labelled
}
data "host" "me" { name = data.host.me.name }
"#
        )
        .rendered
    );
}

/// As in `drover test`.
#[test]
fn a_plan_without_a_store_says_that_there_are_no_records() {
    let text = format!("{BASE}data \"host\" \"n1\" {{}}\n");
    let outcome = load(&[("main.hcl", &text)], &inputs(&[], new_store()));
    insta::assert_snapshot!("no_records", outcome.rendered);
}

#[test]
fn a_server_cannot_use_a_record_as_an_image() {
    insta::assert_snapshot!(
        "record_as_image",
        plan(
            "data \"image\" \"debian\" {}\nserver \"x\" {\n  flavor = flavor.small\n  image = data.image.debian\n}\n"
        )
        .rendered
    );
}

#[test]
fn what_is_read_has_conditions_too() {
    let block = |condition: &str| {
        format!(
            r#"
data "host" "n2" {{
  count = 1
  lifecycle {{
    precondition {{
      condition     = drover.fleet == "prod"
      error_message = "not here"
    }}
    postcondition {{
      condition     = {condition}
      error_message = "${{self.name}} is in ${{self.availability_zone}}"
    }}
  }}
}}
"#
        )
    };
    let good = plan(&block("self.availability_zone == \"rack-2\""));
    assert_eq!(good.rendered, "");
    let checks = checks(&good);
    let [check] = &checks[..] else {
        panic!("{checks:?}")
    };
    assert_eq!(check.address, "data.host.n2");
    let bad = plan(&block("self.availability_zone == \"rack-1\""));
    assert!(bad.evaluated.is_none());
    for said in [
        "error: Resource postcondition failed",
        "n2 is in rack-2",
        "It does not hold for data.host.n2[0].",
    ] {
        assert!(bad.rendered.contains(said), "{said}: {}", bad.rendered);
    }
}

const CHECK: &str = r#"
check "gateway" {
  data "server" "gateway" {
    project = "network"
  }
  assert {
    condition     = data.server.gateway.host == "n9"
    error_message = "the gateway is on ${data.server.gateway.host}"
  }
  assert {
    condition     = drover.fleet == "test"
    error_message = "this is no test"
  }
}
"#;

#[test]
fn a_check_reads_what_its_own_asserts_are_about() {
    let outcome = plan(CHECK);
    let all = checks(&outcome);
    let [check] = &all[..] else { panic!("{all:?}") };
    assert_eq!(
        (check.address.as_str(), check.status()),
        ("check.gateway", CheckStatus::Fail)
    );
    assert_eq!(check.instances[0].problems, ["this is no test"]);
    assert_eq!(outcome.rendered.matches("warning: ").count(), 1);
    let moved = plan(&CHECK.replace("\"n9\"", "\"n1\""));
    assert!(
        moved.rendered.contains("the gateway is on n9"),
        "{}",
        moved.rendered
    );
}

#[test]
fn a_check_that_finds_nothing_fails_with_a_warning_and_nothing_stops() {
    let outcome = plan(&CHECK.replace("gateway", "gatewy"));
    insta::assert_snapshot!("not_found_in_a_check", outcome.rendered);
    let all = checks(&outcome);
    let [check] = &all[..] else { panic!("{all:?}") };
    assert_eq!(check.status(), CheckStatus::Fail);
    assert_eq!(
        check.instances[0].problems,
        [
            "The store records no server.gatewy in the project network.",
            "this is no test"
        ]
    );
    // One whose asserts all hold, or ask for nothing of it, fails too; so does one without a project to ask.
    for (project, problem) in [
        (
            "network",
            "The store records no server.web[7] in the project network.",
        ),
        (
            "netwrk",
            "The store holds nothing of a project netwrk. There are network.",
        ),
    ] {
        let outcome = plan(&format!(
            r#"
check "there" {{
  data "server" "web" {{
    project = "{project}"
    address = "server.web[7]"
  }}
  assert {{
    condition     = true
    error_message = "never so"
  }}
}}
"#
        ));
        let all = checks(&outcome);
        assert_eq!(all[0].instances[0].problems, [problem]);
        assert_eq!(all[0].status(), CheckStatus::Fail);
        assert!(outcome.rendered.starts_with("warning: "), "{}", outcome.rendered);
    }
}

#[test]
fn what_a_check_asks_for_is_not_told_where_it_is_sensitive() {
    let text = r#"
variable "name" {
  sensitive = true
}
check "there" {
  data "host" "one" { name = var.name }
  assert {
    condition     = data.host.one.state == "active"
    error_message = "not active"
  }
}
"#;
    let given = VariableSource::Argument {
        text: "name=n11".to_owned(),
    };
    let outcome = plan_with(text, &[given]);
    assert!(
        outcome.rendered.starts_with("warning: Nothing found"),
        "{}",
        outcome.rendered
    );
    let told = format!("{}{:?}", outcome.rendered, checks(&outcome));
    assert!(!told.contains("n1"), "{told}");
}

/// As in `drover validate`, and in `drover test`, where there is no store to ask.
#[test]
fn a_check_whose_data_was_not_read_is_open() {
    let text = format!("{BASE}{}", CHECK.replace("\"test\"", "\"prod\""));
    for identities in [Identities::Unread, new_store()] {
        let outcome = load(&[("main.hcl", &text)], &inputs(&[], identities));
        assert_eq!(outcome.rendered, "");
        assert_eq!(checks(&outcome)[0].status(), CheckStatus::Unknown);
    }
}

#[test]
fn each_instance_of_a_module_has_its_own_finding() {
    let shop = r#"
variable "host" {}
check "there" {
  data "host" "own" { name = var.host }
  assert {
    condition     = data.host.own.availability_zone == "rack-1"
    error_message = "${var.host} is in ${data.host.own.availability_zone}"
  }
}
"#;
    let main = format!(
        "{BASE}module \"shop\" {{\n  source = \"./shop\"\n  for_each = toset([\"n1\", \"n2\", \"n4\"])\n  host = each.key\n}}\n"
    );
    let outcome = load(
        &[("main.hcl", &main), ("shop/main.hcl", shop)],
        &inputs(&[], read()),
    );
    let all = checks(&outcome);
    let [check] = &all[..] else { panic!("{all:?}") };
    assert_eq!(check.address, "module.shop.check.there");
    let instances = check.instances.iter();
    let found: Vec<(&str, CheckStatus, &[String])> = instances
        .map(|one| (one.address.as_str(), one.status, &one.problems[..]))
        .collect();
    assert_eq!(
        found,
        [
            ("module.shop[\"n1\"].check.there", CheckStatus::Pass, &[][..]),
            (
                "module.shop[\"n2\"].check.there",
                CheckStatus::Fail,
                &["n2 is in rack-2".to_owned()][..]
            ),
            (
                "module.shop[\"n4\"].check.there",
                CheckStatus::Fail,
                &["The store records no host n4 in the project default.".to_owned()][..]
            ),
        ]
    );
}

#[test]
fn data_in_a_check_is_known_there_alone() {
    insta::assert_snapshot!(
        "scoped_mistakes",
        plan(
            r#"
data "host" "n2" {}
check "one" {
  data "host" "n1" {}
  assert {
    condition     = data.host.n1.state == "active" && data.host.n2.state == "active"
    error_message = "not active"
  }
}
check "other" {
  data "host" "n2" {
    count = 2
    lifecycle {
      postcondition {
        condition     = true
        error_message = "x"
      }
    }
  }
  data "host" "n3" {
    for_each = toset(["a"])
  }
  assert {
    condition     = data.host.n1.state == "active"
    error_message = "not active"
  }
}
check "itself" {
  data "host" "self" { name = data.host.self.name }
  assert {
    condition     = data.host.selv.state == "active"
    error_message = "not active"
  }
}
output "outside" { value = data.host.n1.address }
locals { typo = data.host.n0 }
server "x" {
  flavor = flavor.small
  image  = image.debian
  data "host" "n1" {}
}
"#
        )
        .rendered
    );
    let outcome = plan(&CHECK.replace("gateway", "gate"));
    let evaluated = outcome.evaluated.expect("no errors");
    let (scope, ..) = Scope::of(&evaluated, &BTreeMap::new(), &NoFiles);
    let answer = scope.answer("data.server.gate.host", &NoFiles);
    assert_eq!(answer.text, None);
    let said = answer.found.to_json(&answer.sources);
    assert_eq!(said[0].summary, "Reference to scoped data");
}
