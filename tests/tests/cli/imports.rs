//! Domains that somebody else made, taken over as they are: `import` blocks, `drover import`, what may be done with an
//! imported server, and what may not.

use crate::apply_refused::hold;
use crate::fake_hosts::Fleet;
use crate::run::finish;
use drover_agent::hypervisor::{DomainReport, DomainState, Hypervisor as _};
use drover_types::{PowerState, ServerId};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;
use uuid::Uuid;

pub(crate) const ID: Uuid = Uuid::from_u128(0xa1);

pub(crate) const SERVER: &str = r#"
server "old" {
  flavor = flavor.small
  image  = null
}
"#;

pub(crate) const IMPORT: &str = r#"
import {
  to = server.old
  id = "n1/legacy"
}
"#;

/// A domain of the size of `flavor.small`, which runs.
pub(crate) fn domain(name: &str, uuid: Uuid) -> DomainReport {
    let xml = format!(
        "<domain type='qemu'>\n  <name>{name}</name>\n  <uuid>{uuid}</uuid>\n  <title>kept</title>\n  \
         <memory unit='KiB'>524288</memory>\n  <vcpu>1</vcpu>\n  \
         <os><type arch='x86_64' machine='pc'>hvm</type></os>\n  <devices>\n    \
         <disk type='file' device='disk'>\n      <driver name='qemu' type='raw'/>\n      \
         <source file='/srv/{name}.img'/>\n      <target dev='vda' bus='virtio'/>\n    </disk>\n  </devices>\n\
         </domain>\n"
    );
    DomainReport {
        uuid,
        name: name.to_owned(),
        state: DomainState {
            power: PowerState::Running,
            reason: "booted",
        },
        persistent: true,
        vcpus: 1,
        memory_kib: 524_288,
        disk_sizes: BTreeMap::from([("vda".to_owned(), 8 << 20)]),
        live_xml: Some(xml.clone()),
        persistent_xml: Some(xml),
    }
}

/// Two hosts, the first with a domain that is nobody's.
pub(crate) fn fleet(files: &[&str]) -> Fleet {
    let mut fleet = Fleet::start(&[4096, 3072]);
    fleet.host_named("n1").hypervisor.put(domain("legacy", ID));
    fleet.write("old.hcl", &files.concat());
    fleet
}

fn imported() -> Fleet {
    let fleet = fleet(&[SERVER, IMPORT]);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    fleet
}

/// The domain as its host has it now.
pub(crate) fn seen(fleet: &Fleet) -> Option<DomainReport> {
    let all = fleet.hosts[0].hypervisor.all();
    all.into_iter().find(|domain| domain.uuid == ID)
}

fn turns(fleet: &Fleet) -> usize {
    fleet.hosts[0].hypervisor.turns().len()
}

#[track_caller]
pub(crate) fn is_settled(fleet: &Fleet) {
    let plan = fleet.drover(&["plan", "--detailed-exitcode"]);
    plan.exits(0).says("No changes.");
}

fn record(fleet: &Fleet) -> Value {
    let shown = finish(fleet.command(&["state", "show", "server.old", "--json"]));
    shown.exits(0).json()
}

