//! Options that many commands share, tried on every command that has them: each test fails if one of the
//! commands ignores the option. The table says for every command and option which test that is.

use crate::apply_refused::hold;
use crate::fake_hosts::Fleet;
use crate::help;
use crate::run::{Ran, finish};
use drover_agent::hypervisor::Hypervisor as _;
use drover_types::ServerId;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

const SERVERS: &str = r#"
variable "web" {
  type    = number
  default = 2
}
server "web" {
  count  = var.web
  flavor = flavor.small
  image  = image.guest
}
server "off" {
  flavor = flavor.small
  image  = image.guest
  power  = "off"
}
output "hosts" {
  value = server.web[*].host
}
"#;

/// `server.web[0]` and `server.web[1]` on n1, and nothing on n2 and n3.
fn applied() -> Fleet {
    let fleet = Fleet::start(&[8192, 3072, 2048]);
    fleet.write("web.hcl", SERVERS);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    fleet
}

/// Ends the guest of `server.web[0]` behind Drover's back.
fn ended(fleet: &Fleet) -> ServerId {
    let shown = fleet.command(&["state", "show", "server.web[0]", "--json"]);
    let id = finish(shown).exits(0).json()["id"].clone();
    let id = id.as_str().expect("an id").parse().expect("an id");
    fleet.hosts[0].hypervisor.end(id).expect("it was on n1");
    id
}

/// The same, and `server.off` moves from n1 to n2 without the store hearing of it.
fn drifted(fleet: &Fleet) {
    let pulled = finish(fleet.command(&["state", "pull"])).exits(0);
    fleet.write("before.json", &pulled.stdout);
    let migrate = ["server", "migrate", "server.off", "--to", "n2", "--auto-approve"];
    fleet.drover(&migrate).exits(0);
    fleet
        .drover(&["state", "push", "--force", "before.json"])
        .exits(0);
    ended(fleet);
}

/// The commands that make a plan, with the arguments that they need to have something to do in a fleet that
/// is [`drifted`]. Without a terminal all but `plan` and `refresh` show it and refuse.
const PLANNING: [&[&str]; 5] = [
    &["plan"],
    &["apply"],
    &["destroy"],
    &["refresh"],
    &["server", "migrate", "server.web[0]", "--to", "n2"],
];

fn with(command: &[&str], more: &[&str]) -> Vec<String> {
    let words = command.iter().chain(more);
    words.map(|word| (*word).to_owned()).collect()
}

fn run(fleet: &Fleet, command: &[&str], more: &[&str]) -> Ran {
    let words = with(command, more);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ran = fleet.drover(&words);
    println!("{words:?}: {}", ran.text());
    ran
}

