//! Words and sets in both directions; and what any order of guests coming and going leaves of a host's cells.

use super::*;
use drover_types::Ratio;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const LIMITS: NumaLimits = NumaLimits {
    cpu_ratio: Ratio::NOVA_CPU,
    ram_ratio: Ratio::NOVA_RAM,
};

fn set(text: &str) -> CpuSet {
    text.parse().expect("a set")
}

#[test]
fn sets_are_read_and_shown_as_libvirt_has_them() {
    for (text, shown) in [
        ("0", "0"),
        ("0-3,6", "0-3,6"),
        ("3,1,2", "1-3"),
        ("0-7,^5", "0-4,6-7"),
        (" 1 , 4-5 ", "1,4-5"),
    ] {
        assert_eq!(set(text).to_string(), shown, "{text}");
    }
    for bad in ["", ",", "a", "3-1", "0-", "-1", "99999999999", "65536"] {
        assert!(bad.parse::<CpuSet>().is_err(), "{bad:?} was accepted");
    }
}

#[test]
fn words_come_back_as_they_were_written() {
    for word in ["small", "large", "any", "2048"] {
        let size: PageSize = word.parse().expect("a page size");
        assert_eq!(size.to_string(), word);
    }
    for bad in ["0", "2MB", "", "huge"] {
        assert!(bad.parse::<PageSize>().is_err(), "{bad:?} was accepted");
    }
    for policy in [CpuPolicy::Shared, CpuPolicy::Dedicated] {
        assert_eq!(policy.as_str().parse(), Ok(policy));
    }
    for policy in [ThreadPolicy::Prefer, ThreadPolicy::Require, ThreadPolicy::Isolate] {
        assert_eq!(policy.as_str().parse(), Ok(policy));
    }
    assert!("mixed".parse::<CpuPolicy>().is_err());
}

fn guest(vcpus: u64, memory_mib: u64, policy: CpuPolicy, threads: ThreadPolicy) -> GuestCell {
    GuestCell {
        vcpus,
        numbers: Vec::new(),
        memory_mib,
        policy,
        threads,
        page: None,
    }
}

#[test]
fn processors_are_numbered_over_all_cells() {
    let cell = |vcpus| guest(vcpus, 1, CpuPolicy::Shared, ThreadPolicy::Prefer);
    let numbers = |cells: &[GuestCell]| -> Vec<Vec<u32>> {
        numbered(cells).into_iter().map(|cell| cell.numbers).collect()
    };
    assert_eq!(numbers(&[cell(2), cell(1)]), [vec![0, 1], vec![2]]);
    let by_hand = GuestCell {
        numbers: vec![0, 3],
        ..cell(2)
    };
    let rest = GuestCell {
        numbers: vec![1, 2],
        ..cell(2)
    };
    assert_eq!(numbers(&[by_hand, rest]), [vec![0, 3], vec![1, 2]]);
}

/// Two cells of four threads on two cores each, with pages.
fn host() -> Vec<NumaCell> {
    let cell = |id: u32| {
        let cpus: BTreeSet<u32> = (id * 4..id * 4 + 4).collect();
        NumaCell {
            id,
            dedicated_cpus: cpus.clone(),
            siblings: vec![[id * 4, id * 4 + 1].into(), [id * 4 + 2, id * 4 + 3].into()],
            cpus,
            memory_mib: 4096,
            pages: vec![Pages::unused(4, 4096 * 256), Pages::unused(2048, 512)],
            ..NumaCell::default()
        }
    };
    vec![cell(0), cell(1)]
}

#[test]
fn isolated_processors_keep_their_siblings_idle() {
    let cells = Cells::new(&host());
    let wanted = guest(2, 512, CpuPolicy::Dedicated, ThreadPolicy::Isolate);
    let seats = cells.fit(&[wanted], LIMITS, Beside::NOTHING).expect("it fits");
    assert_eq!(seats[0].pins, [0, 2]);
    assert_eq!(seats[0].taken.pinned, BTreeSet::from([0, 1, 2, 3]));
}

#[test]
fn what_descriptions_say_of_one_guest_is_counted_once_and_at_most() {
    let taken = |cell, pinned: &[u32], memory_mib, page_kib| CellUse {
        cell,
        vcpus: 0,
        pinned: pinned.iter().copied().collect(),
        memory_mib,
        page_kib: Some(page_kib),
    };
    let runs = vec![taken(0, &[1], 512, 4), taken(0, &[2], 256, 4)];
    let recorded = vec![taken(0, &[1, 3], 512, 4), taken(1, &[], 64, 2048)];
    assert_eq!(
        at_most(&[runs, recorded]),
        [taken(0, &[1, 2, 3], 768, 4), taken(1, &[], 64, 2048)]
    );
    assert_eq!(at_most(&[]), []);
}

