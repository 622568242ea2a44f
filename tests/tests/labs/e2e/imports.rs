//! A guest that virsh started and nobody manages becomes a server: the same process, counting on.

use crate::e2e::fleet::{Fleet, Server, WAIT_GUEST, wait_state};
use drover_tests::lab::{last_count, poll_until};
use std::path::PathBuf;

const NAME: &str = "legacy";
const ADDRESS: &str = "server.legacy";
const FLAVOR: &str = "flavor \"plain\" {\n  vcpus = 1\n  ram   = \"128MiB\"\n  disk  = \"64MiB\"\n}\n";

fn file(kind: &str) -> String {
    format!("/var/lib/libvirt/images/{NAME}.{kind}")
}

/// libvirt's number and the process of the running domain.
fn process(fleet: &Fleet<'_>) -> (String, String) {
    let host = fleet.host("n1");
    let text = |told: Result<String, _>| told.map(|text: String| text.trim().to_owned());
    let id = text(host.virsh(&["domid", NAME])).expect("virsh knows it");
    let pid = host.run("cat", [format!("/run/libvirt/qemu/{NAME}.pid")]);
    (id, text(pid).expect("libvirtd notes the process"))
}

fn console(fleet: &Fleet<'_>) -> PathBuf {
    fleet.host("n1").outside(std::path::Path::new(&file("console")))
}

/// How often the guest has come up, and the number it counted to.
fn life(fleet: &Fleet<'_>) -> (usize, u64) {
    let written = std::fs::read(console(fleet)).expect("it has a console");
    let boots = String::from_utf8_lossy(&written)
        .matches("drover-guest: ready")
        .count();
    (boots, last_count(&console(fleet)).unwrap_or(0))
}

fn wait_count(fleet: &Fleet<'_>, at_least: u64) {
    poll_until(format!("count {at_least} of {NAME}"), WAIT_GUEST, || {
        last_count(&console(fleet)).filter(|count| *count >= at_least)
    })
    .unwrap_or_else(|error| panic!("{error}"));
}

pub(crate) fn a_running_guest_is_imported(fleet: &Fleet<'_>) {
    let host = fleet.host("n1");
    fleet.configure(&[], FLAVOR);
    fleet.apply();
    let guest = fleet.lab.start_plain_guest(host, NAME).expect("virsh starts it");
    fleet.drover(1, &["import", ADDRESS, "n1/legacy", "--auto-approve"]);
    let nothing = fleet.drover(0, &["adopt", "n1"]);
    assert_eq!(nothing.stdout, "", "a transient domain is not written down");
    host.virsh(&["define", &file("xml")])
        .expect("virsh can define it");
    host.virsh(&["autostart", NAME]).expect("virsh can");
    guest
        .wait_ready(host, WAIT_GUEST)
        .unwrap_or_else(|error| panic!("{error}"));
    let before = (process(fleet), life(fleet));
    let defined = |id: &str| host.virsh(&["dumpxml", "--inactive", id]).expect("it is defined");
    let found = defined(NAME);

    fleet.drover(0, &["adopt", "n1", "--out", "adopted.hcl"]);
    let plan = fleet.drover(2, &["plan", "--detailed-exitcode"]);
    assert!(
        plan.stdout
            .contains("server.legacy will be imported from n1/legacy"),
        "{}",
        plan.stdout
    );
    let applied = fleet.apply();
    assert!(applied.stdout.contains("1 imported"), "{}", applied.stdout);
    let server = fleet.server(ADDRESS);
    assert_eq!(
        server,
        Server {
            id: guest.uuid,
            host: "n1".to_owned()
        }
    );
    let ((boots, count), after) = (before.1, life(fleet));
    wait_count(fleet, count + 2);
    assert_eq!(
        (process(fleet), after.0),
        (before.0, boots),
        "it is the same process"
    );
    let marked = defined(NAME);
    assert!(
        marked.contains("<drover:address>server.legacy</drover:address>"),
        "{marked}"
    );
    let without: Vec<&str> = marked
        .lines()
        .filter(|line| !line.contains("drover:") && !line.contains("metadata>"))
        .collect();
    let found: Vec<&str> = found.lines().filter(|line| !line.contains("metadata>")).collect();
    assert_eq!(without, found, "nothing but the mark was defined");
    let info = host.virsh(&["dominfo", NAME]).expect("virsh knows it");
    assert!(
        info.lines()
            .any(|line| line.starts_with("Autostart:") && line.ends_with("disable")),
        "{info}"
    );
    let log = fleet.drover(0, &["server", "console-log", ADDRESS]);
    assert!(log.stdout.contains("drover-guest: ready"), "{}", log.stdout);
    fleet.expect_no_changes();
}

pub(crate) fn it_is_stopped_and_started(fleet: &Fleet<'_>) {
    let (host, server) = (fleet.host("n1"), fleet.server(ADDRESS));
    let (boots, _) = life(fleet);
    let blocks = fleet.workspace.directory().join("adopted.hcl");
    let on = std::fs::read_to_string(&blocks).expect("it was written");
    let off = on.replace("image  = null", "image  = null\n  power  = \"off\"");
    assert_ne!(off, on);
    std::fs::write(&blocks, off).expect("written");
    fleet.apply();
    wait_state(host, &server, Some("shut off"));
    fleet.expect_no_changes();
    std::fs::write(&blocks, on).expect("written");
    fleet.apply();
    wait_state(host, &server, Some("running"));
    poll_until("its second boot", WAIT_GUEST, || {
        // A new process begins the file anew.
        let (now, count) = life(fleet);
        (now >= 1 && count >= 1 && now <= boots + 1).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}"));
    fleet.expect_no_changes();
    // What virsh changes is put back to what was found.
    host.virsh(&["setmaxmem", NAME, "256M", "--config"])
        .expect("virsh can");
    let plan = fleet.drover(2, &["plan", "--detailed-exitcode"]);
    assert!(plan.stdout.contains("memory_kib"), "{}", plan.stdout);
    fleet.apply();
    fleet.expect_no_changes();
}

pub(crate) fn it_is_destroyed_without_its_disk(fleet: &Fleet<'_>) {
    let host = fleet.host("n1");
    fleet.drover(0, &["destroy", "--auto-approve"]);
    let left = host
        .virsh(&["list", "--all", "--name"])
        .expect("libvirtd answers");
    assert_eq!(left.trim(), "");
    assert!(
        host.outside(std::path::Path::new(&file("qcow2"))).exists(),
        "its disk stays"
    );
    let kept = host.agent_data().join("imported");
    let copies = std::fs::read_dir(kept).expect("it is there").count();
    assert_eq!(copies, 1, "a copy of the definition stays");
}
