//! `drover drift`: quiet where nothing differs, never about what was not applied yet, and each option of it.

use crate::apply::applied;
use crate::fake_hosts::Fleet;
use crate::run::{Ran, binary, finish};
use crate::schemas::{fits, schema};
use drover_types::{PowerState, Role};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Somebody shuts the first server of `n1` down with virsh.
fn shut_down(fleet: &Fleet) {
    let hypervisor = &fleet.hosts[0].hypervisor;
    let mut domain = hypervisor.all().remove(0);
    domain.state.power = PowerState::Shutdown;
    domain.live_xml = None;
    hypervisor.put(domain);
}

/// Somebody gives the same server more memory, for its next start.
fn altered(fleet: &Fleet) {
    let hypervisor = &fleet.hosts[0].hypervisor;
    let mut domain = hypervisor.all().remove(0);
    let xml = domain.persistent_xml.take().expect("it is persistent");
    assert!(xml.contains("524288</memory>"), "{xml}");
    domain.persistent_xml = Some(xml.replace("524288</memory>", "1048576</memory>"));
    hypervisor.put(domain);
}

#[track_caller]
fn is_quiet(ran: &Ran) {
    assert_eq!(
        (ran.status, ran.stdout.as_str(), ran.stderr.as_str()),
        (0, "", ""),
        "{}",
        ran.text()
    );
}

fn row<'a>(figures: &'a str, name: &str) -> &'a str {
    let found = figures.lines().find_map(|line| line.strip_prefix(name));
    found.unwrap_or_else(|| panic!("{name}: {figures}")).trim()
}

fn examples(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/ci/drift")
        .join(file);
    std::fs::read_to_string(path).expect("the example")
}

#[test]
fn nothing_is_said_where_nothing_differs() {
    let fleet = applied();
    is_quiet(&fleet.drover(&["drift"]));
    // Not of what is declared and was not applied yet, nor of what the files warn of.
    fleet.write(
        "more.hcl",
        "server \"more\" {\n  flavor = flavor.small\n  image  = image.guest\n}\ncheck \"never\" {\n  assert {\n    \
         condition     = 1 == 2\n    error_message = \"It is not.\"\n  }\n}\n",
    );
    let planned = fleet.drover(&["plan", "--detailed-exitcode"]).exits(2);
    planned.says("server.more will be created").says("It is not.");
    is_quiet(&fleet.drover(&["drift"]));
}

#[test]
fn an_empty_fleet_has_no_drift() {
    let fleet = Fleet::start(&[4096]);
    is_quiet(&fleet.drover(&["drift"]));
    let value = fleet.drover(&["drift", "--json"]).exits(0).json();
    assert_eq!(value["resource_drift"], serde_json::json!([]));
}

