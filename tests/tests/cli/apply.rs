//! Applies that go through, and those that fail in part: what is there afterwards, what is printed, and that
//! the next plan is empty.

use crate::apply_refused::hold;
use crate::credentials::with;
use crate::fake_hosts::Fleet;
use crate::run::{finish, timeless};
use drover_types::{PowerState, Role};
use std::time::Instant;

const SERVERS: &str = r#"
group "web" {
  policy = "anti-affinity"
}
variable "web" {
  type    = number
  default = 2
}
server "web" {
  count  = var.web
  flavor = flavor.small
  image  = image.guest
  group  = group.web
}
output "hosts" {
  value = server.web[*].host
}
output "password" {
  value     = "very-secret"
  sensitive = true
}
"#;

const ONE: &str = "server \"db\" {\n  flavor = flavor.small\n  image  = image.guest\n}\n";

pub(crate) fn applied() -> Fleet {
    let fleet = Fleet::start(&[4096, 3072, 2048]);
    fleet.write("web.hcl", SERVERS);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    fleet
}

/// The domains that run on a host.
fn running(fleet: &Fleet, host: &str) -> usize {
    let host = fleet
        .hosts
        .iter()
        .find(|one| one.name.as_str() == host)
        .expect("a host");
    host.hypervisor
        .all()
        .iter()
        .filter(|domain| domain.state.power == PowerState::Running)
        .count()
}