#[test]
fn a_running_domain_becomes_a_server_and_is_not_touched() {
    let fleet = fleet(&[SERVER, IMPORT]);
    let host = &fleet.hosts[0].hypervisor;
    let server = ServerId::from_uuid(ID);
    host.set_autostart(server, true).expect("set");
    let before = seen(&fleet).expect("it is there");
    let plan = fleet.drover(&["plan", "--detailed-exitcode"]).exits(2);
    insta::assert_snapshot!(plan.text());
    let summary = fleet.drover(&["plan", "--json"]).exits(0);
    assert_eq!(summary.event("change_summary")["changes"]["import"], 1);
    let change = &summary
        .json_lines()
        .into_iter()
        .find(|event| event["change"]["resource"]["addr"] == "server.old")
        .expect("a planned change")["change"];
    assert_eq!(
        (&change["action"], &change["importing"]["id"]),
        (&"import".into(), &"n1/legacy".into())
    );

    let applied = fleet.drover(&["apply", "--auto-approve"]).exits(0);
    applied.says("server.old: Import complete").says("1 imported");
    let after = seen(&fleet).expect("it is there");
    let without = |xml: &Option<String>| {
        let xml = xml.as_deref().expect("it runs and is defined");
        drover_agent_core::domain::without_mark(xml)
            .expect("it reads")
            .replace("<metadata></metadata>", "")
    };
    for (now, then) in [
        (&after.live_xml, &before.live_xml),
        (&after.persistent_xml, &before.persistent_xml),
    ] {
        assert!(
            now.as_ref()
                .is_some_and(|xml| xml.contains("<drover:address>server.old<")),
            "{now:?}"
        );
        assert_eq!(Some(without(now)), *then);
    }
    assert_eq!((after.state, turns(&fleet)), (before.state, 0));
    assert!(!host.autostart(server).expect("an answer"));
    let record = record(&fleet);
    assert_eq!(
        (&record["id"], &record["host"]),
        (&ID.to_string().into(), &"n1".into())
    );
    assert_eq!(record["imported_from"], "n1/legacy");
    is_settled(&fleet);
    // The block may stay, or go.
    fleet.write("old.hcl", SERVER);
    is_settled(&fleet);
}

#[test]
fn an_imported_server_is_stopped_started_renamed_and_healed() {
    let fleet = imported();
    fleet.write("old.hcl", &SERVER.replace("null", "null\n  power  = \"off\""));
    let stop = fleet.drover(&["apply", "--auto-approve"]).exits(0);
    stop.says("server.old will be stopped");
    assert_eq!(seen(&fleet).expect("there").state.power, PowerState::Shutdown);
    is_settled(&fleet);
    fleet.write("old.hcl", SERVER);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    assert_eq!(seen(&fleet).expect("there").state.power, PowerState::Running);
    is_settled(&fleet);
    let reboot = fleet.drover(&["server", "reboot", "server.old", "--hard"]);
    reboot.exits(0);

    // Another address is another mark, and no restart.
    let before = turns(&fleet);
    let moved = "moved {\n  from = server.old\n  to   = server.new\n}\n";
    fleet.write("old.hcl", &(SERVER.replace("\"old\"", "\"new\"") + moved));
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let xml = seen(&fleet)
        .and_then(|domain| domain.persistent_xml)
        .expect("defined");
    assert!(
        xml.contains("<drover:address>server.new<") && xml.contains("<title>kept</title>"),
        "{xml}"
    );
    assert_eq!(turns(&fleet), before);
    is_settled(&fleet);

    // What somebody changes is put back to what was found.
    let mut altered = seen(&fleet).expect("there");
    altered.persistent_xml = Some(xml.replace("<vcpu>1<", "<vcpu>3<"));
    fleet.hosts[0].hypervisor.put(altered);
    fleet.drover(&["plan"]).exits(0).says("vcpus");
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let healed = seen(&fleet)
        .and_then(|domain| domain.persistent_xml)
        .expect("defined");
    let bare = |xml: &str| drover_agent_core::domain::without_mark(xml).expect("it reads");
    assert_eq!(bare(&healed), bare(&xml));
    is_settled(&fleet);
}

#[test]
fn everything_that_does_not_fit_is_named_with_both_numbers_and_nothing_is_done() {
    let fleet = fleet(&[SERVER, IMPORT]);
    let mut other = domain("legacy", ID);
    other.vcpus = 4;
    other.memory_kib = 1 << 20;
    other.disk_sizes = BTreeMap::from([("vda".to_owned(), 20 << 20)]);
    other.live_xml = other
        .persistent_xml
        .as_ref()
        .map(|xml| xml.replace("<vcpu>1<", "<vcpu>4<"));
    fleet.hosts[0].hypervisor.put(other);
    insta::assert_snapshot!(fleet.drover(&["plan"]).exits(1).text());
    fleet.drover(&["apply", "--auto-approve"]).exits(5);
    let xml = seen(&fleet)
        .and_then(|domain| domain.persistent_xml)
        .expect("defined");
    assert!(!xml.contains("drover"), "{xml}");
}