#[test]
fn what_differs_is_told_and_nothing_is_changed() {
    let fleet = applied();
    let before = fleet.drover(&["state", "pull"]).exits(0).stdout;
    shut_down(&fleet);
    fleet.write(
        "more.hcl",
        "server \"more\" {\n  flavor = flavor.small\n  image  = image.guest\n}\n",
    );
    insta::assert_snapshot!(fleet.drover(&["drift"]).text(), @"
    exit 2
    --- stdout
    Changed outside of Drover:
      ~ server.web[0] on n1 is shutdown; it was recorded as on
    ");
    let domain = fleet.hosts[0].hypervisor.all().remove(0);
    assert_eq!(domain.state.power, PowerState::Shutdown);
    assert_eq!(fleet.drover(&["state", "pull"]).exits(0).stdout, before);
}

#[test]
fn a_reader_may_look() {
    let fleet = applied();
    let tls = fleet.path("reader");
    fleet.issue(Role::Reader, "cron", 1, &tls);
    shut_down(&fleet);
    let mut command = fleet.command(&["drift"]);
    for (name, file) in [
        ("DROVER_CA_FILE", "ca.pem"),
        ("DROVER_CERT_FILE", "cert.pem"),
        ("DROVER_KEY_FILE", "key.pem"),
    ] {
        command.env(name, tls.join(file));
    }
    fleet
        .clean(&finish(command))
        .exits(2)
        .says("server.web[0] on n1 is shutdown");
}

#[test]
fn what_is_ignored_is_not_told() {
    let fleet = applied();
    shut_down(&fleet);
    altered(&fleet);
    let both = fleet.drover(&["drift"]).exits(2);
    both.says("is shutdown").says("memory_kib");
    let power = fleet
        .drover(&["drift", "--ignore", "server.web[0]/power"])
        .exits(2);
    power.says("memory_kib").says_nothing_of("is shutdown");
    let ignore = [
        "--ignore",
        "server.web/power",
        "--ignore",
        "server.web/memory_kib",
    ];
    is_quiet(&fleet.drover(&[&["drift"][..], &ignore].concat()));
    is_quiet(&fleet.drover(&["drift", "--ignore", "server.web/*"]));
    let counted = fleet
        .drover(&["drift", "--json", "--ignore", "server.web/*"])
        .exits(0)
        .json();
    assert_eq!(counted["ignored"], 2, "{counted:#}");
    fleet.drover(&["drift", "--ignore", "server.other/*"]).exits(2);
    fleet
        .drover(&["drift", "--ignore", "server.web"])
        .exits(1)
        .says("write a server's address, a slash and an attribute");
}

#[test]
fn what_lifecycle_blocks_ignore_is_not_told() {
    let fleet = applied();
    shut_down(&fleet);
    fleet.drover(&["drift"]).exits(2);
    let text = std::fs::read_to_string(fleet.project().join("web.hcl")).expect("it was written");
    let ignoring = text.replacen(
        "server \"web\" {\n",
        "server \"web\" {\n  lifecycle {\n    ignore_changes = [power]\n  }\n",
        1,
    );
    assert_ne!(text, ignoring);
    fleet.write("web.hcl", &ignoring);
    is_quiet(&fleet.drover(&["drift"]));
    // Also where the block got another name, and the records have the old one.
    let renamed = ignoring
        .replace("server \"web\"", "server \"front\"")
        .replace("server.web", "server.front");
    fleet.write(
        "web.hcl",
        &format!("{renamed}\nmoved {{\n  from = server.web\n  to   = server.front\n}}\n"),
    );
    is_quiet(&fleet.drover(&["drift"]));
}

#[test]
fn a_mistake_in_the_files_is_an_error() {
    let fleet = applied();
    fleet.write("bad.hcl", "server \"x\" {\n  flavor = flavor.none\n}\n");
    let ran = fleet.drover(&["drift", "--metrics-file", "drift.prom"]).exits(1);
    ran.says("flavor.none");
    let figures = std::fs::read_to_string(fleet.project().join("drift.prom")).expect("figures");
    assert_eq!(
        row(
            &figures,
            "drover_drift_complete{fleet=\"test\",project=\"default\"}"
        ),
        "0"
    );
    assert!(!figures.contains("drover_drift_servers"), "{figures}");
}

#[test]
fn a_host_that_does_not_answer_is_an_error_unless_accepted() {
    let mut fleet = applied();
    fleet.host_named("n2").stop();
    let ran = fleet.drover(&["drift"]).exits(1);
    ran.says("host n2 does not answer");
    is_quiet(&fleet.drover(&["drift", "--allow-unreachable", "n2"]));
    let value = fleet.drover(&["drift", "--json"]).exits(1).json();
    assert_eq!(
        (&value["complete"], &value["unobserved_hosts"][0]["host"]),
        (&false.into(), &"n2".into())
    );
    shut_down(&fleet);
    fleet
        .drover(&["drift", "--allow-unreachable", "n2"])
        .exits(2)
        .says("is shutdown");
}

#[test]
fn the_document_is_what_its_schema_says() {
    let fleet = applied();
    shut_down(&fleet);
    altered(&fleet);
    let whole = finish(fleet.command(&["drift", "--json"])).exits(2).json();
    let schema = schema("drift.schema.json");
    fits(&schema, &whole);
    let drift = &whole["resource_drift"];
    assert_eq!(
        (&drift[0]["address"], &drift[0]["index"], &whole["complete"]),
        (&"server.web[0]".into(), &0.into(), &true.into())
    );
    assert!(!schema.is_valid(&serde_json::json!({ "format_version": "1.0" })));
}

#[test]
fn figures_are_written_whole() {
    let fleet = applied();
    let path = fleet.project().join("drift.prom");
    is_quiet(&fleet.drover(&["drift", "--metrics-file", "drift.prom"]));
    let read = || std::fs::read_to_string(&path).expect("figures");
    let labels = "fleet=\"test\",project=\"default\"";
    let power = format!("drover_drift_servers{{{labels},kind=\"power\"}}");
    let clean = read();
    assert_eq!(row(&clean, &power), "0");
    assert_eq!(row(&clean, &format!("drover_drift_complete{{{labels}}}")), "1");
    let at: u64 = row(
        &clean,
        &format!("drover_drift_last_run_timestamp_seconds{{{labels}}}"),
    )
    .parse()
    .expect("seconds");
    assert!(at > 1_700_000_000, "{at}");
    // Every figure says what it is, and the collector, who is somebody else, may read it.
    for name in ["complete", "servers", "ignored", "unobserved_hosts"] {
        assert!(
            clean.contains(&format!("# TYPE drover_drift_{name} gauge\n")),
            "{clean}"
        );
    }
    let mode = std::fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o444, 0o444, "{mode:o}");
    shut_down(&fleet);
    // Whoever reads while it is written has the old file open, and it stays what it was.
    let mut open = std::fs::File::open(&path).expect("there");
    fleet.drover(&["drift", "--metrics-file", "drift.prom"]).exits(2);
    assert_eq!(row(&read(), &power), "1");
    let mut old = String::new();
    std::io::Read::read_to_string(&mut open, &mut old).expect("read");
    assert_eq!(old, clean);
    let beside: Vec<PathBuf> = std::fs::read_dir(fleet.project())
        .expect("read")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.display().to_string().contains("drift.prom."))
        .collect();
    assert_eq!(beside, Vec::<PathBuf>::new());
    let ran = fleet
        .drover(&["drift", "--metrics-file", "nowhere/drift.prom"])
        .exits(1);
    ran.says("Could not write the figures").says("is shutdown");
}

