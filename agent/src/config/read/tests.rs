//! `agent.hcl`: every option, and every mistake with its place.

use super::*;

const LEAST: &str = r#"host = "n1"
fleet = "prod"
listen = "127.0.0.1:7443"
tls {
  ca_file = "ca.pem"
  cert_file = "/etc/drover/cert.pem"
  key_file = "/etc/drover/key.pem"
}
"#;

fn problems(text: &str) -> String {
    match config(Path::new("/etc/drover/agent.hcl"), text) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_least_that_is_needed_and_its_defaults() {
    let config = config(Path::new("/etc/drover/agent.hcl"), LEAST).expect("enough");
    assert_eq!(config.host.as_str(), "n1");
    assert_eq!(config.tls.ca_file, Path::new("/etc/drover/ca.pem"));
    assert_eq!(config.data_dir, Path::new("/var/lib/drover"));
    assert_eq!(config.libvirt_uri, "qemu:///system");
    assert_eq!(config.virt_type, VirtType::Auto);
    assert_eq!(config.reserved, Reserved::default());
    assert_eq!(config.cpus, CpuSets::default());
    assert_eq!(config.images.file_roots, Vec::<PathBuf>::new());
    assert_eq!(config.shutdown_grace, Duration::from_secs(30));
}

#[test]
fn every_option_is_read() {
    let text = format!(
        r#"{LEAST}
data_dir = "/srv/drover"
libvirt_uri = "qemu:///session"
virt_type = "kvm"
shutdown_grace = "2m"
log_format = "json"
reserved {{
  vcpus = 2
  memory = "1GiB"
  disk = "20GiB"
}}
cpus {{
  shared = "0-1"
  dedicated = "2-7,^5"
}}
pci_device {{
  vendor_id = "10de"
}}
pci_device {{
  product_id = "10CA"
  address = "0000:0a:*.*"
}}
images {{
  max_size = "8GiB"
  connect_timeout = "1s"
  stall_timeout = "2s"
  total_timeout = "3m"
  file_roots = ["/srv/images", "local"]
  extra_ca_file = "images.pem"
}}
"#
    );
    let config = config(Path::new("/etc/drover/agent.hcl"), &text).expect("valid");
    assert_eq!(config.data_dir, Path::new("/srv/drover"));
    assert_eq!(config.libvirt_uri, "qemu:///session");
    assert_eq!(config.virt_type, VirtType::Kvm);
    assert_eq!(config.shutdown_grace, Duration::from_secs(120));
    assert_eq!(config.log_format, LogFormat::Json);
    let reserved = Reserved {
        vcpus: 2,
        memory: ByteSize::from_gib(1),
        disk: ByteSize::from_gib(20),
    };
    assert_eq!(config.reserved, reserved);
    let cpus = CpuSets {
        shared: Some("0,1".parse().expect("a set")),
        dedicated: Some("2-4,6-7".parse().expect("a set")),
    };
    assert_eq!(config.cpus, cpus);
    let rules = [
        PciRule {
            vendor_id: Some("10de".parse().expect("an id")),
            ..PciRule::default()
        },
        PciRule {
            product_id: Some("10ca".parse().expect("an id")),
            address: Some("0000:0a:*.*".parse().expect("places")),
            ..PciRule::default()
        },
    ];
    assert_eq!(config.pci_devices, rules);
    let images = ImageLimits {
        max_size: ByteSize::from_gib(8),
        connect_timeout: Duration::from_secs(1),
        stall_timeout: Duration::from_secs(2),
        total_timeout: Duration::from_secs(180),
        file_roots: vec!["/srv/images".into(), "/etc/drover/local".into()],
        extra_ca_file: Some("/etc/drover/images.pem".into()),
    };
    assert_eq!(config.images, images);
}

#[test]
fn all_mistakes_come_at_once_with_their_places() {
    let text = r#"host = "n 1"
listen = 7443
colour = "red"
virt_type = "xen"
tls {
  ca_file = ["x"]
  cert_file = "c"
}
reserved {
  vcpus = -1
  memory = "512"
}
images "x" {
  stall_timeout = "soon"
}
cpus {
  shared = "0-"
}
extra {}
pci_device {
  vendor_id = "intel"
  product_id = 4
}
pci_device "gpu" {
  address = "0a:00.0"
  class = "03"
}
pci_device {}
"#;
    insta::assert_snapshot!(problems(text), @r#"
    /etc/drover/agent.hcl:1:1: host: a name cannot contain ' '; use letters, digits, '-' and '_', and '.'
    /etc/drover/agent.hcl:1:1: fleet is missing; write for example fleet = "prod"
    /etc/drover/agent.hcl:2:1: listen: write a text in quotes, without references
    /etc/drover/agent.hcl:3:1: there is no attribute colour
    /etc/drover/agent.hcl:4:1: virt_type: "xen" is not a virt_type; use one of: auto, kvm, qemu
    /etc/drover/agent.hcl:5:1: key_file is missing in tls; write for example key_file = "/etc/drover/…"
    /etc/drover/agent.hcl:6:3: ca_file in tls: write a text in quotes, without references
    /etc/drover/agent.hcl:10:3: vcpus in reserved: write a whole number
    /etc/drover/agent.hcl:11:3: memory in reserved: "512" has no unit; write for example "512MiB" or "512GiB"
    /etc/drover/agent.hcl:13:1: block images has no labels
    /etc/drover/agent.hcl:14:3: stall_timeout in images: "soon" is not a duration; write for example "30s" or "5m"
    /etc/drover/agent.hcl:17:3: shared in cpus: "0-" is no list of processors; write for example "0-3,6"
    /etc/drover/agent.hcl:19:1: there is no block extra
    /etc/drover/agent.hcl:21:3: vendor_id in pci_device: "intel" is no vendor and no product of a PCI device: four hexadecimal digits are, such as 10de
    /etc/drover/agent.hcl:22:3: product_id in pci_device: write a text in quotes, without references
    /etc/drover/agent.hcl:24:1: block pci_device has no labels
    /etc/drover/agent.hcl:25:3: address in pci_device: "0a:00.0" is no address of PCI devices: write domain:bus:slot.function, such as 0000:0a:00.0, with * for any
    /etc/drover/agent.hcl:26:3: there is no attribute class in pci_device
    /etc/drover/agent.hcl:28:1: pci_device says nothing, which would give every device away; write vendor_id, product_id or address
    "#);
    let doubled = format!("{LEAST}cpus {{\n  shared = \"0-3\"\n  dedicated = \"2-7\"\n}}\n");
    insta::assert_snapshot!(problems(&doubled), @"/etc/drover/agent.hcl:9:1: cpus: 2-3 stand in shared and in dedicated; each processor is in one");
}

#[test]
fn a_file_that_is_no_hcl_is_reported_where_it_stops_being_one() {
    insta::assert_snapshot!(problems("host = \"n1\"\nfleet = \n"), @r#"/etc/drover/agent.hcl:2:9: invalid expression; expected `"`, `[`, `{`, `-`, `!`, `(`, `_`, `<`, letter or digit"#);
}
