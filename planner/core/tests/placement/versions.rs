//! The hypervisor's version that an image asks for, as each profile reads it.

use drover_core::placement::scenario::{BatchSimulation, Scenario};
use drover_core::placement::{Explanation, Profile};
use serde_json::{Value, json};

/// One server with this image, for a host with libvirt 4.2.1 and one that does not say which it has.
fn placed(image: &Value, profile: Profile) -> BatchSimulation<Explanation> {
    let host = |name: &str, version: u64| {
        json!({"name": name, "vcpus": 8, "ram_mb": 8192, "disk_gb": 100, "cpu_ratio": 1.0, "ram_ratio": 1.0,
               "disk_ratio": 1.0, "hypervisor_version": version,
               "supported_instances": [["x86_64", "kvm", "hvm"]]})
    };
    let scenario = json!({
        "format": "nova-scenario/1",
        "config": {"filters": ["ImagePropertiesFilter"]},
        "hosts": [host("n1", 4_002_001), host("n2", 0)],
        "servers": [{"name": "s", "vcpus": 1, "ram_mb": 1024, "disk_gb": 10, "image": image}],
    });
    let scenario = Scenario::parse(&scenario.to_string()).expect("well-formed");
    scenario
        .decide_batch(profile, |explanation| explanation)
        .expect("valid")
}

fn passed(image: &Value, profile: Profile) -> Vec<String> {
    let decided = &placed(image, profile).decisions[0];
    let passed = decided.hosts.iter().filter(|host| host.passed());
    passed.map(|host| host.host.to_string()).collect()
}

/// Nova refuses the image before it asks a host, also where the filter would not look at the version.
#[test]
fn versions_that_cannot_be_read_were_not_looked_at() {
    for (image, legacy, modern) in [
        (
            json!({"hw_vm_mode": "hvm", "img_hv_requested_version": ">=4.0"}),
            &["n1", "n2"][..],
            &["n1", "n2"][..],
        ),
        (
            json!({"hw_vm_mode": "hvm", "img_hv_requested_version": "<4.0"}),
            &["n2"],
            &["n2"],
        ),
        (
            json!({"hw_vm_mode": "hvm", "img_hv_requested_version": ">=2"}),
            &[],
            &["n1", "n2"],
        ),
        (json!({"img_hv_requested_version": ">=2"}), &[], &["n1", "n2"]),
        (
            json!({"img_hv_requested_version": "<4.0"}),
            &["n1", "n2"],
            &["n1", "n2"],
        ),
        (json!({"img_hv_requested_version": "4.0"}), &[], &[]),
        (
            json!({"img_hv_requested_version": ""}),
            &["n1", "n2"],
            &["n1", "n2"],
        ),
    ] {
        assert_eq!(passed(&image, Profile::Legacy), legacy, "legacy {image}");
        assert_eq!(passed(&image, Profile::Modern), modern, "modern {image}");
    }
}

#[test]
fn no_other_host_is_asked_for_where_the_image_is_wrong() {
    let outcome = placed(&json!({"img_hv_requested_version": ">=2"}), Profile::Legacy);
    insta::assert_snapshot!(outcome.decisions[0], @r#"
    s: no valid host among 2
      n1  image: img_hv_requested_version is ">=2", which cannot be read
      n2  image: img_hv_requested_version is ">=2", which cannot be read
    "#);
    let conflict = outcome.outcome.unplaced[0]
        .conflict
        .as_ref()
        .expect("one failure");
    insta::assert_snapshot!(conflict, @r#"none of 2 hosts passes ImagePropertiesFilter (refused: ImagePropertiesFilter 2); it would fit with img_hv_requested_version written as ">=2.6,<8.0""#);
}
