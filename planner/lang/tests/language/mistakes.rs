//! Every kind of mistake in files, as people read it. Each snapshot shows file, line, column, the line itself and
//! what to write instead.

use crate::support::{BASE, load, new_store, plan, plan_with, validate};
use drover_lang::config::{InputFile, NoModules, VariableSource, parse};
use drover_lang::diagnostic::Style;

/// `text` after the declarations that most configurations need; what is reported.
fn after_base(text: &str) -> String {
    plan(&format!("{BASE}{text}")).rendered
}

const SERVER: &str = "
server \"web\" {
  flavor = flavor.small
  image  = image.debian
";

/// A server with these further lines.
fn server(lines: &str) -> String {
    after_base(&format!("{SERVER}{lines}\n}}\n"))
}

/// Snapshots named after their cases.
fn snapshots(group: &str, cases: &[(&str, String)]) {
    for (name, rendered) in cases {
        assert!(!rendered.is_empty(), "{name} reports nothing");
        insta::assert_snapshot!(format!("{group}__{name}"), rendered);
    }
}

#[test]
fn syntax() {
    let only = |text: &str| plan(text).rendered;
    snapshots(
        "syntax",
        &[
            ("unclosed_block", only("drover {\n  fleet = \"prod\"\n")),
            ("unclosed_text", only("drover {\n  fleet = \"prod\n}\n")),
            ("single_quotes", only("drover {\n  fleet = 'prod'\n}\n")),
            ("colon", only("drover {\n  fleet: \"prod\"\n}\n")),
            (
                "one_line_block",
                only("drover { fleet = \"prod\", project = \"a\" }\n"),
            ),
            ("missing_operand", only("locals {\n  a = 1 +\n}\n")),
            (
                "several_in_one_file",
                only(
                    "locals {\n  a = \n}\nflavor \"x\" {\n  vcpus = ]\n}\nlocals {\n  b = 1\n}\nimage \"y\" {\n  source = )\n}\n",
                ),
            ),
            (
                "duplicate_argument",
                after_base(
                    "\nflavor \"large\" {\n  vcpus = 2\n  ram = \"1GiB\"\n  disk = \"1GiB\"\n  vcpus = 4\n  ram = \"2GiB\"\n}\n",
                ),
            ),
        ],
    );
}

#[test]
fn what_is_not_utf8_is_named_with_its_place() {
    let files = [InputFile {
        path: "main.hcl".to_owned(),
        bytes: b"drover {\n  fleet = \"pr\xffod\"\n}\n".to_vec(),
    }];
    let (config, found) = parse(&files, &NoModules);
    insta::assert_snapshot!("not_utf8", found.render(config.sources(), Style::Plain));
}

#[test]
fn several_files_are_reported_together() {
    let found = load(
        &[
            (
                "a.hcl",
                "drover {\n  fleet = \"prod\"\n}\nserver \"web\" {\n  flavor = flavor.smal\n  image = image.debian\n}\n",
            ),
            (
                "b.hcl",
                "flavor \"small\" {\n  vcpu = 1\n  ram = \"512MB\"\n  disk = \"10\"\n}\nserver \"web\" {\n}\n",
            ),
        ],
        &crate::support::inputs(&[], new_store()),
    );
    insta::assert_snapshot!("several_files", found.rendered);
}

