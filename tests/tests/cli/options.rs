//! Options of single commands: each test fails if the option is ignored. `every_option` has those that many commands
//! share, and the table of all.

use crate::fake_hosts::Fleet;
use crate::run::drover_in;

const WEB: &str = r#"
variable "web" {
  type    = number
  default = 1
}
server "web" {
  count  = var.web
  flavor = flavor.small
  image  = image.guest
}
server "db" {
  flavor = flavor.small
  image  = image.guest
}
output "hosts" {
  value = server.web[*].host
}
"#;

fn fleet() -> Fleet {
    let fleet = Fleet::start(&[4096, 2048]);
    fleet.write("web.hcl", WEB);
    fleet
}

#[test]
fn directory() {
    let fleet = fleet();
    let elsewhere = tempfile::tempdir().expect("a directory");
    drover_in(elsewhere.path(), &["validate"]).exits(1);
    let project = fleet.project();
    let project = project.to_str().expect("UTF-8");
    drover_in(elsewhere.path(), &["-C", project, "validate"]).exits(0);
    drover_in(elsewhere.path(), &["validate", "-C", project]).exits(0);
    // Relative paths are relative to it, that of the certificate too.
    drover_in(elsewhere.path(), &["-C", project, "plan", "--out", "plan.bin"]).exits(0);
    assert!(fleet.project().join("plan.bin").is_file());
}

#[test]
fn var_var_file_and_environment_in_their_order() {
    let fleet = fleet();
    let planned = |arguments: &[&str], environment: Option<&str>| {
        let mut command = fleet.command(&["plan", "--json"]);
        command.args(arguments);
        if let Some(value) = environment {
            command.env("DROVER_VAR_web", value);
        }
        let ran = fleet.clean(&crate::run::finish(command)).exits(0);
        ran.event("change_summary")["changes"]["create"]
            .as_u64()
            .expect("a number")
    };
    assert_eq!(planned(&[], None), 2);
    assert_eq!(planned(&[], Some("2")), 3);
    fleet.write("more.vars", "web = 3\n");
    assert_eq!(planned(&["--var-file", "more.vars"], Some("2")), 4);
    assert_eq!(
        planned(&["--var-file", "more.vars", "--var", "web=0"], Some("2")),
        1
    );
    fleet.write("drover.vars.hcl", "web = 4\n");
    assert_eq!(planned(&[], Some("2")), 5);
    fleet.write("a.auto.vars.hcl", "web = 5\n");
    assert_eq!(planned(&[], None), 6);
    fleet.write("b.auto.vars.hcl", "web = 6\n");
    assert_eq!(planned(&[], None), 7);
    assert_eq!(planned(&["--var-file", "more.vars"], None), 4);
    // Options count in the order in which they stand.
    let (file, value) = ("--var-file=more.vars", "--var=web=0");
    assert_eq!(planned(&[file, value], None), 1);
    assert_eq!(planned(&[value, file], None), 4);
    assert_eq!(planned(&[value, file, "--var=web=1"], None), 2);
    fleet.drover(&["plan", "--var", "wbe=1"]).exits(1).says("wbe");
    fleet.drover(&["plan", "--var", "web"]).exits(1).says("web");
    fleet
        .drover(&["plan", "--var", "web=many"])
        .exits(1)
        .says("number");
    fleet
        .drover(&["plan", "--var-file", "none.vars"])
        .exits(1)
        .says("Could not read none.vars");
}

