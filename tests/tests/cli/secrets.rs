//! What is sensitive never comes back in clear, by whatever way out, except where it is asked for by name.

use crate::fake_hosts::Fleet;
use crate::run::Ran;
use drover_types::PowerState;

/// In every sensitive value of these tests, and nowhere else.
const SECRET: &str = "s3cr3t";

const SECRETS: &str = r#"
variable "zone" {
  type      = string
  sensitive = true
  default   = "zone-s3cr3t"
}
variable "label" {
  type      = string
  sensitive = true
  default   = "label-s3cr3t"
}
output "secret" {
  value     = var.label
  sensitive = true
}
"#;

/// A server that fits on `n1`, whose zone, labels and flavor are sensitive.
const SERVER: &str = r#"
flavor "hidden" {
  vcpus       = 1
  ram         = "512MiB"
  disk        = "8MiB"
  extra_specs = { "capabilities:rack" = var.label }
}
server "web" {
  flavor            = flavor.hidden
  image             = image.guest
  availability_zone = var.zone
  labels            = { token = var.label }
}
"#;

/// Two hosts, the first in the secret zone and with the secret label.
fn fleet() -> Fleet {
    let fleet = Fleet::start(&[4096, 2048]);
    fleet.write("secrets.hcl", SECRETS);
    let base = fleet.base();
    let first = format!("host \"{}\" {{\n", fleet.hosts[0].name);
    assert!(base.contains(&first), "{base}");
    let zone =
        format!("{first}  availability_zone = var.zone\n  labels            = {{ rack = var.label }}\n");
    fleet.write("drover.hcl", &base.replace(&first, &zone));
    fleet.write("web.hcl", SERVER);
    fleet
}

#[track_caller]
fn keeps_quiet(ran: Ran) -> Ran {
    ran.says_nothing_of(SECRET)
}

/// Every way to look at a plan.
#[track_caller]
fn no_plan_tells(fleet: &Fleet, options: &[&str]) {
    for form in [
        &["--out", "plan.bin"][..],
        &["--explain"],
        &["--json"],
        &["--json", "--explain"],
        &["--markdown"],
        &["--full"],
        &["--compact-warnings", "--json-into", "events.jsonl"],
    ] {
        keeps_quiet(fleet.drover(&[&["plan"], options, form].concat()));
    }
    let events = std::fs::read_to_string(fleet.project().join("events.jsonl")).expect("events");
    assert!(!events.contains(SECRET), "{events}");
    for form in [&[][..], &["--json"], &["--markdown"], &["--full"]] {
        keeps_quiet(fleet.drover(&[&["show", "plan.bin"], form].concat()).exits(0));
    }
    keeps_quiet(fleet.drover(&["graph", "--plan", "plan.bin"]).exits(0));
}

#[test]
fn no_command_gives_back_what_is_sensitive() {
    let fleet = fleet();
    no_plan_tells(&fleet, &[]);
    keeps_quiet(fleet.drover(&["apply", "--auto-approve"]).exits(0)).says("1 created");
    keeps_quiet(fleet.drover(&["plan", "--detailed-exitcode"]).exits(0));
    no_plan_tells(&fleet, &["--destroy"]);
    for command in [
        &["show"][..],
        &["show", "--json"],
        &["state", "list"],
        &["state", "show", "server.web"],
        &["state", "show", "server.web", "--json"],
        &["state", "show", "flavor.hidden"],
        &["state", "show", "host.n1"],
        &["state", "show", "host.n1", "--json"],
        &["server", "list"],
        &["server", "list", "--json"],
        &["server", "show", "server.web"],
        &["server", "show", "server.web", "--json"],
        &["host", "list"],
        &["host", "list", "--json"],
        &["image", "list"],
        &["image", "list", "--json"],
        &["output"],
        &["drift"],
        &["drift", "--json"],
        &["validate"],
        &["graph"],
        &["refresh", "--auto-approve"],
    ] {
        let ran = fleet.drover(command);
        keeps_quiet(ran.exits(0));
    }
    // It is said that there is something.
    fleet
        .drover(&["state", "show", "server.web"])
        .says("\"labels\": \"(sensitive value)\"");
    let shown = fleet.drover(&["show", "--json"]).json();
    let resources = &shown["values"]["root_module"]["resources"];
    let server = resources
        .as_array()
        .and_then(|all| all.iter().find(|one| one["address"] == "server.web"));
    let server = server.unwrap_or_else(|| panic!("{shown:#}"));
    assert_eq!(server["values"]["spec"]["labels"], serde_json::Value::Null);
    assert_eq!(server["sensitive_values"]["labels"], true);
    assert_eq!(
        shown["values"]["outputs"]["secret"],
        serde_json::json!({ "sensitive": true })
    );
    // Where it is asked for by name it is given, as in Terraform.
    for command in [
        &["output", "secret"][..],
        &["output", "--json"],
        &["output", "--raw", "secret"],
        &["state", "pull"],
    ] {
        fleet.drover(command).exits(0).says(SECRET);
    }
    keeps_quiet(fleet.drover(&["destroy", "--auto-approve"]).exits(0));
}

