//! Large fleets: steps grow as the number of instances does, whichever way they refer to each other.

use crate::support::{BASE, inputs, load, new_store, plan};
use drover_lang::eval::Usage;

/// A configuration with so many instances.
type Config = fn(usize) -> String;

fn usage(text: &str) -> Usage {
    let outcome = plan(text);
    assert_eq!(outcome.rendered, "");
    outcome.evaluated.expect("no errors").usage
}

/// Steps and items at N and 4 N; at most linear, with a little room for what does not depend on N.
fn grows_linearly(name: &str, config: &dyn Fn(usize) -> String) {
    let (small, large) = (usage(&config(250)), usage(&config(1_000)));
    assert!(
        large.steps <= small.steps * 4 + 400,
        "{name}: {small:?} {large:?}"
    );
    assert!(
        large.items <= small.items * 4 + 400,
        "{name}: {small:?} {large:?}"
    );
    assert!(
        large.bytes <= small.bytes * 5 + 400,
        "{name}: {small:?} {large:?}"
    );
}

fn block(name: &str, head: &str, more: &str) -> String {
    format!("server \"{name}\" {{\n  {head}\n  flavor = flavor.small\n  image = image.debian\n  {more}\n}}\n")
}

/// Two blocks with so many instances each; `more` stands in the second.
fn peers(n: usize, more: &str) -> String {
    let count = format!("count = {n}");
    format!("{BASE}{}{}", block("web", &count, ""), block("db", &count, more))
}

#[test]
fn evaluation_is_linear_in_the_number_of_instances() {
    let cases: Vec<(&str, Config)> = vec![
        (
            "blocks",
            (|n| {
                (0..n).fold(BASE.to_owned(), |text, at| {
                    text + &block(&format!("s{at}"), "", "")
                })
            }),
        ),
        (
            "count",
            (|n| {
                format!(
                    "{BASE}{}",
                    block("web", &format!("count = {n}"), "name = \"web${count.index}\"")
                )
            }),
        ),
        (
            "for_each",
            (|n| {
                format!(
                    "{BASE}{}",
                    block(
                        "web",
                        &format!("for_each = {{ for i in range({n}) : \"k${{i}}\" => i }}"),
                        "labels = { n = each.value }"
                    )
                )
            }),
        ),
        (
            "one peer each",
            (|n| peers(n, "labels = { peer = server.web[count.index].id }")),
        ),
        (
            "splat of all",
            (|n| peers(n, "labels = { n = length(server.web[*].id) }")),
        ),
        (
            "splat of all, indexed",
            (|n| peers(n, "labels = { n = (server.web[*].id)[count.index] }")),
        ),
        (
            "splat through element",
            (|n| peers(n, "labels = { n = element(server.web[*].id, count.index + 1) }")),
        ),
        (
            "for over all",
            (|n| peers(n, "labels = { n = length([for s in server.web : s.name]) }")),
        ),
        (
            "join of all",
            (|n| peers(n, "labels = { n = sha256(join(\",\", server.web[*].id)) }")),
        ),
        (
            "contains",
            (|n| {
                peers(
                    n,
                    "labels = { n = contains(server.web[*].name, \"web-${count.index}\") }",
                )
            }),
        ),
        (
            "index",
            (|n| {
                peers(
                    n,
                    "labels = { n = index(server.web[*].name, \"web-${count.index}\") }",
                )
            }),
        ),
        (
            "map of all",
            (|n| {
                peers(
                    n,
                    "labels = { n = { for s in server.web : s.name => s.id }[\"web-${count.index}\"] }",
                )
            }),
        ),
        (
            "lookup in a map of all",
            (|n| {
                peers(
                    n,
                    "labels = { n = lookup({ for s in server.web : s.name => s.id }, \"web-${count.index}\", \"\") }",
                )
            }),
        ),
        (
            "through a local",
            (|n| {
                peers(
                    n,
                    "labels = { n = local.ids[count.index], m = length(local.ids) }",
                ) + "locals {\n  ids = server.web[*].id\n}\n"
            }),
        ),
        (
            "splat from many blocks",
            (|n| {
                let web = format!("{BASE}{}", block("web", &format!("count = {n}"), ""));
                (0..n).fold(web, |text, at| {
                    text + &block(&format!("s{at}"), "", "labels = { n = length(server.web[*].id) }")
                })
            }),
        ),
        (
            "output of all",
            (|n| {
                format!(
                    "{BASE}{}output \"x\" {{\n  value = {{ for s in server.web : s.name => s.id }}\n}}\n",
                    block("web", &format!("count = {n}"), "")
                )
            }),
        ),
        ("all wait for all", (|n| peers(n, "depends_on = [server.web]"))),
        (
            "neighbours in a ring of attributes",
            (|n| {
                peers(
                    n,
                    "labels = { left = server.web[(count.index + 1) % length(server.web)].name, all = sha256(jsonencode(server.web[*].name)) }",
                )
            }),
        ),
    ];
    for (name, config) in &cases {
        grows_linearly(name, config);
    }
}

