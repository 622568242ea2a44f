//! `lifecycle` blocks, and the options that say which servers a plan may replace, destroy or leave alone.

use crate::fake_hosts::Fleet;
use crate::run::{Ran, finish};
use drover_agent::hypervisor::Hypervisor as _;
use drover_types::ServerId;

const SERVERS: &str = r#"
server "a" {
  flavor = flavor.small
  image  = image.guest
}
server "b" {
  flavor = flavor.small
  image  = image.guest
}
output "id" {
  value = server.a.id
}
"#;

fn applied() -> Fleet {
    let fleet = Fleet::start(&[4096, 3072]);
    fleet.write("web.hcl", SERVERS);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    fleet
}

/// What drover prints, ids included.
fn as_is(fleet: &Fleet, arguments: &[&str]) -> Ran {
    finish(fleet.command(arguments))
}

/// The servers with this in the `lifecycle` block of `server.a`.
fn with(lines: &str) -> String {
    SERVERS.replacen(
        "image  = image.guest\n",
        &format!("image  = image.guest\n  lifecycle {{\n    {lines}\n  }}\n"),
        1,
    )
}

fn id(fleet: &Fleet, address: &str) -> String {
    let shown = as_is(fleet, &["state", "show", address, "--json"])
        .exits(0)
        .json();
    shown["id"].as_str().expect("an id").to_owned()
}

fn domains(fleet: &Fleet) -> usize {
    fleet.hosts.iter().map(|host| host.hypervisor.all().len()).sum()
}

