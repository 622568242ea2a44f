//! `precondition`, `postcondition`, `check` and ephemeral values: what stops a plan, what only warns, and what
//! waits until hosts are chosen.

use crate::support::{BASE, Outcome, plan, plan_with};
use drover_lang::config::{VariableSource, resolve_outputs};
use drover_lang::diagnostic::Style;
use drover_lang::functions::NoFiles;
use std::collections::BTreeMap;

fn argument(text: &str) -> VariableSource {
    VariableSource::Argument {
        text: text.to_owned(),
    }
}

fn found(text: &str) -> Outcome {
    plan(&format!("{BASE}{text}"))
}

/// What is found once every server is on the host named here.
fn placed(text: &str, hosts: &[(&str, &str)]) -> String {
    let outcome = found(text);
    let evaluated = outcome
        .evaluated
        .unwrap_or_else(|| panic!("{}", outcome.rendered));
    let hosts: BTreeMap<_, _> = hosts
        .iter()
        .map(|(address, host)| {
            (
                address.parse().expect("an address"),
                host.parse().expect("a host"),
            )
        })
        .collect();
    let (_, found) = resolve_outputs(&evaluated, &hosts, &NoFiles);
    found.render(&evaluated.sources, Style::Plain)
}

const QUOTA: &str = r#"
variable "names" {
  type    = list(string)
  default = ["a", "b", "c", "d", "e", "f", "g"]
}
server "web" {
  for_each = toset(var.names)
  flavor   = flavor.small
  image    = image.debian
  lifecycle {
    precondition {
      condition     = length(var.names) < 5
      error_message = "quota: at most 4 servers"
    }
    precondition {
      condition     = each.key != "b"
      error_message = "the name ${each.key} is taken"
    }
  }
}
check "capacity" {
  assert {
    condition     = length(var.names) < 3
    error_message = "the fleet has ${length(var.names)} servers, soft limit 2"
  }
}
"#;

#[test]
fn failed_preconditions_come_before_warnings_with_their_instances_and_values() {
    let outcome = found(QUOTA);
    assert!(outcome.evaluated.is_none());
    insta::assert_snapshot!(outcome.rendered);
}

#[test]
fn a_check_warns_and_never_stops() {
    let text = format!("{BASE}{QUOTA}");
    let outcome = plan_with(&text, &[argument("names=[\"x\", \"y\", \"z\"]")]);
    assert!(outcome.evaluated.is_some(), "{}", outcome.rendered);
    insta::assert_snapshot!(outcome.rendered);
    let quiet = plan_with(&text, &[argument("names=[\"x\"]")]);
    assert!(quiet.evaluated.is_some());
    assert_eq!(quiet.rendered, "");
    // Not even one that cannot be evaluated.
    let outcome = found(
        r#"
check "odd" {
  assert {
    condition     = parseint("x", 10) > 1
    error_message = "odd"
  }
}
"#,
    );
    assert!(outcome.evaluated.is_some(), "{}", outcome.rendered);
    assert!(outcome.rendered.starts_with("warning"), "{}", outcome.rendered);
}

const APART: &str = r#"
server "web" {
  count  = 2
  flavor = flavor.small
  image  = image.debian
  lifecycle {
    postcondition {
      condition     = self.host != "n2"
      error_message = "${self.name} must not run on n2, for ${count.index}"
    }
  }
}
check "spread" {
  assert {
    condition     = length(distinct(server.web[*].host)) == 2
    error_message = "all on ${server.web[0].host}"
  }
}
output "first" {
  value = server.web[0].host
  precondition {
    condition     = server.web[0].host != "n3"
    error_message = "n3 is not for this"
  }
}
"#;

#[test]
fn what_refers_to_hosts_is_judged_once_they_are_chosen() {
    let before = found(APART);
    assert_eq!(before.rendered, "");
    let good = placed(APART, &[("server.web[0]", "n1"), ("server.web[1]", "n4")]);
    assert_eq!(good, "");
    insta::assert_snapshot!(placed(APART, &[("server.web[0]", "n2"), ("server.web[1]", "n2")]));
    let output = placed(APART, &[("server.web[0]", "n3"), ("server.web[1]", "n1")]);
    assert!(output.contains("Output precondition failed"), "{output}");
    assert!(output.contains("n3 is not for this"), "{output}");
    // A server that fits nowhere has no host: nothing can be said about it.
    assert_eq!(placed(APART, &[("server.web[0]", "n1")]), "");
}

#[test]
fn a_condition_that_does_not_refer_to_a_host_is_judged_at_once() {
    let outcome = found(
        r#"
server "web" {
  flavor = flavor.small
  image  = image.debian
  lifecycle {
    postcondition {
      condition     = self.flavor.vcpus > 1
      error_message = "too small"
    }
  }
}
"#,
    );
    assert!(outcome.evaluated.is_none());
    assert!(
        outcome.rendered.contains("Resource postcondition failed"),
        "{}",
        outcome.rendered
    );
    assert!(
        outcome.rendered.contains("self.flavor.vcpus is 1"),
        "{}",
        outcome.rendered
    );
}