/// A module called once for each of so many keys.
const EACH: &str = r#"
variable "key" {}
variable "all" { default = [] }
variable "flavor" {}
variable "image" {}
locals {
  number = length(var.all)
}
server "web" {
  name   = "web-${var.key}"
  flavor = var.flavor
  image  = var.image
  labels = { n = local.number, first = contains(var.all, "web-k0") }
}
output "name" { value = server.web.name }
output "server" { value = server.web }
"#;

fn modules(n: usize, arguments: &str, more: &str) -> String {
    let calls = |name: &str, arguments: &str| {
        format!(
            "module \"{name}\" {{\n  source = \"./m\"\n  for_each = {{ for i in range({n}) : \"k${{i}}\" => i }}\n  flavor = \
             flavor.small\n  image = image.debian\n  {arguments}\n}}\n"
        )
    };
    format!(
        "{BASE}{}{}{more}",
        calls("a", "key = each.key"),
        calls("b", &format!("key = \"b${{each.key}}\"\n  {arguments}"))
    )
}

fn module_usage(text: &str) -> Usage {
    let outcome = load(
        &[("main.hcl", text), ("m/main.hcl", EACH)],
        &inputs(&[], new_store()),
    );
    assert_eq!(outcome.rendered, "");
    outcome.evaluated.expect("no errors").usage
}

#[test]
fn evaluation_is_linear_in_the_number_of_modules() {
    const ALL: &str = "values(module.a)[*].name";
    let cases: Vec<(&str, Config)> = vec![
        ("apart", (|n| modules(n, "", ""))),
        (
            "one peer each",
            (|n| modules(n, "all = [module.a[each.key].name]", "")),
        ),
        ("all of the others", (|n| modules(n, &format!("all = {ALL}"), ""))),
        (
            "all of the others, by a local",
            (|n| {
                let local = format!("locals {{\n  all = {ALL}\n}}\n");
                modules(n, "all = local.all", &local)
            }),
        ),
        (
            "attributes of all servers",
            (|n| modules(n, "all = [for m in module.a : m.server.name]", "")),
        ),
        (
            "all wait for all",
            (|n| modules(n, "depends_on = [module.a]", "")),
        ),
        (
            "outputs",
            (|n| {
                modules(
                    n,
                    "",
                    "output \"x\" {\n  value = { for key, m in module.b : key => m.server.id }\n}\n",
                )
            }),
        ),
        (
            "blocks that look into modules",
            (|n| {
                let more: String = (0..n)
                    .map(|at| {
                        block(
                            &format!("s{at}"),
                            "",
                            &format!("labels = {{ n = module.a[\"k{at}\"].name }}"),
                        )
                    })
                    .collect();
                modules(n, "", &more)
            }),
        ),
    ];
    for (name, config) in &cases {
        let (small, large) = (module_usage(&config(60)), module_usage(&config(240)));
        assert!(
            large.steps <= small.steps * 4 + 400,
            "{name}: {small:?} {large:?}"
        );
        assert!(
            large.items <= small.items * 4 + 400,
            "{name}: {small:?} {large:?}"
        );
    }
}

/// The promise: 10,000 servers in 500 ms and 300 MiB. Timing means something only in release mode on a machine
/// that does nothing else.
#[test]
#[ignore = "timing: run with --release -- --ignored"]
#[expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this test measures time and memory; the crate under test does not"
)]
fn ten_thousand_servers_load_in_half_a_second() {
    let many: fn(usize) -> String = |n| {
        (0..n).fold(BASE.to_owned(), |text, at| {
            text + &block(&format!("s{at}"), "", "labels = { a = \"b\" }")
        })
    };
    let each: fn(usize) -> String = |n| {
        let head = format!("for_each = {{ for i in range({n}) : \"k${{i}}\" => i }}");
        format!("{BASE}{}", block("web", &head, "labels = { n = each.value }"))
    };
    for config in [many, each, |n| {
        peers(n, "labels = { n = contains(server.web[*].id, \"x\") }")
    }] {
        let text = config(10_000);
        let start = std::time::Instant::now();
        usage(&text);
        let took = start.elapsed();
        assert!(took.as_millis() < 500, "{took:?}");
    }
    let text = modules(1_000, "all = values(module.a)[*].name", "");
    let start = std::time::Instant::now();
    module_usage(&text);
    let took = start.elapsed();
    assert!(took.as_millis() < 500, "modules: {took:?}");
    // Of all the above, one after another in this process.
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let highest = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = highest
        .and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok())
        .expect("the highest resident memory");
    assert!(kib < 300 << 10, "{kib} KiB");
}
