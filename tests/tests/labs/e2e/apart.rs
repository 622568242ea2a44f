//! Three servers that must be apart, from an empty fleet to an empty fleet.

use crate::e2e::fleet::{Fleet, events, of_type};
use std::collections::BTreeSet;

/// The servers of all cases.
pub(crate) fn servers(count: usize, more: &str) -> String {
    format!(
        r#"flavor "tiny" {{
  vcpus = 1
  ram   = "128MiB"
  disk  = "64MiB"
}}

group "web" {{
  policy = "anti-affinity"
}}

server "web" {{
  count  = {count}
  flavor = flavor.tiny
  image  = image.guest
  group  = group.web
{more}}}

output "hosts" {{
  value = server.web[*].host
}}
"#
    )
}

pub(crate) fn three_servers_land_on_three_hosts(fleet: &Fleet<'_>) {
    fleet.configure(&[], &servers(3, ""));
    let plan = fleet.drover(2, &["plan", "--detailed-exitcode"]);
    for server in ["server.web[0]", "server.web[1]", "server.web[2]"] {
        assert!(plan.stdout.contains(server), "{}", plan.stdout);
    }
    let planned = events(&fleet.drover(0, &["plan", "--json"]));
    let creates = of_type(&planned, "planned_change")
        .filter(|event| event["change"]["resource"]["resource_type"] == "server")
        .count();
    assert_eq!(creates, 3, "{planned:#?}");

    fleet.apply();
    let mut hosts = BTreeSet::new();
    for index in 0..3 {
        let address = format!("server.web[{index}]");
        let server = fleet.server(&address);
        fleet.wait_ready(&address, &server);
        assert_eq!(
            fleet.lab.running_on(&server.id).expect("every libvirtd answers"),
            [server.host.as_str()]
        );
        hosts.insert(server.host);
    }
    assert_eq!(hosts.len(), 3, "{hosts:?}");
    fleet.expect_no_changes();
}

pub(crate) fn nothing_is_left_of_a_destroyed_fleet(fleet: &Fleet<'_>) {
    fleet.drover(0, &["destroy", "--auto-approve"]);
    fleet.expect_nothing_left();
    fleet.drover(0, &["destroy", "--auto-approve"]);
}
