//! What somebody does with virsh behind Drover's back.

use crate::e2e::apart::servers;
use crate::e2e::fleet::{Fleet, WAIT_GUEST, events, of_type, wait_state};
use drover_tests::lab::poll_until;

pub(crate) fn a_domain_destroyed_outside_is_healed(fleet: &Fleet<'_>) {
    let address = "server.web[0]";
    let server = fleet.server(address);
    let host = fleet.host(&server.host);
    host.virsh(&["destroy", &server.id]).expect("virsh can");
    wait_state(host, &server, Some("shut off"));

    let seen = fleet.drover(2, &["plan", "--refresh-only", "--detailed-exitcode"]);
    assert!(
        seen.stdout.contains("Changed outside of Drover") && seen.stdout.contains(address),
        "{}",
        seen.stdout
    );
    let seen = events(&fleet.drover(0, &["plan", "--refresh-only", "--json"]));
    let drift: Vec<_> = of_type(&seen, "resource_drift").collect();
    assert_eq!(drift.len(), 1, "{drift:?}");
    assert_eq!(drift[0]["change"]["resource"]["addr"], address);

    fleet.apply();
    wait_state(host, &server, Some("running"));
    assert_eq!(fleet.server(address), server);
    let console = fleet.console(&server.host, &server);
    poll_until("the guest's second boot", WAIT_GUEST, || {
        let written = std::fs::read(&console).ok()?;
        let written = String::from_utf8_lossy(&written).into_owned();
        let (_, boot) = written.rsplit_once("drover-guest: disk previous=")?;
        (!boot.starts_with("none") && boot.contains("drover-guest: count=1 ")).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}"));
    fleet.expect_no_changes();
}

pub(crate) fn a_server_migrated_outside_is_adopted(fleet: &Fleet<'_>) {
    let address = "server.web[0]";
    let server = fleet.server(address);
    let other = fleet.server("server.web[1]").host;
    let free = fleet
        .lab
        .hosts()
        .iter()
        .find(|host| host.name() != server.host && host.name() != other)
        .expect("the lab has a third host");
    fleet.configure(&[], &servers(2, ""));
    fleet.apply();
    let before = fleet.wait_count(&server.host, &server, 1);
    let source = fleet.host(&server.host);
    free.expose_libvirtd().expect("libvirtd can listen");
    // What an operator has to do by hand: the same overlay over the same base at the destination.
    let directory = format!("/var/lib/libvirt/drover/servers/{}", server.id);
    let overlay = format!("{directory}/disk.qcow2");
    let info = source
        .run("qemu-img", ["info", "-U", "--output=json", &overlay])
        .expect("qemu-img can look");
    let info: serde_json::Value = serde_json::from_str(&info).expect("qemu-img prints JSON");
    let base = info["backing-filename"].as_str().expect("it has a base");
    assert!(
        free.outside(std::path::Path::new(base)).exists(),
        "{base} is on {} from the server that was there",
        free.name()
    );
    free.run("mkdir", ["-p", &directory])
        .expect("a directory can be made");
    free.run(
        "qemu-img",
        ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, &overlay],
    )
    .expect("an overlay can be made");
    let target = format!("qemu+tcp://{}/system", free.ip());
    source
        .virsh(&[
            "migrate",
            "--live",
            "--p2p",
            "--copy-storage-inc",
            "--migrate-disks",
            "vda",
            "--persistent",
            "--undefinesource",
            "--abort-on-error",
            &server.id,
            &target,
        ])
        .expect("virsh can migrate");
    free.stop("libvirtd").expect("libvirtd ends");
    free.start_libvirtd().expect("libvirtd starts");
    wait_state(free, &server, Some("running"));

    let seen = fleet.drover(0, &["plan", "--refresh-only"]);
    assert!(
        seen.stdout.contains(address) && seen.stdout.contains(free.name()),
        "{}",
        seen.stdout
    );
    let watch = fleet.lab.watch_copies(&server.id);
    fleet.apply();
    assert_eq!(watch.finish().doubles, Vec::new());
    let adopted = fleet.server(address);
    assert_eq!(
        (adopted.id.as_str(), adopted.host.as_str()),
        (server.id.as_str(), free.name())
    );
    assert_eq!(
        fleet.lab.running_on(&server.id).expect("every libvirtd answers"),
        [free.name()]
    );
    fleet.wait_count(&adopted.host, &adopted, before + 1);
    fleet.expect_no_changes();
}
