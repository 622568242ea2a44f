//! Guests that are bound to cells: rendered, read back, and told apart from what libvirt or virsh makes of them.

use super::*;
use crate::domain::tests::sample;
use crate::domain::{
    Attribute, DomainSpec, Place, attributes, drift, found_devices, read_back, render, with_place,
};
use drover_numa::{PageSize, Pages, ThreadPolicy, numbered};
use drover_types::{ByteSize, PciKind, Ratio};
use std::num::NonZeroU32;

const LIMITS: NumaLimits = NumaLimits {
    cpu_ratio: Ratio::NOVA_CPU,
    ram_ratio: Ratio::NOVA_RAM,
};

/// Two cells of four processors each, the first of each shared, with pages of two sizes.
fn host() -> Vec<NumaCell> {
    let cell = |id: u32| NumaCell {
        id,
        cpus: [id * 4].into(),
        dedicated_cpus: (id * 4 + 1..id * 4 + 4).collect(),
        memory_mib: 4096,
        pages: vec![Pages::unused(4, 4096 * 256), Pages::unused(2048, 512)],
        ..NumaCell::default()
    };
    vec![cell(0), cell(1)]
}

fn guest(cells: u64, vcpus: u64, policy: CpuPolicy, page: Option<PageSize>) -> Vec<GuestCell> {
    let cell = GuestCell {
        vcpus,
        numbers: Vec::new(),
        memory_mib: 256,
        policy,
        threads: ThreadPolicy::Prefer,
        page,
    };
    numbered(&vec![cell; usize::try_from(cells).expect("few cells")])
}

/// A place on the host, which has two cards at its second cell and one at neither.
fn fit(
    cells: &[GuestCell],
    devices: &[DeviceWish],
    taken: &Taken,
    before: Option<&GuestPlace>,
) -> Result<GuestPlace, NoPlace> {
    let wishes = Wishes {
        cells,
        limits: LIMITS,
        devices,
    };
    let before = before.map_or(Before::Nothing, Before::Place);
    fit_on(wishes, taken, before)
}

fn fit_on(wishes: Wishes<'_>, taken: &Taken, before: Before<'_>) -> Result<GuestPlace, NoPlace> {
    let cards = [
        card("0000:0a:00.0", Some(1)),
        card("0000:0a:00.1", Some(1)),
        card("0000:0b:00.0", None),
    ];
    let parts = Parts {
        cells: &host(),
        devices: &cards,
    };
    GuestPlace::fit(wishes, parts, taken, before)
}

fn kind() -> PciKind {
    PciKind {
        vendor_id: "10de".parse().expect("an id"),
        product_id: "1eb8".parse().expect("an id"),
    }
}

fn at(address: &str) -> PciAddress {
    address.parse().expect("an address")
}

fn card(address: &str, numa_node: Option<u32>) -> PciDevice {
    PciDevice {
        address: at(address),
        kind: kind(),
        numa_node,
    }
}

fn cards(count: u64) -> DeviceWish {
    DeviceWish {
        alias: "gpu".to_owned(),
        count,
        kinds: vec![kind()],
    }
}

fn seated(guest: &[GuestCell]) -> DomainSpec {
    let vcpus: u64 = guest.iter().map(|cell| cell.vcpus).sum();
    let memory: u64 = guest.iter().map(|cell| cell.memory_mib).sum();
    DomainSpec {
        memory: ByteSize::from_mib(memory),
        vcpus: NonZeroU32::new(u32::try_from(vcpus).expect("few")).expect("some"),
        place: fit(guest, &[], &Taken::default(), None).expect("it fits"),
        ..sample()
    }
}

/// Two cells of two pinned processors each, in pages that are set apart.
fn pinned() -> DomainSpec {
    seated(&guest(2, 2, CpuPolicy::Dedicated, Some(PageSize::Large)))
}

#[test]
fn a_pinned_guest_is_rendered_with_its_cells_and_pages() {
    insta::assert_snapshot!(render(&pinned()));
}