fn is_settled(fleet: &Fleet) {
    fleet
        .drover(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("No changes.");
}

#[test]
fn servers_are_made_changed_and_destroyed() {
    let fleet = applied();
    assert_eq!(
        (
            running(&fleet, "n1"),
            running(&fleet, "n2"),
            running(&fleet, "n3")
        ),
        (1, 1, 0)
    );
    is_settled(&fleet);
    assert_eq!(
        fleet.drover(&["plan", "--json"]).event("change_summary")["changes"]["create"],
        0
    );
    fleet
        .drover(&["apply", "--auto-approve"])
        .exits(0)
        .says("No changes.");
    let ran = fleet.drover(&["plan", "--var", "web=1"]).exits(0);
    ran.says("server.web[1] will be destroyed on n2")
        .says("its disk is lost");
    fleet
        .drover(&["apply", "--auto-approve", "--var", "web=1"])
        .exits(0)
        .says("1 destroyed");
    assert_eq!((running(&fleet, "n1"), running(&fleet, "n2")), (1, 0));
    fleet.drover(&["destroy"]).exits(1).says("no terminal");
    fleet
        .drover(&["destroy", "--auto-approve"])
        .exits(0)
        .says("1 destroyed");
    assert!(fleet.hosts.iter().all(|host| host.hypervisor.all().is_empty()));
    assert_eq!(
        fleet.drover(&["server", "list", "--json"]).exits(0).json(),
        serde_json::json!([])
    );
}

#[test]
fn an_apply_as_people_read_it() {
    let fleet = Fleet::start(&[4096, 3072]);
    fleet.write("web.hcl", SERVERS);
    fleet.drover(&["plan", "--out", "plan.bin"]).exits(0);
    let ran = fleet
        .drover(&["apply", "plan.bin", "--parallelism", "1"])
        .exits(0);
    insta::assert_snapshot!(ran.stdout, @r#"
    Apply complete! 2 created, 0 updated, 0 destroyed.

    Outputs:

    hosts = [
      "n1",
      "n2",
    ]
    password = <sensitive>
    "#);
    let begun = ran
        .stderr
        .lines()
        .filter(|line| line.contains("Creating on"))
        .count();
    assert_eq!(begun, 2, "{}", ran.text());
    is_settled(&fleet);
    // The same plan again is that apply resumed: it finds everything done, and does nothing twice.
    let again = fleet.drover(&["apply", "plan.bin"]).exits(0);
    again
        .says("Apply complete! 0 created, 0 updated, 0 destroyed.")
        .says("actions were done before.");
    assert_eq!((running(&fleet, "n1"), running(&fleet, "n2")), (1, 1));
    is_settled(&fleet);
}

#[test]
fn an_apply_as_programs_read_it() {
    let fleet = Fleet::start(&[4096]);
    fleet.write("one.hcl", ONE);
    let ran = fleet.drover(&["apply", "--auto-approve", "--json"]).exits(0);
    assert_eq!(ran.stderr, "");
    let mut kinds: Vec<String> = ran
        .json_lines()
        .iter()
        .map(|event| event["type"].as_str().expect("a type").to_owned())
        .filter(|kind| kind.starts_with("apply") && kind != "apply_progress")
        .collect();
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds, ["apply_complete", "apply_start"]);
    let last = ran
        .json_lines()
        .into_iter()
        .rfind(|event| event["type"] == "change_summary")
        .expect("events");
    assert_eq!(
        (&last["type"], &last["complete"], &last["changes"]["create"]),
        (&"change_summary".into(), &true.into(), &1.into()),
        "{last}"
    );
}

#[test]
fn a_drained_host_is_emptied_in_the_plan() {
    let fleet = applied();
    let base = fleet
        .base()
        .replacen("host \"n2\" {\n", "host \"n2\" {\n  state   = \"drain\"\n", 1);
    fleet.write("drover.hcl", &base);
    let ran = fleet.drover(&["plan"]).exits(0);
    insta::assert_snapshot!(ran.stdout, @r#"
    Drover will perform the following actions. They are marked so:
      ~ update in place
      > migrate to another host

      # server.web[1] will be migrated to n3
      # why: n2 is being drained
      # impact: live migration n2 → n3, 512 MiB of memory, up to 8 MiB of disk
      # host: n3, the only host that fits
      > server "web" {
          ~ host = "n2" -> "n3"
            # (10 unchanged attributes hidden)
        }

      # written down, no host is touched:
      ~ host.n2
          ~ state = "active" -> "drain"
            # (1 unchanged attribute hidden)

    Changes to outputs:
      ~ hosts = ["n1", "n2"] -> ["n1", "n3"]

    Plan: 0 to create, 0 to update, 1 to migrate, 0 to destroy. 1 record to write.

    The plan was not saved, so `drover apply` makes a new one. To apply exactly this
    one, save it with --out FILE.
    "#);
    // With no room for it elsewhere, nothing moves.
    fleet.drover(&["apply", "--auto-approve", "--var", "web=2", "--target", "host.n2"]);
    let base = base.replacen("host \"n3\" {\n", "host \"n3\" {\n  state   = \"disabled\"\n", 1);
    fleet.write("drover.hcl", &base);
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("server.web[1] cannot be migrated")
        .says("n1 ServerGroupAntiAffinityFilter")
        .says("n3 ComputeFilter");
}

#[test]
fn a_larger_flavor_reboots_and_another_image_needs_leave_to_rebuild() {
    let fleet = applied();
    let base = fleet.base();
    fleet.write("drover.hcl", &base.replace("512MiB", "1GiB"));
    let ran = fleet
        .drover(&["plan"])
        .exits(0)
        .says("reboots the guest")
        .says("\"512MiB\" -> \"1GiB\"");
    assert!(ran.stdout.contains("2 to reboot"), "{}", ran.text());
    fleet
        .drover(&["apply", "--auto-approve"])
        .exits(0)
        .says("2 rebooted");
    is_settled(&fleet);
    std::fs::write(fleet.path("images/guest.raw"), vec![7_u8; 1 << 20]).expect("written");
    let newer = fleet.base().replace("512MiB", "1GiB");
    fleet.write("drover.hcl", &newer);
    let ran = fleet
        .drover(&["plan"])
        .exits(1)
        .says("it would lose what is on the root disk");
    assert!(ran.stdout.contains("allow_rebuild"), "{}", ran.text());
    fleet.write(
        "web.hcl",
        &SERVERS.replace(
            "  group  = group.web\n",
            "  group  = group.web\n  allow_rebuild = true\n",
        ),
    );
    fleet
        .drover(&["plan"])
        .exits(0)
        .says("must be rebuilt on n1")
        .says("2 to replace");
    fleet
        .drover(&["apply", "--auto-approve"])
        .exits(0)
        .says("2 replaced");
    is_settled(&fleet);
}

#[test]
fn a_host_that_starts_nothing_is_passed_over_and_remembered() {
    let fleet = Fleet::start(&[4096, 3072]);
    fleet.write("one.hcl", ONE);
    fleet.hosts[0]
        .hypervisor
        .refuse_starts(Some("internal error: process exited while connecting to monitor"));
    let ran = fleet
        .drover(&["apply", "--auto-approve"])
        .exits(0)
        .says("trying n2");
    assert!(
        ran.stderr.contains("process exited while connecting to monitor"),
        "{}",
        ran.text()
    );
    assert_eq!((running(&fleet, "n1"), running(&fleet, "n2")), (0, 1));
    assert!(
        fleet.hosts[0].hypervisor.all().is_empty(),
        "n1 keeps nothing of it"
    );
    is_settled(&fleet);
}

#[test]
fn where_every_host_refuses_the_next_plan_avoids_them_and_says_why() {
    let fleet = Fleet::start(&[4096, 3072]);
    fleet.write("one.hcl", ONE);
    for host in &fleet.hosts {
        host.hypervisor.refuse_starts(Some("no QEMU here"));
    }
    let ran = fleet.drover(&["apply", "--auto-approve"]).exits(5);
    assert!(ran.stderr.contains("no QEMU here"), "{}", ran.text());
    insta::assert_snapshot!("an_apply_that_fails_in_part", timeless(&ran.stderr));
    let ran = fleet.drover(&["plan"]).exits(1).says("RetryFilter");
    insta::assert_snapshot!(ran.stdout, @"
    Blocked, and left as it is:

      ! server.db cannot be created (an earlier apply could not create it)
          no host can take it:
            n1 RetryFilter: refused this server before
            n2 RetryFilter: refused this server before
          no host passes RetryFilter
          hint: it would fit with n1 tried again, or one more host with 512 MiB
                free, 8 MiB of disk, 1 vCPU

    Nothing can be changed until what is said above is settled.
    ");
    for host in &fleet.hosts {
        host.hypervisor.refuse_starts(None);
    }
    fleet.drover(&["plan"]).exits(1);
    fleet
        .drover(&["plan", "--retry-all"])
        .exits(0)
        .says("will be created on n1");
    fleet.drover(&["apply", "--auto-approve", "--retry-all"]).exits(0);
    is_settled(&fleet);
}

#[test]
fn a_waiting_apply_begins_when_the_lock_is_free() {
    let fleet = Fleet::start(&[4096]);
    fleet.write("one.hcl", ONE);
    let held = hold(&fleet);
    let start = Instant::now();
    let command = fleet.command(&["apply", "--auto-approve", "--lock-timeout", "100s"]);
    let ran = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| finish(command));
        // Long enough to plan and ask for the lock; too short is no wrong pass, since either way it must end well.
        std::thread::sleep(std::time::Duration::from_millis(500));
        drop(held);
        waiting.join().expect("it ended")
    });
    assert!(start.elapsed().as_secs() < 60, "{}", ran.text());
    assert_eq!(fleet.clean(&ran).exits(0).status, 0);
    is_settled(&fleet);
}

