//! A PCI device of this very machine, given to servers that stay off: libvirt is asked what there is, takes the
//! definition, and is asked again. No guest is started, since its host's driver would lose the device.

use crate::e2e::fleet::{Fleet, Server};
use drover_tests::lab::Host;
use std::fs;
use std::path::Path;

const ADDRESS: &str = "server.card";

/// Where a device is, and what it is.
pub(crate) struct Device {
    address: String,
    vendor: String,
    product: String,
}

/// A device of this machine that is no bridge, if there is one.
pub(crate) fn some_device() -> Option<Device> {
    let read = |path: &Path, part: &str| {
        let text = fs::read_to_string(path.join(part)).ok()?;
        Some(text.trim().trim_start_matches("0x").to_owned())
    };
    let mut all: Vec<_> = fs::read_dir("/sys/bus/pci/devices")
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .collect();
    all.sort();
    all.into_iter().find_map(|path| {
        (!read(&path, "class")?.starts_with("06")).then_some(())?;
        Some(Device {
            address: path.file_name()?.to_str()?.to_owned(),
            vendor: read(&path, "vendor")?,
            product: read(&path, "device")?,
        })
    })
}

/// From now on the host's agent lets servers have the device.
fn give_away(host: &Host, device: &Device) {
    host.stop_agent().expect("the agent ends");
    let file = host.agent_config();
    let mut text = fs::read_to_string(&file).expect("it was written");
    text.push_str(&format!(
        "\npci_device {{\n  address = \"{}\"\n}}\n",
        device.address
    ));
    fs::write(&file, text).expect("the lab's directory can be written");
    host.start_agent().expect("the agent starts");
}

fn servers(count: u32) -> String {
    format!(
        r#"flavor "card" {{
  vcpus       = 1
  ram         = "128MiB"
  disk        = "64MiB"
  extra_specs = {{ "pci_passthrough:alias" = "card" }}
}}

server "card" {{
  flavor = flavor.card
  image  = image.guest
  power  = "off"
}}

server "more" {{
  count  = {count}
  flavor = flavor.card
  image  = image.guest
  power  = "off"
}}
"#
    )
}

/// The definition's devices of the host, as libvirt writes them.
fn host_devices(host: &Host, server: &Server) -> Vec<String> {
    let xml = host
        .virsh(&["dumpxml", "--inactive", &server.id])
        .expect("virsh answers");
    let devices = drover_agent_core::domain::found_devices(&xml).expect("a domain's XML");
    devices.iter().map(ToString::to_string).collect()
}

pub(crate) fn a_device_is_defined_counted_healed_and_taken_on_the_other_host(
    fleet: &Fleet<'_>,
    device: &Device,
) {
    for name in ["n1", "n2"] {
        give_away(fleet.host(name), device);
    }
    let settings = format!(
        "  scheduler {{\n    filters = [\"RamFilter\", \"DiskFilter\", \"ComputeFilter\", \"PciPassthroughFilter\"]\n    \
         pci_alias \"card\" {{\n      vendor_id  = \"{}\"\n      product_id = \"{}\"\n    }}\n  }}\n",
        device.vendor, device.product
    );
    fleet.configure_with(&settings, &[], &servers(0));
    fleet.apply();
    let server = fleet.server(ADDRESS);
    assert_eq!(server.host, "n1");
    assert_eq!(host_devices(fleet.host("n1"), &server), [device.address.as_str()]);
    fleet.expect_no_changes();

    fleet.configure_with(&settings, &[], &servers(2));
    let plan = fleet.drover(1, &["plan"]).stdout;
    assert!(
        plan.contains("n1 PciPassthroughFilter: wants 1 of card, 0 free"),
        "{plan}"
    );

    // Somebody takes it out of the definition.
    fleet.configure_with(&settings, &[], &servers(0));
    let parts: Vec<&str> = device.address.split([':', '.']).collect();
    let detached = format!(
        "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x{}' bus='0x{}' slot='0x{}' \
         function='0x{}'/></source></hostdev>",
        parts[0], parts[1], parts[2], parts[3]
    );
    let file = fleet.lab.directory().join("card.xml");
    fs::write(&file, detached).expect("the lab's directory can be written");
    fleet
        .host("n1")
        .virsh(&[
            "detach-device",
            &server.id,
            &file.display().to_string(),
            "--config",
        ])
        .expect("it can be detached");
    assert_eq!(host_devices(fleet.host("n1"), &server), Vec::<String>::new());
    let plan = fleet.drover(0, &["plan"]).stdout;
    assert!(plan.contains(&format!("hostdev.{}", device.address)), "{plan}");
    fleet.apply();
    assert_eq!(host_devices(fleet.host("n1"), &server), [device.address.as_str()]);

    // It is off, so it moves with its disk, and takes the device of the host where it goes.
    fleet.configure_with(&settings, &[("n1", "state = \"drain\"")], &servers(0));
    fleet.apply();
    let moved = fleet.server(ADDRESS);
    assert_eq!((moved.host.as_str(), &moved.id), ("n2", &server.id));
    assert_eq!(host_devices(fleet.host("n2"), &moved), [device.address.as_str()]);
    fleet.expect_no_changes();
}
