//! Zones whose names have commas in them, as each profile reads them.

use drover_core::placement::Profile;
use drover_core::placement::scenario::Scenario;
use serde_json::json;

/// The hosts left to a server that asks for this zone: `n0` is in zone `a` and `n1` in `a, b`, each by an aggregate;
/// `n2` is in `b,c` by itself, `n3` in none.
fn passed(zone: &str, profile: Profile) -> Vec<String> {
    let host = |name: &str, az: Option<&str>| {
        json!({"name": name, "az": az, "vcpus": 8, "ram_mb": 8192, "disk_gb": 100, "cpu_ratio": 1.0,
               "ram_ratio": 1.0, "disk_ratio": 1.0})
    };
    let scenario = json!({
        "format": "nova-scenario/1",
        "config": {"filters": ["AvailabilityZoneFilter"], "default_az": "nova"},
        "hosts": [host("n0", None), host("n1", None), host("n2", Some("b,c")), host("n3", None)],
        "aggregates": [
            {"name": "one", "hosts": ["n0"], "metadata": {"availability_zone": "a"}},
            {"name": "two", "hosts": ["n1"], "metadata": {"availability_zone": "a, b"}},
        ],
        "servers": [{"name": "s", "vcpus": 1, "ram_mb": 512, "disk_gb": 1, "az": zone}],
    });
    let scenario = Scenario::parse(&scenario.to_string()).expect("well-formed");
    let decided = scenario.simulate(profile).expect("valid");
    decided[0].passed.iter().map(ToString::to_string).collect()
}

#[test]
fn newer_novas_were_asked_for_parts_of_a_zone() {
    const ALL: &[&str] = &["n0", "n1", "n2", "n3"];
    for (zone, legacy, modern) in [
        ("a", &["n0", "n1"][..], &["n0"][..]),
        ("a, b", &[], &["n1"]),
        ("b,c", &[], &["n2"]),
        // No aggregate has that name, so that nothing is asked for.
        ("b", &["n1", "n2"], ALL),
        ("a,b", &[], ALL),
        ("nova", &["n3"], ALL),
    ] {
        assert_eq!(passed(zone, Profile::Legacy), legacy, "legacy {zone}");
        assert_eq!(passed(zone, Profile::Modern), modern, "modern {zone}");
    }
}