#[test]
fn domains_that_cannot_be_imported_are_refused_with_what_to_do() {
    let fleet = fleet(&[SERVER, IMPORT]);
    let ids = [
        ("n1/nobody", "its host has no such domain; unmanaged are legacy"),
        ("n9/legacy", "its host is not declared"),
    ];
    for (id, why) in ids {
        fleet.write("old.hcl", &(SERVER.to_owned() + &IMPORT.replace("n1/legacy", id)));
        fleet.drover(&["plan"]).exits(1).says(why);
    }
    fleet.write("old.hcl", &(SERVER.to_owned() + IMPORT));
    let mut transient = domain("legacy", ID);
    transient.persistent = false;
    transient.persistent_xml = None;
    fleet.hosts[0].hypervisor.put(transient);
    fleet.drover(&["plan"]).exits(1).says("the domain is transient");
    let mut others = domain("legacy", ID);
    let mark = format!(
        "<uuid>{ID}</uuid><metadata><drover:server xmlns:drover=\"urn:drover:domain:1\"><drover:fleet>theirs</drover:fleet>\
         <drover:project>default</drover:project><drover:id>{ID}</drover:id><drover:address>server.x</drover:address>\
         <drover:epoch>1</drover:epoch><drover:generation>1</drover:generation></drover:server></metadata>"
    );
    for xml in [&mut others.live_xml, &mut others.persistent_xml] {
        *xml = xml
            .as_ref()
            .map(|xml| xml.replace(&format!("<uuid>{ID}</uuid>"), &mark));
    }
    fleet.hosts[0].hypervisor.put(others);
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("the domain is server.x of fleet theirs");
}

#[test]
fn what_needs_another_definition_is_blocked_and_a_drain_with_it() {
    let fleet = imported();
    let base = fleet.base();
    fleet.write("drover.hcl", &base.replace("vcpus = 1", "vcpus = 2"));
    insta::assert_snapshot!("another_flavor", fleet.drover(&["plan"]).exits(1).text());
    let drained = base.replacen("host \"n1\" {", "host \"n1\" {\n  state = \"drain\"", 1);
    fleet.write("drover.hcl", &drained);
    let plan = fleet.drover(&["plan"]).exits(1);
    plan.says("server.old cannot be migrated (n1 is being drained)")
        .says("it was imported as it was found on n1");
    fleet.write("drover.hcl", &base);
    fleet
        .drover(&["server", "migrate", "server.old", "--auto-approve"])
        .exits(1)
        .says("it was imported as it was found on n1");
    let replace = fleet.drover(&["plan", "--replace", "server.old"]);
    replace.exits(1).says("it has no image to be made from");
    is_settled(&fleet);
}

#[test]
fn a_server_without_an_image_is_only_ever_an_imported_one() {
    let fleet = fleet(&[SERVER]);
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("it has no image to be made from");
    fleet.write("old.hcl", &SERVER.replace("  image  = null\n", ""));
    let plan = fleet.drover(&["validate"]);
    plan.exits(1)
        .says("The argument \"image\" is required in server \"old\"");
    fleet.write("old.hcl", &(SERVER.replace("  image  = null\n", "") + IMPORT));
    fleet.drover(&["validate"]).exits(0);
}