#[test]
fn reasons_of_filters_do_not_name_it() {
    let fleet = fleet();
    fleet.write(
        "web.hcl",
        &SERVER.replace("= var.zone", "= \"${var.zone}-other\""),
    );
    no_plan_tells(&fleet, &[]);
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("the server's availability_zone does not fit (sensitive value)");
    fleet.write(
        "web.hcl",
        &SERVER.replace("= var.label }\n}\nserver", "= \"not-${var.label}\" }\n}\nserver"),
    );
    no_plan_tells(&fleet, &[]);
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("the flavor's extra_specs does not fit (sensitive value)");
    // What the host says of itself is as sensitive as what the server asks.
    fleet.write("web.hcl", &SERVER.replace("= var.zone", "= \"plain\""));
    no_plan_tells(&fleet, &[]);
    let asked = fleet.drover(&["apply", "--auto-approve", "--json"]);
    keeps_quiet(asked.exits(5));
}

#[test]
fn reasons_of_moves_do_not_name_it() {
    let fleet = fleet();
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    // The zone moves to the other host, and the server with it.
    let base = std::fs::read_to_string(fleet.project().join("drover.hcl")).expect("written");
    let settings = "  availability_zone = var.zone\n  labels            = { rack = var.label }\n";
    let second = format!("host \"{}\" {{\n", fleet.hosts[1].name);
    let base = base.replace(settings, "");
    fleet.write(
        "drover.hcl",
        &base.replace(&second, &format!("{second}{settings}")),
    );
    no_plan_tells(&fleet, &[]);
    fleet
        .drover(&["plan"])
        .exits(0)
        .says("n1 is not in the zone it must be in");
}

#[test]
fn what_hosts_say_does_not_name_it() {
    let fleet = fleet();
    // The source of the image is sensitive, and no host can read it.
    let image = fleet
        .image("guest", "guest.raw")
        .replace("image \"guest\"", "image \"lost\"");
    let start = image.find("file://").expect("a source");
    let end = start + image[start..].find('"').expect("a quote");
    let source = format!("file://{}", fleet.path("images/s3cr3t.raw").display());
    fleet.write(
        "lost.hcl",
        &format!(
            "variable \"place\" {{\n  type      = string\n  sensitive = true\n  default   = \"{source}\"\n}}\n{}",
            image.replace(&format!("\"{}\"", &image[start..end]), "var.place")
        ),
    );
    fleet.write("web.hcl", &SERVER.replace("image.guest", "image.lost"));
    let ran = keeps_quiet(fleet.drover(&["apply", "--auto-approve"]));
    assert!(matches!(ran.status, 1 | 5), "{}", ran.text());
    ran.says("(sensitive value)");
    for command in [
        &["apply", "--auto-approve", "--json"][..],
        &["plan"],
        &["show"],
        &["show", "--json"],
        &["image", "list"],
        &["image", "list", "--json"],
        &["state", "show", "server.web"],
        &["server", "show", "server.web"],
    ] {
        keeps_quiet(fleet.drover(command));
    }
}

#[test]
fn drift_does_not_name_it() {
    let fleet = fleet();
    let hidden = SERVER.replace("ram         = \"512MiB\"", "ram         = sensitive(\"512MiB\")");
    fleet.write("web.hcl", &hidden);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let hypervisor = &fleet.hosts[0].hypervisor;
    let mut domain = hypervisor.all().remove(0);
    let xml = domain.persistent_xml.take().expect("it is persistent");
    domain.persistent_xml = Some(xml.replace("524288</memory>", "1048576</memory>"));
    domain.state.power = PowerState::Shutdown;
    domain.live_xml = None;
    hypervisor.put(domain);
    for command in [
        &["plan"][..],
        &["plan", "--json"],
        &["drift"],
        &["drift", "--json"],
        &["server", "show", "server.web"],
        &["server", "show", "server.web", "--json"],
        &["server", "list", "--json"],
    ] {
        let ran = fleet.drover(command);
        assert!(ran.status < 3, "{}", ran.text());
        ran.says_nothing_of("524288")
            .says_nothing_of("1048576")
            .says_nothing_of("512MiB")
            .says_nothing_of("\"ram_mib\": 512");
    }
    fleet.drover(&["drift"]).exits(2).says("memory_kib");
}
