//! What is rendered is read back, from our own XML and from what libvirt 11 with QEMU 10 makes of it.

use super::*;
use drover_types::{Address, Architecture, ByteSize, Epoch, Generation, HypervisorType, InstanceKey, Kind};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

fn word(text: &str) -> Word {
    text.parse().expect("one of libvirt's names")
}

fn path(text: &str) -> HostPath {
    text.parse().expect("a path")
}

pub(super) fn sample() -> DomainSpec {
    let address: Address = "server.db[\"a & <b>\"]".parse().expect("an address");
    let id = "6a1c1f0e-0000-4000-8000-000000000001".parse().expect("an id");
    DomainSpec {
        name: DomainName::derive(&address, id),
        metadata: DomainMetadata {
            fleet: "prod".parse().expect("a name"),
            project: "default".parse().expect("a name"),
            id,
            address,
            epoch: Epoch::new(3),
            generation: Generation::new(7),
        },
        memory: ByteSize::from_mib(128),
        vcpus: NonZeroU32::MIN,
        hypervisor: HypervisorType::Qemu,
        architecture: Architecture::X86_64,
        machine: word("pc-q35-10.0"),
        cpu: FrozenCpu {
            model: word("qemu64"),
            features: Vec::new(),
        },
        emulator: path("/usr/bin/qemu-system-x86_64"),
        disks: vec![DiskSpec {
            target: DiskTarget::ROOT,
            file: path("/var/lib/libvirt/drover/disk & 'root'.qcow2"),
            format: DiskFormat::Qcow2,
            bus: DiskBus::Virtio,
        }],
        console_log: path("/var/lib/libvirt/drover/console.log"),
        on_crash: OnCrash::Destroy,
        place: GuestPlace::default(),
    }
}

#[test]
fn the_sample_renders_as_recorded() {
    assert_eq!(
        render(&sample()),
        include_str!("testdata/rendered.xml").trim_end()
    );
}

const LIVE: &str = include_str!("testdata/libvirt-11-live.xml");
const PERSISTENT: &str = include_str!("testdata/libvirt-11-persistent.xml");

fn read(xml: &str) -> BTreeMap<Attribute, String> {
    read_back(xml).expect("a domain's XML")
}

#[test]
fn nothing_has_drifted_in_what_libvirt_made_of_the_sample() {
    let expected = attributes(&sample());
    assert_eq!(
        drift(&expected, Some(&read(LIVE)), Some(&read(PERSISTENT))),
        Vec::new()
    );
    assert_eq!(
        read_metadata(LIVE).expect("our metadata"),
        Some(sample().metadata)
    );
    assert_eq!(
        read_metadata(PERSISTENT).expect("our metadata"),
        Some(sample().metadata)
    );
}