fn is_settled(fleet: &Fleet) {
    fleet
        .drover(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("No changes.");
}

#[test]
fn a_protected_server_stops_every_plan_that_would_destroy_it() {
    let fleet = applied();
    fleet.write("web.hcl", &with("prevent_destroy = true"));
    is_settled(&fleet);
    insta::assert_snapshot!(fleet.drover(&["destroy", "--auto-approve"]).text());
    fleet
        .drover(&["plan", "--replace", "server.a", "--out", "plan.bin"])
        .exits(1)
        .says("server.a cannot be replaced");
    assert!(!fleet.project().join("plan.bin").exists());
    let events = fleet.drover(&["plan", "--destroy", "--json"]).exits(1);
    assert_eq!(
        events.event("diagnostic")["diagnostic"]["summary"],
        "server.a cannot be destroyed"
    );
    assert_eq!(domains(&fleet), 2);
    fleet
        .drover(&["destroy", "--auto-approve", "--exclude", "server.a"])
        .exits(0)
        .says("1 destroyed");
    assert_eq!(domains(&fleet), 1);
}

#[test]
fn a_protected_image_stops_the_plan_that_would_drop_it() {
    let fleet = applied();
    let base = fleet.base();
    let protected = format!(
        "{}  lifecycle {{\n    prevent_destroy = true\n  }}\n}}\n",
        base.trim_end()
            .strip_suffix('}')
            .expect("the image block comes last")
    );
    fleet.write("drover.hcl", &protected);
    is_settled(&fleet);
    fleet
        .drover(&["plan", "--destroy"])
        .exits(1)
        .says("image.guest cannot be destroyed");
}

#[test]
fn ignored_arguments_are_left_as_they_are() {
    let fleet = applied();
    let off = |lines: &str| {
        with(lines).replacen(
            "flavor = flavor.small\n",
            "flavor = flavor.small\n  power  = \"off\"\n  labels = { a = \"b\" }\n",
            1,
        )
    };
    fleet.write("web.hcl", &off("ignore_changes = [power]"));
    let plan = fleet.drover(&["plan"]).exits(0);
    plan.says("server.a").says("labels").says_nothing_of("stopped");
    fleet.write("web.hcl", &off("ignore_changes = all"));
    is_settled(&fleet);
    fleet.write("web.hcl", &off("ignore_changes = []"));
    fleet.drover(&["plan"]).exits(0).says("server.a will be stopped");
}

#[test]
fn replace_makes_a_server_anew_with_the_same_id() {
    let fleet = applied();
    let before = id(&fleet, "server.a");
    insta::assert_snapshot!(fleet.drover(&["plan", "--replace", "server.a"]).text());
    fleet
        .drover(&["apply", "--auto-approve", "--replace", "server.a"])
        .exits(0)
        .says("1 replaced");
    assert_eq!(before, id(&fleet, "server.a"));
    assert_eq!(domains(&fleet), 2);
    is_settled(&fleet);
    fleet
        .drover(&["plan", "--replace", "server.none"])
        .exits(1)
        .says("--replace server.none");
}

#[test]
fn a_successor_is_created_before_the_old_server_is_destroyed() {
    let fleet = applied();
    let before = id(&fleet, "server.a");
    fleet.write("web.hcl", &with("create_before_destroy = true"));
    is_settled(&fleet);
    insta::assert_snapshot!(fleet.drover(&["plan", "--replace", "server.a"]).text());
    fleet
        .drover(&["apply", "--auto-approve", "--replace", "server.a"])
        .exits(0)
        .says("1 replaced");
    let after = id(&fleet, "server.a");
    assert_ne!(before, after);
    after.parse::<ServerId>().expect("an id");
    // Outputs know the id of the one that is there now.
    assert_eq!(
        as_is(&fleet, &["output", "id", "--raw"]).exits(0).stdout.trim(),
        after
    );
    assert_eq!(domains(&fleet), 2);
    is_settled(&fleet);
}

#[test]
fn max_destroy_refuses_larger_plans() {
    let fleet = applied();
    fleet.write("web.hcl", "");
    let ran = fleet
        .drover(&["apply", "--auto-approve", "--max-destroy", "1"])
        .exits(1);
    ran.says("2 servers would be destroyed or replaced, and --max-destroy allows 1: server.a, server.b");
    fleet
        .drover(&["plan", "--out", "plan.bin", "--max-destroy", "2"])
        .exits(0);
    fleet
        .drover(&["apply", "plan.bin", "--max-destroy", "0"])
        .exits(1)
        .says("Too many");
    assert_eq!(domains(&fleet), 2);
    fleet
        .drover(&["destroy", "--auto-approve", "--max-destroy", "0"])
        .exits(1)
        .says("--max-destroy 2");
}

#[test]
fn exclude_leaves_a_server_and_what_needs_it() {
    let fleet = applied();
    let dependent = "server \"c\" {\n  flavor     = flavor.small\n  image      = image.guest\n  depends_on = [server.b]\n}\n";
    fleet.write(
        "web.hcl",
        &format!(
            "{}{dependent}",
            SERVERS.replace("\"b\" {\n", "\"b\" {\n  power = \"off\"\n")
        ),
    );
    let plan = fleet.drover(&["plan", "--exclude", "server.b"]).exits(0);
    plan.says_nothing_of("server.b").says_nothing_of("server.c");
    fleet
        .drover(&["plan"])
        .exits(0)
        .says("server.b will be stopped")
        .says("server.c will be created");
    fleet
        .drover(&["plan", "--exclude", "server.none"])
        .exits(1)
        .says("--exclude server.none");
}

#[test]
fn without_refresh_drift_is_neither_shown_nor_healed() {
    let fleet = applied();
    let host = fleet
        .hosts
        .iter()
        .find(|host| !host.hypervisor.all().is_empty())
        .expect("a host");
    let server: ServerId = id(&fleet, "server.a").parse().expect("an id");
    host.hypervisor.end(server).expect("ended");
    fleet.drover(&["plan"]).exits(0).says("server.a will be started");
    let plan = fleet.drover(&["plan", "--refresh=false"]).exits(0);
    plan.says("No changes.").says_nothing_of("outside of Drover");
    fleet.drover(&["plan", "--refresh=maybe"]).exits(1);
}

#[test]
fn a_plan_says_why_something_goes() {
    let fleet = Fleet::start(&[4096]);
    let servers = "variable \"n\" {\n  default = 2\n}\nserver \"web\" {\n  count  = var.n\n  flavor = flavor.small\n  image  = image.guest\n}\n";
    fleet.write("web.hcl", servers);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    fleet
        .drover(&["plan", "--var", "n=1"])
        .exits(0)
        .says("index 1 is out of range for count");
    fleet.write(
        "web.hcl",
        &servers.replace("count  = var.n", "for_each = toset([\"a\"])"),
    );
    fleet
        .drover(&["plan"])
        .exits(0)
        .says("its block makes its instances in another way now");
    fleet.write("web.hcl", "");
    fleet.drover(&["plan"]).exits(0).says("it is no longer declared");
}