#[test]
fn structure() {
    snapshots(
        "structure",
        &[
            ("unknown_block", after_base("\nservr \"web\" {\n}\n")),
            (
                "terraforms_block",
                after_base("\nresource \"server\" \"web\" {\n}\n"),
            ),
            ("unknown_argument", server("  flavour = flavor.small")),
            ("unknown_inner_block", server("  disk {\n  }")),
            ("block_for_argument", server("  labels {\n    a = \"b\"\n  }")),
            (
                "argument_for_block",
                plan("drover {\n  fleet = \"prod\"\n  scheduler = {}\n}\n").rendered,
            ),
            ("argument_outside", after_base("\nweb_count = 3\n")),
            ("missing_arguments", after_base("\nserver \"web\" {\n}\n")),
            ("missing_label", after_base("\nserver {\n}\n")),
            (
                "two_labels",
                after_base(
                    "\nserver \"web\" \"one\" {\n  flavor = flavor.small\n  image = image.debian\n}\n",
                ),
            ),
            (
                "bad_name",
                after_base("\nserver \"../etc\" {\n  flavor = flavor.small\n  image = image.debian\n}\n"),
            ),
            (
                "long_name",
                after_base(&format!(
                    "\ngroup \"{}\" {{\n  policy = \"affinity\"\n}}\n",
                    "x".repeat(4096)
                )),
            ),
            (
                "nul_in_name",
                after_base("\ngroup \"a\\u0000b\" {\n  policy = \"affinity\"\n}\n"),
            ),
            (
                "duplicate_address",
                after_base(
                    "\ngroup \"web\" {\n  policy = \"affinity\"\n}\n\ngroup \"web\" {\n  policy = \"anti-affinity\"\n}\n",
                ),
            ),
            (
                "duplicate_local",
                after_base("\nlocals {\n  a = 1\n}\nlocals {\n  a = 2\n}\n"),
            ),
            (
                "duplicate_drover",
                after_base("\ndrover {\n  fleet = \"other\"\n}\n"),
            ),
            (
                "two_schedulers",
                plan("drover {\n  fleet = \"prod\"\n  scheduler {\n  }\n  scheduler {\n  }\n}\n").rendered,
            ),
            ("no_drover", plan("locals {\n  a = 1\n}\n").rendered),
            (
                "no_files",
                load(&[], &crate::support::inputs(&[], new_store())).rendered,
            ),
        ],
    );
}

#[test]
fn references() {
    snapshots(
        "reference",
        &[
            (
                "unknown_flavor",
                after_base("\nserver \"web\" {\n  flavor = flavor.smal\n  image = image.debian\n}\n"),
            ),
            ("unknown_variable", server("  name = var.nam")),
            ("unknown_root", server("  name = \"${serverr.web.name}\"")),
            ("text_without_quotes", server("  power = on")),
            (
                "other_kind",
                after_base("\nserver \"web\" {\n  flavor = flavor.small\n  image = flavor.small\n}\n"),
            ),
            (
                "text_for_reference",
                after_base("\nserver \"web\" {\n  flavor = \"small\"\n  image = image.debian\n}\n"),
            ),
            (
                "whole_block_for_instance",
                after_base(
                    "\nflavor \"many\" {\n  count = 2\n  vcpus = 1\n  ram = \"1GiB\"\n  disk = \"1GiB\"\n}\nserver \"web\" {\n  flavor = flavor.many\n  image = image.debian\n}\n",
                ),
            ),
            (
                "unknown_attribute",
                after_base(&format!(
                    "{SERVER}}}\noutput \"x\" {{\n  value = server.web.hots\n}}\n"
                )),
            ),
            (
                "attribute_of_counted",
                after_base(&format!(
                    "{SERVER}  count = 2\n}}\noutput \"x\" {{\n  value = server.web.host\n}}\n"
                )),
            ),
            (
                "index_out_of_range",
                after_base(&format!(
                    "{SERVER}  count = 2\n}}\noutput \"x\" {{\n  value = server.web[2].id\n}}\n"
                )),
            ),
            (
                "unknown_key",
                after_base(&format!(
                    "{SERVER}  for_each = toset([\"one\", \"two\"])\n}}\noutput \"x\" {{\n  value = server.web[\"tow\"].id\n}}\n"
                )),
            ),
            (
                "kind_alone",
                after_base("\noutput \"x\" {\n  value = server\n}\n"),
            ),
            ("count_without_count", server("  name = \"web-${count.index}\"")),
            ("each_without_for_each", server("  name = each.key")),
            (
                "in_default",
                after_base("\nvariable \"a\" {\n  default = local.b\n}\nlocals {\n  b = 1\n}\n"),
            ),
            (
                "cycle",
                after_base("\nlocals {\n  a = local.b\n  b = \"${local.c}x\"\n  c = [local.a]\n}\n"),
            ),
            (
                "cycle_of_blocks",
                after_base(&format!(
                    "{SERVER}  name = server.db.name\n}}\nserver \"db\" {{\n  flavor = flavor.small\n  image = image.debian\n  name = local.n\n}}\nlocals {{\n  n = server.web.name\n}}\n"
                )),
            ),
            ("itself", server("  name = server.web.name")),
            ("unknown_function", server("  name = upperr(\"a\")")),
            (
                "in_block_without_instances",
                server("  count = 0\n  name = var.missing + uper(1)"),
            ),
        ],
    );
}

