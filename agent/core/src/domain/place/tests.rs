//! Guests that are bound to cells: rendered, read back, and told apart from what libvirt or virsh makes of them.

use super::*;
use crate::domain::tests::sample;
use crate::domain::{Attribute, DomainSpec, Place, attributes, drift, read_back, render, with_place};
use drover_numa::{PageSize, Pages, ThreadPolicy, numbered};
use drover_types::{ByteSize, Ratio};
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

fn seated(guest: &[GuestCell]) -> DomainSpec {
    let vcpus: u64 = guest.iter().map(|cell| cell.vcpus).sum();
    let memory: u64 = guest.iter().map(|cell| cell.memory_mib).sum();
    DomainSpec {
        memory: ByteSize::from_mib(memory),
        vcpus: NonZeroU32::new(u32::try_from(vcpus).expect("few")).expect("some"),
        place: GuestPlace::fit(guest, &host(), &[], LIMITS).expect("it fits"),
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
            cells: Vec::new(),
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
    let there = GuestPlace::fit(
        &guest(2, 2, CpuPolicy::Dedicated, Some(PageSize::Large)),
        &host(),
        &[CellUse {
            cell: 0,
            pinned: [1].into(),
            ..CellUse::default()
        }],
        LIMITS,
    )
    .expect("it fits");
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
