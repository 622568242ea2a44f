//! `drover test`: runs that pass, and each way in which one can fail.

use crate::run::{Ran, drover_in};

const MAIN: &str = r#"
drover {
  fleet = "test"
}
variable "webs" {
  type    = number
  default = 2
  validation {
    condition     = var.webs < 10
    error_message = "at most 9 servers"
  }
}
host "n1" {
  address = "n1.example:7443"
}
host "n2" {
  address = "n2.example:7443"
}
flavor "small" {
  vcpus = 1
  ram   = "1GiB"
  disk  = "1GiB"
}
image "debian" {
  source   = "https://images.example/debian.raw"
  checksum = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
}
group "web" {
  policy = "anti-affinity"
}
server "web" {
  count  = var.webs
  flavor = flavor.small
  image  = image.debian
  group  = group.web
}
check "capacity" {
  assert {
    condition     = var.webs < 2
    error_message = "more than one server"
  }
}
output "hosts" {
  value = server.web[*].host
}
"#;

const GOOD: &str = r#"
host "n1" {
  vcpus = 4
  ram   = "4GiB"
  disk  = "20GiB"
}
host "n2" {
  vcpus = 4
  ram   = "4GiB"
  disk  = "20GiB"
}
variables {
  webs = 1
}
run "one" {
  command = plan
  assert {
    condition     = server.web[0].host == "n1" && length(server.web) == 1
    error_message = "it is on ${server.web[0].host}"
  }
}
run "two_apart" {
  variables {
    webs = 2
  }
  assert {
    condition     = length(distinct(server.web[*].host)) == 2
    error_message = "not apart"
  }
  expect_failures = [check.capacity]
}
run "a_third_fits_nowhere" {
  variables {
    webs = 3
  }
  expect_failures = [check.capacity, server.web]
}
run "too_many" {
  variables {
    webs = 10
  }
  expect_failures = [var.webs, check.capacity]
}
run "on_a_larger_host" {
  host "n2" {
    vcpus = 8
    ram   = "64GiB"
    disk  = "20GiB"
  }
  assert {
    condition     = server.web[0].host == "n2"
    error_message = "it is on ${server.web[0].host}"
  }
}
"#;

fn test(file: &str, more: &[&str]) -> Ran {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("main.hcl"), MAIN).expect("written");
    std::fs::write(dir.path().join("web.drovertest.hcl"), file).expect("written");
    let mut arguments = vec!["test"];
    arguments.extend(more);
    drover_in(dir.path(), &arguments)
}

