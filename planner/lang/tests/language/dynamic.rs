//! `dynamic` blocks in the `drover` block: which store and which certificates, by what variables say.

use crate::support::{Outcome, plan, plan_with};
use drover_lang::config::{StateSettings, VariableSource};

const FILE: &str = r#"
variable "etcd" {
  type    = map(list(string))
  default = {}
}
variable "tls" {
  type    = list(object({ folder = string }))
  default = []
}
drover {
  fleet = "prod"
  dynamic "state" {
    for_each = var.etcd
    labels   = ["etcd"]
    content {
      endpoints = [for name in state.value : "https://${name}:2379"]
      ca_file   = "${state.key}.pem"
    }
  }
  dynamic "tls" {
    for_each = var.tls
    iterator = files
    content {
      ca_file   = "${files.value.folder}/ca.pem"
      cert_file = "${files.value.folder}/cert-${files.key}.pem"
      key_file  = "${files.value.folder}/key.pem"
    }
  }
}
"#;

fn given(text: &str) -> VariableSource {
    VariableSource::Argument {
        text: text.to_owned(),
    }
}

#[test]
fn a_block_is_made_for_each_item() {
    let outcome = plan(FILE);
    assert_eq!(outcome.rendered, "");
    let settings = outcome.evaluated.expect("no errors").settings;
    assert_eq!(
        settings.state,
        StateSettings::Local {
            path: ".drover".to_owned()
        }
    );
    assert_eq!(settings.tls, None);
    let outcome = plan_with(
        FILE,
        &[
            given("etcd={ main = [\"a\", \"b\"] }"),
            given("tls=[{ folder = \"/etc/drover\" }]"),
        ],
    );
    assert_eq!(outcome.rendered, "");
    let settings = outcome.evaluated.expect("no errors").settings;
    assert_eq!(
        settings.state,
        StateSettings::Etcd {
            endpoints: vec!["https://a:2379".to_owned(), "https://b:2379".to_owned()],
            ca_file: Some("main.pem".to_owned()),
            cert_file: None,
            key_file: None,
        }
    );
    assert_eq!(settings.tls.expect("given").cert_file, "/etc/drover/cert-0.pem");
}

/// Values are remembered by where their expressions stand in memory: two parts must never share one place.
#[test]
fn parts_of_the_block_do_not_share_values() {
    let outcome = plan(
        "drover {\n  fleet = \"prod\"\n  state \"local\" {\n    path = join(\"/\", [\"a\", \"b\"])\n  }\n  scheduler {\n    \
         default_availability_zone = join(\"/\", [\"c\", \"d\"])\n  }\n}\n",
    );
    assert_eq!(outcome.rendered, "");
    let settings = outcome.evaluated.expect("no errors").settings;
    assert_eq!(settings.scheduler.default_availability_zone, "c/d");
    assert_eq!(
        settings.state,
        StateSettings::Local {
            path: "a/b".to_owned()
        }
    );
}

/// A block in a block, each made or written, with its own item and that of the block around it.
#[test]
fn the_metrics_of_the_scheduler_may_be_made_too() {
    let metrics = "      dynamic \"metrics\" {\n        for_each = [-2]\n        content {\n          weight_setting        = { \
                   \"cpu.percent\" = metrics.value }\n          weight_of_unavailable = metrics.value * 10\n        }\n      }\n";
    let in_made = metrics.replace("[-2]", "[scheduler.value]");
    for blocks in [
        format!("  scheduler {{\n{metrics}  }}"),
        format!("  dynamic \"scheduler\" {{\n    for_each = [-2]\n    content {{\n{in_made}    }}\n  }}"),
    ] {
        let outcome = drover(&blocks);
        assert_eq!(outcome.rendered, "");
        let metrics = outcome.evaluated.expect("no errors").settings.scheduler.metrics;
        let ratios: Vec<f64> = metrics.weight_setting.into_values().collect();
        assert_eq!((ratios, metrics.weight_of_unavailable), (vec![-2.0], -20.0));
    }
}

fn drover(blocks: &str) -> Outcome {
    plan(&format!("drover {{\n  fleet = \"prod\"\n{blocks}\n}}\n"))
}

#[test]
fn mistakes() {
    for (name, blocks) in [
        (
            "several",
            "  dynamic \"scheduler\" {\n    for_each = [1, 2]\n    content {\n      ram_allocation_ratio = scheduler.value\n    }\n  }",
        ),
        (
            "written_too",
            "  scheduler {\n  }\n  dynamic \"scheduler\" {\n    for_each = [1]\n    content {\n    }\n  }",
        ),
        (
            "not_a_collection",
            "  dynamic \"scheduler\" {\n    for_each = 3\n    content {\n    }\n  }",
        ),
        (
            "unknown_type",
            "  dynamic \"shceduler\" {\n    for_each = []\n    content {\n    }\n  }",
        ),
        (
            "structure",
            "  dynamic \"scheduler\" {\n    each     = []\n    iterator = \"x\"\n  }\n  dynamic {\n  }\n  dynamic \"state\" {\n    for_each = []\n    content {\n      pth = \"a\"\n      path = stat.value\n    }\n    other {\n    }\n  }",
        ),
        (
            "bad_item",
            "  dynamic \"scheduler\" {\n    for_each = [{ a = 1 }]\n    iterator = it\n    content {\n      ram_allocation_ratio = it.value.b\n    }\n  }",
        ),
        (
            "labels",
            "  dynamic \"state\" {\n    for_each = [1]\n    labels   = 5\n    content {\n    }\n  }",
        ),
    ] {
        insta::assert_snapshot!(name, drover(blocks).rendered);
    }
    let lifecycle = plan(
        "drover {\n  fleet = \"prod\"\n}\nserver \"x\" {\n  dynamic \"lifecycle\" {\n    for_each = []\n    content {\n    }\n  }\n}\n",
    );
    insta::assert_snapshot!("of_another_block", lifecycle.rendered);
}