#[test]
fn a_reader_may_not_apply() {
    let fleet = Fleet::start(&[4096]);
    fleet.write("one.hcl", ONE);
    let tls = fleet.path("reader");
    fleet.issue(Role::Reader, "nosy", 1, &tls);
    let ran = with(&fleet, &tls, &["apply", "--auto-approve"]);
    assert!(ran.status == 1 || ran.status == 5, "{}", ran.text());
    let ran = ran.says("spiffe://test/reader/nosy may not call");
    assert!(fleet.hosts[0].hypervisor.all().is_empty(), "{}", ran.text());
    fleet.drover(&["apply", "--auto-approve", "--retry-all"]).exits(0);
}

#[test]
fn drift_is_shown_and_healed() {
    let fleet = applied();
    let hypervisor = &fleet.hosts[0].hypervisor;
    let mut domain = hypervisor.all().remove(0);
    domain.state.power = PowerState::Shutdown;
    domain.live_xml = None;
    hypervisor.put(domain);
    let ran = fleet.drover(&["plan", "--refresh-only", "--detailed-exitcode"]);
    ran.exits(2)
        .says("Changed outside of Drover:")
        .says("server.web[0] on n1 is shutdown");
    fleet
        .drover(&["plan"])
        .exits(0)
        .says("server.web[0] will be started on n1");
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    assert_eq!(running(&fleet, "n1"), 1);
    is_settled(&fleet);
}