#[test]
fn a_guest_that_shares_floats_over_the_shared_processors_of_its_cell() {
    let spec = seated(&guest(1, 1, CpuPolicy::Shared, None));
    let all = attributes(&spec);
    assert_eq!(all[&Attribute::VcpuPin(0)], "0");
    assert_eq!(all[&Attribute::EmulatorPin], "0");
    assert_eq!(all[&Attribute::NumaNode(0)], "strict 0");
    assert!(!render(&spec).contains("hugepages"));
    let plain = DomainSpec {
        place: GuestPlace {
            cpuset: Some("0,4".parse().expect("a set")),
            ..GuestPlace::default()
        },
        ..sample()
    };
    assert!(render(&plain).contains(r#"<vcpu placement="static" cpuset="0,4">1</vcpu>"#));
}

/// Every value of the place, altered in the text, shows as drift of just its attribute.
#[test]
fn each_altered_part_of_a_place_is_found() {
    let spec = pinned();
    let (xml, expected) = (render(&spec), attributes(&spec));
    let table = [
        (
            r#"vcpu="0" cpuset="1""#,
            r#"vcpu="0" cpuset="3""#,
            vec!["cputune.vcpu.0"],
        ),
        (
            r#"vcpu="1" cpuset="2""#,
            r#"vcpu="1" cpuset="1-2""#,
            vec!["cputune.vcpu.1"],
        ),
        (r#"<vcpupin vcpu="2" cpuset="5"/>"#, "", vec!["cputune.vcpu.2"]),
        (
            r#"vcpu="3" cpuset="6""#,
            r#"vcpu="3" cpuset="7""#,
            vec!["cputune.vcpu.3"],
        ),
        (r#"<emulatorpin cpuset="1-2,5-6"/>"#, "", vec!["cputune.emulator"]),
        (
            r#"<memory mode="strict" nodeset="0-1"/>"#,
            r#"<memory mode="preferred" nodeset="0"/>"#,
            vec!["numatune.memory"],
        ),
        (
            r#"cellid="0" mode="strict" nodeset="0""#,
            r#"cellid="0" mode="strict" nodeset="1""#,
            vec!["numatune.cell.0"],
        ),
        (
            r#"cellid="1" mode="strict" nodeset="1""#,
            r#"cellid="1" mode="interleave" nodeset="0-1""#,
            vec!["numatune.cell.1"],
        ),
        (
            r#"id="0" cpus="0-1""#,
            r#"id="0" cpus="0""#,
            vec!["cpu.numa.0.cpus"],
        ),
        (
            r#"id="1" cpus="2-3""#,
            r#"id="1" cpus="1-3""#,
            vec!["cpu.numa.1.cpus"],
        ),
        (
            r#"cpus="0-1" memory="262144""#,
            r#"cpus="0-1" memory="131072""#,
            vec!["cpu.numa.0.memory_kib"],
        ),
        (
            r#"cpus="2-3" memory="262144""#,
            r#"cpus="2-3" memory="131072""#,
            vec!["cpu.numa.1.memory_kib"],
        ),
        (
            r#"<page size="2048""#,
            r#"<page size="1048576""#,
            vec!["hugepages.0-1"],
        ),
        (
            r#"<vcpu placement="static">"#,
            r#"<vcpu placement="static" cpuset="0">"#,
            vec!["vcpus.cpuset"],
        ),
    ];
    for (from, to, found) in &table {
        let altered = xml.replace(from, to);
        assert_ne!(altered, xml, "{from} is not in {xml}");
        let altered = read_back(&altered).expect("a domain's XML");
        let live = drift(&expected, Some(&altered), None);
        let names: Vec<String> = live.iter().map(|one| one.attribute.to_string()).collect();
        assert_eq!(&names, found, "{from} -> {to}");
        assert!(live.iter().all(|one| one.place == Place::Live));
    }
    let rows: Vec<&str> = table.iter().flat_map(|(_, _, found)| found.clone()).collect();
    let plain = attributes(&sample());
    for key in expected.keys().filter(|key| !plain.contains_key(key)) {
        assert!(rows.contains(&key.to_string().as_str()), "no row alters {key}");
    }
    // What somebody binds that is bound to nothing is a change, too.
    let bound = render(&sample()).replace("<os>", "<cputune><vcpupin vcpu='0' cpuset='1'/></cputune><os>");
    let found = drift(&plain, Some(&read_back(&bound).expect("a domain's XML")), None);
    let names: Vec<String> = found.iter().map(|one| one.attribute.to_string()).collect();
    assert_eq!(names, ["cputune.vcpu.0"]);
}

#[test]
fn what_a_guest_takes_is_read_out_of_its_xml() {
    for wanted in [
        guest(2, 2, CpuPolicy::Dedicated, Some(PageSize::Large)),
        guest(1, 3, CpuPolicy::Dedicated, None),
        guest(2, 1, CpuPolicy::Dedicated, Some(PageSize::Small)),
    ] {
        let spec = seated(&wanted);
        let found = found_in_cells(&render(&spec), &host()).expect("a domain's XML");
        assert_eq!(found, spec.place.taken(), "{wanted:?}");
    }
    assert_eq!(
        found_in_cells(&render(&sample()), &host()).expect("a domain's XML"),
        []
    );
}

#[test]
fn foreign_domains_count_as_far_as_they_are_bound() {
    let found = |inside: &str| {
        let xml = format!("<domain><memory unit='KiB'>1048576</memory>{inside}</domain>");
        found_in_cells(&xml, &host()).expect("a domain's XML")
    };
    let taken = |cell, vcpus, pinned: &[u32], memory_mib, page_kib| CellUse {
        cell,
        vcpus,
        pinned: pinned.iter().copied().collect(),
        memory_mib,
        page_kib: Some(page_kib),
    };
    // Anywhere.
    assert_eq!(found("<vcpu>4</vcpu>"), []);
    assert_eq!(
        found("<vcpu>2</vcpu><numatune><memory mode='preferred' nodeset='0'/></numatune>"),
        []
    );
    // On one processor each; on some of a cell; on some of two.
    let pins = "<vcpu>3</vcpu><cputune><vcpupin vcpu='0' cpuset='6'/><vcpupin vcpu='1' cpuset='4-7'/>\
                <vcpupin vcpu='2' cpuset='3-4'/></cputune>";
    assert_eq!(found(pins), [taken(1, 1, &[6], 0, 4)]);
    assert_eq!(found("<vcpu cpuset='2'>8</vcpu>"), [taken(0, 0, &[2], 0, 4)]);
    // Memory of one cell, in pages of libvirt's choice.
    let huge = "<vcpu>1</vcpu><memoryBacking><hugepages/></memoryBacking>\
                <numatune><memory mode='strict' nodeset='1'/></numatune>";
    assert_eq!(found(huge), [taken(1, 0, &[], 1024, 2048)]);
    // What no host has.
    assert_eq!(
        found(
            "<vcpu>1</vcpu><numatune><memory nodeset='9'/></numatune><cputune><vcpupin vcpu='0' cpuset='99'/></cputune>"
        ),
        []
    );
    assert_eq!(found("<vcpu>4294967295</vcpu><cputune/>"), []);
    assert!(found_in_cells("<network/>", &host()).is_err());
}

#[test]
fn a_guest_that_moves_takes_the_place_that_it_has_there() {
    let spec = pinned();
    let taken = Taken {
        cells: vec![CellUse {
            cell: 0,
            pinned: [1].into(),
            ..CellUse::default()
        }],
        ..Taken::default()
    };
    let wanted = guest(2, 2, CpuPolicy::Dedicated, Some(PageSize::Large));
    let there = fit(&wanted, &[], &taken, None).expect("it fits");
    let moved = with_place(&render(&spec), &there).expect("a domain's XML");
    let after = DomainSpec {
        place: there,
        ..spec.clone()
    };
    assert_eq!(read_back(&moved).expect("a domain's XML"), attributes(&after));
    assert_eq!(attributes(&after)[&Attribute::VcpuPin(0)], "2");

    let free = with_place(&render(&spec), &GuestPlace::default()).expect("a domain's XML");
    let found = read_back(&free).expect("a domain's XML");
    assert!(!found.contains_key(&Attribute::VcpuPin(0)), "{free}");
    // What the guest sees stays.
    assert_eq!(found[&Attribute::CellCpus(1)], "2-3");
    let plugged = render(&sample()).replace(
        r#"<vcpu placement="static">1"#,
        r#"<vcpu placement="static" current="1">2"#,
    );
    assert_eq!(
        with_place(&plugged, &GuestPlace::default()).expect("a domain's XML"),
        plugged
    );
}

#[test]
fn a_place_is_of_the_guest_that_it_was_fitted_for_and_survives_its_record() {
    let wanted = guest(2, 2, CpuPolicy::Dedicated, Some(PageSize::Large));
    let spec = pinned();
    assert!(spec.place.is_of(&wanted));
    assert!(!spec.place.is_of(&wanted[..1]));
    assert!(GuestPlace::default().is_of(&[]));
    let text = serde_json::to_string(&spec).expect("JSON");
    let read: DomainSpec = serde_json::from_str(&text).expect("JSON");
    assert_eq!(read, spec);
    // Records of before there were cells.
    let plain = serde_json::to_string(&sample()).expect("JSON");
    assert!(!plain.contains("place"), "{plain}");
}

#[test]
fn a_guest_gets_free_devices_near_its_cells_and_keeps_them() {
    let addresses = |place: &GuestPlace| -> Vec<String> {
        place.pci_devices().map(|address| address.to_string()).collect()
    };
    let nobody = Taken::default();
    let one = fit(&[], &[cards(1)], &nobody, None).expect("it fits");
    // Devices that are at no cell come first: those near cells are left for guests with cells.
    assert_eq!(addresses(&one), ["0000:0b:00.0"]);
    let others = Taken {
        devices: one.pci_devices().collect(),
        ..Taken::default()
    };
    let near = fit(
        &guest(1, 2, CpuPolicy::Dedicated, None),
        &[cards(2)],
        &others,
        None,
    )
    .expect("it fits");
    assert_eq!(addresses(&near), ["0000:0a:00.0", "0000:0a:00.1"]);
    assert_eq!(near.cells[0].taken.cell, 1, "a cell with devices");

    // What it has is kept as long as that is asked for, whatever else became free.
    let kept = fit(
        &[],
        &[cards(1)],
        &nobody,
        Some(&GuestPlace {
            devices: near.devices,
            ..one.clone()
        }),
    );
    assert_eq!(
        addresses(&kept.expect("it fits")),
        ["0000:0a:00.0"],
        "one of the two"
    );
    assert_eq!(fit(&[], &[cards(1)], &nobody, Some(&one)).expect("it fits"), one);
    let mut other = cards(1);
    other.kinds[0].product_id = "0001".parse().expect("an id");
    let none = fit(&[], &[cards(1), other.clone()], &nobody, Some(&one)).expect_err("no such kind");
    assert_eq!(none.to_string(), "wants 1 of gpu, 0 free");
    // That its name means another kind by now is no reason to take it away.
    assert_eq!(fit(&[], &[other], &nobody, Some(&one)).expect("it fits"), one);
    assert_eq!(
        fit(&[], &[], &nobody, Some(&one)).expect("it fits"),
        GuestPlace::default()
    );

    let far = Taken {
        devices: [at("0000:0b:00.0"), at("0000:0a:00.0")].into(),
        ..Taken::default()
    };
    let both = guest(2, 1, CpuPolicy::Dedicated, None);
    let few = fit(&both, &[cards(2)], &far, None).expect_err("one is left");
    assert_eq!(few.to_string(), "wants 2 of gpu, 1 free");
}

#[test]
fn what_a_guest_has_is_among_what_it_gets() {
    let has = |place: GuestPlace| -> Vec<Vec<String>> {
        let all = place.devices.into_iter();
        all.map(|given| {
            given
                .devices
                .iter()
                .map(|device| device.address.to_string())
                .collect()
        })
        .collect()
    };
    let nobody = Taken::default();
    let last: GuestPlace = GuestPlace {
        devices: vec![GivenDevices {
            alias: "gpu".to_owned(),
            devices: vec![card("0000:0a:00.1", Some(1))],
        }],
        ..GuestPlace::default()
    };
    let more = fit(&[], &[cards(2)], &nobody, Some(&last)).expect("it fits");
    assert_eq!(has(more), [["0000:0a:00.1", "0000:0b:00.0"]]);
    let beside = [
        cards(1),
        DeviceWish {
            alias: "other".to_owned(),
            ..cards(1)
        },
    ];
    let both = fit(&[], &beside, &nobody, Some(&last)).expect("it fits");
    assert_eq!(has(both), [["0000:0a:00.1"], ["0000:0b:00.0"]]);
    // Without a record: a domain that is taken over.
    let wishes = Wishes {
        cells: &[],
        limits: LIMITS,
        devices: &[cards(1)],
    };
    let found = || Before::Devices([at("0000:0a:00.1"), at("0000:ff:00.0")].into());
    let kept = fit_on(wishes, &nobody, found()).expect("it fits");
    assert_eq!(has(kept), [["0000:0a:00.1"]]);
    let mut redefined = cards(1);
    redefined.kinds[0].product_id = "0001".parse().expect("an id");
    let other_kind = Wishes {
        devices: &[redefined, cards(1)],
        ..wishes
    };
    let both = Before::Devices([at("0000:0a:00.1"), at("0000:0b:00.0")].into());
    let kept = fit_on(other_kind, &nobody, both).expect("it fits");
    assert_eq!(has(kept), [["0000:0b:00.0"], ["0000:0a:00.1"]]);
    // Unless it is another's by now.
    let taken = Taken {
        devices: [at("0000:0a:00.1")].into(),
        ..Taken::default()
    };
    let other = fit_on(wishes, &taken, found()).expect("it fits");
    assert_eq!(has(other), [["0000:0b:00.0"]]);
}

#[test]
fn devices_are_rendered_found_again_and_missed() {
    let spec = DomainSpec {
        place: fit(&[], &[cards(3)], &Taken::default(), None).expect("it fits"),
        ..sample()
    };
    let xml = render(&spec);
    assert!(
        xml.contains(r#"<address domain="0x0000" bus="0x0a" slot="0x00" function="0x1"/>"#),
        "{xml}"
    );
    let expected = attributes(&spec);
    assert_eq!(read_back(&xml).expect("a domain's XML"), expected);
    assert_eq!(
        found_devices(&xml).expect("a domain's XML"),
        spec.place.pci_devices().collect()
    );

    // As libvirt writes what others gave a guest: a card by way of an interface, a USB device, a mediated device.
    let others = "<domain><devices>
        <interface type='hostdev' managed='yes'><source>
          <address type='pci' domain='0x0000' bus='0x0c' slot='0x10' function='0x2'/></source></interface>
        <interface type='network'><source network='default'/></interface>
        <hostdev mode='subsystem' type='usb'><source><address bus='1' device='3'/></source></hostdev>
        <hostdev mode='subsystem' type='mdev'><source><address uuid='c2177883'/></source></hostdev>
        <hostdev mode='subsystem' type='pci'><source>
          <address domain='0x0000' bus='0x0d' slot='0x00' function='0x0'/></source></hostdev>
        <hostdev mode='subsystem' type='pci'><source>
          <address domain='0x10000' bus='0x0d' slot='0x01' function='0x0'/></source></hostdev>
        <disk type='nvme' device='disk'><source type='pci' managed='yes' namespace='1'>
          <address domain='0x0000' bus='0x0e' slot='0x00' function='0x0'/></source><target dev='vda'/></disk>
        <disk type='file' device='disk'><source file='/x'/><address type='pci' domain='0x0000' bus='0x00'
          slot='0x07' function='0x0'/></disk>
        </devices></domain>";
    let found = found_devices(others).expect("a domain's XML");
    // A disk may be a whole device. What is behind a domain that no address here can name is not that of domain 0.
    let all = ["0000:0c:10.2", "0000:0d:00.0", "0000:0e:00.0"];
    assert_eq!(found, all.map(at).into());
    let added = drift(&expected, None, Some(&read_back(others).expect("a domain's XML")));
    let added: Vec<String> = (added.iter())
        .filter(|one| one.expected.is_none())
        .map(|one| format!("{} {:?}", one.attribute, one.found))
        .collect();
    assert_eq!(
        added,
        [
            r#"hostdev.0000:0c:10.2 Some("yes")"#,
            r#"hostdev.0000:0d:00.0 Some("no")"#
        ]
    );
}