#[test]
fn values() {
    let flavor = |lines: &str| after_base(&format!("\nflavor \"x\" {{\n{lines}\n}}\n"));
    let drover = |lines: &str| plan(&format!("drover {{\n  fleet = \"prod\"\n{lines}\n}}\n")).rendered;
    snapshots(
        "value",
        &[
            (
                "size_unit",
                flavor("  vcpus = 1\n  ram = \"512mib\"\n  disk = \"10 GiB\""),
            ),
            (
                "size_without_unit",
                flavor("  vcpus = 1\n  ram = 512\n  disk = \"10\""),
            ),
            (
                "size_zero",
                flavor("  vcpus = 1\n  ram = \"0MiB\"\n  disk = \"1GiB\""),
            ),
            (
                "vcpus",
                flavor("  vcpus = 0\n  ram = \"1GiB\"\n  disk = \"1GiB\""),
            ),
            (
                "vcpus_fraction",
                flavor("  vcpus = 1.5\n  ram = \"1GiB\"\n  disk = \"1GiB\""),
            ),
            (
                "null_for_required",
                flavor("  vcpus = null\n  ram = \"1GiB\"\n  disk = \"1GiB\""),
            ),
            ("type", flavor("  vcpus = [1]\n  ram = {}\n  disk = true")),
            (
                "checksum",
                after_base("\nimage \"x\" {\n  source = \"https://a/b\"\n  checksum = \"sha256:abc\"\n}\n"),
            ),
            (
                "source",
                after_base(
                    "\nimage \"x\" {\n  source = \"ftp://a/b\"\n  checksum = \"md5:abc\"\n  format = \"qcow\"\n}\n",
                ),
            ),
            (
                "policy",
                after_base("\ngroup \"x\" {\n  policy = \"antiaffinity\"\n}\n"),
            ),
            (
                "host_state",
                after_base("\nhost \"n1\" {\n  address = \"n1:99999\"\n  state = \"draining\"\n}\n"),
            ),
            ("power", server("  power = \"of\"")),
            ("labels", server("  labels = [\"a\"]")),
            ("server_name", server("  name = \"a b\"")),
            ("server_name_of_key", server("  for_each = toset([\"a/b\"])")),
            ("duplicate_server_name", server("  count = 2\n  name = \"web\"")),
            (
                "depends_on",
                server("  depends_on = [\"server.db\", flavor.small]"),
            ),
            (
                "fleet_name",
                plan("drover {\n  fleet = \"9 lives\"\n}\n").rendered,
            ),
            ("store", drover("  state \"etdc\" {\n  }")),
            (
                "etcd_without_endpoints",
                drover("  state \"etcd\" {\n    path = \"x\"\n  }"),
            ),
            (
                "etcd_endpoint",
                drover("  state \"etcd\" {\n    endpoints = [\"10.0.0.1:2379\"]\n  }"),
            ),
            (
                "filter",
                drover(
                    "  scheduler {\n    filters = [\"RamFliter\"]\n    weights = { rem = 1 }\n    ram_allocation_ratio = -1\n  }",
                ),
            ),
            (
                "pci_alias",
                drover(
                    "  scheduler {\n    pci_alias \"gpu:1\" {\n      vendor_id  = \"nvidia\"\n      product_id = 8\n    }\n    pci_alias \"nic\" {\n      vendor_id = \"8086\"\n    }\n    pci_alias {\n      vendor_id  = \"8086\"\n      product_id = \"10fb\"\n    }\n  }",
                ),
            ),
            (
                "image_props",
                drover(
                    "  scheduler {\n    image_props_weight_setting = { os_distro = 1e300, hw_machine_type = -1e300 }\n    \
                     image_properties_default_architecture = [\"x86_64\"]\n  }",
                ),
            ),
            (
                "metrics",
                drover(
                    "  scheduler {\n    metrics {\n      weight_setting = { \"cpu.precent\" = 1, \"cpu.percent\" = 1e300 }\n      weight_of_unavailable = 1e31\n      required = \"perhaps\"\n      multiplier = 1\n    }\n    metrics {\n    }\n  }",
                ),
            ),
        ],
    );
}