#[test]
fn mistakes_in_conditions() {
    let cases = [
        (
            "self_in_precondition",
            "lifecycle {\n    precondition {\n      condition     = self.name == \"a\"\n      error_message = \"x\"\n    }\n  }",
        ),
        (
            "no_truth",
            "lifecycle {\n    precondition {\n      condition     = \"maybe\"\n      error_message = \"x\"\n    }\n  }",
        ),
        (
            "null",
            "lifecycle {\n    precondition {\n      condition     = null\n      error_message = \"x\"\n    }\n  }",
        ),
        (
            "no_message",
            "lifecycle {\n    precondition {\n      condition = true\n    }\n  }",
        ),
        (
            "sensitive_message",
            "lifecycle {\n    precondition {\n      condition     = false\n      error_message = \"it is ${sensitive(\"hunter2\")}\"\n    }\n  }",
        ),
        (
            "unknown_name",
            "lifecycle {\n    postcondition {\n      condition     = var.nothing\n      error_message = \"x\"\n    }\n  }",
        ),
    ];
    for (name, lifecycle) in cases {
        let outcome = found(&format!(
            "server \"web\" {{\n  flavor = flavor.small\n  image  = image.debian\n  {lifecycle}\n}}\n"
        ));
        assert!(outcome.evaluated.is_none(), "{name} was accepted");
        assert!(
            !outcome.rendered.contains("it is hunter2\n"),
            "{}",
            outcome.rendered
        );
        insta::assert_snapshot!(format!("mistake__{name}"), outcome.rendered);
    }
    let outcome = found("check \"empty\" {\n}\n");
    assert!(
        outcome.rendered.contains("Missing assert block"),
        "{}",
        outcome.rendered
    );
    let outcome = found("output \"o\" {\n  value      = 1\n  depends_on = [\"server.web\"]\n}\n");
    assert!(
        outcome.rendered.contains("Invalid depends_on argument"),
        "{}",
        outcome.rendered
    );
    let outcome = found("output \"o\" {\n  value      = 1\n  depends_on = [server.web]\n}\n");
    assert!(
        outcome.rendered.contains("No server named \"web\""),
        "{}",
        outcome.rendered
    );
}

const TOKEN: &str = r#"
variable "token" {
  type      = string
  ephemeral = true
}
locals {
  header = "Bearer ${var.token}"
}
"#;

#[test]
fn ephemeral_values_are_refused_wherever_they_would_be_recorded() {
    let server = |argument: &str| {
        format!("server \"web\" {{\n  flavor = flavor.small\n  image  = image.debian\n  {argument}\n}}\n")
    };
    let cases = [
        ("argument", server("labels = { token = local.header }")),
        ("name", server("name = var.token")),
        ("count", server("count = length(var.token)")),
        ("for_each", server("for_each = toset([var.token])")),
        (
            "reference",
            format!(
                "{}\nserver \"b\" {{\n  image = image.debian\n  flavor = var.token == \"\" ? flavor.small : flavor.small\n}}\n",
                ""
            ),
        ),
        (
            "output",
            "output \"token\" {\n  value     = [local.header]\n  sensitive = true\n}\n".to_owned(),
        ),
    ];
    for (name, text) in cases {
        let outcome = plan_with(&format!("{BASE}{TOKEN}{text}"), &[argument("token=hunter2")]);
        assert!(outcome.evaluated.is_none(), "{name} was accepted");
        assert!(
            outcome.rendered.contains("phemeral"),
            "{name}: {}",
            outcome.rendered
        );
        assert!(
            !outcome.rendered.contains("hunter2"),
            "{name}: {}",
            outcome.rendered
        );
    }
}

#[test]
fn ephemeral_values_may_be_used_where_nothing_is_recorded() {
    let text = r#"
drover {
  fleet = "prod"
  state "local" {
    path = "/var/lib/${var.token}"
  }
}
check "length" {
  assert {
    condition     = length(local.header) > 100
    error_message = "the token is short"
  }
}
output "nothing" {
  value = ephemeralasnull(var.token)
}
"#;
    let outcome = plan_with(&format!("{TOKEN}{text}"), &[argument("token=hunter2")]);
    let evaluated = outcome
        .evaluated
        .unwrap_or_else(|| panic!("{}", outcome.rendered));
    assert!(evaluated.outputs["nothing"].value.is_null());
    assert!(
        outcome.rendered.contains("the token is short"),
        "{}",
        outcome.rendered
    );
    assert!(!outcome.rendered.contains("hunter2"), "{}", outcome.rendered);
    assert!(
        outcome.rendered.contains("local.header has an ephemeral value"),
        "{}",
        outcome.rendered
    );
}