#[test]
fn an_imported_server_is_destroyed_without_its_disks_or_forgotten_and_imported_again() {
    let fleet = imported();
    fleet.write(
        "old.hcl",
        "removed {\n  from = server.old\n  lifecycle {\n    destroy = false\n  }\n}\n",
    );
    fleet.drover(&["apply", "--auto-approve"]).exits(0).says("forget");
    let xml = seen(&fleet).and_then(|domain| domain.live_xml).expect("it runs");
    assert!(!xml.contains("drover"), "{xml}");
    is_settled(&fleet);
    // Epochs are used once, also by who was forgotten in between.
    fleet.write("old.hcl", &(SERVER.to_owned() + IMPORT));
    fleet
        .drover(&["apply", "--auto-approve"])
        .exits(0)
        .says("1 imported");
    is_settled(&fleet);

    fleet.write("old.hcl", "");
    let plan = fleet.drover(&["plan"]).exits(0);
    plan.says("its disks are not Drover's and stay on n1: vda (/srv/legacy.img)");
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    assert_eq!(seen(&fleet), None);
    let kept = fleet.path(&format!("n1/imported/{ID}/found.xml"));
    let kept = std::fs::read_to_string(kept).expect("a copy of the definition");
    assert!(
        kept.contains("<title>kept</title>") && !kept.contains("drover"),
        "{kept}"
    );
    is_settled(&fleet);
}

#[test]
fn a_domain_is_imported_by_a_command() {
    let fleet = fleet(&[SERVER]);
    let refused = fleet.drover(&["import", "server.gone", "n1/legacy", "--auto-approve"]);
    refused.exits(1).says("Nothing is declared at server.gone");
    let refused = fleet.drover(&["import", "server.old", "n1/nobody", "--auto-approve"]);
    refused.exits(1).says("its host has no such domain");
    fleet
        .drover(&["import", "server.old", "legacy"])
        .exits(1)
        .says("HOST/DOMAIN");
    fleet
        .drover(&["import", "flavor.small", "n1/legacy"])
        .exits(1)
        .says("is no server");
    let unasked = fleet.drover(&["import", "server.old", "n1/legacy"]);
    unasked.exits(1).says("There is no terminal to ask");
    let by_uuid = format!("n1/{ID}");
    let ran = finish(fleet.command(&["import", "server.old", &by_uuid, "--auto-approve"])).exits(0);
    ran.says("1 imported");
    assert_eq!(turns(&fleet), 0);
    // What else is declared is for apply.
    let rest = fleet.drover(&["apply", "--auto-approve"]).exits(0);
    rest.says_nothing_of("server.old");
    is_settled(&fleet);
    let again = fleet.drover(&["import", "server.old", "n1/legacy", "--auto-approve"]);
    again.exits(1).says("server.old is recorded already");
}

#[test]
fn adopting_a_host_writes_blocks_that_can_be_applied_as_they_are() {
    let fleet = fleet(&[]);
    let host = &fleet.hosts[0].hypervisor;
    let mut large = domain("2 large ${x}\"", Uuid::from_u128(0xa2));
    large.vcpus = 2;
    let grown = |xml: &Option<String>| xml.as_ref().map(|xml| xml.replace("<vcpu>1<", "<vcpu>2<"));
    (large.live_xml, large.persistent_xml) = (None, grown(&large.persistent_xml));
    large.state.power = PowerState::Shutdown;
    host.put(large);
    let mut transient = domain("passing", Uuid::from_u128(0xa3));
    (transient.persistent, transient.persistent_xml) = (false, None);
    host.put(transient);
    let mut again = domain("legacy.2", Uuid::from_u128(0xa4));
    again.state.power = PowerState::Running;
    host.put(again);
    let written = fleet.drover(&["adopt", "n1"]).exits(0);
    insta::assert_snapshot!(written.text());
    fleet
        .drover(&["adopt", "n9"])
        .exits(1)
        .says("No host n9 is declared or recorded");
    fleet.drover(&["adopt", "n1", "--out", "adopted.hcl"]).exits(0);
    let refused = fleet.drover(&["adopt", "n1", "--out", "adopted.hcl"]);
    refused.exits(1).says("is not written over");
    fleet.drover(&["fmt", "--check", "adopted.hcl"]).exits(0);
    fleet
        .drover(&["apply", "--auto-approve"])
        .exits(0)
        .says("3 imported");
    assert_eq!(turns(&fleet), 0);
    is_settled(&fleet);
    let nothing = fleet.drover(&["adopt", "n1"]).exits(0);
    assert_eq!(nothing.stdout, "");
}

