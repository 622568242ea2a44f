//! What changes on a server that exists: reboots, another size, another image.

use crate::e2e::fleet::{Fleet, Server, WAIT_GUEST};
use drover_tests::lab::poll_until;
use std::process::Command;

const ADDRESS: &str = "server.one";

fn server(ram: &str, image: &str, more: &str) -> String {
    server_with_disk(ram, "64MiB", image, more)
}

fn server_with_disk(ram: &str, disk: &str, image: &str, more: &str) -> String {
    format!(
        r#"flavor "tiny" {{
  vcpus = 1
  ram   = "{ram}"
  disk  = "{disk}"
}}

server "one" {{
  flavor = flavor.tiny
  image  = image.{image}
{more}}}
"#
    )
}

/// How often the guest's log holds this text.
fn times(fleet: &Fleet<'_>, server: &Server, text: &str) -> usize {
    let written = std::fs::read(fleet.console(&server.host, server)).unwrap_or_default();
    String::from_utf8_lossy(&written).matches(text).count()
}

fn wait_boots(fleet: &Fleet<'_>, server: &Server, boots: usize) {
    poll_until(format!("boot {boots} of {}", server.id), WAIT_GUEST, || {
        (times(fleet, server, "drover-guest: ready") == boots).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}"));
}

pub(crate) fn a_server_is_rebooted(fleet: &Fleet<'_>) {
    fleet.configure(&[], &server("128MiB", "guest", ""));
    fleet.apply();
    let one = fleet.server(ADDRESS);
    fleet.wait_ready(ADDRESS, &one);
    fleet.wait_count(&one.host, &one, 2);

    fleet.drover(0, &["server", "reboot", ADDRESS]);
    wait_boots(fleet, &one, 2);
    let asked = times(fleet, &one, "drover-guest: powering off");
    assert_eq!(asked, 1, "a soft reboot asks the guest");

    fleet.drover(0, &["server", "reboot", "--hard", ADDRESS]);
    wait_boots(fleet, &one, 3);
    let asked = times(fleet, &one, "drover-guest: powering off");
    assert_eq!(asked, 1, "a hard reboot does not");
    fleet.expect_no_changes();
}

pub(crate) fn a_server_is_resized(fleet: &Fleet<'_>) {
    let one = fleet.server(ADDRESS);
    fleet.configure(&[], &server("160MiB", "guest", ""));
    let plan = fleet.drover(2, &["plan", "--detailed-exitcode"]);
    for word in ["reboot", "160MiB"] {
        assert!(plan.stdout.contains(word), "{word}: {}", plan.stdout);
    }
    fleet.apply();
    wait_boots(fleet, &one, 4);
    let info = fleet
        .host(&one.host)
        .virsh(&["dominfo", &one.id])
        .expect("virsh can");
    let memory = format!("{} KiB", 160 * 1024);
    assert!(info.contains(&memory), "{info}");
    fleet.expect_no_changes();
}

/// The size of the server's disk in MiB, as its file says, and as the running guest's QEMU does.
fn disk_mib(fleet: &Fleet<'_>, server: &Server) -> (u64, u64) {
    let host = fleet.host(&server.host);
    let file = format!("/var/lib/libvirt/drover/servers/{}/disk.qcow2", server.id);
    let info = host
        .run("qemu-img", ["info", "-U", "--output=json", &file])
        .expect("qemu-img can look");
    let info: serde_json::Value = serde_json::from_str(&info).expect("qemu-img prints JSON");
    let file = info["virtual-size"].as_u64().expect("a disk has a size");
    let block = host
        .virsh(&["domblkinfo", &server.id, "vda"])
        .expect("virsh can look");
    let capacity = block
        .lines()
        .find_map(|line| line.strip_prefix("Capacity:"))
        .expect("a disk has a capacity");
    let capacity: u64 = capacity.trim().parse().expect("a number of bytes");
    (file >> 20, capacity >> 20)
}

/// Begins with a guest of 160 MiB that runs, in its fourth boot.
pub(crate) fn a_disk_grows_and_never_shrinks(fleet: &Fleet<'_>) {
    let one = fleet.server(ADDRESS);
    let declare = |disk: &str, more: &str| {
        fleet.configure(&[], &server_with_disk("160MiB", disk, "guest", more));
    };
    assert_eq!(disk_mib(fleet, &one), (64, 64));

    declare("96MiB", "");
    let plan = fleet.drover(2, &["plan", "--detailed-exitcode"]);
    for word in ["without interruption", "96MiB"] {
        assert!(plan.stdout.contains(word), "{word}: {}", plan.stdout);
    }
    let before = fleet.wait_count(&one.host, &one, 1);
    fleet.apply();
    assert_eq!(disk_mib(fleet, &one), (96, 96));
    fleet.wait_count(&one.host, &one, before + 1);
    let boots = times(fleet, &one, "drover-guest: ready");
    assert_eq!(boots, 4, "it ran on");
    fleet.expect_no_changes();

    declare("64MiB", "");
    let plan = fleet.drover(1, &["plan"]);
    let told = plan.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let why = "its disk has 96MiB and cannot shrink to 64MiB";
    assert!(told.contains(why), "{}", plan.stdout);
    // The flavor alone is written down.
    fleet.drover(5, &["apply", "--auto-approve"]);
    assert_eq!(disk_mib(fleet, &one), (96, 96));

    declare("96MiB", "  power = \"off\"\n");
    fleet.apply();
    declare("128MiB", "  power = \"off\"\n");
    fleet.apply();
    assert_eq!(disk_mib(fleet, &one).0, 128);
    fleet.expect_no_changes();
    declare("128MiB", "");
    fleet.apply();
    wait_boots(fleet, &one, 5);
    assert_eq!(disk_mib(fleet, &one), (128, 128));
    fleet.expect_no_changes();
}

pub(crate) fn a_server_is_rebuilt_only_where_that_is_allowed(fleet: &Fleet<'_>) {
    let one = fleet.server(ADDRESS);
    let other = fleet.lab.directory().join("images/other.qcow2");
    let converted = Command::new("qemu-img")
        .args(["convert", "-f", "raw", "-O", "qcow2"])
        .arg(fleet.lab.guest_image().expect("the guest image is made"))
        .arg(&other)
        .status()
        .expect("qemu-img runs");
    assert!(converted.success());
    let bytes = std::fs::read(&other).expect("the image can be read");
    let with = |bytes: &[u8], more: &str| {
        format!(
            "image \"other\" {{\n  source = \"file://{}\"\n  checksum = \"{}\"\n}}\n\n{}",
            other.display(),
            drover_types::Sha256Digest::of(bytes),
            server_with_disk("160MiB", "128MiB", "other", more),
        )
    };

    fleet.configure(&[], &with(&bytes, ""));
    let plan = fleet.drover(1, &["plan"]);
    for word in ["would lose what is on the root disk", "allow_rebuild = true"] {
        let told = plan.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(word), "{word}: {}", plan.stdout);
    }

    // An image that cannot be had costs nothing.
    let boots = times(fleet, &one, "drover-guest: ready");
    fleet.configure(&[], &with(b"another image", "  allow_rebuild = true\n"));
    let failed = fleet.drover(5, &["apply", "--auto-approve"]);
    assert!(failed.stderr.contains("checksum"), "{}", failed.stderr);
    assert_eq!(
        fleet.lab.running_on(&one.id).expect("libvirtd answers"),
        [one.host.as_str()]
    );
    assert_eq!(times(fleet, &one, "drover-guest: ready"), boots);

    fleet.configure(&[], &with(&bytes, "  allow_rebuild = true\n"));
    fleet.apply();
    let rebuilt = fleet.server(ADDRESS);
    assert_eq!(rebuilt, one, "the same server on the same host");
    fleet.wait_ready(ADDRESS, &rebuilt);
    assert_eq!(
        times(fleet, &rebuilt, "drover-guest: disk previous=none"),
        1,
        "a new disk"
    );
    fleet.expect_no_changes();
}
