//! `lifecycle` blocks: what reaches the model, and what is said about mistakes in them.

use crate::support::{BASE, plan};
use drover_core::model::{Ignored, Repetition, Trigger};
use drover_types::Address;

fn address(text: &str) -> Address {
    text.parse().expect("an address")
}

fn trigger(at: &str, attribute: Option<&str>) -> Trigger {
    Trigger {
        address: address(at),
        attribute: attribute.map(str::to_owned),
    }
}

#[test]
fn a_lifecycle_block_reaches_the_model_of_every_instance() {
    let outcome = plan(&format!(
        r#"{BASE}
variable "keep" {{
  type    = bool
  default = true
}}
server "db" {{
  for_each = toset(["a", "b"])
  flavor   = flavor.small
  image    = image.debian
  lifecycle {{
    prevent_destroy = var.keep
    ignore_changes  = all
  }}
}}
server "web" {{
  for_each = toset(["a", "b"])
  flavor   = flavor.small
  image    = image.debian
  lifecycle {{
    create_before_destroy = true
    ignore_changes        = [power, labels]
    replace_triggered_by  = [image.debian.checksum, server.db[each.key], flavor.small]
  }}
}}
server "plain" {{
  count  = 0
  flavor = flavor.small
  image  = image.debian
}}
image "other" {{
  source   = "https://images.example/other.qcow2"
  checksum = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  lifecycle {{
    prevent_destroy = true
  }}
}}
"#
    ));
    let desired = outcome.evaluated.expect(&outcome.rendered).desired;
    let named: Vec<String> = desired.lifecycle.keys().map(ToString::to_string).collect();
    assert_eq!(
        named,
        [
            "image.other",
            "server.db[\"a\"]",
            "server.db[\"b\"]",
            "server.web[\"a\"]",
            "server.web[\"b\"]"
        ]
    );
    let db = &desired.lifecycle[&address("server.db[\"a\"]")];
    assert!(db.prevent_destroy && !db.create_before_destroy);
    assert_eq!(db.ignore_changes, Ignored::All);
    let web = &desired.lifecycle[&address("server.web[\"b\"]")];
    assert!(!web.prevent_destroy && web.create_before_destroy);
    let ignored: Vec<String> = ["labels", "power"].map(str::to_owned).into();
    assert_eq!(web.ignore_changes, Ignored::Listed(ignored.into_iter().collect()));
    let triggers = [
        trigger("flavor.small", None),
        trigger("image.debian", Some("checksum")),
        trigger("server.db[\"b\"]", None),
    ];
    assert_eq!(web.replace_triggered_by, triggers.into());
    assert_eq!(desired.blocks[&address("server.db")], Repetition::Keyed);
    assert_eq!(desired.blocks[&address("server.plain")], Repetition::Counted(0));
    assert_eq!(desired.blocks[&address("image.other")], Repetition::Single);
}

#[test]
fn mistakes_in_lifecycle_blocks() {
    let server = |lines: &str| {
        let outcome = plan(&format!(
            "{BASE}\nserver \"web\" {{\n  flavor = flavor.small\n  image  = image.debian\n  lifecycle {{\n{lines}\n  }}\n}}\n"
        ));
        assert!(outcome.evaluated.is_none(), "{lines}");
        outcome.rendered
    };
    let all = [
        server("    prevent_destroy = \"maybe\""),
        server("    prevent_destroy = null\n    create_before_destroy = [1]"),
        server("    ignore_changes = power"),
        server("    ignore_changes = [pwer, labels[\"a\"], count]"),
        server("    replace_triggered_by = image.debian"),
        server(
            "    replace_triggered_by = [\"image.debian\", host.n1, image.debian.sorce, image.debian.format.x]",
        ),
        server("    replace_triggered_by = [server.gone, server.web]"),
        server("    prevent_destory = true"),
    ];
    insta::assert_snapshot!(all.join("\n----\n"));
}

#[test]
fn only_servers_are_created_before_they_are_destroyed() {
    let outcome = plan(&format!(
        "{BASE}\ngroup \"web\" {{\n  policy = \"affinity\"\n  lifecycle {{\n    create_before_destroy = true\n  }}\n}}\n"
    ));
    assert!(outcome.evaluated.is_none());
    assert!(
        outcome.rendered.contains("create_before_destroy"),
        "{}",
        outcome.rendered
    );
}
