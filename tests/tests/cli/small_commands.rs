//! `init`, `graph`, `completion` and `version`.

use crate::fake_hosts::Fleet;
use crate::run::drover_in;
use drover_core::plan::PLAN_FORMAT;

#[test]
fn init_writes_what_validates_and_overwrites_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path();
    insta::assert_snapshot!(drover_in(here, &["init"]).text(), @"
    exit 0
    --- stdout
    Wrote drover.hcl. What comes next:
      1. drover pki init --fleet prod          makes the fleet's certificate authority
      2. drover pki issue agent NAME             for each host, and for you:
         drover pki issue operator YOU --out .drover/tls
      3. edit drover.hcl: hosts, image, servers
      4. drover validate, drover plan, drover apply
    ");
    let text = std::fs::read_to_string(here.join("drover.hcl")).expect("written");
    assert!(
        text.contains("fleet = \"prod\"") && !text.contains("FLEET"),
        "{text}"
    );
    assert!(
        text.lines()
            .filter(|line| line.trim_start().starts_with('#'))
            .count()
            > 10
    );
    drover_in(here, &["validate"])
        .exits(0)
        .says("The configuration is valid.")
        .says_nothing_of("warning");
    let again = drover_in(here, &["init", "--fleet", "other"]).exits(1);
    again.says("There is a configuration here already: drover.hcl");
    assert_eq!(
        std::fs::read_to_string(here.join("drover.hcl")).expect("kept"),
        text
    );
    let elsewhere = tempfile::tempdir().expect("a directory");
    std::fs::write(elsewhere.path().join("mine.hcl"), "").expect("written");
    drover_in(elsewhere.path(), &["init"]).exits(1).says("mine.hcl");
    assert!(!elsewhere.path().join("drover.hcl").exists());
    std::fs::remove_file(elsewhere.path().join("mine.hcl")).expect("removed");
    drover_in(elsewhere.path(), &["init", "--fleet", "lab"]).exits(0);
    let text = std::fs::read_to_string(elsewhere.path().join("drover.hcl")).expect("written");
    assert!(text.contains("fleet = \"lab\""), "{text}");
    drover_in(elsewhere.path(), &["init", "--fleet", "no good"]).exits(1);
}

const SERVERS: &str = r#"
server "web" {
  count      = 3
  flavor     = flavor.small
  image      = image.guest
  depends_on = [server.db]
}
server "db" {
  flavor = flavor.small
  image  = image.guest
}
"#;

#[test]
fn graphs_of_files_and_plans() {
    let fleet = Fleet::start(&[8192]);
    fleet.write("web.hcl", SERVERS);
    insta::assert_snapshot!(fleet.drover(&["graph"]).text(), @r#"
    exit 0
    --- stdout
    digraph drover {
      rankdir = LR;
      node [shape = box];
      n0 [label = "host.n1"];
      n1 [label = "flavor.small"];
      n2 [label = "image.guest"];
      n3 [label = "server.db"];
      n4 [label = "server.web"];
      n3 -> n1;
      n3 -> n2;
      n4 -> n1;
      n4 -> n2;
      n4 -> n3;
    }
    "#);
    let mermaid = fleet.drover(&["graph", "--mermaid"]).exits(0);
    assert_eq!(mermaid, fleet.drover(&["graph", "--format", "mermaid"]));
    assert!(mermaid.stdout.starts_with("flowchart LR\n"), "{}", mermaid.text());
    fleet.drover(&["plan", "--out", "plan.bin"]).exits(0);
    let planned = fleet.drover(&["graph", "--plan", "plan.bin"]).exits(0);
    for node in [
        "create server.web[2] on n1",
        "fetch image.guest on n1",
        "record flavor.small",
    ] {
        assert!(planned.stdout.contains(node), "{node}: {}", planned.text());
    }
    let plan = fleet.drover(&["show", "--json", "plan.bin"]).json();
    let mut edges = 0;
    for list in ["resource_changes", "host_actions"] {
        for action in plan[list].as_array().expect("actions") {
            edges += action["depends_on"].as_array().expect("ids").len();
        }
    }
    assert_eq!(
        planned.stdout.matches(" -> ").count(),
        edges,
        "{}",
        planned.text()
    );
    fleet
        .drover(&["graph", "--plan", "web.hcl"])
        .exits(1)
        .says("not a plan file");
    fleet.drover(&["graph", "--mermaid", "--format", "dot"]).exits(1);
}

#[test]
fn completions_know_every_command() {
    let directory = tempfile::tempdir().expect("a directory");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = drover_in(directory.path(), &["completion", shell])
            .exits(0)
            .stdout;
        for word in ["console-log", "refresh-only", "completion"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    drover_in(directory.path(), &["completion", "csh"]).exits(1);
    // Bash reads it and completes with it.
    let script = drover_in(directory.path(), &["completion", "bash"])
        .exits(0)
        .stdout;
    std::fs::write(directory.path().join("drover.bash"), script).expect("written");
    let test = "source ./drover.bash; COMP_WORDS=(drover stat); COMP_CWORD=1; _drover drover stat drover; echo \
                \"${COMPREPLY[*]}\"";
    let ran = std::process::Command::new("bash")
        .args(["--norc", "-c", test])
        .current_dir(directory.path())
        .output()
        .expect("bash");
    assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), "state", "{ran:?}");
}

#[test]
fn version_says_what_is_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = drover_in(directory.path(), &["version"]).exits(0).stdout;
    assert!(text.starts_with("Drover 0.1.0 on linux_"), "{text}");
    let json = drover_in(directory.path(), &["version", "--json"])
        .exits(0)
        .json();
    assert_eq!(json["drover_version"], "0.1.0");
    assert_eq!(json["plan_file_format"], PLAN_FORMAT);
    assert_eq!(json["plan_json_format"], "1.0");
}