#[test]
fn ephemeral_values_stay_so_through_modules() {
    let module = r#"
variable "token" {
  type = string
}
output "header" {
  value     = "Bearer ${var.token}"
  ephemeral = true
}
output "made" {
  value     = "constant"
  ephemeral = true
}
"#;
    for (value, accepted) in [
        ("module.m.header", false),
        ("module.m.made", false),
        ("ephemeralasnull(module.m.header)", true),
    ] {
        let main = format!(
            "{BASE}{TOKEN}module \"m\" {{\n  source = \"./m\"\n  token  = var.token\n}}\noutput \"o\" {{\n  value = {value}\n}}\n"
        );
        let files = [("main.hcl", main.as_str()), ("m/main.hcl", module)];
        let outcome = crate::support::load(
            &files,
            &crate::support::inputs(&[argument("token=hunter2")], crate::support::new_store()),
        );
        assert_eq!(
            outcome.evaluated.is_some(),
            accepted,
            "{value}: {}",
            outcome.rendered
        );
        assert!(!outcome.rendered.contains("hunter2"), "{}", outcome.rendered);
    }
    let outcome = found("output \"o\" {\n  value     = 1\n  ephemeral = true\n}\n");
    assert!(
        outcome.rendered.contains("Ephemeral output not allowed"),
        "{}",
        outcome.rendered
    );
}

#[test]
fn what_went_wrong_with_a_sensitive_value_is_not_told() {
    for text in [
        "parseint(sensitive(\"hunter2\"), 10)",
        "{ a = 1 }[sensitive(\"hunter2\")]",
        "formatdate(\"hunter2\", sensitive(\"hunter2\"))",
        "jsondecode(sensitive(\"hunter2\"))",
        "sensitive(\"hunter2\") + 1",
    ] {
        let found = crate::support::evaluate(text).expect_err("it is wrong");
        for diagnostic in found {
            assert!(!diagnostic.detail.contains("hunter2"), "{text}: {diagnostic:#?}");
        }
    }
}

const EVERYWHERE: &str = r#"
variable "ok" {
  type    = bool
  default = true
}
host "n9" {
  address = "n9:7443"
  lifecycle {
    precondition {
      condition     = var.ok
      error_message = "host"
    }
  }
}
flavor "big" {
  for_each = toset(["x", "y"])
  vcpus    = 2
  ram      = "1GiB"
  disk     = "1GiB"
  lifecycle {
    postcondition {
      condition     = self.vcpus > 4 || var.ok
      error_message = "${each.key} has ${self.vcpus} vCPUs only"
    }
  }
}
image "other" {
  source   = "https://images.example/other.qcow2"
  checksum = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
  lifecycle {
    precondition {
      condition     = var.ok
      error_message = "image"
    }
  }
}
group "apart" {
  policy = "anti-affinity"
  lifecycle {
    postcondition {
      condition     = var.ok
      error_message = "group with ${self.policy}"
    }
  }
}
aggregate "fast" {
  hosts = [host.n9]
  lifecycle {
    precondition {
      condition     = var.ok
      error_message = "aggregate"
    }
  }
}
"#;

#[test]
fn conditions_stand_in_blocks_of_every_kind() {
    let text = format!("{BASE}{EVERYWHERE}");
    let quiet = plan(&text);
    assert!(quiet.evaluated.is_some(), "{}", quiet.rendered);
    let outcome = plan_with(&text, &[argument("ok=false")]);
    assert!(outcome.evaluated.is_none());
    for said in [
        "error: Resource precondition failed",
        "host",
        "x has 2 vCPUs only",
        "It does not hold for flavor.big[\"y\"].",
        "image",
        "group with anti-affinity",
        "aggregate",
    ] {
        assert!(outcome.rendered.contains(said), "{said}: {}", outcome.rendered);
    }
    assert_eq!(
        outcome.rendered.matches("condition failed").count(),
        6,
        "{}",
        outcome.rendered
    );
}

const VALIDATED: &str = r#"
locals {
  limit = 2
}
variable "most" {
  type    = number
  default = 2
  validation {
    condition     = var.most <= local.limit
    error_message = "at most ${local.limit}"
  }
  validation {
    condition     = server.web.host != "n2"
    error_message = "not on ${server.web.host}"
  }
}
server "web" {
  flavor = flavor.small
  image  = image.debian
}
"#;

#[test]
fn a_validation_may_refer_to_what_is_made_of_the_value() {
    let outcome = plan_with(&format!("{BASE}{VALIDATED}"), &[argument("most=3")]);
    assert!(outcome.evaluated.is_none());
    assert!(outcome.rendered.contains("at most 2"), "{}", outcome.rendered);
    assert_eq!(placed(VALIDATED, &[("server.web", "n1")]), "");
    let bad = placed(VALIDATED, &[("server.web", "n2")]);
    assert!(
        bad.contains("Invalid value for variable") && bad.contains("not on n2"),
        "{bad}"
    );
}