/// Commands, their options, and the tests that fail if a command ignores them.
const TESTED: &[(&str, &[(&str, &str)])] = &[
    ("", &[("--version", "every_option::version")]),
    (
        "apply",
        &[
            ("--allow-unreachable", "every_option::allow_unreachable"),
            ("--auto-approve", "every_option::lock_timeout"),
            ("--compact-warnings", "every_option::compact_warnings"),
            ("--destroy", "every_option::apply_is_told_what_to_plan"),
            ("--exclude", "every_option::targets_and_exclusions"),
            ("--explain", "every_option::explain"),
            ("--full", "every_option::full"),
            ("--json", "every_option::json"),
            ("--json-into", "every_option::json_into"),
            ("--lock-timeout", "every_option::lock_timeout"),
            ("--max-destroy", "lifecycle::max_destroy_refuses_larger_plans"),
            ("--parallelism", "every_option::parallelism"),
            ("--refresh", "every_option::without_refresh"),
            ("--refresh-only", "every_option::apply_is_told_what_to_plan"),
            ("--replace", "every_option::apply_is_told_what_to_plan"),
            (
                "--retry-all",
                "apply::where_every_host_refuses_the_next_plan_avoids_them_and_says_why",
            ),
            ("--target", "every_option::targets_and_exclusions"),
        ],
    ),
    (
        "capacity",
        &[
            ("--after-apply", "capacity::after_apply_counts_what_is_to_come"),
            (
                "--flavor",
                "capacity::capacity_is_shown_for_each_flavor_and_each_host",
            ),
            (
                "--inventory",
                "capacity::capacity_is_counted_from_an_inventory_file_too",
            ),
            (
                "--json",
                "capacity::capacity_is_shown_for_each_flavor_and_each_host",
            ),
        ],
    ),
    (
        "destroy",
        &[
            ("--allow-unreachable", "every_option::allow_unreachable"),
            ("--auto-approve", "every_option::lock_timeout"),
            ("--compact-warnings", "every_option::compact_warnings"),
            ("--exclude", "every_option::targets_and_exclusions"),
            ("--full", "every_option::full"),
            ("--json", "every_option::json"),
            ("--json-into", "every_option::json_into"),
            ("--lock-timeout", "every_option::lock_timeout"),
            ("--max-destroy", "lifecycle::max_destroy_refuses_larger_plans"),
            ("--parallelism", "every_option::parallelism"),
            ("--target", "every_option::targets_and_exclusions"),
        ],
    ),
    ("dev down", &[("--purge", "dev")]),
    ("dev status", &[("--json", "dev")]),
    ("dev up", &[("--fleet", "dev"), ("--port", "dev")]),
    (
        "drift",
        &[
            (
                "--allow-unreachable",
                "drift::a_host_that_does_not_answer_is_an_error_unless_accepted",
            ),
            ("--ignore", "drift::what_is_ignored_is_not_told"),
            ("--json", "drift::the_document_is_what_its_schema_says"),
            ("--metrics-file", "drift::figures_are_written_whole"),
        ],
    ),
    (
        "fmt",
        &[
            (
                "--check",
                "fmt::check_writes_nothing_and_diff_shows_what_would_change",
            ),
            (
                "--diff",
                "fmt::check_writes_nothing_and_diff_shows_what_would_change",
            ),
            ("--recursive", "fmt::recursive_goes_below"),
        ],
    ),
    (
        "force-unlock",
        &[("--force", "state::the_lock_is_broken_by_name_and_with_approval")],
    ),
    (
        "graph",
        &[
            ("--format", "small_commands::graphs_of_files_and_plans"),
            ("--mermaid", "small_commands::graphs_of_files_and_plans"),
            ("--plan", "small_commands::graphs_of_files_and_plans"),
        ],
    ),
    (
        "host inventory",
        &[(
            "--out",
            "inventory::what_changed_since_the_file_was_saved_stops_the_apply",
        )],
    ),
    ("host list", &[("--json", "every_option::json")]),
    (
        "host readmit",
        &[(
            "--auto-approve",
            "servers::a_host_whose_log_was_lost_is_readmitted_by_an_admin",
        )],
    ),
    ("image list", &[("--json", "every_option::json")]),
    (
        "adopt",
        &[(
            "--out",
            "imports::adopting_a_host_writes_blocks_that_can_be_applied_as_they_are",
        )],
    ),
    (
        "import",
        &[
            ("--allow-unreachable", "imports::the_options_of_import"),
            ("--auto-approve", "imports::the_options_of_import"),
            ("--compact-warnings", "imports::an_import_is_shown_as_any_plan"),
            ("--json", "imports::the_options_of_import"),
            ("--json-into", "imports::an_import_is_shown_as_any_plan"),
            ("--lock-timeout", "imports::an_import_waits_for_the_lock"),
        ],
    ),
    (
        "init",
        &[(
            "--fleet",
            "small_commands::init_writes_what_validates_and_overwrites_nothing",
        )],
    ),
    (
        "output",
        &[("--json", "every_option::json"), ("--raw", "servers::outputs")],
    ),
    (
        "pki init",
        &[
            ("--dir", "credentials::pki_commands"),
            ("--fleet", "credentials::pki_commands"),
        ],
    ),
    (
        "pki issue",
        &[
            ("--days", "credentials::pki_commands"),
            ("--dir", "credentials::pki_commands"),
            ("--out", "credentials::pki_commands"),
        ],
    ),
    ("pki show", &[("--json", "credentials::pki_commands")]),
    (
        "plan",
        &[
            ("--allow-unreachable", "every_option::allow_unreachable"),
            ("--compact-warnings", "every_option::compact_warnings"),
            ("--destroy", "options::destroy"),
            ("--detailed-exitcode", "options::detailed_exitcode"),
            ("--exclude", "every_option::targets_and_exclusions"),
            ("--explain", "every_option::explain"),
            ("--full", "every_option::full"),
            (
                "--generate-config-out",
                "generated::blocks_are_generated_for_imports_that_lack_them",
            ),
            (
                "--inventory",
                "inventory::a_plan_from_a_file_is_the_plan_from_the_hosts_and_asks_none",
            ),
            ("--json", "every_option::json"),
            ("--json-into", "every_option::json_into"),
            ("--markdown", "plan_shown::a_summary_for_a_pull_request"),
            ("--max-destroy", "lifecycle::max_destroy_refuses_larger_plans"),
            ("--out", "options::out_and_show"),
            ("--parallelism", "unanswered::so_many_hosts_are_asked_at_a_time"),
            ("--refresh", "every_option::without_refresh"),
            ("--refresh-only", "options::refresh_only"),
            (
                "--replace",
                "lifecycle::replace_makes_a_server_anew_with_the_same_id",
            ),
            (
                "--retry-all",
                "apply::where_every_host_refuses_the_next_plan_avoids_them_and_says_why",
            ),
            ("--target", "every_option::targets_and_exclusions"),
        ],
    ),
    (
        "rebalance",
        &[
            (
                "--allow-unreachable",
                "rebalance::a_rebalancing_is_planned_from_an_inventory_file_and_changes_nothing",
            ),
            (
                "--auto-approve",
                "rebalance::hosts_are_evened_out_and_then_left_alone",
            ),
            (
                "--compact-warnings",
                "rebalance::a_rebalancing_is_shown_as_any_plan",
            ),
            ("--full", "rebalance::a_rebalancing_is_shown_as_any_plan"),
            (
                "--inventory",
                "rebalance::a_rebalancing_is_planned_from_an_inventory_file_and_changes_nothing",
            ),
            ("--json", "rebalance::moves_and_evenness_may_be_limited"),
            ("--json-into", "rebalance::a_rebalancing_is_shown_as_any_plan"),
            (
                "--lock-timeout",
                "rebalance::the_lock_is_waited_for_and_actions_are_limited",
            ),
            ("--max-moves", "rebalance::moves_and_evenness_may_be_limited"),
            (
                "--out",
                "rebalance::a_saved_rebalancing_is_shown_applied_and_refused_when_stale",
            ),
            (
                "--parallelism",
                "rebalance::the_lock_is_waited_for_and_actions_are_limited",
            ),
            ("--threshold", "rebalance::moves_and_evenness_may_be_limited"),
        ],
    ),
    (
        "refresh",
        &[
            ("--allow-unreachable", "every_option::allow_unreachable"),
            ("--auto-approve", "every_option::lock_timeout"),
            ("--compact-warnings", "every_option::compact_warnings"),
            ("--full", "every_option::full"),
            ("--json", "every_option::json"),
            ("--json-into", "every_option::json_into"),
            ("--lock-timeout", "every_option::lock_timeout"),
            ("--target", "every_option::targets_and_exclusions"),
        ],
    ),
    (
        "scheduler export",
        &[
            ("--inventory", "every_option::what_the_scheduler_exports"),
            ("--out", "every_option::what_the_scheduler_exports"),
            ("--retry-all", "every_option::what_the_scheduler_exports"),
        ],
    ),
    (
        "scheduler simulate",
        &[
            ("--batch", "scheduler::a_batch_is_placed_as_a_whole_and_says_how"),
            ("--explain", "scheduler::explained_every_host_says_why"),
            (
                "--json",
                "scheduler::an_exported_fleet_is_placed_as_the_plan_places_it",
            ),
            (
                "--profile",
                "scheduler::a_zone_that_nobody_carries_is_open_to_the_new_nova",
            ),
        ],
    ),
    (
        "server console-log",
        &[
            (
                "--follow",
                "servers::following_a_console_goes_on_until_it_is_ended",
            ),
            ("--tail", "servers::the_console"),
        ],
    ),
    ("server list", &[("--json", "every_option::json")]),
    (
        "server migrate",
        &[
            ("--allow-unreachable", "every_option::allow_unreachable"),
            ("--auto-approve", "every_option::lock_timeout"),
            ("--compact-warnings", "every_option::compact_warnings"),
            ("--explain", "every_option::explain"),
            ("--json", "every_option::json"),
            ("--json-into", "every_option::json_into"),
            ("--lock-timeout", "every_option::lock_timeout"),
            ("--to", "servers::migrating_one_server_is_a_plan_of_its_own"),
        ],
    ),
    (
        "server reboot",
        &[
            (
                "--hard",
                "reboot::a_soft_reboot_gives_the_guest_two_minutes_and_a_hard_one_nothing",
            ),
            ("--json", "every_option::json"),
        ],
    ),
    ("server show", &[("--json", "every_option::json")]),
    (
        "show",
        &[
            (
                "--full",
                "plan_shown::many_alike_are_told_together_and_full_shows_each",
            ),
            ("--json", "options::out_and_show"),
            ("--markdown", "plan_shown::a_summary_for_a_pull_request"),
        ],
    ),
    ("state list", &[("--json", "every_option::json")]),
    (
        "state push",
        &[(
            "--force",
            "state::the_records_are_pulled_and_pushed_as_one_document",
        )],
    ),
    ("state show", &[("--json", "every_option::json")]),
    (
        "test",
        &[
            (
                "--filter",
                "tests_of_configurations::a_filter_chooses_runs_and_files",
            ),
            (
                "--json",
                "tests_of_configurations::json_has_one_event_per_run_and_a_summary",
            ),
        ],
    ),
    ("validate", &[("--json", "every_option::json")]),
    ("version", &[("--json", "every_option::json")]),
];