/// The very command of the unit, with the paths of this test.
#[test]
fn the_unit_of_systemd_runs() {
    let fleet = applied();
    let unit = examples("drover-drift.service");
    let value = |key: &str| {
        let found = unit
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{key}=")));
        found.unwrap_or_else(|| panic!("{key}: {unit}")).to_owned()
    };
    assert_eq!(value("Type"), "oneshot");
    let words = value("ExecStart");
    let figures = fleet.path("drover_drift.prom");
    let words: Vec<String> = words
        .split_whitespace()
        .skip(1)
        .map(|word| match word.ends_with(".prom") {
            true => figures.display().to_string(),
            false => word.to_owned(),
        })
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    is_quiet(&fleet.drover(&words));
    shut_down(&fleet);
    fleet.drover(&words).exits(2);
    let figures = std::fs::read_to_string(figures).expect("figures");
    // The rules are over figures that are there.
    let rules = examples("alerts.yml");
    let rules: serde_json::Value = serde_yaml_ng::from_str(&rules).expect("YAML");
    let rules = rules["groups"][0]["rules"].as_array().expect("rules");
    assert!(rules.len() >= 3, "{rules:?}");
    for rule in rules {
        let expression = rule["expr"].as_str().expect("an expression");
        let name = expression
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .find(|word| word.starts_with("drover_drift_"));
        let name = name.unwrap_or_else(|| panic!("{expression}"));
        assert!(figures.contains(&format!("\n{name}{{")), "{name}: {figures}");
    }
    let timer = examples("drover-drift.timer");
    for line in ["[Timer]", "OnCalendar=hourly", "WantedBy=timers.target"] {
        assert!(timer.lines().any(|found| found == line), "{line}: {timer}");
    }
}

/// The very line of the table, run by the shell as cron does, with the paths of this test.
#[test]
fn the_table_of_cron_runs() {
    let fleet = applied();
    let table = examples("crontab");
    let line = table
        .lines()
        .find(|line| line.starts_with(|c: char| c.is_ascii_digit() || c == '*'))
        .expect("a line");
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (when, command) = fields.split_at(6);
    assert!(
        when[..5]
            .iter()
            .all(|field| field.chars().all(|c| c.is_ascii_digit() || "*/,-".contains(c))),
        "{line}"
    );
    let command = command
        .join(" ")
        .replace("/usr/local/bin/drover", &binary().display().to_string())
        .replace("/etc/drover/fleet", &fleet.project().display().to_string());
    let run = || {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &command]);
        fleet.clean(&finish(shell))
    };
    is_quiet(&run());
    shut_down(&fleet);
    run().exits(2).says("server.web[0] on n1 is shutdown");
}