#[test]
fn images_that_are_refused() {
    let fleet = Fleet::start(&[4096]);
    let images = fleet.path("images");
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new("qemu-img")
            .args(arguments)
            .current_dir(&images)
            .output();
        let output = output.expect("qemu-img is installed");
        assert!(output.status.success(), "{output:?}");
    };
    run(&[
        "create",
        "-q",
        "-f",
        "qcow2",
        "-b",
        "guest.raw",
        "-F",
        "raw",
        "backed.qcow2",
    ]);
    run(&[
        "create",
        "-q",
        "-f",
        "qcow2",
        "-o",
        "data_file=data.raw",
        "external.qcow2",
        "1M",
    ]);
    run(&["create", "-q", "-f", "qcow2", "huge.qcow2", "1G"]);
    run(&["convert", "-f", "raw", "-O", "qcow2", "guest.raw", "whole.qcow2"]);
    let whole = std::fs::read(images.join("whole.qcow2")).expect("made");
    std::fs::write(images.join("cut.qcow2"), &whole[..whole.len() / 2]).expect("written");
    let good = fleet.image("guest", "guest.raw");
    let wrong = good.replacen("checksum = \"sha256:", "checksum = \"sha256:0123", 1);
    let end = wrong.rfind('"').expect("a quote");
    let wrong = format!("{}{}", &wrong[..end - 4], &wrong[end..]);
    fleet.write("one.hcl", ONE);
    let base = fleet.base();
    for (block, words) in [
        (wrong, "has checksum sha256:"),
        (good.replace("guest.raw", "missing.raw"), "could not read"),
        (
            good.replace("file://", "file:///etc/passwd#"),
            "images.file_roots",
        ),
        (fleet.image("guest", "backed.qcow2"), "backing file"),
        (
            fleet.image("guest", "external.qcow2"),
            "keeps its data in another file",
        ),
        (fleet.image("guest", "huge.qcow2"), "larger"),
        (fleet.image("guest", "cut.qcow2"), "truncated"),
    ] {
        fleet.write("drover.hcl", &base.replace(&good, &block));
        let ran = fleet.drover(&["apply", "--auto-approve", "--retry-all"]);
        // Host, flavor and image are recorded before the image is refused.
        let ran = ran.exits(5);
        assert!(
            ran.stderr.contains("image.guest") && ran.stderr.contains(words),
            "{words}: {}",
            ran.text()
        );
        let host = &fleet.hosts[0];
        assert!(host.hypervisor.all().is_empty(), "{words}: nothing runs");
        for directory in ["images/tmp", "images/base", "servers"] {
            let left = std::fs::read_dir(host.config.data_dir.join(directory));
            let left: Vec<_> = left
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.file_name())
                .collect();
            assert!(left.is_empty(), "{words}: {directory} holds {left:?}");
        }
    }
    fleet.write("drover.hcl", &base);
    fleet.drover(&["apply", "--auto-approve", "--retry-all"]).exits(0);
    is_settled(&fleet);
}