/// Every value of the sample, altered in the text of libvirt's XML, shows as drift of just its attribute. An
/// attribute without a row fails.
#[test]
fn each_altered_attribute_is_found() {
    let mut spec = sample();
    // libvirt adds it to the running one.
    let added = CpuFeature {
        name: word("lahf_lm"),
        policy: FeaturePolicy::Require,
    };
    spec.cpu.features.push(added);
    let (without, with) = (attributes(&sample()), attributes(&spec));
    let table = [
        ("<uuid>6a1c1f0e", "<uuid>7a1c1f0e", vec!["uuid"]),
        ("<drover:id>6a1c1f0e", "<drover:id>7a1c1f0e", vec!["metadata.id"]),
        (
            "<vcpu placement='static'>1",
            "<vcpu placement='static' current='2'>1",
            vec!["current_vcpus"],
        ),
        (">hvm<", ">linux<", vec!["os.type"]),
        ("<apic/>", "<apic state='off'/>", vec!["features.apic"]),
        ("<cpu mode='custom'", "<cpu mode='host-model'", vec!["cpu.mode"]),
        ("match='exact'", "match='strict'", vec!["cpu.match"]),
        ("device='disk'", "device='lun'", vec!["disk.vda.device"]),
        (
            "<serial type='pty'>",
            "<serial type='null'>",
            vec!["console.type"],
        ),
        (
            "<domain type='qemu'",
            "<domain type='kvm'",
            vec!["hypervisor_type"],
        ),
        ("<name>drover-db", "<name>other-db", vec!["name"]),
        ("<drover:epoch>3<", "<drover:epoch>4<", vec!["metadata.epoch"]),
        (
            "<drover:generation>7<",
            "<drover:generation>8<",
            vec!["metadata.generation"],
        ),
        (
            "<drover:fleet>prod<",
            "<drover:fleet>test<",
            vec!["metadata.fleet"],
        ),
        (
            "<drover:project>default<",
            "<drover:project>other<",
            vec!["metadata.project"],
        ),
        (
            "<drover:address>server.db",
            "<drover:address>server.x",
            vec!["metadata.address"],
        ),
        (
            "<memory unit='KiB'>131072",
            "<memory unit='KiB'>262144",
            vec!["memory_kib"],
        ),
        (
            "<currentMemory unit='KiB'>131072",
            "<currentMemory unit='KiB'>65536",
            vec!["current_memory_kib"],
        ),
        (
            "<vcpu placement='static'>1",
            "<vcpu placement='static' current='1'>2",
            vec!["vcpus"],
        ),
        (
            "machine='pc-q35-10.0'",
            "machine='pc-q35-9.2'",
            vec!["os.machine"],
        ),
        ("arch='x86_64'", "arch='i686'", vec!["os.architecture"]),
        ("<boot dev='hd'/>", "<boot dev='network'/>", vec!["os.boot"]),
        ("<acpi/>", "", vec!["features.acpi"]),
        (">qemu64<", ">Nehalem<", vec!["cpu.model"]),
        ("fallback='forbid'", "fallback='allow'", vec!["cpu.fallback"]),
        ("<clock offset='utc'", "<clock offset='localtime'", vec!["clock"]),
        (
            "<on_poweroff>destroy",
            "<on_poweroff>restart",
            vec!["on_poweroff"],
        ),
        ("<on_reboot>restart", "<on_reboot>destroy", vec!["on_reboot"]),
        ("<on_crash>destroy", "<on_crash>restart", vec!["on_crash"]),
        ("/usr/bin/qemu-system-x86_64", "/usr/bin/other", vec!["emulator"]),
        (
            "<source file='/var/lib/libvirt/drover/disk",
            "<source file='/tmp/disk",
            vec!["disk.vda.file"],
        ),
        (
            "type='qcow2' discard",
            "type='raw' discard",
            vec!["disk.vda.format"],
        ),
        ("discard='unmap'", "discard='ignore'", vec!["disk.vda.discard"]),
        (
            "dev='vda' bus='virtio'",
            "dev='vda' bus='sata'",
            vec!["disk.vda.bus"],
        ),
        (
            "<log file='/var/lib/libvirt/drover/console.log'",
            "<log file='/tmp/x'",
            vec!["console.log"],
        ),
        ("append='on'", "append='off'", vec!["console.append"]),
        ("org.qemu.guest_agent.0", "com.example.0", vec!["agent_channel"]),
        (
            "<memballoon model='virtio'",
            "<memballoon model='none'",
            vec!["balloon"],
        ),
        (
            "<controller type='usb'",
            "<disk type='file' device='disk'><source file='/x'/><target dev='vdb' bus='virtio'/></disk><controller type='usb'",
            vec!["disk.vdb.device"],
        ),
    ];
    let check = |place: Place, from: &str, to: &str, found: &[&str]| {
        let (xml, expected) = match place {
            Place::Live => (LIVE, &with),
            Place::Persistent => (PERSISTENT, &without),
        };
        let altered = xml.replace(from, to);
        assert_ne!(altered, xml, "{from} is not in the recorded XML");
        let altered = read(&altered);
        let drifted = match place {
            Place::Live => drift(expected, Some(&altered), None),
            Place::Persistent => drift(expected, None, Some(&altered)),
        };
        let names: Vec<String> = drifted.iter().map(|one| one.attribute.to_string()).collect();
        assert_eq!(names, found, "{from} -> {to} in {place:?}");
    };
    for (from, to, found) in &table {
        for place in [Place::Live, Place::Persistent] {
            check(place, from, to, found);
        }
    }
    // libvirt rewrites the one when the domain runs, and completes the other.
    check(
        Place::Persistent,
        "check='none'",
        "check='partial'",
        &["cpu.check"],
    );
    check(Place::Live, "check='full'", "check='none'", &[]);
    let feature = "name='lahf_lm'";
    check(
        Place::Live,
        &format!("policy='require' {feature}"),
        &format!("policy='disable' {feature}"),
        &["cpu.feature.lahf_lm"],
    );
    let rows: Vec<&str> = table
        .iter()
        .flat_map(|(_, _, found)| found.iter().copied())
        .chain(["cpu.check", "cpu.feature.lahf_lm"])
        .collect();
    for key in with.keys().map(ToString::to_string) {
        assert!(
            rows.contains(&key.as_str()),
            "{key} is rendered, and no row alters it"
        );
    }
}

#[test]
fn drift_says_what_was_expected_and_what_is_there() {
    let altered = read(&PERSISTENT.replace("<memory unit='KiB'>131072", "<memory unit='KiB'>262144"));
    assert_eq!(
        drift(&attributes(&sample()), Some(&read(LIVE)), Some(&altered)),
        vec![AttributeDrift {
            attribute: Attribute::MemoryKib,
            expected: Some("131072".to_owned()),
            found: Some("262144".to_owned()),
            place: Place::Persistent,
        }]
    );
}

#[test]
fn a_domain_of_somebody_else_has_no_metadata_and_a_damaged_one_says_what() {
    assert_eq!(
        read_metadata("<domain><name>x</name></domain>").expect("foreign"),
        None
    );
    let other = LIVE.replace("urn:drover:domain:1", "urn:other:1");
    assert_eq!(read_metadata(&other).expect("foreign"), None);
    let damaged = LIVE.replace("<drover:epoch>3</drover:epoch>", "");
    assert!(matches!(
        read_metadata(&damaged),
        Err(MetadataError::Missing("epoch"))
    ));
    let damaged = LIVE.replace("<drover:epoch>3<", "<drover:epoch>three<");
    let error = read_metadata(&damaged).expect_err("no number").to_string();
    assert_eq!(
        error,
        "the domain's metadata has \"three\" as <epoch>; somebody edited it"
    );
}