/// Options of every command, or of every command that reads the files.
const EVERYWHERE: [(&str, &str); 4] = [
    (
        "--help",
        "help::every_command_and_option_is_described_within_80_columns",
    ),
    (
        "--no-color",
        "terminal::colour_is_for_terminals_and_can_be_refused",
    ),
    ("--var", "every_option::variables"),
    ("--var-file", "every_option::variables"),
];

/// A new option of a command stands in the table, with a test that names it, or this fails.
#[test]
fn every_option_of_every_command_has_a_test() {
    let mut listed: BTreeSet<(String, String)> = BTreeSet::new();
    let mut wrong = Vec::new();
    for (command, options) in TESTED {
        for (option, test) in *options {
            listed.insert(((*command).to_owned(), (*option).to_owned()));
            if !mentions(test, option) {
                wrong.push(format!("{command} {option}: {test} is no test that uses it"));
            }
        }
    }
    for (option, test) in EVERYWHERE {
        if option != "--help" && !mentions(test, option) {
            wrong.push(format!("{option}: {test} is no test that uses it"));
        }
    }
    for (option, commands) in help::options() {
        if EVERYWHERE.iter().any(|(everywhere, _)| *everywhere == option) {
            continue;
        }
        for command in commands {
            if !listed.remove(&(command.clone(), option.clone())) {
                wrong.push(format!("{command} {option} has no test"));
            }
        }
    }
    wrong.extend(
        listed
            .into_iter()
            .map(|(command, option)| format!("{command} has no option {option}")),
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether there is a test of that name whose text has this option.
fn mentions(test: &str, option: &str) -> bool {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let read = |path: &str| std::fs::read_to_string(tests.join(path)).expect("a file of tests");
    let Some((file, name)) = test.split_once("::") else {
        // Of the lab, where the whole file is one test.
        return read(&format!("labs/e2e/{test}.rs")).contains(&format!("\"{option}\""));
    };
    let text = read(&format!("cli/{file}.rs"));
    let Some((_, rest)) = text.split_once(&format!("#[test]\nfn {name}(")) else {
        return false;
    };
    let body = rest.split("\n#[test]\n").next().unwrap_or_default();
    [
        format!("\"{option}\""),
        format!("\"{option}="),
        format!("{option} "),
    ]
    .iter()
    .any(|form| body.contains(form))
}

/// Every command that takes values of variables, with what else it needs.
const WITH_VARIABLES: [&[&str]; 35] = [
    &["adopt", "n1"],
    &["apply"],
    &["capacity"],
    &["console"],
    &["destroy"],
    &["drift"],
    &["force-unlock"],
    &["graph"],
    &["host", "inventory"],
    &["host", "list"],
    &["host", "readmit", "n1"],
    &["image", "list"],
    &["import", "server.web[0]", "n1/web"],
    &["output"],
    &["plan"],
    &["rebalance"],
    &["refresh"],
    &["scheduler", "export"],
    &["server", "console-log", "server.web[0]"],
    &["server", "list"],
    &["server", "migrate", "server.web[0]"],
    &["server", "reboot", "server.web[0]"],
    &["server", "show", "server.web[0]"],
    &["show"],
    &["state", "list"],
    &["state", "mv", "server.web[0]", "server.web[7]"],
    &["state", "pull"],
    &["state", "push", "state.json"],
    &["state", "rm", "server.web[0]"],
    &["state", "show", "server.web[0]"],
    &["test"],
    &["validate"],
    // The order of the two kinds, and what they do to a plan, is `options`'.
    &["show"],
    &["plan", "--destroy"],
    &["apply", "--destroy"],
];

#[test]
fn version() {
    let fleet = Fleet::start(&[]);
    let ran = fleet.drover(&["--version"]).exits(0);
    assert_eq!(ran.stdout, concat!("drover ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn variables() {
    let fleet = applied();
    fleet.write(
        "none.drovertest.hcl",
        "run \"nothing\" {\n  assert {\n    condition     = true\n    error_message = \"never\"\n  }\n}\n",
    );
    fleet.write("state.json", &fleet.drover(&["state", "pull"]).exits(0).stdout);
    let named = |command: &[&str]| {
        command
            .iter()
            .take_while(|word| {
                !word.contains(['.', '-']) || **word == "console-log" || **word == "force-unlock"
            })
            .copied()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut commands: BTreeSet<String> = BTreeSet::new();
    for option in ["--var", "--var-file"] {
        commands.extend(help::options().remove(option).into_iter().flatten());
    }
    for command in WITH_VARIABLES {
        commands.remove(named(command).trim_end_matches(" n1"));
        run(&fleet, command, &["--var", "wbe=1"]).exits(1).says("wbe");
        run(&fleet, command, &["--var-file", "none.vars"])
            .exits(1)
            .says("Could not read none.vars");
    }
    assert!(commands.is_empty(), "not tried: {commands:?}");
}

#[test]
fn json() {
    let fleet = applied();
    let documents: [&[&str]; 10] = [
        &["host", "list"],
        &["image", "list"],
        &["output"],
        &["server", "list"],
        &["server", "reboot", "server.web[1]"],
        &["server", "show", "server.web[0]"],
        &["state", "list"],
        &["state", "show", "server.web[0]"],
        &["validate"],
        &["version"],
    ];
    for command in documents {
        let plain = run(&fleet, command, &[]).exits(0);
        assert!(
            serde_json::from_str::<serde_json::Value>(&plain.stdout).is_err(),
            "{command:?} prints JSON without being asked"
        );
        run(&fleet, command, &["--json"]).exits(0).json();
    }
    let rebooted = run(
        &fleet,
        &["server", "reboot", "server.web[1]"],
        &["--json", "--hard"],
    );
    assert_eq!(
        rebooted.json(),
        serde_json::json!({ "address": "server.web[1]", "host": "n1", "reboot": "hard" })
    );
    drifted(&fleet);
    for command in PLANNING {
        let ran = run(&fleet, command, &["--json"]);
        assert_eq!(ran.event("version")["ui"], "1.0");
        assert!(
            !run(&fleet, command, &[]).stdout.starts_with('{'),
            "{command:?} prints JSON without being asked"
        );
    }
}

#[test]
fn json_into() {
    let fleet = applied();
    drifted(&fleet);
    for command in PLANNING {
        let plain = run(&fleet, command, &[]);
        let file = "events.jsonl";
        let ran = run(&fleet, command, &["--json-into", file]);
        assert_eq!(ran.stdout, plain.stdout, "{command:?}");
        let events = std::fs::read_to_string(fleet.project().join(file)).expect("written");
        let ran = Ran {
            stdout: events,
            ..ran
        };
        ran.event("change_summary");
        std::fs::remove_file(fleet.project().join(file)).expect("removed");
    }
}

#[test]
fn allow_unreachable() {
    let mut fleet = applied();
    drifted(&fleet);
    fleet.host_named("n3").stop();
    let accept = ["--allow-unreachable", "n3"];
    for command in PLANNING {
        run(&fleet, command, &[]).exits(1).says("--allow-unreachable");
        let accepted = run(&fleet, command, &accept).says_nothing_of("--allow-unreachable");
        if command != ["plan"] {
            accepted.says("no terminal");
        }
    }
    // What can be done without the host is done all the same, and that is no success.
    for command in [&["refresh"][..], &["apply"], &["destroy"]] {
        let refused = run(&fleet, command, &["--auto-approve"]);
        assert_ne!(refused.status, 0, "{}", refused.text());
        run(&fleet, command, &["--auto-approve", "--allow-unreachable", "n3"]).exits(0);
    }
}

#[test]
fn compact_warnings() {
    let fleet = applied();
    drifted(&fleet);
    fleet.write(
        "check.hcl",
        "check \"enough\" {\n  assert {\n    condition     = var.web > 2\n    error_message = \"Two are not enough.\"\n  }\n}\n",
    );
    for command in PLANNING {
        let whole = run(&fleet, command, &[]);
        let compact = run(&fleet, command, &["--compact-warnings"]);
        whole
            .says("Two are not enough.")
            .says_nothing_of("leave out --compact-warnings");
        compact.says("To see all that they say, leave out --compact-warnings.");
    }
}

#[test]
fn explain() {
    let fleet = applied();
    fleet.write(
        "more.hcl",
        "server \"more\" {\n  flavor = flavor.small\n  image  = image.guest\n}\n",
    );
    for command in [PLANNING[0], PLANNING[1], PLANNING[4]] {
        run(&fleet, command, &[]).says_nothing_of("<- chosen");
        run(&fleet, command, &["--explain"]).says("<- chosen");
    }
}

#[test]
fn full() {
    let fleet = Fleet::start(&[65536, 65536]);
    fleet.write("web.hcl", &SERVERS.replace("default = 2", "default = 60"));
    let shortened = "Shortened; --full shows everything one by one.";
    let both = |command: &[&str], last: &str| {
        run(&fleet, command, &[]).says(shortened).says_nothing_of(last);
        run(&fleet, command, &["--full"])
            .says_nothing_of(shortened)
            .says(last);
    };
    both(&["plan"], "server.web[59] will be created");
    both(&["apply"], "server.web[59] will be created");
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    both(&["destroy"], "server.web[59] will be destroyed");
    for domain in fleet.hosts.iter().flat_map(|host| host.hypervisor.all()) {
        let server = ServerId::from_uuid(domain.uuid);
        for host in &fleet.hosts {
            drop(host.hypervisor.end(server));
        }
    }
    both(&["refresh"], "server.web[59]");
}

#[test]
fn targets_and_exclusions() {
    let fleet = applied();
    fleet.write(
        "more.hcl",
        "server \"more\" {\n  flavor = flavor.small\n  image  = image.guest\n}\n",
    );
    drifted(&fleet);
    let (one, other) = ("server.web[0]", "server.off");
    for command in [["plan"], ["apply"], ["destroy"], ["refresh"]] {
        run(&fleet, &command, &["--target", one])
            .says(one)
            .says_nothing_of(other);
        if command != ["refresh"] {
            run(&fleet, &command, &["--exclude", one])
                .says(other)
                .says_nothing_of(one);
        }
    }
}

#[test]
fn without_refresh() {
    let fleet = applied();
    ended(&fleet);
    for command in [["plan"], ["apply"]] {
        let drift = "Changed outside of Drover";
        run(&fleet, &command, &[]).says(drift);
        run(&fleet, &command, &["--refresh=false"]).says_nothing_of(drift);
    }
}

#[test]
fn apply_is_told_what_to_plan() {
    let fleet = applied();
    let apply = ["apply"];
    run(&fleet, &apply, &[]).exits(0).says("No changes.");
    run(&fleet, &apply, &["--destroy"]).says("server.web[0] will be destroyed");
    run(&fleet, &apply, &["--replace", "server.web[1]"])
        .says("server.web[1] must be rebuilt")
        .says_nothing_of("server.web[0]");
    ended(&fleet);
    run(&fleet, &apply, &[]).says("server.web[0] will be started");
    run(&fleet, &apply, &["--refresh-only"])
        .says("server.web[0] on n1 is shutdown")
        .says_nothing_of("will be started");
}

#[test]
fn lock_timeout() {
    let fleet = applied();
    drifted(&fleet);
    let lock = hold(&fleet);
    for command in &PLANNING[1..] {
        let at_once = Instant::now();
        run(&fleet, command, &["--auto-approve"])
            .exits(3)
            .says("alice@desk");
        let at_once = at_once.elapsed();
        let waiting = Instant::now();
        run(&fleet, command, &["--auto-approve", "--lock-timeout", "2s"]).exits(3);
        let waited = waiting.elapsed();
        assert!(
            waited.as_secs() >= 2,
            "{command:?} did not wait: {waited:?}, without {at_once:?}"
        );
    }
    drop(lock);
}

/// The most actions that were at work at a time. What is only written down is not begun, only done.
fn at_a_time(ran: &Ran) -> i32 {
    let (mut open, mut most) = (0_i32, 0);
    for event in ran
        .json_lines()
        .iter()
        .filter(|event| event["hook"]["action"] != "record")
    {
        match event["type"].as_str() {
            Some("apply_start") => open += 1,
            Some("apply_complete") => open -= 1,
            _ => {}
        }
        most = most.max(open);
    }
    most
}

#[test]
fn parallelism() {
    let fleet = applied();
    let wide = ["--auto-approve", "--json", "--var", "web=6"];
    let narrow = ["--auto-approve", "--json", "--var", "web=9", "--parallelism", "1"];
    let ran = run(&fleet, &["apply"], &wide).exits(0);
    assert!(at_a_time(&ran) > 1, "{}", ran.text());
    let ran = run(&fleet, &["apply"], &narrow).exits(0);
    assert_eq!(at_a_time(&ran), 1, "{}", ran.text());
    let ran = run(&fleet, &["destroy"], &narrow).exits(0);
    assert_eq!(at_a_time(&ran), 1, "{}", ran.text());
    run(&fleet, &["apply"], &wide).exits(0);
    let ran = run(&fleet, &["destroy"], &wide).exits(0);
    assert!(at_a_time(&ran) > 1, "{}", ran.text());
    for command in [["apply"], ["destroy"]] {
        run(&fleet, &command, &["--parallelism", "0"])
            .exits(1)
            .says("--parallelism");
    }
}

#[test]
fn what_the_scheduler_exports() {
    let mut fleet = Fleet::start(&[4096, 3072]);
    fleet.write("web.hcl", SERVERS);
    for host in &fleet.hosts {
        host.hypervisor.refuse_starts(Some("no QEMU here"));
    }
    fleet.drover(&["apply", "--auto-approve"]).exits(5);
    let export = ["scheduler", "export"];
    let printed = run(&fleet, &export, &[]).exits(0);
    run(&fleet, &export, &["--out", "fleet.json"]).exits(0);
    let written = std::fs::read_to_string(fleet.project().join("fleet.json")).expect("written");
    assert_eq!(
        fleet
            .clean(&Ran {
                stdout: written,
                ..printed.clone()
            })
            .stdout,
        printed.stdout
    );
    let again = run(&fleet, &export, &["--retry-all"]).exits(0);
    assert_ne!(
        again.stdout, printed.stdout,
        "hosts that refused are told without --retry-all only"
    );
    fleet
        .drover(&["host", "inventory", "--out", "hosts.json"])
        .exits(0);
    for name in ["n1", "n2"] {
        fleet.host_named(name).stop();
    }
    let unheard = finish(fleet.command(&export));
    let from_file = run(&fleet, &export, &["--inventory", "hosts.json"]).exits(0);
    assert_eq!(from_file.stdout, printed.stdout);
    assert_ne!(fleet.clean(&unheard).stdout, printed.stdout);
}
