//! `drover console`: expressions in, values out.

use crate::fake_hosts::Fleet;
use crate::run::command;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Status, stdout and stderr for these lines.
fn ask(mut command: Command, lines: &str) -> (Option<i32>, String, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(lines.as_bytes()).expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn console(directory: &Path, lines: &str) -> (Option<i32>, String, String) {
    ask(command(directory, &["console"]), lines)
}

#[test]
fn functions_can_be_tried_without_a_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    let (status, stdout, stderr) = console(
        dir.path(),
        "cidrsubnet(\"10.0.0.0/16\", 8, 0)\n\n# a comment\n{ a = [1, true, null], b = {} }\n[\n  1,\n  2,\n]\n\
         toset([\"b\", \"a\"])\nsensitive(\"hunter2\")\ntype({ a = [1], b = tomap({ c = \"d\" }) })\n\"x\\ny\"\n\"$${x}\"\n1 + 1",
    );
    assert_eq!((status, stderr.as_str()), (Some(0), ""), "{stdout}");
    insta::assert_snapshot!(stdout, @r#"
    "10.0.0.0/24"
    {
      "a" = [
        1,
        true,
        null,
      ]
      "b" = {}
    }
    [
      1,
      2,
    ]
    toset([
      "a",
      "b",
    ])
    (sensitive value)
    object({
      a: tuple([
        number,
      ]),
      b: map(string),
    })
    <<EOT
    x
    y
    EOT
    "$${x}"
    2
    "#);
}

#[test]
fn mistakes_are_told_and_the_next_line_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let (status, stdout, stderr) = console(dir.path(), "1 +\nuper(\"a\")\nvar.x\n2\nexit\n3\n");
    assert_eq!((status, stdout.as_str()), (Some(1), "2\n"), "{stderr}");
    for word in [
        "Invalid expression",
        "did you mean \"upper\"?",
        "No variable named \"x\"",
    ] {
        assert!(stderr.contains(word), "{word}: {stderr}");
    }
}

#[test]
fn names_stand_for_what_the_files_and_the_records_say() {
    let fleet = Fleet::start(&[4096]);
    fleet.write(
        "web.hcl",
        "variable \"n\" {\n  type    = number\n  default = 1\n}\nlocals {\n  twice = var.n * 2\n}\nserver \"web\" {\n  flavor = flavor.small\n  image  = image.guest\n}\n",
    );
    let (status, stdout, stderr) = ask(
        fleet.command(&["console"]),
        "local.twice\nserver.web.name\nserver.web.host\ndrover.fleet\n",
    );
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert_eq!(stdout, "2\n\"web\"\n(known after placement)\n\"test\"\n");
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let (_, stdout, _) = ask(
        fleet.command(&["console", "--var", "n=4"]),
        "local.twice\nserver.web.host\n",
    );
    assert_eq!(stdout, "8\n\"n1\"\n");
}

#[test]
fn an_ephemeral_value_is_in_no_plan_record_or_message() {
    let fleet = Fleet::start(&[4096]);
    fleet.write(
        "web.hcl",
        "variable \"token\" {\n  type      = string\n  ephemeral = true\n}\nserver \"web\" {\n  flavor = flavor.small\n  image  = image.guest\n  lifecycle {\n    precondition {\n      condition     = length(var.token) > 3\n      error_message = \"too short\"\n    }\n  }\n}\ncheck \"token\" {\n  assert {\n    condition     = length(var.token) > 100\n    error_message = \"the token is short\"\n  }\n}\n",
    );
    let secret = "hunter2-of-this-test";
    let given = format!("token={secret}");
    let planned = fleet
        .drover(&["plan", "--out", "plan.bin", "--var", &given])
        .exits(0)
        .says("the token is short")
        .says_nothing_of(secret);
    assert!(
        planned.stdout.contains("server.web will be created"),
        "{}",
        planned.text()
    );
    fleet
        .drover(&["show", "plan.bin", "--json"])
        .exits(0)
        .says_nothing_of(secret);
    fleet
        .drover(&["apply", "--auto-approve", "--var", &given])
        .exits(0)
        .says_nothing_of(secret);
    let mut open = vec![fleet.project()];
    let mut looked = 0;
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                std::fs::read_dir(path)
                    .expect("a directory")
                    .map(|entry| entry.expect("an entry").path()),
            );
        } else {
            let bytes = std::fs::read(&path).expect("a file");
            looked += 1;
            assert!(
                !bytes.windows(secret.len()).any(|part| part == secret.as_bytes()),
                "it is in {}",
                path.display()
            );
        }
    }
    assert!(looked > 3, "plan, records and files were looked into");
}
