//! `import` blocks: what reaches the model, and what is said about mistakes in them.

use crate::support::{BASE, inputs, load, new_store, plan, validate};
use drover_lang::diagnostic::Style;
use drover_lang::generate::without_blocks;

fn imports(text: &str) -> Vec<String> {
    let outcome = plan(&format!("{BASE}{text}"));
    let evaluated = outcome
        .evaluated
        .unwrap_or_else(|| panic!("{}", outcome.rendered));
    let imports = evaluated.desired.imports.iter();
    imports
        .map(|(to, import)| format!("{to} {}", import.id))
        .collect()
}

#[test]
fn a_block_names_a_domain_with_all_that_an_expression_may_hold() {
    let found = imports(
        r#"
locals { legacy = { a = "n1/old a", b = "n2/6ba7b810-9dad-11d1-80b4-00c04fd430c8" } }
server "web" {
  for_each = local.legacy
  flavor   = flavor.small
}
import {
  for_each = local.legacy
  to       = server.web[each.key]
  id       = each.value
}
server "one" {
  count  = 2
  flavor = flavor.small
  image  = count.index == 0 ? null : image.debian
}
import {
  to = server.one[1 - 1]
  id = "n1/${lower("ONE")}"
}
import {
  to = server.undeclared
  id = "n1/undeclared"
}
"#,
    );
    assert_eq!(
        found,
        [
            "server.one[0] n1/one",
            "server.undeclared n1/undeclared",
            "server.web[\"a\"] n1/old a",
            "server.web[\"b\"] n2/6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        ]
    );
}

#[test]
fn a_server_goes_without_an_image_only_where_it_is_imported_or_says_so() {
    let server = "server \"old\" {\n  flavor = flavor.small\n}\n";
    let import = "import {\n  to = server.old\n  id = \"n1/old\"\n}\n";
    let outcome = validate(&format!("{BASE}{server}{import}"));
    assert!(outcome.evaluated.is_some(), "{}", outcome.rendered);
    let null = server.replace("small\n", "small\n  image = null\n");
    assert!(validate(&format!("{BASE}{null}")).evaluated.is_some());
    insta::assert_snapshot!("no_image", validate(&format!("{BASE}{server}")).rendered);
}

#[test]
fn every_mistake_has_its_place_and_words() {
    let outcome = plan(&format!(
        r#"{BASE}
import {{
  to = flavor.small
  id = "n1/a"
}}
import {{
  to = "server.b"
  id = "n1/b"
}}
import {{
  to = server.c
  id = "c"
}}
import {{
  to = server.d[null]
  id = "n1/d"
}}
import {{
  to = server.e
  id = "n1/e"
}}
import {{
  to = server.e
  id = "n1/f"
}}
import {{
  to = server.g
  id = "n1/e"
}}
import {{
  to   = server.h
  host = "n1"
}}
import "x" {{
  to = server.i
  id = null
}}
"#
    ));
    assert!(outcome.evaluated.is_none());
    insta::assert_snapshot!("mistakes", outcome.rendered);
}

#[test]
fn a_module_cannot_have_such_a_block_and_the_root_reaches_into_it() {
    let main = format!(
        "{BASE}\nmodule \"shop\" {{\n  source = \"./shop\"\n  flavor = flavor.small\n}}\nimport {{\n  to = \
         module.shop.server.web\n  id = \"n1/web\"\n}}\n"
    );
    let shop = "variable \"flavor\" {}\nserver \"web\" {\n  flavor = var.flavor\n}\n";
    let files = |inner: &str| {
        load(
            &[("main.hcl", &main), ("shop/main.hcl", inner)],
            &inputs(&[], new_store()),
        )
    };
    let outcome = files(shop);
    assert!(outcome.evaluated.is_some(), "{}", outcome.rendered);
    let misplaced = format!("{shop}import {{\n  to = server.web\n  id = \"n1/x\"\n}}\n");
    let outcome = files(&misplaced);
    assert!(
        outcome.rendered.contains("Misplaced import block"),
        "{}",
        outcome.rendered
    );
}

#[test]
fn instances_and_servers_in_modules_have_no_block_that_could_be_written() {
    let main = format!(
        r#"{BASE}
locals {{ legacy = toset(["a", "b", "c"]) }}
server "counted" {{
  count  = 2
  flavor = flavor.small
  image  = image.debian
}}
server "keyed" {{
  for_each = toset(["x"])
  flavor   = flavor.small
  image    = image.debian
}}
server "one" {{
  flavor = flavor.small
  image  = image.debian
}}
module "shop" {{
  source = "./shop"
}}
import {{
  for_each = local.legacy
  to       = server.web[each.key]
  id       = "n1/${{each.key}}"
}}
import {{
  to = server.db[0]
  id = "n1/db"
}}
import {{
  to = server.counted
  id = "n1/counted"
}}
import {{
  to = server.counted[2]
  id = "n1/counted-2"
}}
import {{
  to = server.keyed
  id = "n1/keyed"
}}
import {{
  to = server.keyed["y"]
  id = "n1/keyed-y"
}}
import {{
  to = server.one["a"]
  id = "n1/one"
}}
import {{
  to = module.shop.server.gone
  id = "n1/gone"
}}
import {{
  to = server.plain
  id = "n1/plain"
}}
"#
    );
    let outcome = load(
        &[("main.hcl", &main), ("shop/main.hcl", "locals {}\n")],
        &inputs(&[], new_store()),
    );
    let evaluated = outcome
        .evaluated
        .unwrap_or_else(|| panic!("{}", outcome.rendered));
    let found = without_blocks(&evaluated, evaluated.desired.imports.keys());
    insta::assert_snapshot!("without_blocks", found.render(&evaluated.sources, Style::Plain));
}
