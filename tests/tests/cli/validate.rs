//! `drover validate`: mistakes in the files, each with its place and what to write instead, all in one run.

use crate::run::{Ran, drover_in};

fn validate(text: &str, more: &[&str]) -> Ran {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("main.hcl"), text).expect("written");
    let mut arguments = vec!["validate"];
    arguments.extend(more);
    drover_in(dir.path(), &arguments)
}

const GOOD: &str = r#"drover {
  fleet = "test"
}
variable "webs" {
  type    = number
  default = 1
}
host "n1" {
  address = "n1.example:7443"
}
flavor "small" {
  vcpus = 1
  ram   = "512MiB"
  disk  = "10GiB"
}
image "debian" {
  source   = "https://images.example/debian.raw"
  checksum = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
}
server "web" {
  count  = var.webs
  flavor = flavor.small
  image  = image.debian
}
"#;

#[test]
fn a_good_configuration_is_valid() {
    insta::assert_snapshot!(validate(GOOD, &[]).text(), @"
    exit 0
    --- stdout
    The configuration is valid.
    ");
    let json = validate(GOOD, &["--json"]).exits(0).json();
    let expected = serde_json::json!({
        "format_version": "1.0", "valid": true, "error_count": 0, "warning_count": 0, "diagnostics": [],
    });
    assert_eq!(json, expected);
}

/// What every plan would find wrong, whatever the hosts report, is found without any.
#[test]
fn what_no_scheduler_could_follow_is_found_in_the_files() {
    let text = GOOD.replace(
        "  count  = var.webs\n",
        "  count  = var.webs\n  same_host = [server.db]\n",
    ) + "server \"db\" {\n  flavor = flavor.small\n  image  = image.debian\n}\naggregate \"ssd\" {\n  hosts    = [host.n1]\n  \
           metadata = { cpu_allocation_ratio = \"0\" }\n}\n";
    insta::assert_snapshot!(validate(&text, &[]).text(), @r#"
    exit 1
    --- stderr
    error: Invalid placement settings
      --> main.hcl:20:1
       |
    20 | server "web" {
       | ^^^^^^^^^^^^^^
       |
       = server.web[0]: it sets same_host, which SameHostFilter alone looks at
         when servers are placed, and that is not configured.
       = help: add "SameHostFilter" to filters in the scheduler block

    error: Invalid placement settings
      --> main.hcl:30:1
       |
    30 | aggregate "ssd" {
       | ^^^^^^^^^^^^^^^^^
       |
       = aggregate.ssd: metadata: cpu_allocation_ratio = "0": a ratio must be
         above 0 and at most 1000000.
       = help: correct metadata

    warning: Questionable placement settings
      --> main.hcl:30:1
       |
    30 | aggregate "ssd" {
       | ^^^^^^^^^^^^^^^^^
       |
       = aggregate.ssd: its metadata sets cpu_allocation_ratio, which
         AggregateCoreFilter alone looks at, and that is not configured.
       = help: add "AggregateCoreFilter" to filters in the scheduler block
    "#);
    let json = validate(&text, &["--json"]).exits(1).json();
    let count = |of: &str| json[of].as_u64();
    assert_eq!((count("error_count"), count("warning_count")), (Some(2), Some(1)));
    assert_eq!(json["diagnostics"][0]["range"]["start"]["line"], 20);
}

#[test]
fn every_mistake_is_reported_in_one_run() {
    let text = GOOD
        .replace("ram   =", "memory =")
        .replace("flavor.small", "flavor.smal")
        + "servr \"x\" {}\nhost \"n1\" {\n  address = \"elsewhere:1\"\n}\nlocals {\n  a = local.b\n  b = local.a\n}\n";
    insta::assert_snapshot!(validate(&text, &[]).text(), @r#"
    exit 1
    --- stderr
    error: Missing required argument
      --> main.hcl:11:1
       |
    11 | flavor "small" {
       | ^^^^^^^^^^^^^^ in flavor "small"
       |
       = The argument "ram" is required in flavor "small", but is not set. Write
         for example:
         ram = "512MiB"

    error: Unsupported argument
      --> main.hcl:13:3
       |
    13 |   memory = "512MiB"
       |   ^^^^^^ in flavor "small"
       |
       = An argument named "memory" is not expected in flavor "small". It has
         vcpus, ram, disk, extra_specs, count, for_each.

    error: Unknown reference
      --> main.hcl:22:12
       |
    22 |   flavor = flavor.smal
       |            ^^^^^^^^^^^ in server "web"
       |
       = No flavor named "smal" is declared. Declare it with:
         flavor "smal" { ... }
       = help: did you mean "small"?

    error: Unsupported block type
      --> main.hcl:25:1
       |
    25 | servr "x" {}
       | ^^^^^
       |
       = Blocks of type "servr" are not expected here. There are drover,
         variable, locals, host, flavor, image, group, aggregate, server, moved,
         removed, import, data, module, output, check.
       = help: did you mean "server"?

    error: Duplicate host declaration
      --> main.hcl:26:1
       |
    26 | host "n1" {
       | ^^^^^^^^^
       |
      ::: main.hcl:8:1
       |
     8 | host "n1" {
       | --------- first declared here
       |
       = A host named "n1" is declared twice. Each host needs a name of its own.

    error: Cycle of references
      --> main.hcl:30:7
       |
    30 |   a = local.b
       |       ^^^^^^^
       |
      ::: main.hcl:31:7
       |
    31 |   b = local.a
       |       ------- local.b refers to local.a
       |
       = These refer to each other in a circle, so none can be computed first:
         local.a -> local.b -> local.a. Remove one of the references.
    "#);
}

#[test]
fn mistakes_as_json_are_one_document() {
    let text = GOOD.replace("flavor.small", "flavor.small\n  flavour = \"é${var.webs}\"")
        + "check \"few\" {\n  assert {\n    condition     = var.webs > 1\n    error_message = \"few\"\n  }\n}\n";
    let ran = validate(&text, &["--json"]).exits(1);
    assert_eq!(ran.stderr, "");
    insta::assert_snapshot!(serde_json::to_string_pretty(&ran.json()).expect("JSON"), @r#"
    {
      "format_version": "1.0",
      "valid": false,
      "error_count": 1,
      "warning_count": 1,
      "diagnostics": [
        {
          "severity": "error",
          "summary": "Unsupported argument",
          "detail": "An argument named \"flavour\" is not expected in server \"web\". It has flavor, image, name, group, availability_zone, power, labels, allow_rebuild, same_host, different_host, host_network, priority, depends_on, count, for_each. Did you mean \"flavor\"?",
          "range": {
            "filename": "main.hcl",
            "start": {
              "line": 23,
              "column": 3,
              "byte": 409
            },
            "end": {
              "line": 23,
              "column": 10,
              "byte": 416
            }
          },
          "snippet": {
            "context": "server \"web\"",
            "code": "  flavour = \"é${var.webs}\"",
            "start_line": 23,
            "highlight_start_offset": 2,
            "highlight_end_offset": 9,
            "values": []
          }
        },
        {
          "severity": "warning",
          "summary": "Check block assertion failed",
          "detail": "few",
          "range": {
            "filename": "main.hcl",
            "start": {
              "line": 28,
              "column": 21,
              "byte": 506
            },
            "end": {
              "line": 28,
              "column": 33,
              "byte": 518
            }
          },
          "snippet": {
            "context": "check \"few\"",
            "code": "    condition     = var.webs > 1",
            "start_line": 28,
            "highlight_start_offset": 20,
            "highlight_end_offset": 32,
            "values": [
              {
                "traversal": "var.webs",
                "statement": "is 1"
              }
            ]
          }
        }
      ]
    }
    "#);
}

#[test]
fn single_mistakes() {
    for (name, from, to) in [
        ("unknown attribute", "vcpus = 1", "vcpu = 1"),
        ("unknown unit", "\"10GiB\"", "\"10GX\""),
        ("wrong type", "count  = var.webs", "count  = [1]"),
        ("unknown reference", "image.debian", "image.debain"),
        ("wrong checksum form", "sha256:00", "md5:00"),
        ("wrong address", "n1.example:7443", "n1.example:99999"),
        ("not HCL", "server \"web\" {", "server \"web\" {{"),
    ] {
        let ran = validate(&GOOD.replacen(from, to, 1), &[])
            .exits(1)
            .says("main.hcl");
        assert_eq!(ran.stdout, "", "{name}");
        assert!(ran.stderr.contains("rror"), "{name}: {}", ran.text());
    }
    insta::assert_snapshot!(validate(&GOOD.replace("\"10GiB\"", "\"10GX\""), &[]).stderr, @r#"
    error: Invalid argument value
      --> main.hcl:14:11
       |
    14 |   disk  = "10GX"
       |           ^^^^^^ in flavor "small"
       |
       = The argument "disk" cannot be used: "GX" is not a unit of size; use B,
         KiB, MiB, GiB, TiB, KB, MB, GB or TB.
    "#);
    insta::assert_snapshot!(validate(&GOOD.replace("image.debian", "image.debain"), &[]).stderr, @r#"
    error: Unknown reference
      --> main.hcl:23:12
       |
    23 |   image  = image.debain
       |            ^^^^^^^^^^^^ in server "web"
       |
       = No image named "debain" is declared. Declare it with:
         image "debain" { ... }
       = help: did you mean "debian"?
    "#);
}

#[test]
fn names_that_are_paths_or_endless_are_refused() {
    let long = "n".repeat(4096);
    for bad in [
        "a/b",
        "..",
        "../../etc",
        "a..b",
        "",
        ".",
        "a b",
        "a\\u0000b",
        "ü",
        long.as_str(),
    ] {
        for kind in [
            "host \"n1\"",
            "flavor \"small\"",
            "server \"web\"",
            "image \"debian\"",
        ] {
            let block = kind.split(' ').next().expect("a word");
            let text = GOOD.replace(kind, &format!("{block} \"{bad}\""));
            let ran = validate(&text, &[]).exits(1);
            assert!(ran.stderr.contains("main.hcl"), "{kind} {bad:?}: {}", ran.text());
            assert!(
                ran.stderr.len() < 6000,
                "{kind}: {} bytes of messages",
                ran.stderr.len()
            );
        }
        let ran = validate(&GOOD.replace("\"test\"", &format!("\"{bad}\"")), &[]).exits(1);
        assert!(ran.stderr.contains("fleet"), "{bad:?}: {}", ran.text());
    }
    let nul = validate(&GOOD.replace("\"web\"", "\"we\0b\""), &[]);
    assert_eq!(nul.status, 1, "{}", nul.text());
}

#[test]
fn hostile_files_end_in_an_error_and_not_in_a_crash() {
    let deep = format!("locals {{\n  a = {}1{}\n}}\n", "[".repeat(5000), "]".repeat(5000));
    let bomb =
        "locals {\n  a = [for x in range(1000): [for y in range(1000): [for z in range(1000): z]]]\n}\n";
    for (name, more) in [
        ("nesting", deep.as_str()),
        ("a bomb", bomb),
        ("half a block", "server \"x\" {"),
    ] {
        let ran = validate(&format!("{GOOD}{more}"), &[]);
        assert_eq!(ran.status, 1, "{name}: {}", ran.text());
    }
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("main.hcl"), b"locals {\n  a = \"\xff\xfe\"\n}\n").expect("written");
    drover_in(dir.path(), &["validate"]).exits(1).says("main.hcl");
}

#[test]
fn a_directory_without_configuration_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    insta::assert_snapshot!(drover_in(dir.path(), &["validate"]).text(), @"
    exit 1
    --- stderr
    Error: There is no configuration in .: no file there ends in .hcl
      hint: run drover where the configuration is, or name the directory with -C
    ");
    insta::assert_snapshot!(drover_in(dir.path(), &["-C", "nowhere", "validate"]).text(), @"
    exit 1
    --- stderr
    Error: Could not enter the directory nowhere
      because: No such file or directory (os error 2)
    ");
}

#[test]
fn files_of_terraforms_values_are_not_passed_over_in_silence() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("main.hcl"), GOOD).expect("written");
    std::fs::write(dir.path().join("terraform.tfvars"), "webs = 3\n").expect("written");
    drover_in(dir.path(), &["validate"])
        .exits(0)
        .says("Values that are not read")
        .says("terraform.tfvars");
}