#[test]
fn target() {
    let fleet = fleet();
    let ran = fleet.drover(&["plan", "--target", "server.db"]).exits(0);
    ran.says("server.db will be created")
        .says_nothing_of("server.web");
    let ran = fleet.drover(&["plan", "--target", "server.nosuch"]).exits(1);
    insta::assert_snapshot!(ran.text(), @"
    exit 1
    --- stderr
    Error: --target server.nosuch: nothing of that address is declared or recorded
      hint: `drover state list` lists what is recorded
    ");
}

#[test]
fn out_and_show() {
    let fleet = fleet();
    let planned = fleet.drover(&["plan", "--out", "plan.bin"]).exits(0);
    assert!(
        planned
            .stdout
            .ends_with("To perform exactly these actions, run:\n    drover apply plan.bin\n"),
        "{}",
        planned.text()
    );
    let shown = fleet.drover(&["show", "plan.bin"]).exits(0);
    assert!(
        planned.stdout.starts_with(&shown.stdout),
        "{}\n{}",
        planned.text(),
        shown.text()
    );
    let json = fleet.drover(&["show", "plan.bin", "--json"]).exits(0).json();
    assert_eq!(
        (&json["applyable"], &json["summary"]["create"]),
        (&true.into(), &2.into()),
        "{json:#}"
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(fleet.project().join("plan.bin"))
            .expect("written")
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o600, "a plan may hold sensitive values");
    let ran = fleet.drover(&["plan", "--out", "nowhere/plan.bin"]).exits(1);
    assert!(
        ran.stderr
            .contains("Could not write the plan to nowhere/plan.bin"),
        "{}",
        ran.text()
    );
}

#[test]
fn detailed_exitcode() {
    let fleet = fleet();
    fleet.drover(&["plan"]).exits(0);
    fleet.drover(&["plan", "--detailed-exitcode"]).exits(2);
    fleet.drover(&["plan", "--detailed-exitcode", "--json"]).exits(2);
    fleet
        .drover(&["plan", "--detailed-exitcode", "--destroy"])
        .exits(0)
        .says("There is nothing to destroy.");
}

#[test]
fn refresh_only() {
    let fleet = fleet();
    let ran = fleet.drover(&["plan", "--refresh-only", "--detailed-exitcode"]);
    assert!(!ran.stdout.contains("will be created"), "{}", ran.text());
    insta::assert_snapshot!(ran.text(), @"
    exit 0
    --- stdout
    No changes. The records match what the hosts report.
    ");
}

#[test]
fn destroy() {
    let fleet = fleet();
    for option in ["--refresh-only", "--refresh=false", "--retry-all"] {
        fleet.drover(&["destroy", option, "--auto-approve"]).exits(1);
    }
    fleet
        .drover(&["plan", "--destroy"])
        .exits(0)
        .says_nothing_of("will be created");
    fleet
        .drover(&["apply", "--destroy"])
        .exits(0)
        .says("There is nothing to destroy.");
    fleet
        .drover(&["destroy"])
        .exits(0)
        .says("There is nothing to destroy.");
}

#[test]
fn explain() {
    let fleet = fleet();
    fleet.drover(&["plan"]).exits(0).says_nothing_of("<- chosen");
    let ran = fleet
        .drover(&["plan", "--explain", "--target", "server.db"])
        .exits(0);
    insta::assert_snapshot!(ran.stdout, @r#"
    Drover will perform the following actions. They are marked so:
      + create

      # server.db will be created on n1
      # host: n1, most free memory of 2 hosts that fit; else n2
      + server "db" {
          + disk           = "8MiB"
          + flavor         = "flavor.small"
          + host           = "n1"
          + id             = "<id>"
          + image          = "image.guest"
          + image_checksum = "sha256:631b84027d6b…"
          + name           = "db"
          + power          = "on"
          + ram            = "512MiB"
          + vcpus          = 1
        }

      # image.guest will be fetched to n1

      # written down, no host is touched:
      + host.n1
      + host.n2
      + flavor.small
      + image.guest

    Plan: 1 to create, 0 to update, 0 to destroy. 4 records to write.

    Warning: this plan is limited to server.db
      Everything else is left as it is, also where it differs from the
      configuration. Of outputs only those change that follow what this plan does.
      Targets are for getting out of trouble, not for everyday work.
      hint: afterwards, look at the rest with `drover plan` without --target

    server.db: n1, 0.5 above the next of 2 that pass
      n1  passes, weight 1 (ram 4096: 1) <- chosen
      n2  passes, weight 0.5 (ram 2048: 0.5)

    The plan was not saved, so `drover apply` makes a new one. To apply exactly this
    one, save it with --out FILE.
    "#);
}

#[test]
fn json() {
    let fleet = fleet();
    let ran = fleet.drover(&["plan", "--json"]).exits(0);
    let kinds: Vec<String> = ran
        .json_lines()
        .iter()
        .map(|event| {
            for key in ["@level", "@message", "@timestamp", "type"] {
                assert!(event[key].is_string(), "{key} of {event}");
            }
            event["type"].as_str().expect("a text").to_owned()
        })
        .collect();
    insta::assert_debug_snapshot!(kinds, @r#"
    [
        "version",
        "planned_change",
        "planned_change",
        "planned_change",
        "planned_change",
        "planned_change",
        "planned_change",
        "planned_host_action",
        "change_summary",
        "outputs",
    ]
    "#);
    let text = fleet.drover(&["plan"]).exits(0);
    for event in ran
        .json_lines()
        .iter()
        .filter(|event| event["type"] == "planned_change")
    {
        let address = event["change"]["resource"]["addr"].as_str().expect("an address");
        assert!(text.stdout.contains(address), "{address} is not in the text");
        if let Some(host) = event["change"]["host"].as_str() {
            let line = format!("{address} will be created on {host}");
            assert!(text.stdout.contains(&line), "{line:?} is not in {}", text.stdout);
        }
    }
    let summary = ran.event("change_summary");
    text.says(summary["@message"].as_str().expect("a text"));
}
