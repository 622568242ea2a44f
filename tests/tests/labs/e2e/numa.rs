//! A server with a processor of its own: where its guest really runs, before and after a live migration.

use crate::e2e::drain::moved_whole;
use crate::e2e::fleet::{Fleet, Server, wait_state};
use drover_tests::lab::Host;
use std::collections::BTreeSet;

const ADDRESS: &str = "server.pinned";

pub(crate) const FILTERS: &str = "  scheduler {\n    filters = [\"RamFilter\", \"DiskFilter\", \"ComputeFilter\", \
                       \"NUMATopologyFilter\"]\n  }\n";

const PINNED: &str = r#"flavor "pinned" {
  vcpus       = 1
  ram         = "128MiB"
  disk        = "64MiB"
  extra_specs = { "hw:cpu_policy" = "dedicated" }
}

server "pinned" {
  flavor = flavor.pinned
  image  = image.guest
}
"#;

/// What virsh says of where virtual processors run.
fn pins(host: &Host, server: &Server) -> Vec<String> {
    let text = host
        .virsh(&["vcpupin", &server.id, "--live"])
        .expect("virsh answers");
    let rows = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let number: u32 = words.next()?.parse().ok()?;
        Some(format!("{number} on {}", words.next()?))
    });
    rows.collect()
}

/// Where the kernel lets the threads of the guest's QEMU run.
fn affinities(host: &Host, server: &Server) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for process in host.qemu_processes(&server.id) {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", process.process.pid)).expect("it runs");
        for task in tasks.filter_map(Result::ok) {
            let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let allowed = status
                .lines()
                .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            found.extend(allowed.map(|allowed| allowed.trim().to_owned()));
        }
    }
    found
}

pub(crate) fn a_pinned_server_boots_on_its_processor(fleet: &Fleet<'_>) {
    // Somebody's guest, which is off, has the first processor of n2.
    let busy = "<domain type='qemu'><name>busy</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>\
                <cputune><vcpupin vcpu='0' cpuset='0'/></cputune>\
                <os><type arch='x86_64' machine='q35'>hvm</type></os></domain>";
    let file = fleet.lab.directory().join("busy.xml");
    std::fs::write(&file, busy).expect("the lab's directory can be written");
    fleet
        .host("n2")
        .virsh(&["define", &file.display().to_string()])
        .expect("it can be defined");
    fleet.configure_with(FILTERS, &[("n2", "state = \"disabled\"")], PINNED);
    fleet.apply();
    let server = fleet.server(ADDRESS);
    assert_eq!(server.host, "n1");
    fleet.wait_ready(ADDRESS, &server);
    assert_eq!(pins(fleet.host("n1"), &server), ["0 on 0"]);
    assert_eq!(
        affinities(fleet.host("n1"), &server),
        BTreeSet::from(["0".to_owned()])
    );
    fleet.expect_no_changes();
}

pub(crate) fn a_drain_pins_it_on_the_other_host(fleet: &Fleet<'_>) {
    let server = fleet.server(ADDRESS);
    let before = fleet.wait_count("n1", &server, 3);
    fleet.configure_with(FILTERS, &[("n1", "state = \"drain\"")], PINNED);
    fleet.apply();
    moved_whole(fleet, &server, "n2", before);
    let host = fleet.host("n2");
    wait_state(host, &server, Some("running"));
    assert_eq!(pins(host, &server), ["0 on 1"]);
    assert_eq!(affinities(host, &server), BTreeSet::from(["1".to_owned()]));
    fleet.expect_no_changes();

    // It keeps its processor when it is stopped and started.
    fleet.drover(0, &["server", "reboot", ADDRESS, "--hard"]);
    wait_state(host, &server, Some("running"));
    assert_eq!(pins(host, &server), ["0 on 1"]);
    fleet.expect_no_changes();
}