fn any_guest() -> impl Strategy<Value = Vec<GuestCell>> {
    let policy = prop_oneof![Just(CpuPolicy::Shared), Just(CpuPolicy::Dedicated)];
    let threads = prop_oneof![
        Just(ThreadPolicy::Prefer),
        Just(ThreadPolicy::Require),
        Just(ThreadPolicy::Isolate)
    ];
    let page = prop_oneof![
        Just(None),
        Just(Some(PageSize::Small)),
        Just(Some(PageSize::Large)),
        Just(Some(PageSize::Any)),
        Just(Some(PageSize::Kib(2048))),
    ];
    (1..=2_usize, 1..=3_u64, 1..=8_u64, policy, threads, page).prop_map(
        |(count, vcpus, memory, policy, threads, page)| {
            let cell = GuestCell {
                page,
                ..guest(vcpus, memory * 128, policy, threads)
            };
            vec![cell; count]
        },
    )
}

proptest! {
    /// Guests come and go in any order: no processor is pinned twice, no page is given twice, and once all are gone
    /// the host is as it was.
    #[test]
    fn no_two_dedicated_guests_share_a_processor(
        steps in prop::collection::vec((any_guest(), 0..6_usize, any::<bool>()), 1..40),
    ) {
        let mut cells = Cells::new(&host());
        let mut there: BTreeMap<usize, (Vec<GuestCell>, Vec<Seat>)> = BTreeMap::new();
        for (wanted, name, leaves) in steps {
            if leaves {
                if let Some((_, seats)) = there.remove(&name) {
                    cells.give_back(&seats);
                }
                continue;
            }
            if there.contains_key(&name) {
                continue;
            }
            if let Ok(seats) = cells.fit(&wanted, LIMITS, Beside::NOTHING) {
                prop_assert_eq!(seats.len(), wanted.len());
                cells.take(&seats);
                there.insert(name, (wanted, seats));
            }
            let mut pinned = BTreeSet::new();
            let mut huge: BTreeMap<u32, u64> = BTreeMap::new();
            for (wanted, seats) in there.values() {
                for (cell, seat) in wanted.iter().zip(seats) {
                    for cpu in &seat.taken.pinned {
                        prop_assert!(pinned.insert(*cpu), "{} is pinned twice", cpu);
                        prop_assert_eq!(cpu / 4, seat.taken.cell);
                    }
                    match cell.policy {
                        CpuPolicy::Dedicated => {
                            let pins: BTreeSet<u32> = seat.pins.iter().copied().collect();
                            prop_assert_eq!(pins.len() as u64, cell.vcpus);
                            prop_assert!(pins.is_subset(&seat.taken.pinned));
                        }
                        CpuPolicy::Shared => prop_assert_eq!(seat.taken.vcpus, cell.vcpus),
                    }
                    if seat.taken.page_kib == Some(2048) {
                        *huge.entry(seat.taken.cell).or_insert(0) += seat.taken.memory_mib / 2;
                    }
                }
                let distinct: BTreeSet<u32> = seats.iter().map(|seat| seat.taken.cell).collect();
                prop_assert_eq!(distinct.len(), seats.len());
            }
            prop_assert!(huge.values().all(|pages| *pages <= 512), "{:?}", huge);
        }
        for (_, seats) in there.values() {
            cells.give_back(seats);
        }
        let everything = guest(4, 4096, CpuPolicy::Dedicated, ThreadPolicy::Prefer);
        prop_assert!(cells.fit(&[everything.clone(), everything], LIMITS, Beside::NOTHING).is_ok());
    }

    /// Who counts what is taken in advance and who is told of it afterwards choose the same: the planner and a host.
    #[test]
    fn seats_that_were_reported_count_as_seats_that_were_taken(
        guests in prop::collection::vec(any_guest(), 1..8),
        next in any_guest(),
    ) {
        let mut taken = Cells::new(&host());
        let mut reported = Vec::new();
        for wanted in guests {
            if let Ok(seats) = taken.fit(&wanted, LIMITS, Beside::NOTHING) {
                taken.take(&seats);
                reported.extend(seats.into_iter().map(|seat| seat.taken));
            }
        }
        let mut promised = host();
        for taken in &reported {
            promised[taken.cell as usize].promise(taken);
        }
        let mut told = Cells::new(&host());
        for seat in reported.iter().filter_map(|taken| told.seat_of(taken)).collect::<Vec<_>>() {
            told.take(&[seat]);
        }
        let one = taken.fit(&next, LIMITS, Beside::NOTHING);
        prop_assert_eq!(&one, &told.fit(&next, LIMITS, Beside::NOTHING));
        prop_assert_eq!(&one, &Cells::new(&promised).fit(&next, LIMITS, Beside::NOTHING));
    }
}