/// A warning that every plan gives.
pub(crate) const CHECK: &str = r#"
check "never" {
  assert {
    condition     = false
    error_message = "Never so."
  }
}
"#;

#[test]
fn an_imported_server_with_an_image_is_replaced_by_one_of_drovers() {
    let fleet = imported();
    fleet.write("old.hcl", &SERVER.replace("null", "image.guest"));
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    assert_eq!(turns(&fleet), 0);
    is_settled(&fleet);
    fleet
        .drover(&["apply", "--auto-approve", "--replace", "server.old"])
        .exits(0);
    let xml = seen(&fleet)
        .and_then(|domain| domain.persistent_xml)
        .expect("defined");
    assert!(
        !xml.contains("<title>kept</title>") && !xml.contains("/srv/legacy.img"),
        "{xml}"
    );
    assert_eq!(record(&fleet)["imported_from"], Value::Null);
    is_settled(&fleet);
}

#[test]
fn the_options_of_import() {
    let mut fleet = fleet(&[SERVER]);
    fleet.host_named("n2").stop();
    let import = ["import", "server.old", "n1/legacy"];
    let with = |more: &[&'static str]| [&import[..], more].concat();
    let unasked = fleet.drover(&with(&["--allow-unreachable", "n2"]));
    unasked.exits(1).says("There is no terminal to ask");
    let ran = fleet.drover(&with(&["--json", "--auto-approve", "--allow-unreachable", "n2"]));
    let ran = ran.exits(0);
    let planned = ran.json_lines();
    let imports = planned
        .iter()
        .filter(|event| event["type"] == "planned_change" && event["change"]["action"] == "import");
    assert_eq!(imports.count(), 1, "{}", ran.text());
    assert!(
        seen(&fleet).is_some_and(|domain| domain.live_xml.is_some_and(|xml| xml.contains("drover:server")))
    );
}

#[test]
fn an_import_is_shown_as_any_plan() {
    let fleet = fleet(&[SERVER, CHECK]);
    let import = ["import", "server.old", "n1/legacy"];
    fleet.drover(&import).exits(1).says("Never so.");
    let compact = [&import[..], &["--compact-warnings"]].concat();
    fleet
        .drover(&compact)
        .exits(1)
        .says("To see all that they say, leave out --compact-warnings.");
    let into = [&import[..], &["--json-into", "events.json", "--auto-approve"]].concat();
    fleet.drover(&into).exits(0).says("1 imported");
    let events = std::fs::read_to_string(fleet.project().join("events.json")).expect("written");
    for kind in ["planned_change", "apply_complete"] {
        assert!(events.contains(&format!("\"type\":\"{kind}\"")), "{events}");
    }
}

#[test]
fn an_import_waits_for_the_lock() {
    let fleet = fleet(&[SERVER]);
    // What is locked must be there.
    fleet
        .drover(&["apply", "--auto-approve", "--exclude", "server.old"])
        .exits(0);
    let lock = hold(&fleet);
    let import = ["import", "server.old", "n1/legacy", "--auto-approve"];
    fleet.drover(&import).exits(3).says("alice@desk");
    let begin = Instant::now();
    let waiting = [&import[..], &["--lock-timeout", "2s"]].concat();
    fleet.drover(&waiting).exits(3);
    assert!(begin.elapsed().as_secs() >= 2, "{:?}", begin.elapsed());
    drop(lock);
    fleet.drover(&import).exits(0);
}
