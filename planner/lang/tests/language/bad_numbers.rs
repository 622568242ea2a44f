//! Sizes, ratios and names that make no sense: each is refused with its line, all in one run, and never with a panic.

use crate::support::plan;

const IMAGE: &str = r#"
image "debian" {
  source   = "https://images.example/debian.qcow2"
  checksum = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
}
"#;

#[test]
fn every_mistake_of_a_fleet_is_told_at_once() {
    let text = format!(
        r#"
drover {{
  fleet = "prod"
  scheduler {{
    filters               = ["RamFilter", "DiscFilter", "CoarFilter"]
    weights               = {{ rma = 1.0, ram = 1e300 }}
    ram_allocation_ratio  = 0
    disk_allocation_ratio = -0.5
    cpu_allocation_ratio  = 2000000
  }}
  policy {{
    n_plus_one = "err"
  }}
}}
host "n1" {{
  address = "n1.example:7443"
}}
host "n1" {{
  address = "n2.example:7443"
}}
flavor "negative" {{
  vcpus = -1
  ram   = "-512MiB"
  disk  = "-1GiB"
}}
flavor "nothing" {{
  vcpus = 0
  ram   = "0MiB"
  disk  = "99999999999999999999GiB"
}}
server "lost" {{
  flavor = flavor.negative
  image  = image.debian
  group  = group.other_fleet
}}
{IMAGE}"#
    );
    insta::assert_snapshot!(plan(&text).rendered);
}

#[test]
fn each_ratio_out_of_range_is_refused_alone_too() {
    for (ratio, said) in [
        ("0", "not 0"),
        ("-1.5", "not -1.5"),
        ("1000001", "not 1000001"),
        ("1 / 0", "zero"),
        ("1e999", ""),
    ] {
        let text = format!(
            "drover {{\n  fleet = \"prod\"\n  scheduler {{\n    ram_allocation_ratio = {ratio}\n  }}\n}}\n"
        );
        let outcome = plan(&text);
        assert!(outcome.evaluated.is_none(), "{ratio} is accepted");
        assert!(outcome.rendered.contains(said), "{ratio}: {}", outcome.rendered);
    }
}