#[test]
fn hostile_xml_is_an_error() {
    let deep = format!("<domain>{}", "<a>".repeat(300_000));
    assert!(matches!(read_back(&deep), Err(ReadError::Xml(_))));
    let deep = format!(
        "<domain>{}{}</domain>",
        "<a>".repeat(90_000),
        "</a>".repeat(90_000)
    );
    assert_eq!(read_back(&deep).expect("only deep"), BTreeMap::new());
    let laughs = "<!DOCTYPE d [<!ENTITY a \"aaaa\">]><domain>&a;</domain>";
    assert!(matches!(read_back(laughs), Err(ReadError::Xml(_))));
    assert!(matches!(
        read_back(&" ".repeat(5 << 20)),
        Err(ReadError::TooLarge(_))
    ));
    assert!(matches!(read_back("<network/>"), Err(ReadError::Root { .. })));
}

#[test]
fn a_domains_name_is_readable_and_plain() {
    let id = sample().id();
    for (address, name) in [
        ("server.web[0]", "drover-web-0-6a1c1f0e"),
        (
            "module.shop.server.db[\"ä/..\"]",
            "drover-module-shop-server-db-6a1c1f0e",
        ),
    ] {
        let address: Address = address.parse().expect("an address");
        assert_eq!(DomainName::derive(&address, id).as_str(), name);
    }
}

#[test]
fn paths_that_xml_or_the_host_would_read_otherwise_are_refused() {
    for bad in ["", "x", "/", "/a/../b", "/a//b", "/a\nb", "/a\u{ffff}", "/a/."] {
        assert!(bad.parse::<HostPath>().is_err(), "{bad:?} was accepted");
    }
}

fn any_path() -> impl Strategy<Value = HostPath> {
    "/[^/]{1,20}/[ -~]{1,20}".prop_filter_map("a path", |text| text.parse().ok())
}

fn any_cpu() -> impl Strategy<Value = FrozenCpu> {
    let feature = (
        "[a-z][a-z0-9._-]{0,8}",
        prop_oneof![Just(FeaturePolicy::Require), Just(FeaturePolicy::Disable)],
    );
    (
        "[A-Za-z0-9_-]{1,12}",
        prop::collection::btree_map(feature.0, feature.1, 0..6),
    )
        .prop_map(|(model, features)| FrozenCpu {
            model: word(&model),
            features: features
                .into_iter()
                .map(|(name, policy)| CpuFeature {
                    name: word(&name),
                    policy,
                })
                .collect(),
        })
}

prop_compose! {
    fn any_spec()(
        key in ".{0,40}",
        id in any::<u128>(),
        counters in any::<(u64, u64)>(),
        memory in 1..1_u64 << 45,
        vcpus in 1..512_u32,
        kvm in any::<bool>(),
        architecture in prop::sample::select(Architecture::ALL),
        cpu in any_cpu(),
        paths in (any_path(), any_path()),
        files in prop::collection::vec(any_path(), 0..4),
    ) -> DomainSpec {
        let name = "db".parse().expect("a name");
        let address = Address::root(Kind::Server, name).instance(InstanceKey::Key(key));
        let id = serde_json::from_str(&format!("\"{id:032x}\"")).expect("a UUID");
        DomainSpec {
            name: DomainName::derive(&address, id),
            metadata: DomainMetadata {
                address,
                id,
                epoch: Epoch::new(counters.0),
                generation: Generation::new(counters.1),
                ..sample().metadata
            },
            memory: ByteSize::from_bytes(memory),
            vcpus: NonZeroU32::new(vcpus).expect("at least one"),
            hypervisor: if kvm { HypervisorType::Kvm } else { HypervisorType::Qemu },
            architecture,
            cpu,
            emulator: paths.0,
            console_log: paths.1,
            disks: (0_u8..).zip(files).map(|(number, file)| DiskSpec {
                target: DiskTarget::new(number).expect("few disks"),
                file,
                format: DiskFormat::Qcow2,
                bus: DiskBus::Virtio,
            }).collect(),
            ..sample()
        }
    }
}

proptest! {
    #[test]
    fn what_is_rendered_is_read_back(spec in any_spec()) {
        let xml = render(&spec);
        prop_assert_eq!(read(&xml), attributes(&spec));
        prop_assert_eq!(read_metadata(&xml).expect("our metadata"), Some(spec.metadata));
    }

    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = read_back(&text);
        let _ = read_metadata(&format!("<domain><metadata>{text}</metadata></domain>"));
    }

    #[test]
    fn libvirts_xml_cut_or_altered_anywhere_never_panics(at in 0..LIVE.len(), by in any::<char>()) {
        let mut text = LIVE.to_owned();
        if text.is_char_boundary(at) {
            let _ = read_back(&text[..at]);
            text.insert(at, by);
            let _ = read_back(&text);
        }
    }
}