#[test]
fn instances() {
    snapshots(
        "instances",
        &[
            ("count_negative", server("  count = -1")),
            ("count_fraction", server("  count = 1.5")),
            ("count_text", server("  count = \"many\"")),
            ("count_huge", server("  count = 1000000000")),
            ("count_null", server("  count = null")),
            ("for_each_list", server("  for_each = [\"a\", \"b\"]")),
            ("for_each_text", server("  for_each = \"a\"")),
            (
                "for_each_sensitive",
                server("  for_each = sensitive(toset([\"a\"]))"),
            ),
            ("both", server("  count = 1\n  for_each = {}")),
            (
                "of_hosts",
                after_base(
                    "\nhost \"n\" {\n  for_each = toset([\"a\", \"b\"])\n  address = \"${each.key}:7443\"\n}\nhost \"m\" {\n  count = 2\n  name = \"m\"\n  address = \"m:7443\"\n}\nhost \"o\" {\n  name = sensitive(\"o\")\n  address = \"o:7443\"\n}\naggregate \"x\" {\n  hosts = [\"n\", host.n]\n}\n",
                ),
            ),
            (
                "count_from_host",
                after_base(&format!(
                    "{SERVER}}}\nserver \"db\" {{\n  flavor = flavor.small\n  image = image.debian\n  count = server.web.host == \"n1\" ? 1 : 2\n}}\n"
                )),
            ),
            (
                "for_each_from_host",
                after_base(&format!(
                    "{SERVER}}}\nserver \"db\" {{\n  flavor = flavor.small\n  image = image.debian\n  for_each = toset([server.web.host])\n}}\n"
                )),
            ),
            (
                "argument_from_host",
                after_base(&format!(
                    "{SERVER}}}\nserver \"db\" {{\n  flavor = flavor.small\n  image = image.debian\n  labels = {{ peer = \"at ${{server.web.host}}\" }}\n}}\n"
                )),
            ),
            (
                "argument_from_host_through_local",
                after_base(&format!(
                    "{SERVER}}}\nlocals {{\n  where = server.web.host\n}}\nhost \"n1\" {{\n  address = local.where\n}}\n"
                )),
            ),
        ],
    );
}

#[test]
fn expressions() {
    let local = |expression: &str| {
        after_base(&format!(
            "\nvariable \"names\" {{\n  default = [\"a\", \"b\"]\n}}\nvariable \"secret\" {{\n  default = \"s\"\n  sensitive = true\n}}\nlocals {{\n  x = {expression}\n}}\n"
        ))
    };
    snapshots(
        "expression",
        &[
            ("operand", local("var.names + 1")),
            ("division_by_zero", local("10 / length([])")),
            ("argument", local("upper(var.names)")),
            ("arguments", local("join(\",\")")),
            ("template", local("\"names: ${var.names}\"")),
            ("sensitive_value_is_not_shown", local("var.secret + 1")),
            ("condition", local("true ? var.names : \"none\"")),
            (
                "duplicate_key",
                local("{ for name in [\"a\", \"a\"] : name => 1 }"),
            ),
            (
                "function_left_out",
                local("[timestamp(), uuid(), abspath(\".\")]"),
            ),
            ("too_large", too_large()),
            ("file", local("file(\"missing.txt\")")),
            ("file_outside", local("file(\"../../etc/passwd\")")),
            ("several", local("[1 / 0, upper([]), var.names.x, lenght(\"a\")]")),
            (
                "sensitive_output",
                after_base("\noutput \"x\" {\n  value = sensitive(\"a\")\n}\n"),
            ),
        ],
    );
}

