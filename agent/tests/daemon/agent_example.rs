//! The example of `agent.hcl` is read, and holds every setting.

use drover_agent::config::{Config, ImageLimits, LogFormat, Reserved};
use drover_agent_core::inventory::{CpuSets, PciRule};
use drover_proto::transport::CredentialFiles;
use drover_types::{ByteSize, VirtType};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[test]
fn the_example_is_read_and_holds_every_setting() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/agent");
    let config = Config::load(&folder.join("agent.hcl")).expect("the example has no mistakes");
    // Taken apart field by field: a new setting does not build until the example and this test have it.
    let Config {
        host,
        fleet,
        listen,
        data_dir,
        libvirt_uri,
        virt_type,
        tls: CredentialFiles {
            ca_file,
            cert_file,
            key_file,
        },
        reserved,
        cpus,
        pci_devices,
        images,
        shutdown_grace,
        log_format,
    } = config;
    let beside = |name: &str| folder.join(name);
    assert_eq!((host.as_str(), fleet.as_str()), ("n1", "prod"));
    assert_eq!(listen.to_string(), "0.0.0.0:7443");
    assert_eq!(data_dir, Path::new("/var/lib/drover"));
    assert_eq!(libvirt_uri, "qemu:///system");
    assert_eq!(virt_type, VirtType::Auto);
    assert_eq!(
        [ca_file, cert_file, key_file],
        [
            beside("tls/ca.pem"),
            beside("tls/cert.pem"),
            beside("tls/key.pem")
        ]
    );
    let kept = Reserved {
        vcpus: 1,
        memory: ByteSize::from_gib(1),
        disk: ByteSize::from_gib(10),
    };
    assert_eq!(reserved, kept);
    let sets = CpuSets {
        shared: Some("0-1".parse().expect("a set")),
        dedicated: Some("2-7".parse().expect("a set")),
    };
    assert_eq!(cpus, sets);
    let rule = |vendor: &str, product: &str, address: Option<&str>| PciRule {
        vendor_id: Some(vendor.parse().expect("an id")),
        product_id: Some(product.parse().expect("an id")),
        address: address.map(|places| places.parse().expect("places")),
    };
    let rules = [
        rule("10de", "1eb8", None),
        rule("8086", "10ca", Some("0000:0b:*.*")),
    ];
    assert_eq!(pci_devices, rules);
    let limits = ImageLimits {
        max_size: ByteSize::from_gib(64),
        connect_timeout: Duration::from_secs(10),
        stall_timeout: Duration::from_secs(30),
        total_timeout: Duration::from_secs(6 * 3600),
        file_roots: vec![PathBuf::from("/srv/images")],
        extra_ca_file: Some(beside("images-ca.pem")),
    };
    assert_eq!(images, limits);
    assert_eq!(
        (shutdown_grace, log_format),
        (Duration::from_secs(30), LogFormat::Text)
    );
}
