//! The situations that users of Terraform know, each with the test that shows what `drover` says in it.
//!
//! | Situation | Test |
//! |---|---|
//! | init | `small_commands::init_writes_what_validates_and_overwrites_nothing` |
//! | validate, and as JSON | `validate::a_good_configuration_is_valid`, `validate::mistakes_as_json_are_one_document` |
//! | a first plan | `plan::a_first_plan` |
//! | a first apply, for people and programs | `apply::an_apply_as_people_read_it`, `apply::an_apply_as_programs_read_it` |
//! | nothing to do | `plan_shown::nothing_to_do` |
//! | a mixed plan, shown and as JSON | `plan_shown::one_of_everything`, `schemas::plans_of_every_kind` |
//! | a mixed apply | `schemas::events_of_an_apply_and_of_its_failures` |
//! | a stale plan | `plan_files::a_stale_plan` |
//! | outputs, state, state list | `servers::outputs`, `servers::lists_of_a_running_fleet` |
//! | an apply that fails in part, and the plan after it | `apply::where_every_host_refuses_the_next_plan_avoids_them_and_says_why` |
//! | Ctrl-C once | `progress::the_first_interrupt_finishes_what_runs` |
//! | Ctrl-C twice | `progress::the_second_interrupt_detaches` |
//! | the lock is held | `apply_refused::the_holder_of_the_lock_is_named` |
//! | killed in the middle | `progress::one_that_was_killed_is_gone_on_with` |
//! | `-replace` | `lifecycle::replace_makes_a_server_anew_with_the_same_id` |
//! | `-target` | `plan_shown::targets_leave_the_rest_and_say_so` |
//! | `-refresh-only` | `plan_shown::drift_has_its_own_section`, `options::refresh_only` |
//! | `-destroy` | `plan_shown::everything_goes` |
//! | a variable's value that is not valid | `situations::a_variable_that_is_not_valid` |
//! | console | `console::names_stand_for_what_the_files_and_the_records_say` |
//! | a check that does not hold | `situations::a_check_warns_and_stops_nothing` |
//! | `count` loses an element in the middle | `situations::a_list_that_loses_its_middle_changes_what_stands_behind_it` |
//! | a precondition that does not hold | `situations::a_precondition_stops_the_plan` |
//! | `prevent_destroy` | `lifecycle::a_protected_server_stops_every_plan_that_would_destroy_it` |
//! | mistakes in the files | `validate::every_mistake_is_reported_in_one_run` |
//! | fmt -check -diff | `fmt::check_writes_nothing_and_diff_shows_what_would_change` |
//! | nobody there to approve | `apply_refused::without_a_terminal_nobody_can_approve` |

use crate::fake_hosts::Fleet;
use crate::run::finish;
use crate::schemas::{fits, schema};
use serde_json::Value;
use std::path::Path;

#[test]
fn every_situation_has_its_test() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    let read = |file: &str| std::fs::read_to_string(tests.join(format!("{file}.rs"))).expect("the tests");
    let own = read("situations");
    let named: Vec<&str> = own
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .flat_map(|line| line.split('`'))
        .filter(|word| word.contains("::"))
        .collect();
    assert!(named.len() > 25, "{named:?}");
    for name in named {
        let (file, test) = name.split_once("::").expect("a file and a test");
        assert!(
            read(file).contains(&format!("#[test]\nfn {test}() {{")),
            "{name} is no test"
        );
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// A list of sizes, a server for each, a limit that warns and one that stops.
fn fleet(sizes: &str) -> Fleet {
    let fleet = Fleet::start(&[8192, 8192]);
    fleet.write(
        "servers.hcl",
        &r#"
variable "names" {
  type    = list(string)
  default = NAMES
  validation {
    condition     = length(var.names) > 0
    error_message = "At least one server is needed."
  }
}
server "vm" {
  count  = length(var.names)
  name   = "vm-${count.index}"
  flavor = flavor.small
  image  = image.guest
  labels = { role = var.names[count.index] }
  lifecycle {
    precondition {
      condition     = length(var.names) < 5
      error_message = "Quota: at most 4 servers."
    }
  }
}
check "capacity" {
  assert {
    condition     = length(var.names) < 3
    error_message = "The fleet has ${length(var.names)} servers, and should have 2 at most."
  }
}
"#
        .replace("NAMES", sizes),
    );
    fleet
}

#[test]
fn a_check_warns_and_stops_nothing() {
    let fleet = fleet(r#"["a", "b", "c"]"#);
    insta::assert_snapshot!(fleet.drover(&["plan"]).text());
    fleet.drover(&["plan", "--out", "plan.bin"]).exits(0);
    let plan = finish(fleet.command(&["show", "--json", "plan.bin"]))
        .exits(0)
        .json();
    fits(&schema("plan.schema.json"), &plan);
    let checks = plan["checks"].as_array().expect("a list");
    let status: Vec<(&str, &str)> = checks
        .iter()
        .map(|check| (text(&check["address"]["to_display"]), text(&check["status"])))
        .collect();
    assert_eq!(
        status,
        [
            ("server.vm", "pass"),
            ("check.capacity", "fail"),
            ("var.names", "pass")
        ]
    );
    assert_eq!(checks[0]["instances"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        checks[1]["instances"][0]["problems"],
        serde_json::json!([{ "message": "The fleet has 3 servers, and should have 2 at most." }])
    );
    let applied = fleet.drover(&["apply", "--auto-approve"]).exits(0);
    applied
        .says("warning: Check block assertion failed")
        .says("Apply complete! 3 created");
}

#[test]
fn a_list_that_loses_its_middle_changes_what_stands_behind_it() {
    let fleet = fleet(r#"["a", "b"]"#);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let text = std::fs::read_to_string(fleet.project().join("servers.hcl")).expect("written");
    fleet.write("servers.hcl", &text.replace(r#"["a", "b"]"#, r#"["b"]"#));
    insta::assert_snapshot!(fleet.drover(&["plan"]).text());
}

#[test]
fn a_precondition_stops_the_plan() {
    let fleet = fleet(r#"["a", "b", "c", "d", "e"]"#);
    insta::assert_snapshot!(fleet.drover(&["plan"]).text());
    assert!(fleet.hosts.iter().all(|host| host.hypervisor.all().is_empty()));
}

#[test]
fn a_variable_that_is_not_valid() {
    let fleet = fleet("[]");
    insta::assert_snapshot!(fleet.drover(&["plan"]).text());
}
