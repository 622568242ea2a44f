//! Lists, single servers and outputs of a fleet that runs: what is printed as text is in the JSON too.

use crate::apply::applied;
use crate::run::finish;
use drover_types::Role;
use serde_json::Value;

#[test]
fn lists_of_a_running_fleet() {
    let fleet = applied();
    let list = fleet.drover(&["server", "list"]).exits(0);
    insta::assert_snapshot!(list.stdout, @"
    SERVER         ID                                    HOST  STATE   POWER    TASK
    server.web[0]  <id>  n1    active  running
    server.web[1]  <id>  n2    active  running
    ");
    let json = fleet.drover(&["server", "list", "--json"]).exits(0).json();
    let found: Vec<[&Value; 3]> = json
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| {
            [
                &one["address"],
                &one["record"]["host"],
                &one["domain"]["power_state"],
            ]
        })
        .collect();
    assert_eq!(
        found,
        [
            ["server.web[0]", "n1", "running"],
            ["server.web[1]", "n2", "running"]
        ]
    );
    let hosts = fleet
        .drover(&["host", "list"])
        .exits(0)
        .says("n1")
        .says("1 (1 run)");
    assert_eq!(hosts.stdout.lines().count(), 4);
    let json = fleet.drover(&["host", "list", "--json"]).exits(0).json();
    assert_eq!(json.as_object().map(|hosts| hosts.len()), Some(3), "{json}");
    let images = fleet.drover(&["image", "list"]).exits(0);
    assert!(images.stdout.contains("n1,n2"), "{}", images.text());
    let json = fleet.drover(&["image", "list", "--json"]).exits(0).json();
    assert_eq!(json[0]["hosts"], serde_json::json!(["n1", "n2"]));
    insta::assert_snapshot!(fleet.drover(&["state", "list"]).exits(0).stdout, @"
    host.n1
    host.n2
    host.n3
    flavor.small
    image.guest
    group.web
    server.web[0]
    server.web[1]
    ");
    let json = fleet
        .drover(&["state", "list", "--json", "server.web"])
        .exits(0)
        .json();
    assert_eq!(json, serde_json::json!(["server.web[0]", "server.web[1]"]));
    let json = fleet
        .drover(&["state", "show", "server.web[1]", "--json"])
        .exits(0)
        .json();
    assert_eq!(json["host"], "n2", "{json}");
    fleet
        .drover(&["state", "show", "server.web[1]"])
        .exits(0)
        .says("# server.web[1]");
    fleet.drover(&["state", "show", "server.web[7]"]).exits(1);
    fleet
        .drover(&["show"])
        .exits(0)
        .says("# server.web[0]")
        .says_nothing_of("very-secret");
    let json = fleet.drover(&["show", "--json"]).exits(0).json();
    assert_eq!(
        json["values"]["outputs"]["hosts"]["value"],
        serde_json::json!(["n1", "n2"])
    );
}

#[test]
fn one_server() {
    let fleet = applied();
    let shown = fleet.drover(&["server", "show", "server.web[0]"]).exits(0);
    insta::assert_snapshot!(shown.stdout, @"
    address    server.web[0]
    id         <id>
    name       web-0
    host       n1
    state      active (power: running)
    flavor     flavor.small (1 vCPUs, 512MiB memory, 8MiB disk)
    image      image.guest
    generation 1
    group      group.web
    epoch      1 on n1
    ");
    let json = fleet
        .drover(&["server", "show", "server.web[0]", "--json"])
        .exits(0)
        .json();
    assert_eq!(
        (&json["address"], &json["observed_on"]),
        (&"server.web[0]".into(), &"n1".into())
    );
    fleet
        .drover(&["server", "show", "server.web[9]"])
        .exits(1)
        .says("is not recorded");
}

#[test]
fn outputs() {
    let fleet = applied();
    insta::assert_snapshot!(fleet.drover(&["output"]).exits(0).stdout, @r#"
    hosts = [
      "n1",
      "n2",
    ]
    password = <sensitive>
    "#);
    assert_eq!(
        fleet.drover(&["output", "password", "--raw"]).exits(0).stdout,
        "very-secret"
    );
    assert_eq!(
        fleet.drover(&["output", "hosts", "--json"]).exits(0).json(),
        serde_json::json!(["n1", "n2"])
    );
    fleet
        .drover(&["output", "hosts", "--raw"])
        .exits(1)
        .says("use --json");
    let json = fleet.drover(&["output", "--json"]).exits(0).json();
    assert_eq!(
        json["password"],
        serde_json::json!({ "sensitive": true, "value": "very-secret" })
    );
    fleet
        .drover(&["output", "nosuch"])
        .exits(1)
        .says("there are: hosts, password");
}

#[test]
fn the_console() {
    let fleet = applied();
    let whole = finish(fleet.command(&["server", "console-log", "server.web[0]"]));
    assert!(
        whole.stdout.starts_with("booted ") && whole.status == 0,
        "{whole:?}"
    );
    let tail = finish(fleet.command(&["server", "console-log", "server.web[0]", "--tail", "5"]));
    assert_eq!(tail.stdout, whole.stdout[whole.stdout.len() - 5..]);
}

#[test]
fn following_a_console_goes_on_until_it_is_ended() {
    use std::io::{BufRead as _, BufReader};
    let fleet = applied();
    let mut command = fleet.command(&["server", "console-log", "server.web[0]", "--follow"]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let first = lines.next().expect("a line").expect("text");
    fleet
        .drover(&["server", "reboot", "server.web[0]", "--hard"])
        .exits(0)
        .says("was rebooted on n1");
    // The guest boots again and says so.
    assert_eq!(lines.next().expect("a line").expect("text"), first);
    assert_eq!(child.try_wait().expect("a child"), None, "it goes on");
    child.kill().expect("ended");
    child.wait().expect("ended");
}

#[test]
fn migrating_one_server_is_a_plan_of_its_own() {
    let fleet = applied();
    let ran = fleet
        .drover(&["server", "migrate", "server.web[0]"])
        .exits(1)
        .says("no terminal");
    ran.says("server.web[0] will be migrated to n3")
        .says("migration was asked for");
    let to = |host: &str| {
        fleet
            .drover(&["server", "migrate", "server.web[0]", "--to", host])
            .exits(1)
    };
    to("n3").says("will be migrated to n3");
    insta::assert_snapshot!(to("n2").text(), @"
    exit 1
    --- stdout
    Blocked, and left as it is:

      ! server.web[0] cannot be migrated (migration was asked for)
          no host can take it:
            n2 ServerGroupAntiAffinityFilter: holds 1 of group group.web
            n3 Migration: another host was asked for
          hint: make room, add a host, or relax the constraint named

    Nothing can be changed until what is said above is settled.
    ");
    to("nowhere")
        .says("--to nowhere: no such host is declared or recorded")
        .says_nothing_of("will be migrated");
    to("n1").says_nothing_of("will be migrated");
    fleet
        .drover(&["server", "migrate", "server.web[0]", "--json"])
        .exits(1)
        .event("change_summary");
    fleet.drover(&["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn a_host_whose_log_was_lost_is_readmitted_by_an_admin() {
    let mut fleet = applied();
    let host = fleet.host_named("n1");
    let log = host.config.operation_log();
    host.stop();
    std::fs::remove_file(&log).expect("the log");
    host.start();
    fleet.drover(&["plan"]).exits(1).says("drover host readmit");
    let readmit = ["host", "readmit", "n1", "--auto-approve"];
    fleet
        .drover(&["host", "readmit", "n1"])
        .exits(1)
        .says("no terminal");
    fleet.drover(&readmit).exits(1).says("admin");
    let tls = fleet.project().join(".drover/tls");
    fleet.issue(Role::Admin, "root", 1, &tls);
    fleet
        .drover(&readmit)
        .exits(0)
        .says("server.web[0]")
        .says("Host n1 is readmitted");
    fleet
        .drover(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("No changes");
    fleet.drover(&readmit).exits(0).says("nothing to readmit");
}

#[test]
fn what_is_defined_lies_in_the_servers_directory() {
    let fleet = applied();
    for host in &fleet.hosts {
        for domain in host.hypervisor.all() {
            let directory = host.config.servers_dir().join(domain.uuid.to_string());
            let written = std::fs::read_to_string(directory.join("domain.xml")).expect("it is kept");
            assert_eq!(Some(written), domain.persistent_xml, "on {}", host.name);
        }
    }
}