#[test]
fn variables() {
    let text = |lines: &str| format!("{BASE}\nvariable \"size\" {{\n{lines}\n}}\n");
    let argument = |text: &str| VariableSource::Argument {
        text: text.to_owned(),
    };
    let file = |text: &str| VariableSource::File {
        path: "prod.vars.hcl".to_owned(),
        bytes: text.as_bytes().to_vec(),
    };
    let with = |lines: &str, given: &[VariableSource]| plan_with(&text(lines), given).rendered;
    snapshots(
        "variable",
        &[
            ("missing", with("", &[])),
            ("undeclared_argument", with("  default = 1", &[argument("siz=3")])),
            ("undeclared_in_file", with("  default = 1", &[file("siz = 3\n")])),
            (
                "argument_without_value",
                with("  default = 1", &[argument("size")]),
            ),
            (
                "wrong_type_in_argument",
                with("  type = number", &[argument("size=large")]),
            ),
            (
                "wrong_type_in_file",
                with(
                    "  type = list(object({ name = string }))",
                    &[file("size = [{ nam = \"a\" }]\n")],
                ),
            ),
            (
                "expression_in_argument",
                with("  type = list(string)", &[argument("size=[a")]),
            ),
            (
                "reference_in_file",
                with("  default = 1", &[file("size = var.other\n")]),
            ),
            ("block_in_file", with("  default = 1", &[file("size {\n}\n")])),
            (
                "null",
                with("  type = string\n  nullable = false", &[file("size = null\n")]),
            ),
            ("default_type", with("  type = number\n  default = \"many\"", &[])),
            ("unknown_type", with("  type = strin", &[])),
            ("quoted_type", with("  type = \"string\"", &[])),
            ("set_without_item", with("  type = set", &[])),
            (
                "optional_outside_object",
                with("  type = list(optional(string))", &[]),
            ),
            (
                "validation",
                with(
                    "  type = number\n  validation {\n    condition     = var.size >= 1\n    error_message = \"size must be at least 1.\"\n  }",
                    &[argument("size=0")],
                ),
            ),
            (
                "validation_of_default",
                with(
                    "  default = 0\n  validation {\n    condition     = var.size >= 1\n    error_message = \"size must be at least 1.\"\n  }",
                    &[],
                ),
            ),
            (
                "validation_with_reference",
                with(
                    "  default = 0\n  validation {\n    condition     = var.size >= local.y\n    error_message = \"no\"\n  }",
                    &[],
                ),
            ),
            (
                "sensitive_value_is_not_shown",
                with("  type = number\n  sensitive = true", &[argument("size=hunter2")]),
            ),
            (
                "reserved_name",
                validate(&format!("{BASE}\nvariable \"count\" {{\n}}\n")).rendered,
            ),
        ],
    );
}

#[test]
fn as_data_in_terraforms_shape() {
    let outcome = plan(&format!(
        "{BASE}\nvariable \"n\" {{\n  default = \"x\"\n}}\n{SERVER}  count = var.n\n}}\n"
    ));
    insta::assert_json_snapshot!("as_data", outcome.json);
}

fn too_large() -> String {
    let text =
        format!("{BASE}\nlocals {{\n  x = [for a in range(900) : [for b in range(900) : a * b]]\n}}\n");
    let mut inputs = crate::support::inputs(&[], new_store());
    inputs.limits.steps = 50_000;
    load(&[("main.hcl", &text)], &inputs).rendered
}

#[test]
fn placement() {
    let host = "host \"n1\" {\n  address = \"n1\"\n}\n";
    let aggregate = |hosts: &str| after_base(&format!("{host}aggregate \"a\" {{\n  hosts = {hosts}\n}}\n"));
    snapshots(
        "placement",
        &[
            ("aggregate_of_no_host", aggregate("[\"n2\", host.n1]")),
            ("aggregate_of_other_things", aggregate("[flavor.small, 7]")),
            ("aggregate_of_no_list", aggregate("\"n1\"")),
            (
                "rule_of_another_policy",
                after_base(
                    "group \"g\" {\n  policy = \"affinity\"\n  rules {\n    max_server_per_host = 2\n  }\n}\n",
                ),
            ),
            (
                "rule_of_nothing",
                after_base(
                    "group \"g\" {\n  policy = \"anti-affinity\"\n  rules {\n    max_server_per_host = 0\n  }\n}\n",
                ),
            ),
            ("priority", server("  priority = 1.5")),
            ("host_network", server("  host_network = \"10.0.0.0/33\"")),
            ("same_host", server("  same_host = [group.web, \"server.db\"]")),
        ],
    );
}