#[test]
fn runs_pass_with_hosts_of_the_sizes_given() {
    insta::assert_snapshot!(test(GOOD, &[]).text(), @r#"
    exit 0
    --- stdout
    web.drovertest.hcl...
      run "one"... pass
      run "two_apart"... pass
      run "a_third_fits_nowhere"... pass
      run "too_many"... pass
      run "on_a_larger_host"... pass

    Success! 5 passed, 0 failed.
    "#);
}

#[test]
fn a_filter_chooses_runs_and_files() {
    let ran = test(GOOD, &["--filter", "two", "--filter", "too"]).exits(0);
    assert!(ran.stdout.contains("2 passed, 0 failed"), "{}", ran.text());
    test(GOOD, &["--filter", "web.drovertest"])
        .exits(0)
        .says("5 passed");
    test(GOOD, &["--filter", "no such"])
        .exits(1)
        .says("No run has such a name");
}

#[test]
fn json_has_one_event_per_run_and_a_summary() {
    let ran = test(GOOD, &["--json"]).exits(0);
    let runs: Vec<String> = ran
        .json_lines()
        .iter()
        .filter(|event| event["type"] == "test_run")
        .map(|event| format!("{} {}", event["test_run"]["run"], event["test_run"]["status"]))
        .collect();
    assert_eq!(runs.len(), 5, "{}", ran.text());
    assert!(runs.iter().all(|run| run.ends_with("\"pass\"")), "{runs:?}");
    assert_eq!(ran.event("test_summary")["test_summary"]["passed"], 5);
}

#[test]
fn a_run_fails_for_each_thing_that_is_not_as_it_says() {
    let hosts = GOOD.split("variables {").next().expect("the hosts");
    let run = |body: &str| test(&format!("{hosts}run \"r\" {{\n{body}\n}}\n"), &[]).exits(1);
    let assert = "  assert {\n    condition     = server.web[0].host == \"n2\"\n    error_message = \"it is on ${server.web[0].host}\"\n  }\n";
    let one = "  variables {\n    webs = 1\n  }\n";
    insta::assert_snapshot!(run(&format!("{one}{assert}")).text(), @r#"
    exit 1
    --- stdout
    web.drovertest.hcl...
      run "r"... fail

    Failure! 0 passed, 1 failed.
    --- stderr
    error: Test assertion failed
      --> web.drovertest.hcl:17:21
       |
    17 |     condition     = server.web[0].host == "n2"
       |                     ^^^^^^^^^^^^^^^^^^^^^^^^^^ in run "r"
       |
       = it is on n1
       = server.web[0].host is "n1"
    "#);
    // A check that fails unexpectedly.
    run(assert)
        .says("Check block assertion failed")
        .says("more than one server");
    // A validation.
    run(&format!(
        "  variables {{\n    webs = 99\n  }}\n{assert}  expect_failures = [check.capacity]"
    ))
    .says("at most 9 servers");
    // A server without room.
    run("  variables {\n    webs = 3\n  }\n  expect_failures = [check.capacity]").says("fits on no host");
    // Something expected that holds.
    run(&format!("{one}  expect_failures = [check.capacity]")).says("Missing expected failure");
    run(&format!("{one}  expect_failures = [server.web]")).says("Missing expected failure");
    // A host that is not declared.
    run(&format!(
        "{one}{assert}  host \"n9\" {{\n    vcpus = 1\n    ram   = \"1GiB\"\n    disk  = \"1GiB\"\n  }}"
    ))
    .says("declares none of that name");
}

#[test]
fn mistakes_in_a_test_file_are_told_with_their_places() {
    for (file, says) in [
        ("run \"r\" {\n}\n", "Run without conditions"),
        ("", "No runs"),
        (
            "run \"r\" {\n  expect_failures = [\"check.x\"]\n}\n",
            "Invalid expect_failures",
        ),
        (
            "run \"r\" {\n  command = apply\n  expect_failures = [check.capacity]\n}\n",
            "command is plan",
        ),
        ("run \"r\" {\n  asert {\n  }\n}\n", "did you mean \"assert\"?"),
        (
            "host \"n1\" {\n  vcpus = 0\n  ram   = \"1\"\n  disk  = \"1GiB\"\n}\nrun \"r\" {\n  expect_failures = [var.x]\n}\n",
            "at least 1",
        ),
        (
            "variables {\n  webs = var.x\n}\nrun \"r\" {\n  expect_failures = [check.capacity]\n}\n",
            "web.drovertest.hcl:2:10",
        ),
        (
            "run \"r\" {\n  assert {\n    condition     = server.wbe[0].name == \"x\"\n    error_message = \"x\"\n  }\n  expect_failures = [check.capacity, server.web]\n}\n",
            "did you mean \"web\"?",
        ),
    ] {
        test(file, &[]).exits(1).says(says);
    }
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("main.hcl"), MAIN).expect("written");
    drover_in(dir.path(), &["test"])
        .exits(1)
        .says("There are no tests here");
}

#[test]
fn a_server_that_is_to_be_imported_is_placed_as_any_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let more =
        "server \"old\" {\n  flavor = flavor.small\n}\nimport {\n  to = server.old\n  id = \"n1/old\"\n}\n";
    let run = "host \"n2\" {\n  vcpus = 4\n  ram   = \"4GiB\"\n  disk  = \"20GiB\"\n}\nvariables {\n  webs = 0\n}\n\
               run \"placed\" {\n  assert {\n    condition     = server.old.host == \"n2\"\n    error_message = \"not \
               there\"\n  }\n}\n";
    std::fs::write(dir.path().join("main.hcl"), MAIN.to_owned() + more).expect("written");
    std::fs::write(dir.path().join("old.drovertest.hcl"), run).expect("written");
    drover_in(dir.path(), &["test"])
        .exits(0)
        .says("1 passed, 0 failed");
}
