//! How many more fit: as many as find a host one after another.

use crate::random_fleet::fleet;
use drover_core::placement::{Name, Request};
use proptest::prelude::*;

/// Beyond so many nothing is compared: nothing limits them.
const COMPARED: u64 = 400;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn as_many_fit_as_can_be_placed_one_after_another(fleet in fleet(8, 12)) {
        let mut scheduler = fleet.scheduler();
        let (last, before) = fleet.requests.split_last().expect("at least one");
        for request in before {
            scheduler.place(request);
        }
        let probe = Request {
            group: None,
            same_host: [].into(),
            different_host: [].into(),
            ..last.clone()
        };
        let untouched = scheduler.explain(&probe);
        let mut counted = 0;
        for host in &fleet.hosts {
            let fill = scheduler.fill(&host.name, &probe).expect("a host of the fleet");
            prop_assert_eq!(fill.count == 0, !scheduler.passes(&host.name, &probe).expect("a host"));
            counted += fill.count;
        }
        prop_assert_eq!(scheduler.explain(&probe), untouched, "asking consumed something");
        prop_assume!(counted <= COMPARED);
        let mut placed = 0;
        while placed <= counted {
            let next = Request { name: Name::from(format!("more{placed}")), ..probe.clone() };
            if scheduler.place(&next).is_none() {
                break;
            }
            placed += 1;
        }
        prop_assert_eq!(counted, placed, "{:?} on {:?}", probe, fleet);
    }

    #[test]
    fn every_host_is_in_the_zones_that_take_its_servers(fleet in fleet(6, 4)) {
        let scheduler = fleet.scheduler();
        let zones = scheduler.zones();
        for host in &fleet.hosts {
            let own: Vec<_> = zones.iter().filter(|(_, hosts)| hosts.contains(&host.name)).collect();
            let wanted = host.zone.clone().unwrap_or_else(|| Name::from("nova"));
            prop_assert_eq!(own.len(), 1);
            prop_assert_eq!(own[0].0, &wanted);
        }
    }
}
